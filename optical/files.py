"""Write files and folders whole or not at all, refuse what is in the way, take checksums, write strict JSON.

What this program did not write (:mod:`optical.marker`) is never replaced or removed. No other file of the package but
:mod:`optical.generation` replaces, renames or removes anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from optical.errors import DataError
from optical.marker import (
    MARKER,
    UNMARKED,
    Marker,
    covered,
    entries,
    first_not_ours,
    is_ours,
    read_marker,
    write_marker,
)

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

TEMPORARY = re.compile(r"\..+\.(tmp|old|parts)")  # names of unfinished and of replaced folders


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Write a folder whole: it has another name until all went well, and is removed when it did not.

    A folder that was there before stays until the new one is complete, so an interrupted or failed run loses nothing.

    Raises:
        DataError: The folder holds something that this program did not write. Where that came while the new one was
            being written, the new one is kept under another name, which the message gives.
    """
    check_replaceable(folder)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        try:
            take_place(unfinished, folder)
        except DataError as error:
            other = free_name(folder)
            unfinished.rename(other)
            raise DataError(f"{error}; what was to take its place is in {other}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Refuse a folder that would be replaced as a whole although it holds something that is not ours.

    Args:
        folder: It may be missing or empty, or hold what its marker lists, and working folders (:func:`working_folder`).

    Raises:
        DataError: It holds something else, or is a file or a link.
    """
    if (found := first_not_ours(folder)) is not None:
        raise in_the_way(found)


def check_place(folder: Path) -> None:
    """Refuse a folder that cannot be made or written into; tried by a folder that is made there and removed again.

    Args:
        folder: Of a run, for example; what is missing of its path would be made.

    Raises:
        DataError: The system does not allow it, or a part of the path is a file.
    """
    there = folder.expanduser().absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise in_the_way(there)
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".optical-", dir=there))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {there} does not take it ({error.strerror}); name another folder"
        ) from error


def check_writable(folder: Path, names: Iterable[str], whole: Iterable[str] = ()) -> None:
    """Refuse a folder to write into where a name that would be written is taken by something that is not ours.

    Args:
        folder: Of a run, for example. It may be missing, and whatever else is in it is in nobody's way.
        names: Of single files, relative to the folder; patterns such as ``lexicon-*.tsv`` are allowed.
        whole: Of folders in it that would be replaced as a whole; patterns too.

    Raises:
        DataError: It says what is in the way, or why nothing can be written there.
    """
    check_place(folder)
    names = list(names)
    for place in (folder, *(folder / name.partition("/")[0] for name in names if "/" in name)):
        if os.path.lexists(place) and not place.is_dir():
            raise in_the_way(place)
    for place in [path for name in whole for path in folder.glob(name)]:
        check_replaceable(place)
    for path in [path for name in names for path in folder.glob(name)]:
        if not is_ours(path):
            raise in_the_way(path)


@contextlib.contextmanager
def file_written_whole(path: Path, *, anyones: bool = False) -> Iterator[Path]:
    """Write a single file whole: under another name until the end, when it is listed in the marker of its folder.

    Args:
        path: Of the file.
        anyones: Replace a file that is there whoever wrote it, as an editor would, and leave no marker.

    Raises:
        DataError: There is such a file, and this program did not write it.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if not anyones and os.path.lexists(path) and not is_ours(path):
        raise in_the_way(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        if not anyones:
            _list(path.parent, path.name)
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):  # gone after the rename, or never made
            unfinished.unlink()


def working_folder(folder: Path, patterns: Sequence[str]) -> None:
    """Make a folder that another library writes into, or go on with one that was left.

    Args:
        folder: Of checkpoints, for example.
        patterns: Names of what is written there; a folder of such a name is ours with all that it holds.

    Raises:
        DataError: It is there, without a marker, and holds something of another name.
    """
    own = Marker(frozenset(), tuple(patterns))
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise in_the_way(folder)
    if folder.is_dir() and not (folder / MARKER).is_file():
        for path in folder.iterdir():
            if not own.covers(path.name):
                raise in_the_way(path)
    folder.mkdir(parents=True, exist_ok=True)
    write_marker(folder, own)


def clear_working_folder(folder: Path) -> None:
    """Remove what was written into a working folder, and the folder itself unless something else is in it."""
    own = read_marker(folder) or UNMARKED
    for path in list(folder.iterdir()) if folder.is_dir() and own.working else []:
        if path.name != MARKER and own.covers(path.name):
            _remove(path)
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [MARKER]:
            (folder / MARKER).unlink()
            folder.rmdir()


def remove_whole(folder: Path) -> None:
    """Remove a folder that was written whole.

    Raises:
        DataError: It holds something that this program did not write.
    """
    check_replaceable(folder)
    if folder.is_dir():
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove something unfinished: a folder with a temporary name, or what is in one.

    Raises:
        ValueError: Neither it nor a folder above it has such a name.
    """
    if not any(TEMPORARY.fullmatch(one.name) for one in (folder, *folder.parents)):
        raise ValueError(f"{folder} is not temporary")
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def held_alone(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep a folder to one process at a time; it is free again when that one ends, however it ends.

    The lock is on the folder itself, so nothing has to be cleared away. On a disk without locks every process goes on.

    Raises:
        DataError: Another process holds it, and ``wait`` is not asked for.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise DataError(f"another process is writing {folder}; wait until it is done, or stop it") from None
        yield
    finally:
        os.close(handle)


def checksum(texts: Iterable[str]) -> str:
    """SHA-256 of texts in their order, its first 16 hexadecimal digits; ``["ab"]`` and ``["a", "b"]`` differ."""
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
    """Rename ``new`` to ``folder``; a folder cannot replace another, so the old one steps aside first.

    Raises:
        DataError: The old one holds something that this program did not write.
    """
    check_replaceable(folder)
    write_marker(new, Marker(frozenset(entries(new)), ()))
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


def flush(*paths: Path) -> None:
    """Have the disk keep the contents of files, or the names in folders, before anything else is done."""
    for path in paths:
        with contextlib.suppress(PermissionError):  # Windows opens no folder
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with file_written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def strict_json(value: dict | list) -> str:
    """Write JSON as text; NaN and infinity, which strict JSON does not have, become null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def user_cache() -> Path:
    """The user's cache folder of this program: ``OPTICAL_CACHE``, or where the system has such folders."""
    return Path(os.environ.get("OPTICAL_CACHE") or platformdirs.user_cache_dir("optical", appauthor=False))


def vectors_cache() -> Path:
    """Where vectors are kept if nothing else is said; ``runs/cache``, as it was once, where that is there."""
    here = Path("runs/cache")
    return here if here.is_dir() and not os.environ.get("OPTICAL_CACHE") else user_cache() / "vectors"


def mark_used(path: Path) -> None:
    """Note by its time that something kept was of use now; on a disk that is read only, nothing is noted."""
    with contextlib.suppress(OSError):
        os.utime(path)


def remove_ours(path: Path) -> int:
    """Remove what this program wrote of a file or of a folder with all below it; anything else stays.

    Returns:
        The number of files that stay.
    """
    if not path.is_dir() or path.is_symlink():
        if own := is_ours(path):
            _remove(path)
        return int(not own)
    names = [name for name in entries(path) if not name.endswith("/")]
    left = 0
    for name in names:
        if covered(path, name):
            _remove(path / name)
        else:
            left += 1
    for place, _, _ in os.walk(path, topdown=False):
        if not [one for one in os.scandir(place) if one.name != MARKER]:
            (Path(place) / MARKER).unlink(missing_ok=True)
            os.rmdir(place)
    return left


def in_the_way(path: Path) -> DataError:
    """The refusal of a place that something has which this program did not write."""
    return DataError(
        f"{path} is in the way: optical did not write it, so it is not replaced or removed; move it away, or name "
        "another folder (--out)"
    )


def free_name(folder: Path) -> Path:
    """The name of a folder with the first number that makes it one of nothing yet."""
    number = 1
    while os.path.lexists(other := folder.with_name(f"{folder.name}-{number}")):
        number += 1
    return other


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _list(folder: Path, name: str) -> None:
    """Add a name to the marker of a folder; processes that do so at once wait for each other."""
    with held_alone(folder, wait=True):
        found = read_marker(folder) or UNMARKED
        if not found.covers(name):
            write_marker(folder, found._replace(files=found.files | {name}))
