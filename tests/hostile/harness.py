"""Run all inputs in processes of their own, so that a crash or a hang of one is a finding and not the end.

``python -m tests.hostile.harness [slow] [-v] [KIND ...]`` prints how many there are of each kind and outcome.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.hostile.case import SECONDS

ROOT = Path(__file__).parents[2]
AS_IT_MUST = "as it must"


class Outcome(NamedTuple):
    """What happened to an input."""

    case: str
    kind: str
    outcome: str
    said: str
    seconds: float


def outcomes(*kinds: str, slow: bool = False) -> list[Outcome]:
    """What happened to each input of some kinds, or of all: as it must, misread, traceback, hang, memory, crash..."""
    found: list[Outcome] = []
    while True:
        if _run(found, slow, kinds):
            return found


def _run(found: list[Outcome], slow: bool, kinds: Sequence[str]) -> bool:
    """Run from the first input that was not run on; False where the process did not get to the end."""
    command = [sys.executable, "-m", "tests.hostile.worker", str(len(found)), "slow" if slow else "quick", *kinds]
    limits = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **limits}, stdout=subprocess.PIPE)
    begun: dict[str, str] | None = None
    told: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_pass_on, args=(process, told), daemon=True).start()
    ended = False
    try:
        while line := told.get(timeout=15 * SECONDS):
            now = json.loads(line)
            if "at" in now:
                begun = now
            elif begun:
                found.append(Outcome(begun["case"], begun["kind"], now["outcome"], now["said"], now["seconds"]))
                begun = None
        ended = True
        process.wait(SECONDS)
    except (queue.Empty, subprocess.TimeoutExpired):
        process.kill()
    code = process.wait()
    if begun is None and code:
        raise RuntimeError(f"the inputs could not be run: exit status {code}")
    if begun:
        found.append(Outcome(begun["case"], begun["kind"], "crash" if ended else "hang", "", 9.0 * SECONDS))
    return begun is None


def _pass_on(process: subprocess.Popen[bytes], told: queue.Queue[bytes]) -> None:
    assert process.stdout
    with process.stdout as stream:
        for line in stream:
            told.put(line)
    told.put(b"")


def _main() -> None:
    found = outcomes(*(one for one in sys.argv[1:] if one not in ("slow", "-v")), slow="slow" in sys.argv)
    for kind in sorted({one.kind for one in found}):
        own = Counter(one.outcome for one in found if one.kind == kind)
        print(f"{kind:<14} {own.total():>4}  " + ", ".join(f"{name} {n}" for name, n in own.most_common()))
    print(f"{'all':<14} {len(found):>4}  {dict(Counter(one.outcome for one in found).most_common())}")
    print(f"{sum(one.seconds for one in found):.1f} s, the longest {max(one.seconds for one in found):.1f} s")
    for one in found:
        if one.outcome != AS_IT_MUST and "-v" in sys.argv:
            print(f"{one.outcome}  {one.case}  {one.seconds} s  {one.said}")


if __name__ == "__main__":
    _main()
