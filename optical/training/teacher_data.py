"""English queries and the passages that answer them: pairs to learn from, queries held out, wrong passages mined.

Takes a judged collection, gives pairs and a development set that share no right passage, both drawn by hash, so that
the same collection is always divided in the same way. Knows encoders only to mine with them, and no training.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from optical.config.teaching import Teaching
from optical.data.collection import Collection, queries_of
from optical.data.document_store import ids_of, with_ids
from optical.data.records import Doc, Qrel, Query
from optical.errors import DataError
from optical.files import checksum, file_written_whole
from optical.models.encoders import Encoder, fingerprint, is_multi_vector
from optical.models.precision import bfloat16

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LANG = "en"
SCORES_AT_ONCE = 2**26  # of queries and passages while mining: 256 MB of float32
MINING = {"negatives", "margin", "precision"}  # options that change what is mined
Item = TypeVar("Item")
Pair = tuple[str, str]


class Example(NamedTuple):
    """A query and a passage that was judged to answer it."""

    query: Query
    doc: Doc


class Exam(NamedTuple):
    """Queries, the passages that they search, and which of these are right."""

    queries: list[Query]
    docs: Sequence[Doc]
    qrels: list[Qrel]


class Supervision(NamedTuple):
    """What a collection has to teach.

    Attributes:
        examples: Pairs to learn from.
        exam: Held-out queries, none of whose right passages is in a pair; None where nothing was held out.
        others: Passages beside those of the pairs, that negatives are mined among.
    """

    examples: list[Example]
    exam: Exam | None
    others: list[Doc]


def supervise(collection: Collection, options: Teaching) -> Supervision:
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
    exam = None
    if split != "dev" and "dev" in collection.qrels and options.held_out:
        held_out = judged_pairs(collection, "dev")
    else:
        held_out = _hold_out(examples, min(options.held_out, len({e.query.id for e in examples}) // 10))
    if held_out:
        exam = _exam(held_out, collection, options)
        examples = _apart(examples, held_out)
    # By the text of the query: all its right passages are drawn or none, so none can be mined as a wrong one.
    chosen = first_by_hash(examples, options.pairs, lambda example: example.query.text)
    taken = {example.doc.id for example in chosen}
    others = first_by_hash([i for i in ids_of(collection.docs) if i not in taken], options.documents, str)
    return Supervision(chosen, exam, with_ids(collection.docs, set(others)))


def teaching_split(collection: Collection, wanted: str | None) -> str:
    """The judgements to learn from: those that are asked for, ``train``, or the only ones that there are.

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
    """Every English query of a split with every passage judged to answer it.

    Raises:
        DataError: There is none.
    """
    queries = {query.id: query for query in queries_of(collection, LANG, split)}
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
    """So many items, drawn by the hash of their names, in their own order; items of one name stay together."""
    items = list(items)
    keys = [_hash(name(item)) for item in items]
    if len(items) <= count or not count:
        return items if count else []
    limit = sorted(keys)[count - 1]
    return [item for item, key in zip(items, keys, strict=True) if key <= limit]


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def exam_of(collection: Collection, split: str, count: int) -> Exam:
    """At most so many queries of another collection, over all its passages."""
    pairs = judged_pairs(collection, split)
    queries = first_by_hash(dict.fromkeys(pair.query for pair in pairs), count, lambda query: query.id)
    ids = {query.id for query in queries}
    return Exam(queries, collection.docs, [q for q in collection.qrels[split] if q.query_id in ids])


def _hold_out(examples: Sequence[Example], count: int) -> list[Example]:
    """All pairs of passages drawn by hash, until they have so many queries; at most a tenth of the passages.

    Passages are drawn, not queries: searching costs by the passage, and each has all its questions to tell with.
    """
    of: dict[str, list[Example]] = {}
    first: dict[str, str] = {}  # query -> the passage that it is drawn with
    for example in sorted(examples, key=lambda example: _hash(example.doc.id)):
        of.setdefault(first.setdefault(example.query.id, example.doc.id), []).append(example)
    held_out: list[Example] = []
    queries: set[str] = set()
    docs: set[str] = set()
    most = len({example.doc.id for example in examples}) // 10
    for doc in sorted(of, key=_hash):
        ids = {example.doc.id for example in of[doc]}
        if len(queries) < count and len(docs | ids) <= most:
            held_out += of[doc]
            queries |= {example.query.id for example in of[doc]}
            docs |= ids
    return held_out


def _apart(examples: Sequence[Example], held_out: Sequence[Example]) -> list[Example]:
    """The pairs of queries that neither are held out nor share a right passage with one that is."""
    docs = {example.doc.full for example in held_out}
    texts = {example.query.text for example in held_out}
    texts |= {example.query.text for example in examples if example.doc.full in docs}
    return [example for example in examples if example.query.text not in texts]


def _exam(held_out: Sequence[Example], collection: Collection, options: Teaching) -> Exam:
    queries = sorted(dict.fromkeys(example.query for example in held_out))[: options.held_out]
    ids = {query.id for query in queries}
    right = {example.doc.id for example in held_out if example.query.id in ids}
    rest = [doc_id for doc_id in ids_of(collection.docs) if doc_id not in right]
    others = first_by_hash(rest, max(0, options.held_out_documents - len(right)), str)
    docs = with_ids(collection.docs, right | set(others))
    return Exam(queries, docs, [Qrel(e.query.id, e.doc.id, 1) for e in held_out if e.query.id in ids])


def mined(start: Encoder, supervision: Supervision, options: Teaching, cache: Path) -> tuple[list[list[str]], int]:
    """Rows (query, right passage, wrong passages ...): those that the start ranks highest without being right.

    A wrong passage was not judged to answer the query, and scores less than the right one by the margin (TopK-PercPos
    of Moreira et al., NV-Retriever, 2024), so that unjudged answers are seldom taken. Where the start finds
    too few such passages, which it does for the queries that it answers worst, any are drawn by hash. It searches with
    its sentence vectors, a late-interaction one with the mean of its token vectors. Kept in the cache.

    Returns:
        The rows, and how many of them have passages drawn by hash.

    Raises:
        DataError: Fewer wrong passages than each query is to have.
    """
    pairs = list(dict.fromkeys((example.query.text, example.doc.full) for example in supervision.examples))
    if not options.negatives:
        return [[*pair] for pair in pairs], 0
    corpus = [doc.full for doc in supervision.others]
    texts = [text for pair in pairs for text in pair]
    name = checksum([options.model_dump_json(include=MINING), *texts, *corpus])
    file = cache / f"negatives-{fingerprint(start)}-{name}.json"
    if not file.is_file():
        found = _mine(start, pairs, corpus, options)
        with file_written_whole(file) as unfinished:
            unfinished.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    rows = {(query, passage): [query, passage, *wrong] for query, passage, *wrong in _read(file)}
    rest = [pair for pair in pairs if pair not in rows]
    drawn = _drawn(rest, pairs, list(dict.fromkeys([*corpus, *(passage for _, passage in pairs)])), options.negatives)
    return [rows.get(pair) or drawn[pair] for pair in pairs], len(rest)


def _drawn(rest: Sequence[Pair], pairs: Sequence[Pair], passages: list[str], count: int) -> dict[Pair, list[str]]:
    """Rows whose wrong passages follow a place in the collection that the hash of the query says."""
    right: dict[str, set[str]] = {}
    for query, passage in pairs:
        right.setdefault(query, set()).add(passage)
    rows = {}
    for query, passage in rest:
        place = int.from_bytes(_hash(query)[:8], "big") % len(passages)
        around = itertools.islice(itertools.cycle(passages), place, place + len(passages))
        wrong = list(itertools.islice((text for text in around if text not in right[query]), count))
        if len(wrong) < count:
            raise DataError(
                f"{query!r} has {len(wrong)} wrong passages among {len(passages)}; negatives = {count} asks for more; "
                f"give more passages, or set negatives to {len(wrong)}"
            )
        rows[query, passage] = [query, passage, *wrong]
    return rows


def _read(file: Path) -> list[list[str]]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: mined passages cannot be read ({error}); remove this file, it is made again"
        ) from error


def _mine(start: Encoder, pairs: Sequence[Pair], corpus: list[str], options: Teaching) -> list[list[str]]:
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    queries, passages = zip(*pairs, strict=True)
    half = bfloat16(options.precision, start.device.type)
    with torch.autocast(start.device.type, torch.bfloat16, enabled=half):
        found: Any = mine_hard_negatives(
            Dataset.from_dict({"query": queries, "positive": passages}),
            _single_vector(start),
            corpus=corpus,
            relative_margin=options.margin,
            num_negatives=options.negatives,
            output_format="n-tuple",
            faiss_batch_size=max(1, SCORES_AT_ONCE // (len(corpus) + len(pairs))),
            verbose=False,
        )
    return [list(row.values()) for row in found]


def _single_vector(encoder: Encoder) -> SentenceTransformer:
    """The encoder itself, or the means of the token vectors of a late-interaction one."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    if not is_multi_vector(encoder):
        return encoder  # type: ignore[return-value]
    pooling = Pooling(encoder.get_embedding_dimension() or 0, pooling_mode="mean")
    return SentenceTransformer(modules=[*encoder, pooling], device=str(encoder.device))
