"""Fair timing: candidates take turns, medians are compared, and every table says where and when it was made."""

from __future__ import annotations

import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from optical.evaluation import tables
from optical.evaluation.tables import Table

PACKAGES = ("optical", "torch", "transformers", "sentence-transformers", "pot", "onnxruntime", "numpy")


class CannotRunError(Exception):
    """A benchmark lacks something on this machine; the text says what."""


class Options(NamedTuple):
    """Options that every benchmark is given.

    Attributes:
        repeats: Timed rounds of each candidate.
        threads: Threads of torch on the CPU.
        device: Where tensors live.
    """

    repeats: int = 7
    threads: int = 2
    device: str = "cpu"


class Times(NamedTuple):
    """Seconds of one candidate over the rounds."""

    median: float
    low: float
    high: float


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warmup: int = 1,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Time the candidates in turns, so that a slow minute of the machine falls on all of them alike.

    Each round starts with another candidate. Returns the median and the extremes of each. ``time.process_time`` as the
    clock counts what the threads of this process computed, whatever else the machine does meanwhile.
    """
    wait = _synchronise(device)
    names = list(candidates)
    for name in names:
        for _ in range(warmup):
            candidates[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for k in range(repeats):
        for name in names[k % len(names) :] + names[: k % len(names)]:
            wait()
            start = clock()
            candidates[name]()
            wait()
            seconds[name].append(clock() - start)
    return {name: Times(statistics.median(s), min(s), max(s)) for name, s in seconds.items()}


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table of any values."""
    return tables.markdown(Table("", header, [list(map(str, row)) for row in rows], left=len(header)))


def stamp(options: Options) -> str:
    """Machine, date, commit and versions, as one paragraph."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return (
        f"{_processor()}, {options.threads} threads, {platform.system()}, Python {platform.python_version()}; "
        f"{date.today().isoformat()}, commit {_commit()}; {', '.join(found)}; medians of {options.repeats} "
        "interleaved rounds."
    )


def forget_peak() -> float:
    """Let Linux forget the peak of this process; gives what it holds now, in MB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return float("nan")
    return memory("VmRSS")


def memory(name: str) -> float:
    """Memory of this process in MB, by its name in ``/proc/self/status``; not a number where there is none."""
    try:
        found = re.search(rf"{name}:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return float("nan")
    return int(found[1]) / 1024 if found else float("nan")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({len(names)} cores seen)"


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        text = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return text.strip()


def _synchronise(device: str) -> Callable[[], object]:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.synchronize
    return lambda: None
