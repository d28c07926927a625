"""Documents for random access: in memory while they are few, else their texts in a temporary file.

Ids stay in memory, since rankings and judgements name them; a text is read when it is asked for. To go through all
texts, iterate or use :class:`FullTexts`; neither copies them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import IO, NamedTuple, TypeVar, overload

from optical.data.records import Doc
from optical.errors import DataError

Item = TypeVar("Item")

IN_MEMORY = 64_000_000  # bytes of ids, titles and texts in UTF-8; a collection of more goes to disk
READ_AT_ONCE = 2**20  # bytes, while all documents are read in their order


class HeldDocuments(NamedTuple):
    """Documents that were read once, and their checksum.

    Attributes:
        docs: A list, or :class:`Spooled`.
        checksum: SHA-256 over ids, titles and texts.
        repeated: How many have the title and text of an earlier one.
    """

    docs: Sequence[Doc]
    checksum: str
    repeated: int


class Rows(Sequence[Item]):
    """Items that are made when they are asked for, each by its row."""

    @abstractmethod
    def row(self, row: int) -> Item:
        """Make the item of a row, which is there and not counted from the end."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """One item by its row, or a list."""
        rows = range(len(self))[index]
        return [self.row(row) for row in rows] if isinstance(rows, range) else self.row(rows)


class Spooled(Rows[Doc]):
    """Documents whose titles and texts are read from a temporary file when they are asked for.

    The file has no name, so nothing is left of it when the process ends, however it ends. Threads read at once, and so
    do processes that were forked; it cannot be pickled.
    """

    def __init__(self, file: IO[bytes], ids: list[str], start: array[int]) -> None:
        """Take what :func:`hold` has written: document i is the bytes ``start[i]`` to ``start[i + 1]``."""
        self.ids = ids
        self._file = file
        self._start = start

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.ids)

    def row(self, row: int) -> Doc:
        """Read one document."""
        return self._doc(row, self._bytes(row, row + 1))

    def __iter__(self) -> Iterator[Doc]:
        """All of them in their order, some at a time."""
        first = 0
        while first < len(self):
            begin = self._start[first]
            stop = max(first + 1, bisect_right(self._start, begin + READ_AT_ONCE) - 1)
            block = memoryview(self._bytes(first, stop))
            for row in range(first, stop):
                yield self._doc(row, block[self._start[row] - begin : self._start[row + 1] - begin])
            first = stop

    def _bytes(self, first: int, stop: int) -> bytes:
        begin, end = self._start[first], self._start[stop]
        data = os.pread(self._file.fileno(), end - begin, begin)  # moves no position that threads would share
        assert len(data) == end - begin, "the file is as long as it was written"
        return data

    def _doc(self, row: int, record: bytes | memoryview) -> Doc:
        doc_id = self.ids[row]
        extra, own = str(record, "utf-8").split("\t", 1)
        title, text = own[len(doc_id) + 1 : -2].split("\t", 1)
        return Doc(doc_id, title, text, extra)


class FullTexts(Rows[str]):
    """The text that a document encoder reads of each document (:attr:`Doc.full`), made when it is asked for."""

    def __init__(self, docs: Sequence[Doc]) -> None:
        """Of documents, which are not copied."""
        self._docs = docs

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._docs)

    def row(self, row: int) -> str:
        """Make one text."""
        return self._docs[row].full

    def __iter__(self) -> Iterator[str]:
        """All of them in their order."""
        return (doc.full for doc in self._docs)


def hold(docs: Iterable[Doc]) -> HeldDocuments:
    """Read documents to the end and keep them: past :data:`IN_MEMORY` in a file where temporary files go.

    Args:
        docs: With titles that are tidy: they hold no tab.

    Raises:
        DataError: The disk is full, or there is no folder for temporary files.
    """
    digest, size = hashlib.sha256(), 0
    kept: list[Doc] = []
    disk: _Disk | None = None
    texts = array("q")
    for doc in docs:
        record = _record(doc)
        digest.update(record)
        texts.append(hash(doc[1:3]))
        size += len(record) + len(doc.extra)
        if disk is None and size > IN_MEMORY:
            disk = _Disk()
            for one in kept:
                disk.write(one.id, _stored(one, _record(one)))
            kept = []
        if disk is None:
            kept.append(doc)
        else:
            disk.write(doc.id, _stored(doc, record))
    import numpy as np

    repeated = len(texts) - len(np.unique(np.frombuffer(texts, dtype=np.int64))) if texts else 0
    return HeldDocuments(kept if disk is None else disk.spooled(), digest.hexdigest(), repeated)


def ids_of(docs: Sequence[Doc]) -> list[str]:
    """The ids of documents in their order, not to be written into; no text is read for them."""
    return docs.ids if isinstance(docs, Spooled) else [doc.id for doc in docs]


def with_ids(docs: Sequence[Doc], ids: Container[str]) -> list[Doc]:
    """The documents that have one of these ids, in their order; no other text is read."""
    return [docs[row] for row, doc_id in enumerate(ids_of(docs)) if doc_id in ids]


def _record(doc: Doc) -> bytes:
    return "\t".join((*doc[:3], "\n")).encode()


def _stored(doc: Doc, record: bytes) -> bytes:
    """A record behind the other fields, in whose JSON no tab stands as it is."""
    return doc.extra.encode() + b"\t" + record


class _Disk:
    """A temporary file that is being written."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._start = array("q", [0])
        try:
            self._file = tempfile.TemporaryFile(prefix="optical-", buffering=READ_AT_ONCE)  # noqa: SIM115 - goes on
        except OSError as error:
            raise self._full(error) from error

    def write(self, doc_id: str, record: bytes) -> None:
        try:
            self._file.write(record)
        except OSError as error:
            raise self._full(error) from error
        self._ids.append(doc_id)
        self._start.append(self._start[-1] + len(record))

    def spooled(self) -> Spooled:
        try:
            self._file.flush()
        except OSError as error:
            raise self._full(error) from error
        return Spooled(self._file, self._ids, self._start)

    def _full(self, error: OSError) -> DataError:
        if hasattr(self, "_file"):
            with contextlib.suppress(OSError):  # it would try to write the rest
                self._file.close()
        return DataError(
            f"the texts of a collection go to a temporary file from {IN_MEMORY / 1e6:.0f} MB on, which cannot be "
            f"written: {error.strerror or error}, after {self._start[-1] / 1e6:.0f} MB, at"
            f" {tempfile.tempdir or 'TMPDIR'}; free some space there, or set TMPDIR to a folder on a larger disk"
        )
