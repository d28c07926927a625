"""Files and folders written whole or not at all, JSON as it is kept, and checksums of what is read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from optical.errors import DataError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder beside the wanted one, which takes its name when all went well and vanishes when it did not.

    A folder that was there before stays until the new one is complete, so an interrupted or failed run loses nothing.
    """
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        take_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_replaceable(folder: Path, mark: str) -> None:
    """Refuse a folder that would be replaced as a whole although it is none of ours.

    Args:
        folder: It may be missing, be empty, hold ``mark``, or hold checkpoints only.
        mark: A file that every folder of this kind has.

    Raises:
        DataError: It holds something else.
    """
    if not folder.exists() or (folder / mark).is_file():
        return
    others = [p.name for p in folder.iterdir() if not p.name.startswith("checkpoints-")] if folder.is_dir() else ["it"]
    if others:
        raise DataError(
            f"{folder} would be replaced as a whole, but it has no {mark} and holds {others[0]!r}; name a new folder"
        )


@contextlib.contextmanager
def file_written_whole(path: Path) -> Iterator[Path]:
    """The same for a single file: the path to write to, renamed at the end."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):  # gone after the rename, or never made
            unfinished.unlink()


@contextlib.contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Keep a folder to one process at a time; it is free again when that one ends, however it ends.

    The lock is on the folder itself, so nothing has to be cleared away. A disk that knows no locks grants everyone's.

    Raises:
        DataError: Another process holds it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"another process is writing {folder}; wait until it is done, or stop it") from None
        yield
    finally:
        os.close(handle)


def checksum(texts: Iterable[str]) -> str:
    """Sixteen hexadecimal digits over texts in their order; no two lists of texts can run into each other."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]


def file_checksum(path: Path) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def take_place(new: Path, folder: Path) -> None:
    """Rename ``new`` to ``folder``; a folder cannot replace another, so the old one steps aside first."""
    old = new.with_suffix(".old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)  # of a process that was killed at this point, where names are the same
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with file_written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def strict_json(value: dict | list) -> str:
    """Strict JSON, which has no NaN and no infinity: they become null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
