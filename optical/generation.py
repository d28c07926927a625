"""A run folder is wholly old or wholly new: a job makes its next generation, and one rename switches to it.

Below the run's folder the hidden ``.next`` has a folder of the same name: links to the files that are there, and what
the job writes. When the job has ended well, a list of what goes where is put beside it, all of it is flushed to the
disk, and ``.next`` is renamed ``.ready``. From then on whoever opens the run moves the files to their places first
(:func:`settle`), however often that is interrupted. Before that rename nothing of the run has changed.

One job at a time writes a run: a file names it, and is locked as long as its process lives.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from optical.errors import DataError
from optical.files import fcntl, flush, free_name, held_alone, in_the_way
from optical.marker import LOCK, MARKER, covered, marker_of

Read = TypeVar("Read")
NEXT, READY, MOVES = ".next", ".ready", "moves.json"


@contextlib.contextmanager
def next_generation(
    run: Path, parts: Sequence[str], anew: Sequence[str] = (), last: Callable[[Path, list[str]], None] | None = None
) -> Iterator[Path]:
    """Give the folder in which the next generation of a run is made; it takes effect when the block ends well.

    Args:
        run: Folder of the run; made where it is missing.
        parts: Patterns of what a run has at its top. These files are in the given folder under the same names, and are
            replaced there as everywhere, by another file of the same name. Whatever else is in the run is left alone.
        anew: Patterns of those parts of which nothing is taken over: what optical wrote of them goes.
        last: Called at the end with the folder and the names of the files that are new in it; may write more files.

    Raises:
        DataError: Another job is writing the run; or a file that optical did not write came into its way meanwhile,
            when all that was made is kept under another name, which the message gives.
    """
    with _alone(run):
        settle(run)
        _clear(run)
        marker_of(run)  # gives an old run its markers, before what is written is listed in new ones
        view = run / NEXT / (run.resolve().name or "run")
        view.mkdir(parents=True)
        try:
            for unfinished in run.glob(".*.parts"):  # of an index, with which its building goes on
                unfinished.rename(view / unfinished.name)
            before = list(_files(run, parts))
            taken = {name for name in before if name == MARKER or not _matches(name, anew)}
            for name in taken:
                _link(run / name, view / name)
            yield view
            if last is not None and (new := _new(run, view, taken)):
                last(view, new)
            new = _new(run, view, taken)
            gone = [name for name in before if not (view / name).exists() and (name in taken or covered(run, name))]
            if new or gone:
                _make_ready(run, view, new, gone, taken)
                settle(run)
        finally:
            _clear(run)


def settle(run: Path) -> None:
    """Complete a generation whose files were not all moved to their places when its process ended.

    Raises:
        DataError: The folder cannot be written.
    """
    ready = run / READY
    try:
        while ready.is_dir():
            with contextlib.suppress(FileNotFoundError), held_alone(ready, wait=True):  # or another process did so
                if (ready / MOVES).is_file():
                    _move(run, ready)
                shutil.rmtree(ready, ignore_errors=True)
                return
    except OSError as error:
        raise DataError(
            f"{run} was written anew, and its new files have yet to be moved from {ready} to their places, which is "
            f"not allowed here ({error.strerror}); run `optical search` or any other verb on it once as somebody who "
            "may write there"
        ) from error


def read_whole(run: Path, read: Callable[[], Read]) -> Read:
    """Read files of a run, and read them again where another generation of it took effect meanwhile.

    Raises:
        DataError: See :func:`settle`; and what ``read`` raises of a run that stays as it is.
    """
    while True:
        settle(run)
        before = _generation(run)
        try:
            found = read()
        except DataError:
            if _generation(run) == before:
                raise
            continue
        if _generation(run) == before:
            return found


def _generation(run: Path) -> tuple[int, ...]:
    """The manifest is moved last, and before that the others lie below ``.ready``."""
    with contextlib.suppress(OSError):
        facts = (run / "manifest.json").stat()
        return int((run / READY).is_dir()), facts.st_ino, facts.st_mtime_ns
    return ()


def _make_ready(run: Path, view: Path, new: list[str], gone: list[str], taken: set[str]) -> None:
    for name in new:
        if os.path.lexists(run / name) and name not in taken and not covered(run, name):
            other = free_name(run)
            view.rename(other)
            raise DataError(f"{in_the_way(run / name)}; what was made is in {other}")
    # Markers first, so that what is moved is known for ours; the manifest last.
    new.sort(key=lambda name: (Path(name).name != MARKER, name == "manifest.json", name))
    moves = view.parent / MOVES
    moves.write_text(json.dumps({"view": view.name, "new": new, "gone": gone}), encoding="utf-8")
    flush(moves, *(view / name for name in new))
    flush(*{place for name in new for place in (view / name).parents if view.parent in (place, *place.parents)})
    view.parent.rename(run / READY)
    flush(run)


def _move(run: Path, ready: Path) -> None:
    """Move what is still to be moved, remove what is gone; done again, it does the rest."""
    view, new, gone = _moves(run, ready)
    for name in new:
        if (view / name).exists():
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(view / name, run / name)
    for name in gone:
        (run / name).unlink(missing_ok=True)
        for place in [one for one in (run / name).parents if run in one.parents]:
            with contextlib.suppress(OSError):  # something else is in it
                place.rmdir()
    flush(*{place for name in new for place in (run / name).parents if run in (place, *place.parents)})
    (ready / MOVES).unlink()


def _moves(run: Path, ready: Path) -> tuple[Path, list[str], list[str]]:
    """Where new files are, and the names of those that are new and those that are gone, all inside the run.

    The run may be a stranger's, and what its list names would be moved or removed.

    Raises:
        DataError: A name leads elsewhere, or it is no such list.
    """
    try:
        moves = json.loads((ready / MOVES).read_text(encoding="utf-8"))
        view, new, gone = (moves[key] for key in ("view", "new", "gone"))
        names = [view, *new, *gone]
        wrong = [name for name in names if Path(name).is_absolute() or {"", ".."} & {*name.split("/")} or "\0" in name]
        wrong += [name for name in (*new, *gone) for place in (run / name).parents if _is_link(place, run)]
        wrong += [view] if "/" in view or (ready / view).is_symlink() else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        wrong, view, new, gone = [f"{type(error).__name__}: {error}"], "", [], []
    if wrong:
        raise DataError(
            f"{ready / MOVES} is not what this program writes, or leads out of the run ({wrong[0]!r:.200}); remove "
            f"{ready}, or copy the run again"
        )
    return ready / view, new, gone


def _is_link(place: Path, run: Path) -> bool:
    return run in place.parents and place.is_symlink()


def _clear(run: Path) -> None:
    """Remove a generation that was given up, except finished parts of an index."""
    if (run / NEXT).is_dir():
        for unfinished in (run / NEXT).glob("*/.*.parts"):
            if not (run / unfinished.name).exists():
                unfinished.rename(run / unfinished.name)
        shutil.rmtree(run / NEXT, ignore_errors=True)


def _files(run: Path, parts: Iterable[str]) -> Iterator[str]:
    """Names of the files of a run's parts, its markers among them; hidden folders are unfinished."""
    for top in sorted({place for pattern in (*parts, MARKER) for place in run.glob(pattern)}):
        if top.is_file() or top.is_symlink():
            yield top.name
            continue
        if top.name.startswith("."):
            continue
        for place, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            links = [name for name in folders if (Path(place) / name).is_symlink()]
            yield from ((Path(place) / name).relative_to(run).as_posix() for name in sorted((*files, *links)))


def _new(run: Path, view: Path, taken: set[str]) -> list[str]:
    """Names of the files of a view that are others than those of the run."""
    found = _files(view, ["*"])
    return [name for name in found if name not in taken or not _same(run / name, view / name)]


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.stat(), other.stat())
    except FileNotFoundError:
        return False


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(Path(name.partition("/")[0]).match(pattern) for pattern in patterns)


def _link(file: Path, other: Path) -> None:
    """The same file under another name; a copy on a disk without such links."""
    other.parent.mkdir(parents=True, exist_ok=True)
    try:
        if file.is_symlink():
            other.symlink_to(file.resolve())
        else:
            os.link(file, other)
    except OSError:
        shutil.copy2(file, other)


@contextlib.contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Refuse a run that another job is writing, and say whose it is; the lock ends with its process."""
    made = [place for place in (run, *run.parents) if not place.exists()]
    run.mkdir(parents=True, exist_ok=True)
    handle = _locked(run)
    try:
        yield
    finally:
        if handle is not None:
            (run / LOCK).unlink(missing_ok=True)
            os.close(handle)
        for place in made:
            with contextlib.suppress(OSError):  # something was written
                place.rmdir()


def _locked(run: Path) -> int | None:
    """An open file that is locked; None on a system or disk without locks."""
    if fcntl is None:
        return None
    while True:
        handle = os.open(run / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 1_000).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise DataError(
                f"{run} is being written by {owner}; wait until it is done, stop it, or name another folder"
            ) from None
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                return None
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), (run / LOCK).stat()):
                began = time.strftime("%Y-%m-%d %H:%M:%S")
                os.truncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {began}".encode())
                return handle
        os.close(handle)  # its owner ended and removed it meanwhile
