"""Collections: English documents, queries in several languages, and judgements of which document answers which query.

Takes a folder in one of the usual layouts or an ir_datasets id, gives a :class:`Collection`. Documents and judgements
are what every measure rests on, so a line that cannot be read stops with its place; what is merely useless is counted
in ``skipped``. Does not know how documents are encoded, searched or measured.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optical.errors import DataError
from optical.text.bitext import tidy
from optical.text.formats import json_object, lines

IR_DATASETS = "irds:"  # prefix of an ir_datasets id
UNNAMED_SPLIT = "test"
UNTELLING = frozenset({"collection", "data", "test"})  # folder names that say nothing without their parent

_QUERIES = re.compile(r"(?:queries|topics)(?:\.(?P<lang>[^.]+))?(?P<suffix>\.tsv|\.jsonl)(?:\.gz)?")
_QRELS = re.compile(r"qrels(?:\.(?P<split>[^.]+))?\.(?:tsv|txt)(?:\.gz)?")
_QRELS_HEADERS = frozenset({"score", "relevance", "rel", "label"})  # names of the last column
_SPLIT = re.compile(r"(?P<split>[^.]+)\.(?:tsv|txt)(?:\.gz)?")  # below the folder qrels/

_UNKNOWN_DOCUMENT = "judgement of an unknown document"
_JUDGED_TWICE = "document judged twice"
_UNJUDGED = "query without judgement"
_EMPTY_QUERY = "empty query"
_QUERY_TWICE = "query id used twice"

_LAYOUTS = (
    "Expected docs.jsonl (id, title, text), corpus.jsonl (_id, title, text) or docs.tsv (id<TAB>text); queries.<lang>"
    ".tsv, topics.<lang>.tsv or queries.<lang>.jsonl; and qrels.tsv, qrels.txt, qrels.<split>.tsv or qrels/<split>.tsv;"
    " each also as .gz."
)


class Doc(NamedTuple):
    """An English document."""

    id: str
    title: str
    text: str

    @property
    def full(self) -> str:
        """What a document encoder reads: title and text, or the text alone where there is no title."""
        return f"{self.title} {self.text}" if self.title else self.text


class Query(NamedTuple):
    """A query; the same id in two languages is the same question."""

    id: str
    text: str


class Qrel(NamedTuple):
    """A judgement; relevance 0 means that somebody looked and found no answer."""

    query_id: str
    doc_id: str
    relevance: int


class Collection(NamedTuple):
    """Documents, queries and judgements that belong together.

    Attributes:
        name: Name of the folder (``sw/collection`` where it says nothing alone), or the ir_datasets id.
        docs: In the order of the file; ids are distinct.
        queries: Language -> queries with at least one judgement, in the order of the file.
        qrels: Split -> judgements of known documents; a split without a name is ``test``.
        checksum: SHA-256 over ids, titles and texts of the documents: equal when document vectors can be reused.
        skipped: Reason -> how many queries or judgements were left out for it.
    """

    name: str
    docs: list[Doc]
    queries: dict[str, list[Query]]
    qrels: dict[str, list[Qrel]]
    checksum: str
    skipped: dict[str, int]


def read_collection(path: str | Path, langs: Sequence[str]) -> Collection:
    """Read a collection, with the queries of the languages asked for.

    Three layouts of a folder are known, and their parts can be mixed, each file plain or ``.gz``:

    - ours: ``docs.jsonl``, ``queries.<lang>.tsv``, ``qrels.tsv`` or ``qrels.<split>.tsv``;
    - BEIR: ``corpus.jsonl``, ``queries.<lang>.jsonl`` or ``queries.jsonl``, ``qrels/<split>.tsv`` with a header. The
      language of a query in a plain file is its ``metadata.language`` or ``metadata.lang``, or else the first of
      ``langs`` that has no file of its own;
    - TREC: ``docs.tsv`` (id, perhaps title, text), ``topics.<lang>.tsv``, ``qrels.txt``.

    Judgements are ``query 0 document relevance``, or ``query<TAB>document<TAB>relevance``.

    Args:
        path: A folder, or ``irds:`` and an ir_datasets id.
        langs: Codes of the query languages wanted; one that is not there is absent from ``queries``.

    Raises:
        DataError: A missing file, bytes that are not UTF-8, bad JSON, a line that is no query or judgement, a document
            id used twice, no language of ``langs``, judgements that know none of the documents, no judged query.
    """
    if str(path).startswith(IR_DATASETS):
        return _from_ir_datasets(str(path).removeprefix(IR_DATASETS), langs)
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"No such collection: {path}. Give a folder, or an ir_datasets id with {IR_DATASETS} before it. {_LAYOUTS}"
        )
    docs = _read_docs(folder)
    queries = _read_queries(folder, langs)
    qrels = {split: list(_judgements(file)) for split, file in _qrels_files(folder).items()}
    return _collect(_name(folder.resolve()), str(folder), docs, queries, qrels, langs)


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}" if folder.name in UNTELLING else folder.name


def queries_of(collection: Collection, lang: str, split: str) -> list[Query]:
    """The queries of a language that are judged in a split, in the order of the file.

    Raises:
        DataError: When the collection has no such language or split.
    """
    for kind, wanted, there in (("language", lang, collection.queries), ("split", split, collection.qrels)):
        if wanted not in there:
            raise DataError(f"No {kind} {wanted} in the collection {collection.name}. It has: {', '.join(there)}.")
    judged = {qrel.query_id for qrel in collection.qrels[split]}
    return [query for query in collection.queries[lang] if query.id in judged]


def _collect(
    name: str,
    where: str,
    docs: list[Doc],
    queries: dict[str, list[Query]],
    qrels: dict[str, list[Qrel]],
    langs: Sequence[str],
) -> Collection:
    """The collection of parts that were read, when they fit together."""
    if not docs:
        raise DataError(f"No document in the collection {where}. {_LAYOUTS}")
    skipped: Counter[str] = Counter()
    kept = _known(where, docs, qrels, skipped)
    judged = {qrel.query_id for split in kept.values() for qrel in split}
    chosen = {lang: list(_judged(queries[lang], judged, skipped)) for lang in langs if lang in queries}
    if not chosen:
        raise DataError(
            f"No queries in {' or '.join(langs) or 'no language'}: {where}. Ask for a language that is there"
            f" ({', '.join(sorted(queries)) or 'there is none'}), or add queries.<lang>.tsv with id<TAB>text."
        )
    if not any(chosen.values()):
        raise DataError(
            f"No judged query in {' or '.join(chosen)}: {where}. Queries and judgements must use the same ids; a judged"
            f" one is {min(judged)!r}, a query {_example(queries)}."
        )
    return Collection(name, docs, chosen, kept, _checksum(docs), dict(skipped))


def _known(where: str, docs: list[Doc], qrels: dict[str, list[Qrel]], skipped: Counter[str]) -> dict[str, list[Qrel]]:
    """The judgements of documents that exist, the first of each; splits without any are left out."""
    ids = {doc.id for doc in docs}
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
        what = "No judgement at all" if example is None else f"No judgement names a known document (one is {example!r})"
        raise DataError(
            f"{what}: {where}. Documents and judgements must use the same ids; a document is {docs[0].id!r}."
        )
    return {split: list(found.values()) for split, found in kept.items() if found}


def _judged(queries: Iterable[Query], judged: set[str], skipped: Counter[str]) -> Iterator[Query]:
    """Queries with a text and a judgement, the first of each id."""
    seen: set[str] = set()
    for query in queries:
        faults = ((not query.text, _EMPTY_QUERY), (query.id not in judged, _UNJUDGED), (query.id in seen, _QUERY_TWICE))
        fault = next((reason for applies, reason in faults if applies), "")
        if fault:
            skipped[fault] += 1
            continue
        seen.add(query.id)
        yield query


def _checksum(docs: Iterable[Doc]) -> str:
    digest = hashlib.sha256()
    for doc in docs:
        digest.update("\t".join((*doc, "\n")).encode())  # tidy fields hold no tab
    return digest.hexdigest()


def _example(queries: dict[str, list[Query]]) -> str:
    return next((repr(query.id) for found in queries.values() for query in found), "none")


def _read_docs(folder: Path) -> list[Doc]:
    """The documents of whichever layout the folder has."""
    readers: dict[str, Callable[[Path], Iterator[tuple[int, Doc]]]] = {
        "docs.jsonl": _json_docs,
        "corpus.jsonl": _json_docs,
        "docs.tsv": _table_docs,
    }
    for name, reader in readers.items():
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return list(_distinct(file, reader(file)))
    raise DataError(f"No documents in {folder}. {_LAYOUTS}")


def _distinct(file: Path, docs: Iterable[tuple[int, Doc]]) -> Iterator[Doc]:
    """Documents, until an id comes twice."""
    first: dict[str, int] = {}
    for number, doc in docs:
        if not doc.id or doc.id in first:
            fault = f"Document id {doc.id!r} used twice (first on line {first[doc.id]})" if doc.id else "No document id"
            raise DataError(
                f"{fault}: {file}:{number}. Give each document an id of its own, which judgements can name."
            )
        first[doc.id] = number
        yield doc


def _json_docs(file: Path) -> Iterator[tuple[int, Doc]]:
    for number, record in _json_records(file):
        if not isinstance(record.get("text"), str):
            raise DataError(f'No text in the document at {file}:{number}. Write {{"id": .., "title": .., "text": ..}}.')
        title = record.get("title")
        yield number, Doc(_id(record), tidy(title) if isinstance(title, str) else "", tidy(record["text"]))


def _table_docs(file: Path) -> Iterator[tuple[int, Doc]]:
    for number, cells in _cells(file, "\t"):
        if len(cells) not in (2, 3):
            raise DataError(
                f"{len(cells)} columns in a document at {file}:{number}. Write id<TAB>text or id<TAB>title<TAB>text."
            )
        yield number, Doc(cells[0].strip(), tidy(cells[1]) if len(cells) == 3 else "", tidy(cells[-1]))


def _read_queries(folder: Path, langs: Sequence[str]) -> dict[str, list[Query]]:
    """Language -> queries; read for ``langs`` only, empty lists stand for the other languages that are there."""
    named, plain = {}, None
    for file in sorted(folder.iterdir()):
        match = _QUERIES.fullmatch(file.name)
        if match and match["lang"]:
            named.setdefault(match["lang"], (file, match["suffix"]))
        elif match:
            plain = plain or (file, match["suffix"])
    queries: dict[str, list[Query]] = {
        lang: [query for query, _ in _QUERY_READERS[suffix](file)] if lang in langs else []
        for lang, (file, suffix) in named.items()
    }
    if plain:
        rest = next((lang for lang in langs if lang not in named), "")
        file, suffix = plain
        for query, language in _QUERY_READERS[suffix](file):
            queries.setdefault(language or rest, []).append(query)
    return queries


def _json_queries(file: Path) -> Iterator[tuple[Query, str]]:
    """Queries with the language that their metadata give, or an empty string."""
    for number, record in _json_records(file):
        metadata = record.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        if not _id(record) or not isinstance(record.get("text"), str):
            raise DataError(f'No query at {file}:{number}. Write {{"_id": .., "text": ..}}.')
        yield Query(_id(record), tidy(record["text"])), str(metadata.get("language") or metadata.get("lang") or "")


def _table_queries(file: Path) -> Iterator[tuple[Query, str]]:
    for number, cells in _cells(file, "\t", 1):
        if len(cells) != 2 or not cells[0].strip():
            raise DataError(f"No query at {file}:{number}. Write id<TAB>text on each line.")
        yield Query(cells[0].strip(), tidy(cells[1])), ""


_QUERY_READERS: dict[str, Callable[[Path], Iterator[tuple[Query, str]]]] = {
    ".tsv": _table_queries,
    ".jsonl": _json_queries,
}


def _qrels_files(folder: Path) -> dict[str, Path]:
    """Split -> file of judgements."""
    below = folder / "qrels"
    found = [(match, file) for file in sorted(folder.iterdir()) if (match := _QRELS.fullmatch(file.name))]
    if below.is_dir():
        found += [(match, file) for file in sorted(below.iterdir()) if (match := _SPLIT.fullmatch(file.name))]
    files: dict[str, Path] = {}
    for match, file in found:
        split = match["split"] or UNNAMED_SPLIT
        if split in files:
            raise DataError(f"Two files of judgements for the split {split}: {files[split]} and {file}. Keep one.")
        files[split] = file
    if not files:
        raise DataError(f"No judgements in {folder}. {_LAYOUTS}")
    return files


def _judgements(file: Path) -> Iterator[Qrel]:
    """Judgements of three or four columns, after a header as BEIR has it or without one."""
    for number, cells in _cells(file, None):
        relevance = _whole(cells[-1])
        if relevance is not None and len(cells) in (3, 4):
            yield Qrel(cells[0], cells[-2], relevance)
        elif number > 1 or cells[-1].lower() not in _QRELS_HEADERS:
            raise DataError(
                f"No judgement at {file}:{number}. Write query 0 document relevance, or"
                " query<TAB>document<TAB>relevance, with a whole number as relevance."
            )


def _whole(text: str) -> int | None:
    """A whole number, also when it is written ``1.0``; None for anything else."""
    match = re.fullmatch(r"([+-]?\d+)(?:\.0*)?", text)
    return int(match[1]) if match else None


def _cells(file: Path, separator: str | None, limit: int = -1) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines in cells; without a separator, tabs where a line has some and other white space where not."""
    for number, text in lines(file):
        if text.strip():
            cut = separator or ("\t" if "\t" in text else None)
            yield number, [cell.strip() for cell in text.split(cut, limit)]


def _json_records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in lines(file):
        if text.strip():
            try:
                record = json_object(text)
            except ValueError as error:
                raise DataError(f"Bad JSON ({error}) at {file}:{number}. Write one object on each line.") from error
            yield number, record


def _id(record: dict[str, Any]) -> str:
    """The id of a record in our layout or BEIR's; some files have numbers."""
    value = record.get("_id", record.get("id"))
    return "" if value is None else str(value)


def _from_ir_datasets(name: str, langs: Sequence[str]) -> Collection:
    """A collection by its ir_datasets id; its texts are what ir_datasets calls the default text."""
    import ir_datasets

    try:
        dataset = ir_datasets.load(name)
    except KeyError as error:
        raise DataError(f"No such ir_datasets id: {name}. Look it up with: ir_datasets list") from error
    missing = [part for part in ("docs", "queries", "qrels") if not getattr(dataset, f"has_{part}")()]
    if missing:
        raise DataError(
            f"No {' and no '.join(missing)} in {IR_DATASETS}{name}. Choose an id with all three, such as a"
            " test or dev part."
        )
    try:
        docs = [Doc(str(doc.doc_id), "", tidy(doc.default_text())) for doc in dataset.docs_iter()]
        queries = [Query(str(query.query_id), tidy(query.default_text())) for query in dataset.queries_iter()]
        qrels = [Qrel(str(qrel.query_id), str(qrel.doc_id), int(qrel.relevance)) for qrel in dataset.qrels_iter()]
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Cannot get {IR_DATASETS}{name} ({str(error)[:120]}). Check the network and the space in"
            " ~/.ir_datasets; some collections must be placed there by hand, as its documentation says."
        ) from error
    lang = dataset.queries_lang() or next(iter(langs), "")
    return _collect(name, IR_DATASETS + name, docs, {lang: queries}, {UNNAMED_SPLIT: qrels}, langs)
