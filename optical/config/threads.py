"""Threads of torch, faiss, BM25, onnxruntime and tokenizers: as many as were told, else as many cores as are free.

A team of threads waits at every step for its last one, so one thread that gets no core makes all of them slow. Free is
a core that the affinity mask and the quota of the cgroup allow, and that no other process was using a moment ago.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from optical.errors import RecipeError

VARIABLE = "OPTICAL_THREADS"
# The first two are asked too; OpenMP is torch's and faiss's, Rayon the tokenizers'.
LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
MOMENT = 0.25  # seconds over which other processes are watched
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # of /proc/stat in a second


class Threads(NamedTuple):
    """A number of threads, and why it is that one.

    Attributes:
        number: At least 1.
        cores: Of this machine.
        why: Why it is that number; empty where all cores are taken because all are free.
        told: The recipe or ``OPTICAL_THREADS`` says so.
    """

    number: int
    cores: int
    why: str = ""
    told: bool = False

    @property
    def sentence(self) -> str:
        """One line for people, where they would not expect the number."""
        return "" if self.told or not self.why else f"threads: {self.number} of {self.cores} cores; {self.why}"


class Glance(NamedTuple):
    """Work of the processors so far: when it was looked at, seconds of all processes, and of this one."""

    at: float
    work: float
    own: float


_before: list[Glance] = []  # when the program began
_own: dict[str, str] = {}  # variables that this process set, which nobody told it


def choose_threads(told: int | None = None, before: int | None = None, root: Path = Path("/")) -> Threads:
    """Choose the number of threads; the first of these that is there decides.

    Args:
        told: By the recipe (``threads``). After it come the variables ``OPTICAL_THREADS``, ``OMP_NUM_THREADS`` and
            ``MKL_NUM_THREADS``.
        before: Of an earlier process whose work goes on, since other threads add numbers in another order.
        root: The folder with ``proc`` and ``sys``. Where there is no ``proc/stat``, no core counts as busy.

    Raises:
        RecipeError: ``OPTICAL_THREADS`` is no whole number from 1 on.
    """
    mask = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    all_cores, allowed = _cores(root, None), _cores(root, mask)
    if told:
        return Threads(told, all_cores, "the recipe says so", told=True)
    for name in (VARIABLE, *LIBRARIES[:2]):
        if (count := _from_variable(name)) is not None:
            why = f"{name} says so" if name == VARIABLE or count != all_cores else ""
            return Threads(count, all_cores, why, told=name == VARIABLE)
    if before:
        return Threads(before, all_cores, f"as when this began; {VARIABLE} takes another number, for another result")
    cores, why = allowed, f"this process may run on {allowed} (affinity)" if allowed < all_cores else ""
    if (limit := quota(root)) is not None and limit < cores:
        cores, why = max(1, int(limit)), f"the quota of the container or cgroup is {limit:g}"
    busy = _busy(root, mask)
    if (free := max(1, allowed - int(busy + 0.5))) < cores:
        cores, why = free, f"other processes use {busy:.1f} ({VARIABLE}={allowed} takes all the same)"
    return Threads(cores, all_cores, why)


def use_threads(count: int) -> None:
    """Let all libraries have so many threads: those that are loaded at once, others when they are loaded."""
    for name in LIBRARIES:
        if os.environ.get(name) != str(count):
            os.environ[name] = _own[name] = str(count)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if count > 1 else "false")
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def watch(root: Path = Path("/")) -> None:
    """Note what processors have done so far, so that a later choice need not wait for a moment to pass."""
    mask = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if (now := _glance(root, mask)) is not None:
        _before[:] = [now]


def quota(root: Path = Path("/")) -> float | None:
    """Cores that the cgroup of this process and those above it allow, version 2 or 1; None where none sets a limit."""
    base, own = root / "sys/fs/cgroup", _text(root / "proc/self/cgroup")
    limits = []
    for controllers, path in re.findall(r"^\d+:(.*?):/(.*)$", own, re.MULTILINE) or [("", "")]:
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the path may be that of the host, of which only the part below the mount is to be seen.
        for place in (Path(path), *Path(path).parents):
            limits += [
                _limit(base / place, "cpu.max"),
                _limit(base / "cpu" / place, "cpu.cfs_quota_us", "cpu.cfs_period_us"),
            ]
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(folder: Path, *names: str) -> float | None:
    words = " ".join(_text(folder / name) for name in names).split()
    if len(words) != 2 or not all(re.fullmatch(r"\d+", word) for word in words) or int(words[0]) == 0:
        return None  # "max", -1, or no such file
    return int(words[0]) / int(words[1])


def _from_variable(name: str) -> int | None:
    """The number that a variable says; None where it says nothing, or this process has set it."""
    text = os.environ.get(name, "").strip()
    if not text or text == _own.get(name):
        return None
    first = text.partition(",")[0]  # OpenMP takes a list, a number for each depth
    if first.isascii() and first.isdigit() and 0 < int(first) <= 4096:
        return int(first)
    if name == VARIABLE:
        raise RecipeError(f"{name} is {text[:40]!r}; set it to a whole number from 1 on, or leave it out")
    return None


def _cores(root: Path, mask: list[int] | None) -> int:
    """Cores, of which each may be several processors to the system; of all, or of those in the mask."""
    folder = root / "sys/devices/system/cpu"
    places = [folder / f"cpu{one}" for one in mask] if mask is not None else sorted(folder.glob("cpu[0-9]*"))
    siblings = {_text(place / "topology/thread_siblings_list").strip() for place in places} - {""}
    return len(siblings) or (len(mask) if mask else os.cpu_count() or 1)


def _busy(root: Path, mask: list[int] | None) -> float:
    """Cores in the mask that other processes used in the last moment."""
    begun = _before[0] if _before else _glance(root, mask)
    if begun is None:
        return 0.0
    time.sleep(max(0.0, begun.at + MOMENT - time.monotonic()))
    now = _glance(root, mask)
    if now is None:
        return 0.0
    used = (now.work - begun.work - now.own + begun.own) / (now.at - begun.at)
    return min(max(0.0, used), len(mask) if mask else used)  # ticks are coarse


def _glance(root: Path, mask: list[int] | None) -> Glance | None:
    """Read ``proc/stat``: user, nice, system, idle, iowait, irq, softirq, steal of each processor, in ticks."""
    ticks = 0
    lines = re.findall(r"^cpu(\d+) (.+)$", _text(root / "proc/stat"), re.MULTILINE)
    if not lines:
        return None
    for number, text in lines:
        if mask is None or int(number) in mask:
            user, nice, system, _, _, *others = map(int, text.split()[:8])
            ticks += user + nice + system + sum(others)
    own = os.times()
    return Glance(time.monotonic(), ticks / TICKS, own.user + own.system + own.children_user + own.children_system)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""
