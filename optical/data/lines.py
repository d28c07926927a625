"""Text files read line by line, plain or gzip, in UTF-8; and one JSON object from a line."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from optical.errors import DataError
from optical.limits import FREE, GROWTH, LONGEST, check_depth, opened

CHUNK = 1 << 16  # bytes of one read


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file, plain or gzip, without line ends and without a byte order mark.

    Only a line feed ends a line: ``str.splitlines`` would also break at characters such as U+2028, which occur in
    crawled sentences, and shift one side of a Moses pair against the other.

    Raises:
        DataError: Unreadable or missing file, damaged gzip, a byte that is not UTF-8 or is 0, a line beyond the limit.
    """
    for number, raw in raw_lines(path):
        raw = raw.rstrip(b"\r\n")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8: byte 0x{raw[error.start]:02x}, number {error.start + 1} of the line, at"
                f" {path}:{number}; save the file as UTF-8, for example: iconv -f {_guess(raw)} -t UTF-8"
                f" {path.name} > utf8-{path.name}"
            ) from error
        if "\0" in text:
            raise DataError(
                f"a byte 0, which no text has, at {path}:{number}; is it a binary file, or UTF-16? Then: iconv -f"
                f" {_guess(raw)} -t UTF-8 {path.name} > utf8-{path.name}"
            )
        yield number, text


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines of a file, plain or gzip, as bytes with their ends, without a byte order mark of UTF-8.

    Raises:
        DataError: Unreadable or missing file, damaged gzip, a line beyond the limit.
    """
    with open_bytes(path) as stream:
        for number, raw in enumerate(iter(partial(stream.readline, LONGEST + 1), b""), start=1):
            if len(raw) > LONGEST:
                raise DataError(f"the line is longer than {LONGEST // 2**20} MiB: {path}:{number}; is it a text file?")
            yield number, raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw


def json_object(text: str) -> dict:
    """One JSON object from a string.

    Raises:
        ValueError: Broken JSON, another JSON value than an object, lists and objects nested too deep, or half of a
            surrogate pair, which no tokenizer and no file takes.
    """
    try:
        record = json.loads(text)
    except RecursionError:
        raise ValueError("lists or objects nested too deep") from None
    if not isinstance(record, dict):
        raise ValueError(f"{type(record).__name__} in place of an object")
    check_depth(record)
    if "\\u" in text:
        json.dumps(record, ensure_ascii=False).encode()
    return record


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file, or what a ``.gz`` file holds, as a buffered stream of bytes; what fails while reading is a DataError."""
    compressed = path.suffix.lower() in (".gz", ".dz")  # dictzip's .dz is gzip with an index of its own
    try:
        with opened(path) as file:
            # GzipFile takes a Python call for each line; the reader around it has none, and halves the time.
            yield cast(BinaryIO, io.BufferedReader(_Unpacked(file, path), CHUNK)) if compressed else file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"damaged gzip file ({error}): {path}; fetch or compress it again, or drop the {path.suffix} from its name"
            " if it is plain text"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot read ({error.strerror or error}): {path}; check that it is a file you may read"
        ) from error


class _Unpacked(gzip.GzipFile):
    """The content of a gzip file, as long as it does not grow without end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._packed, self._path, self._unpacked = file, path, 0

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self._unpacked += count
        if self._unpacked > max(FREE, GROWTH * self._packed.tell()):
            raise DataError(f"it grows to more than {GROWTH} times its size: {self._path}; unpack it yourself and look")
        return count


def _guess(raw: bytes) -> str:
    """A likely encoding of a line that is not UTF-8, for the advice in the message only."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    return ("UTF-16BE" if raw.startswith(b"\0") else "UTF-16LE") if b"\0" in raw else "WINDOWS-1252"


def cells_of(file: Path, separator: str | None, limit: int = -1) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines in cells; without a separator, tabs where a line has some and other white space where not."""
    for number, text in lines(file):
        if text.strip():
            cut = separator or ("\t" if "\t" in text else None)
            yield number, [cell.strip() for cell in text.split(cut, limit)]


def files_below(folder: Path) -> list[Path]:
    """The files below a folder, by path; folders that cannot be read, or vanish meanwhile, are passed over."""
    return sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)
