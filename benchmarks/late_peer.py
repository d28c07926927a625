"""One engine of the benchmark ``late`` in a process of its own, answering a line of JSON with one of JSON.

Run as ``python late_NAME.py FOLDER K THREADS OPTIONS``; FOLDER has ``tokens.npy``, ``start.npy``, ``queries.npy`` and
``queries-start.npy``, OPTIONS is JSON. The engine builds first, unless an earlier run left its index in FOLDER, and
then answers each line of its input: settings of a search. It imports nothing of optical.
"""

import hashlib
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Search = Callable[..., list[list[tuple[int, float]]]]  # (queries, k, **settings)
BUILT = "built.json"


def main(build: Callable[..., None], opened: Callable[[Path, int], Search]) -> None:
    """Build, report, and take turns until the input ends.

    Args:
        build: Takes the folder with the arrays, a folder to build in, the number of threads and OPTIONS by name.
        opened: Takes what was built and the number of threads.
    """
    folder, k, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rows, start = (np.load(folder / f"{name}.npy") for name in ("queries", "queries-start"))
    queries = [rows[a:b] for a, b in zip(start[:-1], start[1:], strict=True)]
    name = hashlib.sha256("".join([Path(sys.argv[0]).stem, *sys.argv[3:]]).encode()).hexdigest()[:8]
    place = folder / f"{Path(sys.argv[0]).stem}-{name}"
    if not (place / BUILT).is_file():
        shutil.rmtree(place, ignore_errors=True)
        (place / "index").mkdir(parents=True)
        _, wall, cpu = timed(lambda: build(folder, place / "index", threads, **json.loads(sys.argv[4])))
        size = sum(path.stat().st_size for path in (place / "index").rglob("*") if path.is_file())
        (place / BUILT).write_text(json.dumps({"wall": wall, "cpu": cpu, "bytes": size, "peak": peak()}))
    say(json.loads((place / BUILT).read_text()))
    search = opened(place / "index", threads)
    for line in sys.stdin:
        settings = json.loads(line)
        answers = [timed(partial(search, [query], k, **settings)) for query in queries]
        found = [[int(row) for row, _ in answer] for (answer,), _, _ in answers]
        _, walls, cpus = zip(*answers, strict=True)
        say({"wall": walls, "cpu": cpus, "found": found, "peak": peak()})


def documents(folder: Path) -> list:
    """The token vectors of each document, as the engines want them: a list of torch's tensors, float16."""
    import torch

    rows, start = torch.from_numpy(np.load(folder / "tokens.npy")), np.load(folder / "start.npy")
    return [rows[a:b] for a, b in zip(start[:-1], start[1:], strict=True)]


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the call gives, its seconds by the clock and those of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peak() -> float:
    """The most memory that this process ever held, in MB; files that are mapped count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def say(value: dict) -> None:
    """A line of JSON."""
    sys.stdout.write("\n" + json.dumps(value) + "\n")
    sys.stdout.flush()
