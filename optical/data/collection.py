"""Collections: documents, queries in several languages, and judgements of which document answers which query.

Every measure rests on the documents and judgements, so a line that cannot be read raises an error with its place; what
is merely useless is counted in ``skipped``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from optical.data.collection_folder import LAYOUTS, read_documents, read_folder
from optical.data.collection_irds import IR_DATASETS, named_documents, read_named
from optical.data.document_store import hold, ids_of
from optical.data.records import ENGLISH, CollectionParts, Doc, Documents, Qrel, Query
from optical.errors import DataError
from optical.limits import check_regular, id_fault, path_of

_EMPTY_DOCUMENT = "empty document, never found"
_UNKNOWN_DOCUMENT = "judgement of an unknown document"
_JUDGED_TWICE = "document judged twice"
_UNASKED = "judgement without a query"
_UNJUDGED = "query without judgement"
_EMPTY_QUERY = "empty query"
_QUERY_TWICE = "query id used twice"


class Collection(NamedTuple):
    """Documents, queries and judgements that belong together.

    Attributes:
        name: Name of the folder (``sw/collection`` where it says nothing alone), or the ir_datasets id.
        docs: In the order of the file; ids are distinct, and none is empty. Texts of a large collection lie on disk
            (:mod:`optical.data.document_store`), so iterate, index, and copy none that is not needed.
        queries: Language -> queries with at least one judgement, in the order of the file; all where nothing is judged.
        qrels: Split -> judgements of known documents, empty ones too; a split without a name is ``test``. Empty of
            documents that come without judgements.
        checksum: SHA-256 over ids, titles and texts of the documents: equal when document vectors can be reused.
        skipped: Reason -> how many documents, queries or judgements were left out for it.
        docs_lang: Code of the documents' language.
        repeated: How many documents have the title and text of an earlier one; they are kept.
    """

    name: str
    docs: Sequence[Doc]
    queries: dict[str, list[Query]]
    qrels: dict[str, list[Qrel]]
    checksum: str
    skipped: dict[str, int]
    docs_lang: str = ENGLISH
    repeated: int = 0


def read_collection(path: str | Path, langs: Sequence[str]) -> Collection:
    """Read a collection, with the queries of the languages asked for.

    Documents may come alone, in a file or in a folder of files (:mod:`optical.data.document_folder`): nothing can be
    measured on them then, and everything else can be done. Three layouts of a folder are known besides, and their parts
    can be mixed, each file plain or ``.gz``:

    - ours: ``docs.jsonl``, ``queries.<lang>.tsv``, ``qrels.tsv`` or ``qrels.<split>.tsv``;
    - BEIR: ``corpus.jsonl``, ``queries.<lang>.jsonl`` or ``queries.jsonl``, ``qrels/<split>.tsv`` with a header. The
      language of a query in a plain file is its ``metadata.language`` or ``metadata.lang``, or else the first of
      ``langs`` that has no file of its own;
    - TREC: ``docs.tsv`` (id, perhaps title, text) or ``docs.trec`` (:func:`optical.data.collection_trec.documents`),
      ``topics.<lang>.tsv``, ``topics.<lang>.trec`` (titles) or ``topics.<lang>.td.trec`` (titles and descriptions),
      ``qrels.txt``.

    Documents are English, or of the language that stands before the suffix: ``docs.sw.jsonl``. Judgements are ``query 0
    document relevance``, or ``query<TAB>document<TAB>relevance``.

    Args:
        path: A folder or a file, or ``irds:`` and an ir_datasets id (:mod:`optical.data.collection_irds`).
        langs: Codes of the query languages wanted; one that is not there is absent from ``queries``.

    Raises:
        DataError: A missing file, bytes that are not UTF-8, bad JSON, a line that is no query or judgement, a document
            id used twice; judgements that know none of the documents, or no query of ``langs``.
    """
    if str(path).startswith(IR_DATASETS):
        return _collect(read_named(str(path).removeprefix(IR_DATASETS), langs), langs)
    return _collect(read_folder(_place(path), langs), langs)


def stream_docs(path: str | Path) -> Iterator[Doc]:
    """The documents of a collection one at a time, as :attr:`Collection.docs` has them: the same, in the same order.

    For collections larger than memory: ids are held, texts are not. Queries and judgements need not be there.

    Args:
        path: A folder or a file, or ``irds:`` and an ir_datasets id.

    Raises:
        DataError: As :func:`read_collection` about documents; of a line, when it is reached.
    """
    return (doc for doc in _distinct(documents_of(path)) if not _is_empty(doc))


def documents_of(path: str | Path) -> Documents:
    """Find the documents of a collection and their language; nothing is read yet.

    Raises:
        DataError: No such folder or id, or no documents there.
    """
    if str(path).startswith(IR_DATASETS):
        return named_documents(str(path).removeprefix(IR_DATASETS))
    return read_documents(_place(path))


def _place(path: str | Path) -> Path:
    place = path_of(path)
    if not place.exists():
        raise DataError(
            f"no such collection: {path}; give a folder, or an ir_datasets id with {IR_DATASETS} before it; {LAYOUTS}"
        )
    if not place.is_dir():
        check_regular(place)
    return place


def queries_of(collection: Collection, lang: str, split: str) -> list[Query]:
    """The queries of a language that are judged in a split, in the order of the file; all where nothing is judged.

    Raises:
        DataError: When the collection has no such language or split.
    """
    if not collection.qrels and lang in collection.queries:
        return collection.queries[lang]
    for kind, wanted, there in (("language", lang, collection.queries), ("split", split, collection.qrels)):
        if wanted not in there:
            raise DataError(f"no {kind} {wanted} in the collection {collection.name}; it has {', '.join(there)}")
    judged = {qrel.query_id for qrel in collection.qrels[split]}
    return [query for query in collection.queries[lang] if query.id in judged]


def judgements_of(queries: Iterable[Query], qrels: Iterable[Qrel]) -> list[Qrel]:
    """The judgements of these queries: a collection may judge questions that were never asked in X."""
    ids = {query.id for query in queries}
    return [qrel for qrel in qrels if qrel.query_id in ids]


def _collect(parts: CollectionParts, langs: Sequence[str]) -> Collection:
    """Put the parts together, and check that they belong to one collection."""
    where, queries = parts.where, parts.queries
    empty: list[str] = []
    docs, checksum, repeated = hold(_with_text(_distinct(parts.documents), empty))
    if not docs:
        raise DataError(f"no document in the collection {where}; {LAYOUTS}")
    skipped: Counter[str] = Counter({**parts.documents.skipped, _EMPTY_DOCUMENT: len(empty)})
    if not parts.qrels:
        asked = {lang: list(_judged(queries[lang], None, skipped)) for lang in langs if queries.get(lang)}
        return Collection(parts.name, docs, asked, {}, checksum, _told(skipped), parts.documents.lang, repeated)
    kept = _known(where, [ids_of(docs), empty], parts.qrels, skipped)
    judged = {qrel.query_id for split in kept.values() for qrel in split}
    chosen = {lang: list(_judged(queries[lang], judged, skipped)) for lang in langs if lang in queries}
    if not chosen:
        raise DataError(
            f"no queries in {' or '.join(langs) or 'no language'}: {where}; ask for a language that is there"
            f" ({', '.join(sorted(queries)) or 'there is none'}), or add queries.<lang>.tsv with id<TAB>text"
        )
    if not any(chosen.values()):
        raise DataError(
            f"no judged query in {' or '.join(chosen)}: {where}; queries and judgements must use the same ids; a judged"
            f" one is {min(judged)!r}, a query {_example(queries)}"
        )
    asked = {query.id for some in chosen.values() for query in some}
    skipped[_UNASKED] = sum(qrel.query_id not in asked for split in kept.values() for qrel in split)
    return Collection(parts.name, docs, chosen, kept, checksum, _told(skipped), parts.documents.lang, repeated)


def _told(skipped: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in skipped.items() if count}


def _distinct(documents: Documents) -> Iterator[Doc]:
    """Yield the documents; an id that is missing or used twice is a DataError."""
    seen: set[str] = set()
    for number, doc in documents.read():
        if doc.id in seen or id_fault(doc.id):
            raise DataError(
                f"{_id_fault(documents, doc)}: {documents.at(number)}; give each document an id of its own, which"
                " judgements can name"
            )
        seen.add(doc.id)
        yield doc


def _id_fault(documents: Documents, doc: Doc) -> str:
    """Say what is wrong with an id; its first use is looked up again, so that no line numbers need be held."""
    if not doc.id.strip():
        return "no document id"
    if fault := id_fault(doc.id):
        return f"a document id {fault}, {doc.id[:100]!r}"
    first = next(number for number, other in documents.read() if other.id == doc.id)
    return f"document id {doc.id!r} used twice (first {'at' if isinstance(first, str) else 'on line'} {first})"


def _with_text(docs: Iterable[Doc], empty: list[str]) -> Iterator[Doc]:
    """Documents with a text; the ids of the others are added to ``empty``."""
    for doc in docs:
        if _is_empty(doc):
            empty.append(doc.id)
        else:
            yield doc


def _is_empty(doc: Doc) -> bool:
    return not doc.full.strip()


def _known(
    where: str, there: Sequence[Sequence[str]], qrels: dict[str, list[Qrel]], skipped: Counter[str]
) -> dict[str, list[Qrel]]:
    """The judgements of documents that exist, the first of each; splits without any are left out."""
    named = {qrel.doc_id for judgements in qrels.values() for qrel in judgements}
    ids = named.intersection(chain(*there))  # of millions of documents few are judged
    kept: dict[str, dict[tuple[str, str], Qrel]] = {split: {} for split in qrels}
    for split, judgements in qrels.items():
        for qrel in judgements:
            key = qrel.query_id, qrel.doc_id
            if qrel.doc_id not in ids:
                skipped[_UNKNOWN_DOCUMENT] += 1
            elif key in kept[split]:
                skipped[_JUDGED_TWICE] += 1
            else:
                kept[split][key] = qrel
    if not any(kept.values()):
        example = next((qrel.doc_id for split in qrels.values() for qrel in split), None)
        what = "no judgement at all" if example is None else f"no judgement names a known document (one is {example!r})"
        raise DataError(
            f"{what}: {where}; documents and judgements must use the same ids; a document is {there[0][0]!r}"
        )
    return {split: list(found.values()) for split, found in kept.items() if found}


def _judged(queries: Iterable[Query], judged: set[str] | None, skipped: Counter[str]) -> Iterator[Query]:
    """Queries with a text and a judgement, the first of each id; no judgement is asked for where ``judged`` is None."""
    seen: set[str] = set()
    for query in queries:
        unjudged = judged is not None and query.id not in judged
        faults = ((not query.text, _EMPTY_QUERY), (unjudged, _UNJUDGED), (query.id in seen, _QUERY_TWICE))
        fault = next((reason for applies, reason in faults if applies), "")
        if fault:
            skipped[fault] += 1
            continue
        seen.add(query.id)
        yield query


def _example(queries: dict[str, list[Query]]) -> str:
    return next((repr(query.id) for found in queries.values() for query in found), "none")
