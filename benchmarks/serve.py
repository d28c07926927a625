"""Questions a second of ``optical serve`` by 1, 4 and 16 clients that ask without a pause, and by one that batches.

``OPTICAL_BENCH_RUN=folder`` names the run, otherwise ``runs/sw``, the sample's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np

from benchmarks.timing import CannotRunError, Options, markdown
from optical.config.recipe import load_recipe
from optical.errors import OpticalError
from optical.pipeline.inputs import first_collection
from optical.pipeline.run_folder import kept

CLIENTS = (1, 4, 16)
BATCHES = (8, 32)
SECONDS = 5.0  # of a turn

Ask = Callable[[HTTPConnection, Iterator[str]], int]


def run(options: Options) -> str:
    """Serve a run on a free port, ask it in turns, and give the table."""
    folder = Path(os.environ.get("OPTICAL_BENCH_RUN", "runs/sw"))
    try:
        recipe = load_recipe(kept(folder), {"out": str(folder)})
        lang, collection = first_collection(recipe, lambda _: None, "asking")
    except OpticalError as error:
        raise CannotRunError(f"OPTICAL_BENCH_RUN names a run with a collection: {error}") from error
    questions = [query.text for query in collection.queries.get(lang, [])]
    if not questions:
        raise CannotRunError(f"{collection.name} has no questions in {lang}")
    wanted = {**{(n, 1): _one for n in CLIENTS}, **{(1, n): _batch(n) for n in BATCHES}}
    turns: dict[tuple[int, int], list[tuple[float, float]]] = {key: [] for key in wanted}
    with _served(folder) as address:
        for _ in range(options.repeats):
            for key, ask in wanted.items():
                turns[key].append(_turn(address, key[0], ask, questions))
    rows = [
        (n, batch, *(f"{statistics.median(values):,.1f}" for values in zip(*found, strict=True)))
        for (n, batch), found in turns.items()
    ]
    header = ("clients", "questions in a request", "questions a second", "p95 of a request, ms")
    return (
        f"## serve: {folder}, {len(collection.docs):,} documents\n\n{options.repeats} turns of {SECONDS:.0f} s each, "
        f"medians; five passages for each question\n\n{markdown(header, rows)}\n"
    )


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A server of a run on a free port, until the end."""
    command = [sys.executable, "-m", "optical.cli", "serve", str(folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout, "it is piped"
        try:
            yield urlsplit(json.loads(server.stdout.readline() or "{}").get("address", "")).netloc
        finally:
            server.terminate()


def _turn(address: str, clients: int, ask: Ask, questions: Sequence[str]) -> tuple[float, float]:
    """Questions a second, and the 95th percentile of the milliseconds of a request, of clients that never pause."""
    answered, waited = [], []
    ready = threading.Barrier(clients + 1, timeout=60)

    def work(first: int) -> None:
        connection = HTTPConnection(address, timeout=60)
        own = cycle([*questions[first:], *questions[:first]])
        ask(connection, own)  # connected, and what is loaded late is loaded
        ready.wait()
        while time.perf_counter() < end:
            begun = time.perf_counter()
            answered.append(ask(connection, own))
            waited.append(time.perf_counter() - begun)
        connection.close()

    threads = [threading.Thread(target=work, args=(k * len(questions) // clients,)) for k in range(clients)]
    end = float("inf")
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    end = begun + SECONDS
    for thread in threads:
        thread.join()
    return sum(answered) / (time.perf_counter() - begun), 1000 * float(np.quantile(waited, 0.95))


def _one(connection: HTTPConnection, questions: Iterator[str]) -> int:
    connection.request("GET", f"/api/search?{urlencode({'q': next(questions), 'k': 5})}")
    return _read(connection, 1)


def _batch(size: int) -> Ask:
    def ask(connection: HTTPConnection, questions: Iterator[str]) -> int:
        body = json.dumps({"questions": [next(questions) for _ in range(size)], "k": 5})
        connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
        return _read(connection, size)

    return ask


def _read(connection: HTTPConnection, questions: int) -> int:
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise CannotRunError(f"the server answered {answer.status}: {content[:200]!r}")
    return questions
