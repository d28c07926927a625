"""Documents as people have them: a folder of texts, pages and tables, or one file.

The id of a document is that of its record, or its file's path in the folder, with the line in a table. What is slow to
read (HTML, PDF) is kept in the user's cache, so that it is read once for as long as the file stays as it is.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote_from_bytes

from optical.data import document_files, document_tables
from optical.data.lines import files_below
from optical.data.records import ENGLISH, Doc, Documents
from optical.errors import DataError
from optical.files import checksum, user_cache
from optical.limits import check_regular

logger = logging.getLogger(__name__)

KINDS = (*document_tables.READERS, *document_files.READERS)
DATABASE = "documents.sqlite"  # in the user's cache: texts of HTML and PDF
_COLUMNS = "title, text, extra, sha256"  # of a text, and the checksum of the others
TOLD = 1_000  # files of a slow kind that are read before progress is told
_LANG = re.compile(r"(?:docs|corpus)\.(?P<lang>[^.]+)")
_NO_ID = re.compile(r"[\s\x00-\x20\x7f-\x9f\udc80-\udcff]")  # the last are bytes of a name that is not UTF-8
_SCHEMA = (
    "create table if not exists documents (path text primary key, stamp text, title text, text text, extra text, "
    "sha256 text)"
)


def file_documents(file: Path) -> Documents:
    """The documents of one file: the rows of a table, or the text that another file is.

    English, or of the language in a name like ``docs.so.csv``.

    Raises:
        DataError: A file of another kind.
    """
    check_regular(file)
    kind = kind_of(file)
    if not kind:
        raise DataError(f"not known as documents: {file}; give a folder, or a file of {', '.join(KINDS)}")
    if kind in document_tables.READERS:
        return Documents(str(file), _lang(file), lambda: document_tables.READERS[kind](file, ""))
    return Documents(str(file), _lang(file), lambda: _read(file.parent, [file]))


def folder_documents(folder: Path, apart: Sequence[Path] = ()) -> Documents | None:
    """The documents of all files below a folder, by their paths; None where there is none.

    Hidden files and folders are passed over. Files of other kinds are counted.

    Args:
        folder: English texts, or of the language in its name, ``docs.so``.
        apart: Files of queries and judgements.
    """
    below = [path for path in files_below(folder) if path not in apart]
    below = [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    irregular = len(below)
    below = [path for path in below if path.is_file()]
    irregular -= len(below)
    files = [path for path in below if kind_of(path)]
    others = Counter(path.suffix or "no suffix" for path in below if not kind_of(path))
    named = ", ".join(suffix for suffix, _ in others.most_common(5))
    skipped = {f"file of another kind ({named})": others.total()} if others else {}
    skipped |= {"no regular file (a broken link, a FIFO, a device)": irregular} if irregular else {}
    return Documents(str(folder), _lang(folder), lambda: _read(folder, files), skipped) if files else None


def kind_of(file: Path) -> str:
    """The suffix by which a file is read, without ``.gz``; empty where nobody reads it."""
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower() if file.name.endswith(".gz") else file.suffix.lower()
    zipped = file.name.endswith(".gz")
    return suffix if suffix in KINDS and not (zipped and suffix not in (".jsonl", ".csv", ".tsv", ".txt")) else ""


def _lang(path: Path) -> str:
    match = _LANG.match(f"{path.resolve().name}")
    return match["lang"] if match and f".{match['lang']}" not in KINDS else ENGLISH


def _read(folder: Path, files: Sequence[Path]) -> Iterator[tuple[str, Doc]]:
    """Documents with their places; ids have no white space, which TREC's runs and judgements do not take."""
    slow = sum(kind_of(file) in document_files.SLOW for file in files)
    with closing(_Kept(folder, slow)) as kept:
        for file in files:
            name, kind = _NO_ID.sub(_as_in_addresses, file.relative_to(folder).as_posix()), kind_of(file)
            if kind in document_tables.READERS:
                for line, doc in document_tables.READERS[kind](file, name):
                    yield f"{file}:{line}", doc
            else:
                reader = document_files.READERS[kind]
                doc = kept.read(file, reader) if kind in document_files.SLOW else reader(file)
                yield str(file), doc._replace(id=name)


def kept_texts(path: Path) -> int | None:
    """Count the texts of slow files that such a database holds; None where it is none of ours."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("select count(path) from documents where stamp <> ''").fetchone()[0]
    except sqlite3.Error:
        return None


def check_texts(path: Path) -> bool:
    """Compare the texts of slow files that a database holds with their checksums.

    Returns:
        Whether each has one; those that an earlier version kept have none.

    Raises:
        DataError: The database is damaged, or some of the texts are others than those that were read from the files.
    """
    remedy = f"remove {path}: the files are read again"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            if (found := database.execute("pragma quick_check").fetchone()[0]) != "ok":
                raise DataError(f"{path} is damaged ({found}); {remedy}")
            sealed = True
            for file, _, title, text, extra, *sha256 in database.execute("select * from documents"):
                known = sha256[0] if sha256 else None
                sealed &= known is not None
                if known not in (None, checksum([title, text, extra])):
                    raise DataError(f"{path} has another text of {file} than was read; {remedy}")
            return sealed
    except sqlite3.Error as error:
        raise DataError(f"{path} is damaged ({error}); {remedy}") from error


def _as_in_addresses(match: re.Match[str]) -> str:
    """A character as %20, a byte for each two digits."""
    return "%20" if match[0].isspace() and match[0] >= " " else quote_from_bytes(os.fsencode(match[0]), safe=b"")


class _Kept:
    """Texts of slow files, kept in a database of the user's cache; without one where none can be written."""

    def __init__(self, folder: Path, files: int) -> None:
        self._folder, self._files, self._new = folder, files, 0
        self._database: sqlite3.Connection | None = None
        if files:
            place = user_cache() / DATABASE
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._database = sqlite3.connect(place, timeout=30, isolation_level=None)  # each row is there at once
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)
        for statement in ("pragma journal_mode = wal", "pragma synchronous = normal", _SCHEMA):
            self._row(statement)
        if not self._row("select 1 from pragma_table_info('documents') where name = 'sha256'"):
            self._row("alter table documents add column sha256 text")  # which earlier versions did not have

    def read(self, file: Path, reader: Callable[[Path], Doc]) -> Doc:
        """The document of a file, read anew only if the file has changed."""
        try:
            state, path = file.stat(), str(file.resolve())
        except OSError as error:
            raise DataError(f"cannot read ({error.strerror or error}): {file}; check that you may read it") from error
        stamp = f"1 {state.st_size} {state.st_mtime_ns}"  # 1: of the way of reading
        row = self._row(f"select {_COLUMNS} from documents where path = ? and stamp = ?", path, stamp)
        if row and row[-1] in (None, checksum(row[:-1])):
            return Doc("", *row[:-1])
        if row:
            logger.warning("%s: what was kept of its text is damaged, so it is read again", file)
        doc = reader(file)
        values = (path, stamp, *doc[1:], checksum(doc[1:]))
        self._row(f"insert or replace into documents (path, stamp, {_COLUMNS}) values (?, ?, ?, ?, ?, ?)", *values)
        self._new += 1
        if self._new % TOLD == 0:
            logger.warning("%s: %s of %s slow files read", self._folder, f"{self._new:,}", f"{self._files:,}")
        return doc

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()

    def _row(self, statement: str, *values: str) -> tuple[str, ...] | None:
        try:
            return None if self._database is None else self._database.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None

    def _give_up(self, error: Exception) -> None:
        logger.warning("texts of HTML and PDF are not kept for the next time: %s", error)
        self.close()
        self._database = None
