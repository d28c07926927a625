"""Read collections from folders: which files a layout has, and what is in their lines.

Whether documents, queries and judgements fit together is checked in :mod:`optical.data.collection`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optical.data import collection_trec, document_tables
from optical.data.document_fields import IDS
from optical.data.document_folder import file_documents, folder_documents
from optical.data.lines import cells_of
from optical.data.qrels import read_qrels
from optical.data.records import ENGLISH, CollectionParts, Documents, Query, checked_query
from optical.data.words import tidy
from optical.errors import DataError

UNNAMED_SPLIT = "test"
UNTELLING = frozenset({"collection", "data", "test"})  # folder names that say nothing without their parent

_DOCS = re.compile(
    r"(?:docs|corpus)(?:\.(?P<lang>[^.]+))?(?P<suffix>\.jsonl|\.csv|\.tsv|\.xlsx|\.trec|\.sgml)(?:\.gz)?"
)
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
    " each also as .gz; or documents of any name, which need no queries and judgements: .txt, .md, .html, .pdf, and"
    " .jsonl, .csv, .tsv or .xlsx with a column called text"
)


def read_folder(path: Path, langs: Sequence[str]) -> CollectionParts:
    """The parts of a collection in a folder, the queries of ``langs`` among them; or the documents of a file alone."""
    documents = read_documents(path)
    if path.is_file():
        return CollectionParts(path.name.split(".")[0], str(path), documents, {}, {})
    queries = _read_queries(path, langs)
    qrels = {split: list(read_qrels(file)) for split, file in _qrels_files(path).items()}
    return CollectionParts(_name(path.resolve()), str(path), documents, queries, qrels)


def read_documents(folder: Path) -> Documents:
    """The documents of whichever layout the folder has, or of a file; English where no name says a language.

    In a folder without a file called ``docs`` or ``corpus``, all files but queries and judgements are documents.
    """
    if not folder.is_dir():
        return file_documents(folder)
    found = [(match, file) for file in _files(folder) if (match := _DOCS.fullmatch(file.name))]
    if not found:
        documents = folder_documents(folder, _apart(folder))
        if documents is None:
            raise DataError(f"no documents in {folder}; {LAYOUTS}")
        return documents
    if len(found) > 1:
        raise DataError(
            f"two files of documents: {found[0][1]} and {found[1][1]}; keep one: the documents of a collection have one"
            " language, and another folder can hold the others"
        )
    match, file = found[0]
    table = document_tables.READERS.get(match["suffix"])
    read = partial(table, file, "") if table else partial(collection_trec.documents, file)
    return Documents(str(file), match["lang"] or ENGLISH, read)


def _apart(folder: Path) -> list[Path]:
    """The files of queries and judgements, which are no documents."""
    found = [file for file in folder.iterdir() if _QUERIES.fullmatch(file.name) or _QRELS.fullmatch(file.name)]
    below = folder / "qrels"
    return found + ([file for file in below.iterdir() if _SPLIT.fullmatch(file.name)] if below.is_dir() else [])


def _files(folder: Path) -> list[Path]:
    """Files by name; a ``.gz`` beside the same file without it is not another file."""
    files = {file.name: file for file in sorted(folder.iterdir()) if not file.is_dir()}
    return [file for name, file in files.items() if not (name.endswith(".gz") and name.removesuffix(".gz") in files)]


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}" if folder.name in UNTELLING else folder.name


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
    for number, record in document_tables.json_records(file):
        metadata = record.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        if not _id(record) or not isinstance(record.get("text"), str):
            raise DataError(f'no query at {file}:{number}; write {{"_id": .., "text": ..}}')
        query = checked_query(Query(_id(record), tidy(record["text"])), f"{file}:{number}")
        yield query, str(metadata.get("language") or metadata.get("lang") or "")


def _table_queries(file: Path) -> Iterator[tuple[Query, str]]:
    for number, cells in cells_of(file, "\t", 1):
        if len(cells) != 2 or not cells[0].strip():
            raise DataError(f"no query at {file}:{number}; write id<TAB>text on each line")
        yield checked_query(Query(cells[0], tidy(cells[1])), f"{file}:{number}"), ""


def _qrels_files(folder: Path) -> dict[str, Path]:
    """Split -> file of judgements; empty where nothing is judged."""
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
    return files


def _id(record: dict[str, Any]) -> str:
    """The id of a query in our layout, BEIR's or CIRAL's; some files have numbers."""
    given = (record[key] for key in IDS if record.get(key) is not None)
    return next((str(value) for value in given if not isinstance(value, dict | list)), "")
