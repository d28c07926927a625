"""Lessons of a judged collection: pairs to learn from, held-out queries, passages to mine wrong ones among.

Pairs and held-out queries share no right passage. Both are drawn by hash, so that the same collection is always divided
in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from optical.config.teaching import Teaching
from optical.data.collection import Collection, queries_of
from optical.data.document_store import ids_of, with_ids
from optical.data.records import ENGLISH, Doc, Qrel, Query
from optical.errors import DataError

Item = TypeVar("Item")


class Example(NamedTuple):
    """A query and a passage that was judged to answer it."""

    query: Query
    doc: Doc


class HeldOut(NamedTuple):
    """Queries that are not learnt from, the passages that they search, and which of these are right."""

    queries: list[Query]
    docs: Sequence[Doc]
    qrels: list[Qrel]


class TeachingData(NamedTuple):
    """A collection divided for teaching.

    Attributes:
        examples: Pairs to learn from.
        held_out: Queries none of whose right passages is in a pair; None where nothing was held out.
        others: Passages beside those of the pairs, that negatives are mined among.
    """

    examples: list[Example]
    held_out: HeldOut | None
    others: list[Doc]


def divide(collection: Collection, options: Teaching) -> TeachingData:
    """Divide a collection into pairs and held-out queries.

    Judgements of a split called dev are the held-out queries, where another split teaches. Otherwise passages
    are drawn by hash, at most a tenth, until they answer ``held_out`` queries, or a tenth; queries that share a passage
    with a held-out one are left out of training.

    Raises:
        DataError: No English query, no judgement that says yes, a single passage.
    """
    split = teaching_split(collection, options.split)
    examples = judged_pairs(collection, split)
    if len(collection.docs) < 2:
        raise DataError(
            f"{collection.name} has a single passage, so no query can find a wrong one; give a collection of many"
        )
    if split != "dev" and "dev" in collection.qrels and options.held_out:
        apart = judged_pairs(collection, "dev")
    else:
        apart = _hold_out(examples, min(options.held_out, len({e.query.id for e in examples}) // 10))
    held_out = _with_passages(apart, collection, options) if apart else None
    examples = _without(examples, apart)
    # By the text of the query: all its right passages are drawn or none, so none can be mined as a wrong one.
    chosen = first_by_hash(examples, options.pairs, lambda example: example.query.text)
    taken = {example.doc.id for example in chosen}
    others = first_by_hash([i for i in ids_of(collection.docs) if i not in taken], options.documents, str)
    return TeachingData(chosen, held_out, with_ids(collection.docs, set(others)))


def teaching_split(collection: Collection, wanted: str | None) -> str:
    """Name the judgements to learn from: those that are asked for, ``train``, or the only ones that there are.

    Raises:
        DataError: No such split, or several and none of them is called train.
    """
    there = collection.qrels
    if wanted is None and len(there) > 1 and "train" not in there:
        raise DataError(
            f"{collection.name} has judgements called {', '.join(there)}, none called train; say which to learn "
            f"from, as in split = {min(there)!r}"
        )
    chosen = wanted or ("train" if "train" in there else next(iter(there)))
    if chosen not in there:
        raise DataError(f"{collection.name} has no judgements called {chosen!r}; it has: {', '.join(there)}")
    return chosen


def judged_pairs(collection: Collection, split: str) -> list[Example]:
    """Read every English query of a split with every passage judged to answer it.

    Raises:
        DataError: There is none.
    """
    queries = {query.id: query for query in queries_of(collection, ENGLISH, split)}
    right = [qrel for qrel in collection.qrels[split] if qrel.relevance > 0 and qrel.query_id in queries]
    docs = {doc.id: doc for doc in with_ids(collection.docs, {qrel.doc_id for qrel in right})}
    # An empty passage is judged and is none of the documents.
    found = [Example(queries[qrel.query_id], docs[qrel.doc_id]) for qrel in right if qrel.doc_id in docs]
    if not found:
        raise DataError(
            f"{collection.name} judges no passage to answer an English query in {split!r}; judgements must have a "
            "relevance of at least 1, and name queries of queries.en.tsv"
        )
    return found


def first_by_hash(items: Iterable[Item], count: int, name: Callable[[Item], str]) -> list[Item]:
    """Draw ``count`` items by the hash of their names, in their own order; items of one name stay together."""
    items = list(items)
    keys = [name_hash(name(item)) for item in items]
    if len(items) <= count or not count:
        return items if count else []
    limit = sorted(keys)[count - 1]
    return [item for item, key in zip(items, keys, strict=True) if key <= limit]


def name_hash(name: str) -> bytes:
    """SHA-256 of a name, to draw by: the same on every machine and in any order."""
    return hashlib.sha256(name.encode()).digest()


def draw_queries(collection: Collection, split: str, count: int) -> HeldOut:
    """Draw at most ``count`` queries of another collection, over all its passages."""
    pairs = judged_pairs(collection, split)
    queries = first_by_hash(dict.fromkeys(pair.query for pair in pairs), count, lambda query: query.id)
    ids = {query.id for query in queries}
    return HeldOut(queries, collection.docs, [q for q in collection.qrels[split] if q.query_id in ids])


def _hold_out(examples: Sequence[Example], count: int) -> list[Example]:
    """Draw passages by hash, with all their pairs, until they have ``count`` queries; at most a tenth of the passages.

    Passages are drawn, not queries: searching costs by the passage, and each has all its questions to tell with.
    """
    of: dict[str, list[Example]] = {}
    first: dict[str, str] = {}  # query -> the passage that it is drawn with
    for example in sorted(examples, key=lambda example: name_hash(example.doc.id)):
        of.setdefault(first.setdefault(example.query.id, example.doc.id), []).append(example)
    held_out: list[Example] = []
    queries: set[str] = set()
    docs: set[str] = set()
    most = len({example.doc.id for example in examples}) // 10
    for doc in sorted(of, key=name_hash):
        ids = {example.doc.id for example in of[doc]}
        if len(queries) < count and len(docs | ids) <= most:
            held_out += of[doc]
            queries |= {example.query.id for example in of[doc]}
            docs |= ids
    return held_out


def _without(examples: Sequence[Example], held_out: Sequence[Example]) -> list[Example]:
    """Leave out the pairs of queries that are held out or share a right passage with one that is."""
    docs = {example.doc.full for example in held_out}
    texts = {example.query.text for example in held_out}
    texts |= {example.query.text for example in examples if example.doc.full in docs}
    return [example for example in examples if example.query.text not in texts]


def _with_passages(held_out: Sequence[Example], collection: Collection, options: Teaching) -> HeldOut:
    """Held-out queries over their right passages and others, drawn by hash, up to the number asked for."""
    queries = sorted(dict.fromkeys(example.query for example in held_out))[: options.held_out]
    ids = {query.id for query in queries}
    right = {example.doc.id for example in held_out if example.query.id in ids}
    rest = [doc_id for doc_id in ids_of(collection.docs) if doc_id not in right]
    others = first_by_hash(rest, max(0, options.held_out_documents - len(right)), str)
    docs = with_ids(collection.docs, right | set(others))
    return HeldOut(queries, docs, [Qrel(e.query.id, e.doc.id, 1) for e in held_out if e.query.id in ids])
