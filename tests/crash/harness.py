"""The program in a forked process that is killed, or finds its disk full, at the k-th change of what is on disk.

A change is a file opened for writing, renamed, linked, removed or flushed, or a folder made or removed. They are
counted by an audit hook, which sees what Python does and not what libraries in C write on their own.
"""

from __future__ import annotations

import errno
import faulthandler
import hashlib
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from optical import cli
from optical.marker import MARKER

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LONGEST = 300  # seconds of a command, then it shows where it is and ends
TIMES = {
    "seconds", "processor_seconds", "mtime_ns", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second",
    "milliseconds",
}  # fmt: skip
CARDS = {"onnx/table.md", "teacher/README.md"}  # of milliseconds, and of how long training took in this process
TIMED = {"manifest.json", "training.json", "report.html", "onnx/report.json", *CARDS}  # a manifest has their checksums


class Ended(NamedTuple):
    """How a forked process ended.

    Attributes:
        code: Its exit code; -9 where it was killed.
        out: Standard output.
        err: Standard error.
        changes: How often it changed something below the folder; 0 where it was killed.
        checkpoints: How many checkpoints it began.
    """

    code: int
    out: str
    err: str
    changes: int
    checkpoints: int


class Disk:
    """Count the changes below a folder in this process, and do something before the k-th."""

    def __init__(self, folder: Path, k: int | None, act: Callable[[], None], begun: Path) -> None:
        self.folder, self.k, self.act, self.changes = str(folder), k, act, 0
        self.full = act is disk_full
        self.begun = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sys.addaudithook(self.event)
        os.fsync = lambda _: self.change(True)  # what a killed process wrote stays

    def event(self, name: str, arguments: tuple) -> None:
        """Count an event where it is a change."""
        if name == "open" and not (isinstance(arguments[0], str | bytes) and arguments[2] & WRITING):
            return
        if name != "open" and name not in CHANGES:
            return
        place = os.path.abspath(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes) else self.folder
        beside = name in ("os.remove", "os.rmdir") and arguments[1] != -1  # by a folder that is open
        if name == "os.mkdir" and os.path.basename(place).startswith("checkpoint-") and not os.path.exists(place):
            os.write(self.begun, b".")
        if beside or place.startswith(self.folder + os.sep):
            self.change(name in ("open", "os.mkdir"))

    def change(self, more: bool) -> None:
        """Count a change, of which some make ``more`` of what is on disk; a full disk stays full."""
        self.changes += 1
        if self.k is not None and (self.changes >= self.k and more if self.full else self.changes == self.k):
            self.act()


def killed() -> None:
    """End this process as the kernel does."""
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full() -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def stopped() -> None:
    """Ask this process to end, as containers and schedulers do."""
    os.kill(os.getpid(), signal.SIGTERM)


def program(
    folder: Path, *arguments: object, k: int | None = None, act: Callable[[], None] = killed, after: float | None = None
) -> Ended:
    """Run a command line in a forked process, and do something before its k-th change below the folder.

    Or kill it ``after`` so many seconds.
    """
    return programs(folder, {"one": arguments}, k=k, act=act, after=after)["one"]


def programs(
    folder: Path,
    commands: Mapping[str, Sequence[object]],
    *,
    k: int | None = None,
    act: Callable[[], None] = killed,
    after: float | None = None,
) -> dict[str, Ended]:
    """The same for several command lines, one after the other in one process, to its end or the first that is killed.

    Its random numbers are others than those of the process before, since those of a shell's command are too.
    """
    told = folder.parent / f"{folder.name}-told"
    told.mkdir(exist_ok=True)
    for name in commands:
        for what in ("out", "err", "code", "changes", "checkpoints"):
            (told / f"{name}-{what}").write_text("0" if what in ("code", "changes") else "")
    seed = random.randrange(2**31)
    child = os.fork()
    if child == 0:
        try:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - the trainer keeps the state of these numbers
            torch.manual_seed(seed)
            for name, arguments in commands.items():
                _run(told, name, [str(word) for word in arguments], (folder, k, act))
        finally:
            os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {name: _ended(told, name, status) for name in commands}


def _run(told: Path, name: str, arguments: list[str], disturbed: tuple) -> None:
    code = 70
    sys.argv = ["optical", *arguments]
    sys.stdout, sys.stderr = ((told / f"{name}-{what}").open("w", buffering=1) for what in ("out", "err"))
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=sys.stderr)
    disk = Disk(*disturbed, told / f"{name}-checkpoints")
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - this process must not go on as pytest
        traceback.print_exc()
    finally:
        disk.folder = os.devnull  # nothing of what follows is counted
        sys.stdout.flush(), sys.stderr.flush()
        (told / f"{name}-changes").write_text(str(disk.changes))
        (told / f"{name}-code").write_text(str(code))


def _ended(told: Path, name: str, status: int) -> Ended:
    out, err, code, changes, begun = (
        (told / f"{name}-{what}").read_text() for what in ("out", "err", "code", "changes", "checkpoints")
    )
    return Ended(status or int(code), out, err, int(changes), len(begun))


def snapshot(folder: Path) -> dict[str, str]:
    """Name -> checksum of every file of a folder, times left out; of nothing that is unfinished or of a training."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith((".", "checkpoints-")):
            found[name] = hashlib.sha256(timeless(path, folder)).hexdigest()[:12]
    return found


def timeless(path: Path, folder: Path) -> bytes:
    """The bytes of a file of a run's folder, without the times in it."""
    data = path.read_bytes()
    if f"{path.parent.name}/{path.name}" in CARDS:
        return b""
    if path.suffix == ".json" and (path.parent == folder or path.name in ("report.json", "optical.json", MARKER)):
        made = json.loads(data)
        if path.name == "manifest.json":
            made.pop("checksum")  # of itself, times and all
        return json.dumps(_without(made), sort_keys=True).encode()
    if path.name == "report.html":
        return re.sub(rb'(?s)<th scope="row">seconds</th>.*?</tr>|Seconds by stage.*?</table>', b"", data)
    return data


def _without(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in TIMES | TIMED}
    return [_without(item) for item in value] if isinstance(value, list) else value
