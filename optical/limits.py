"""Limits of any file that is read, and texts that are no paths or ids.

The limits are far above what people have and far below what a machine has. docs/own-data.md lists them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from optical.errors import DataError

LONGEST = 16 * 2**20  # bytes of a line, and of what is read as a whole: a page, a text
LONGEST_UNIT = 4 * 2**20  # bytes of a unit of TMX
DEEPEST = 100  # levels of lists and objects in JSON, of elements in XML
GROWTH = 100  # times a compressed file may grow, text grows 3 to 20 times; from FREE bytes on
FREE = 2**20
LONGEST_ID = 1_000  # characters
LONGEST_PATH, LONGEST_NAME = 4_096, 255  # bytes, as Linux has them


def fault_of_path(text: str) -> str:
    """Why a text is no path; empty where it can be one."""
    if not text:
        return "it is empty"
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair"
    if b"\0" in data:
        return "it holds a character 0"
    if len(data) > LONGEST_PATH or max(map(len, data.split(b"/"))) > LONGEST_NAME:
        return f"it is too long: {len(data):,} bytes, {LONGEST_PATH:,} at most, and {LONGEST_NAME} of one name"
    try:
        Path(text).expanduser()
    except RuntimeError:
        return f"nobody here has the home folder {text.partition('/')[0]}"
    return ""


def path_of(text: str | os.PathLike[Any]) -> Path:
    """A path with the home folder spelled out.

    Raises:
        DataError: The text cannot be a path.
    """
    text = os.fsdecode(text)
    if fault := fault_of_path(text):
        raise DataError(f"no path: {text[:100]!r}; {fault}")
    return Path(text).expanduser()


def id_fault(name: str) -> str:
    """Say what is wrong with an id; empty where nothing is.

    Runs, judgements and indexes have ids between white space, and programs in C end a text at a character 0.
    """
    if not name:
        return "empty"
    if name.split() != [name]:
        return "with white space"
    if not name.isprintable() and any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c < "\ue000" for c in name):
        return "with a control character"
    return f"of {len(name):,} characters, {LONGEST_ID:,} at most" if len(name) > LONGEST_ID else ""


def exists(text: str | os.PathLike[Any]) -> bool:
    """Whether there is something of this path; False for a text that is none."""
    return not fault_of_path(os.fsdecode(text)) and os.path.exists(Path(text).expanduser())


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading; what fails in opening is a DataError.

    Raises:
        DataError: It is missing, may not be read, or is a folder, a FIFO, a device.
    """
    check_regular(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        yield file


def check_regular(path: Path) -> None:
    """Refuse what is no regular file: reading a FIFO waits for ever, and a device has no end.

    Raises:
        DataError: It says what it is.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}; check the path, which is relative to {Path.cwd()}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        raise _unreadable(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if not stat.S_ISREG(mode):
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a device or socket"
        raise DataError(f"no regular file: {path} is {kind}; name a file, or copy what it gives into one")


def read_whole(path: Path, most: int = LONGEST) -> bytes:
    """The bytes of a file that is read as a whole.

    Raises:
        DataError: It cannot be read, or has more bytes.
    """
    with opened(path) as file:
        return at_most(file, path, most)


def at_most(stream: BinaryIO, path: Path, most: int = LONGEST) -> bytes:
    """Read the rest of a file.

    Raises:
        DataError: It cannot be read, or has more bytes.
    """
    try:
        data = stream.read(most + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > most:
        raise DataError(f"more than {most / 2**20:,.0f} MiB, which are read as a whole: {path}; split it")
    return data


def check_depth(value: Any) -> None:
    """Refuse lists and mappings that are nested too deep.

    Raises:
        ValueError: More than :data:`DEEPEST` levels.
    """
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError(f"more than {DEEPEST} levels")


def _unreadable(path: Path, error: Exception) -> DataError:
    why = getattr(error, "strerror", None) or error
    return DataError(f"cannot read ({why}): {path}; check that it is a file you may read")
