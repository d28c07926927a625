"""Write files and folders whole or not at all, refuse what is in the way, write strict JSON.

What this program did not write (:mod:`optical.marker`) is never replaced or removed. No other file of the package but
:mod:`optical.generation` replaces, renames or removes anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import itertools
import json
import math
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from optical.errors import DataError
from optical.limits import path_of
from optical.marker import (
    MARKER,
    UNMARKED,
    Marker,
    checksum,
    covered,
    entries,
    file_checksum,
    first_not_ours,
    is_ours,
    read_marker,
    whole_marker,
    write_marker,
)

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

__all__ = ["checksum", "file_checksum"]  # passed on
TEMPORARY = re.compile(r"\..+\.(tmp|old|parts)")  # names of unfinished and of replaced folders


@contextlib.contextmanager
def written_whole(folder: Path, *, sealed: bool = False) -> Iterator[Path]:
    """Write a folder whole: it has another name until all went well, and is removed when it did not; perhaps a seal.

    A folder that was there before stays until the new one is complete, so an interrupted or failed run loses nothing.

    Raises:
        DataError: The folder holds something that this program did not write. Where that came while the new one was
            being written, the new one is kept under another name, which the message gives.
    """
    check_replaceable(folder)
    with _unfinished(folder, Path.mkdir) as unfinished:
        yield unfinished
        try:
            take_place(unfinished, folder, sealed=sealed)
        except DataError as error:
            other = free_name(folder)
            unfinished.rename(other)
            raise DataError(f"{error}; what was to take its place is in {other}") from error


def check_replaceable(folder: Path) -> None:
    """Refuse a folder that would be replaced as a whole although it holds something that is not ours.

    It may be missing or empty, or hold what its marker lists, and working folders (:func:`working_folder`).

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
    there = path_of(folder).absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise in_the_way(there)
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".optical-", dir=there))
    except OSError as error:
        why = f"{there} does not take it ({error.strerror})"
        raise DataError(f"{folder} cannot be written: {why}; name another folder") from error


def check_writable(folder: Path, names: Iterable[str], whole: Iterable[str] = ()) -> None:
    """Refuse a folder to write into where a name that would be written is taken by something that is not ours.

    Args:
        folder: Of a run, for example. It may be missing, and whatever else is in it is in nobody's way.
        names: Patterns of single files, relative to the folder.
        whole: Patterns of folders in it that would be replaced as a whole.

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
def file_written_whole(path: Path, *, anyones: bool = False, sealed: bool = False) -> Iterator[Path]:
    """Write a single file whole: under another name until the end, when it is listed in the marker of its folder.

    With ``anyones`` a file that is there is replaced whoever wrote it, as an editor would, and there is no marker.

    Raises:
        DataError: There is such a file, and this program did not write it.
    """
    if not anyones and os.path.lexists(path) and not is_ours(path):
        raise in_the_way(path)
    with _unfinished(path, Path.touch) as unfinished:
        yield unfinished
        flush(unfinished)
        if not anyones:
            _list(path.parent, path.name, unfinished if sealed else None)
            flush(path.parent / MARKER)
        os.replace(unfinished, path)
        flush(path.parent)


@contextlib.contextmanager
def _unfinished(path: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """Make a file or folder of a hidden name beside a path that stands for it while it is written; then it is removed.

    It is locked as long as its process lives, and such ones that are no longer locked go. Names are random: process ids
    are the same in two containers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if re.search(r"\.[0-9a-f]+(\.tmp|\.old|)$", left.name) and is_left(left):
            remove_known(left)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    unfinished = made.with_name(f"{made.name}.tmp")
    make(made)
    try:
        with held_alone(made):
            made.rename(unfinished)  # locked before it has a name that may be removed
            yield unfinished
    finally:
        for place in (made, unfinished):
            remove_known(place)


def is_left(path: Path) -> bool:
    """Whether no process holds something unfinished any more, nor has just made it; False where that cannot be told."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as closed:
        handle = os.open(path, os.O_RDONLY)
        closed.callback(os.close, handle)
        if fcntl is not None and (path.suffix in (".tmp", ".old") or path.stat().st_mtime < time.time() - 60):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


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
        for name in entries(folder):
            if not own.covers(name):
                raise in_the_way(folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    write_marker(folder, own)


def clear_working_folder(folder: Path, only: Sequence[str] | None = None) -> None:
    """Remove what was written into a working folder, or ``only`` some names; with all, the folder where it is empty."""
    own = read_marker(folder) or UNMARKED
    for path in list(folder.iterdir()) if folder.is_dir() and own.working else []:
        if path.name != MARKER and own.covers(path.name) and (only is None or path.name in only):
            remove_known(path)
    with contextlib.suppress(OSError):
        if only is None and [path.name for path in folder.iterdir()] == [MARKER]:
            (folder / MARKER).unlink()
            folder.rmdir()


def remove_whole(folder: Path) -> None:
    """Remove a folder that was written whole.

    Raises:
        DataError: It holds something that this program did not write.
    """
    check_replaceable(folder)
    if folder.is_dir():
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
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
    """Keep a folder to one process at a time, by a lock on itself that ends with it; no disk without locks keeps one.

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


def take_place(new: Path, folder: Path, *, sealed: bool = False) -> None:
    """Rename ``new`` to ``folder`` when all of it is on the disk; the old one steps aside, on Linux in the same step.

    Raises:
        DataError: The old one holds something that this program did not write.
    """
    check_replaceable(folder)
    write_marker(new, whole_marker(new, sealed))
    for place, _, names in os.walk(new):
        flush(*(path for name in names if not (path := Path(place, name)).is_symlink()), Path(place))
    old = new.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)  # of a process that was killed at this point, where names are the same
    if folder.is_dir() and _exchange(new, folder):
        flush(folder.parent)
        shutil.rmtree(new, ignore_errors=True)
        return
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Give two folders each other's name at once; False where the system does not."""
    try:
        swap = ctypes.CDLL(None).renameat2
    except (AttributeError, TypeError, OSError):  # only Linux has it
        return False
    return swap(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0


def flush(*paths: Path) -> None:
    """Have the disk keep the contents of files, or the names in folders, before anything else is done."""
    for path in paths:
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:  # Windows opens no folder, and not every disk keeps one
            if not path.is_dir() or error.errno not in (errno.EACCES, errno.EINVAL, errno.EBADF, errno.ENOTSUP):
                raise


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
    """Remove what this program wrote of a file or of a folder with all below it; the number of files that stay."""
    if not path.is_dir() or path.is_symlink():
        if own := is_ours(path):
            remove_known(path)
        return int(not own)
    names = [name for name in entries(path) if not name.endswith("/")]
    left = 0
    for name in names:
        if own := covered(path, name):
            remove_known(path / name)
        left += not own
    for place, _, _ in os.walk(path, topdown=False):
        if not [one for one in os.scandir(place) if one.name != MARKER]:
            (Path(place) / MARKER).unlink(missing_ok=True)
            os.rmdir(place)
    return left


def in_the_way(path: Path) -> DataError:
    """The refusal of a place that something has which this program did not write."""
    return DataError(
        f"{path} is in the way: optical did not write it, so it is not replaced or removed; move it away, or name "
        "another place"
    )


def free_name(folder: Path) -> Path:
    """The name of a folder with the first number that makes it one of nothing yet."""
    others = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(1))
    return next(other for other in others if not os.path.lexists(other))


def remove_known(path: Path) -> None:
    """Remove a file or folder of which the caller knows that this program wrote it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _list(folder: Path, name: str, sealed: Path | None) -> None:
    """Add a name to the marker of a folder; processes that do so at once wait for each other."""
    alone = TEMPORARY.fullmatch(folder.name)  # as long as it has that name, it is locked by who writes into it
    with contextlib.nullcontext() if alone else held_alone(folder, wait=True):
        found = read_marker(folder) or UNMARKED
        if not found.covers(name) or sealed or name in found.seal:
            write_marker(folder, found.having(name, sealed))
