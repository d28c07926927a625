"""Read collections from folders: which files a layout has, and what is in their lines.

Whether documents, queries and judgements fit together is checked in :mod:`optical.data.collection`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optical.data import collection_trec
from optical.data.lines import cells_of, json_object, lines
from optical.data.qrels import read_qrels
from optical.data.records import ENGLISH, CollectionParts, Doc, Documents, Query
from optical.data.words import tidy
from optical.errors import DataError

UNNAMED_SPLIT = "test"
UNTELLING = frozenset({"collection", "data", "test"})  # folder names that say nothing without their parent

_DOCS = re.compile(r"(?:docs|corpus)(?:\.(?P<lang>[^.]+))?(?P<suffix>\.jsonl|\.tsv|\.trec|\.sgml)(?:\.gz)?")
_QUERIES = re.compile(
    r"(?:queries|topics)(?:\.(?P<lang>[^.]+))?"
    r"(?P<suffix>\.tsv|\.jsonl|(?:\.(?P<fields>t|td|tdn))?(?:\.trec|\.xml))(?:\.gz)?"
)
_QRELS = re.compile(r"qrels(?:\.(?P<split>[^.]+))?\.(?:tsv|txt)(?:\.gz)?")
_SPLIT = re.compile(r"(?P<split>[^.]+)\.(?:tsv|txt)(?:\.gz)?")  # below the folder qrels/

LAYOUTS = (
    "expected docs.jsonl (id, title, text), corpus.jsonl (_id, title, text), docs.tsv (id<TAB>text) or docs.trec, with"
    " the language before the suffix where it is not English (docs.sw.jsonl), queries.<lang>.tsv, topics.<lang>.tsv,"
    " topics.<lang>.trec or queries.<lang>.jsonl, and qrels.tsv, qrels.txt, qrels.<split>.tsv or qrels/<split>.tsv,"
    " each also as .gz"
)


def read_folder(folder: Path, langs: Sequence[str]) -> CollectionParts:
    """The parts of a collection in a folder, the queries of ``langs`` among them."""
    documents = read_documents(folder)
    queries = _read_queries(folder, langs)
    qrels = {split: list(read_qrels(file)) for split, file in _qrels_files(folder).items()}
    return CollectionParts(_name(folder.resolve()), str(folder), documents, queries, qrels)


def read_documents(folder: Path) -> Documents:
    """The documents of whichever layout the folder has; English where the name of the file says no language."""
    found = [(match, file) for file in _files(folder) if (match := _DOCS.fullmatch(file.name))]
    if not found:
        raise DataError(f"no documents in {folder}; {LAYOUTS}")
    if len(found) > 1:
        raise DataError(
            f"two files of documents: {found[0][1]} and {found[1][1]}; keep one: the documents of a collection have one"
            " language, and another folder can hold the others"
        )
    match, file = found[0]
    reader = _DOC_READERS[match["suffix"]]
    return Documents(str(file), match["lang"] or ENGLISH, lambda: reader(file))


def _files(folder: Path) -> list[Path]:
    """Files by name; a ``.gz`` beside the same file without it is not another file."""
    files = {file.name: file for file in sorted(folder.iterdir()) if file.is_file()}
    return [file for name, file in files.items() if not (name.endswith(".gz") and name.removesuffix(".gz") in files)]


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}" if folder.name in UNTELLING else folder.name


def _json_docs(file: Path) -> Iterator[tuple[int, Doc]]:
    for number, record in _json_records(file):
        if not isinstance(record.get("text"), str):
            raise DataError(f'no text in the document at {file}:{number}; write {{"id": .., "title": .., "text": ..}}')
        title = record.get("title")
        yield number, Doc(_id(record), tidy(title) if isinstance(title, str) else "", tidy(record["text"]))


def _table_docs(file: Path) -> Iterator[tuple[int, Doc]]:
    for number, cells in cells_of(file, "\t"):
        if len(cells) not in (2, 3):
            raise DataError(
                f"{len(cells)} columns in a document at {file}:{number}; write id<TAB>text or id<TAB>title<TAB>text"
            )
        yield number, Doc(cells[0].strip(), tidy(cells[1]) if len(cells) == 3 else "", tidy(cells[-1]))


_DOC_READERS: dict[str, Callable[[Path], Iterator[tuple[int, Doc]]]] = {
    ".jsonl": _json_docs,
    ".tsv": _table_docs,
    ".trec": collection_trec.documents,
    ".sgml": collection_trec.documents,
}


def _read_queries(folder: Path, langs: Sequence[str]) -> dict[str, list[Query]]:
    """Language -> queries; read for ``langs`` only, empty lists stand for the other languages that are there."""
    named: dict[str, tuple[Path, re.Match[str]]] = {}
    plain = None
    for file in _files(folder):
        match = _QUERIES.fullmatch(file.name)
        if match and match["lang"]:
            named.setdefault(match["lang"], (file, match))
        elif match:
            plain = plain or (file, match)
    queries: dict[str, list[Query]] = {
        lang: [query for query, _ in _queries_of(file, match)] if lang in langs else []
        for lang, (file, match) in named.items()
    }
    if plain:
        rest = next((lang for lang in langs if lang not in named), "")
        for query, language in _queries_of(*plain):
            queries.setdefault(language or rest, []).append(query)
    return queries


def _queries_of(file: Path, name: re.Match[str]) -> Iterator[tuple[Query, str]]:
    """Queries of a file with their language, where the file says it for each."""
    readers: dict[str, Callable[[Path], Iterator[tuple[Query, str]]]] = {
        ".tsv": _table_queries,
        ".jsonl": _json_queries,
    }
    return readers.get(name["suffix"], partial(_topics, fields=name["fields"] or "t"))(file)


def _topics(file: Path, fields: str) -> Iterator[tuple[Query, str]]:
    for query in collection_trec.topics(file, fields):
        yield query, ""


def _json_queries(file: Path) -> Iterator[tuple[Query, str]]:
    """Queries with the language that their metadata give, or an empty string."""
    for number, record in _json_records(file):
        metadata = record.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        if not _id(record) or not isinstance(record.get("text"), str):
            raise DataError(f'no query at {file}:{number}; write {{"_id": .., "text": ..}}')
        yield Query(_id(record), tidy(record["text"])), str(metadata.get("language") or metadata.get("lang") or "")


def _table_queries(file: Path) -> Iterator[tuple[Query, str]]:
    for number, cells in cells_of(file, "\t", 1):
        if len(cells) != 2 or not cells[0].strip():
            raise DataError(f"no query at {file}:{number}; write id<TAB>text on each line")
        yield Query(cells[0].strip(), tidy(cells[1])), ""


def _qrels_files(folder: Path) -> dict[str, Path]:
    """Split -> file of judgements."""
    below = folder / "qrels"
    found = [(match, file) for file in _files(folder) if (match := _QRELS.fullmatch(file.name))]
    if below.is_dir():
        found += [(match, file) for file in _files(below) if (match := _SPLIT.fullmatch(file.name))]
    files: dict[str, Path] = {}
    for match, file in found:
        split = match["split"] or UNNAMED_SPLIT
        if split in files:
            raise DataError(f"two files of judgements for the split {split}: {files[split]} and {file}; keep one")
        files[split] = file
    if not files:
        raise DataError(f"no judgements in {folder}; {LAYOUTS}")
    return files


def _json_records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in lines(file):
        if text.strip():
            try:
                record = json_object(text)
            except ValueError as error:
                raise DataError(f"bad JSON ({error}) at {file}:{number}; write one object on each line") from error
            yield number, record


def _id(record: dict[str, Any]) -> str:
    """The id of a record in our layout, BEIR's or CIRAL's; some files have numbers."""
    value = next((record[key] for key in ("_id", "id", "docid") if record.get(key) is not None), "")
    return str(value)
