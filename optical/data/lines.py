"""Text files read line by line, plain or gzip, in UTF-8; and one JSON object from a line."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from optical.errors import DataError

CHUNK = 1 << 16  # bytes of one read


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file, plain or gzip, without line ends and without a byte order mark.

    Only a line feed ends a line: ``str.splitlines`` would also break at characters such as U+2028, which occur in
    crawled sentences, and shift one side of a Moses pair against the other.

    Raises:
        DataError: Unreadable or missing file, damaged gzip, or a byte that is not UTF-8.
    """
    with open_bytes(path) as stream:
        for number, raw in enumerate(stream, start=1):
            raw = raw.rstrip(b"\r\n")
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"not UTF-8: byte 0x{raw[error.start]:02x}, number {error.start + 1} of the line, at"
                    f" {path}:{number}; save the file as UTF-8, for example: iconv -f {_guess(raw)} -t UTF-8"
                    f" {path.name} > utf8-{path.name}"
                ) from error
            yield number, text


def json_object(text: str) -> dict:
    """One JSON object from a string.

    Raises:
        ValueError: Broken JSON, another JSON value than an object, or half of a surrogate pair, which no tokenizer and
            no file takes.
    """
    record = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError(f"{type(record).__name__} in place of an object")
    if "\\u" in text:
        json.dumps(record, ensure_ascii=False).encode()
    return record


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file, or what a ``.gz`` file holds, as a buffered stream of bytes; what fails while reading is a DataError."""
    compressed = path.suffix.lower() in (".gz", ".dz")  # dictzip's .dz is gzip with an index of its own
    try:
        # GzipFile takes a Python call for each line; the reader around it has none, and halves the time.
        with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
            yield cast(BinaryIO, io.BufferedReader(stream, CHUNK) if compressed else stream)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}; check the path, which is relative to {Path.cwd()}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"damaged gzip file ({error}): {path}; fetch or compress it again, or drop the {path.suffix} from its name"
            " if it is plain text"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot read ({error.strerror or error}): {path}; check that it is a file you may read"
        ) from error


def _guess(raw: bytes) -> str:
    """A likely encoding of a line that is not UTF-8, for the advice in the message only."""
    return "UTF-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "WINDOWS-1252"


def cells_of(file: Path, separator: str | None, limit: int = -1) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines in cells; without a separator, tabs where a line has some and other white space where not."""
    for number, text in lines(file):
        if text.strip():
            cut = separator or ("\t" if "\t" in text else None)
            yield number, [cell.strip() for cell in text.split(cut, limit)]
