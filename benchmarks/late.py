"""Late interaction: index build, time a query and recall of the exact answers, against fast-plaid and plain faiss.

The tokens are those of ``OPTICAL_BENCH_TOKENS`` (a folder that ``benchmarks.late_tokens`` wrote), the same for all;
``OPTICAL_BENCH_LATE_PASSAGES`` takes the first so many. fast-plaid wants another torch, so it runs in the Python that
``PLAID_PYTHON`` names, in a process that takes turns with this one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.timing import CannotRunError, Options, markdown
from optical.retrieval.late import index as late_index
from optical.retrieval.late import inverted_lists
from optical.retrieval.late.store import LateOptions

K = 100
Answers = list[list[int]]


class Workload(NamedTuple):
    """Token vectors of documents and queries, one after another, and where each begins."""

    tokens: np.ndarray
    start: np.ndarray
    queries: list[np.ndarray]


class Candidate(NamedTuple):
    """Something that was built and now answers.

    Attributes:
        wall, cpu: Seconds that the build took.
        size: Bytes on disk.
        answer: Takes all queries one at a time (fast-plaid also at once, ``answer("all")``) and gives seconds of each,
            by the clock and of the processor, and the rows found.
    """

    wall: float
    cpu: float
    size: int
    answer: Callable[..., tuple[list[float], list[float], Answers]]


def run(options: Options) -> str:
    """Build each, let them take turns, and compare with the exact answers."""
    work = _workload()
    exact = _exact(work)
    with tempfile.TemporaryDirectory() as place:
        peer = _plaid(work, Path(place) / "plaid", options)
        candidates = {
            "optical, int8 (default)": _ours(work, Path(place) / "int8", "int8"),
            "optical, float16": _ours(work, Path(place) / "float16", "float16"),
            "optical, int4": _ours(work, Path(place) / "int4", "int4"),
            "optical, int8, half the tokens pooled": _ours(work, Path(place) / "pooled", "int8", pool_factor=2),
            "faiss IVF,SQ8 of tokens, MaxSim of what it finds": _faiss(work, Path(place) / "faiss", options),
        }
        candidates |= {"fast-plaid 1.7": peer} if peer else {}
        rows = _turns(candidates, exact, options.repeats)
        if peer:
            rows.append(_together(peer, exact, len(work.queries)))
    about = (
        f"{len(work.start) - 1} passages, {len(work.tokens)} tokens of {work.tokens.shape[1]} dimensions, "
        f"{len(work.queries)} queries of {np.mean([len(q) for q in work.queries]):.1f} tokens, one at a time, k = {K}, "
        f"{options.threads} threads. Recall is of the k best by MaxSim in float32 over all tokens."
    )
    if peer is None:
        about += " fast-plaid was skipped: PLAID_PYTHON names no Python that has it."
    header = ["index", "build s (CPU s)", "MB", "ms a query", "CPU ms a query", "queries/s", "R@10", "R@100"]
    return f"## late\n\n{about}\n\n{markdown(header, rows)}\n"


def _workload() -> Workload:
    folder = os.environ.get("OPTICAL_BENCH_TOKENS")
    if not folder or not (Path(folder) / "start.npy").is_file():
        raise CannotRunError(
            "OPTICAL_BENCH_TOKENS names no folder of token vectors; python -m benchmarks.late_tokens writes one"
        )
    start = np.load(Path(folder) / "start.npy")
    start = start[: int(os.environ.get("OPTICAL_BENCH_LATE_PASSAGES", len(start) - 1)) + 1]
    tokens = np.load(Path(folder) / "tokens.npy", mmap_mode="r")[: start[-1]]
    rows, begins = np.load(Path(folder) / "queries.npy"), np.load(Path(folder) / "queries-start.npy")
    queries = [rows[a:b].astype(np.float32) for a, b in zip(begins[:-1], begins[1:], strict=True)]
    return Workload(tokens, start, queries)


def _exact(work: Workload) -> Answers:
    """The K best rows of each query by float32 products with everything."""
    scores = np.empty((len(work.queries), len(work.start) - 1), dtype=np.float32)
    together = torch.from_numpy(np.concatenate(work.queries))
    ends = np.cumsum([0, *map(len, work.queries)])[:-1]
    for row in range(0, len(work.start) - 1, 100):
        begins = work.start[row : row + 101]
        tokens = torch.from_numpy(work.tokens[begins[0] : begins[-1]].astype(np.float32))
        best = np.maximum.reduceat((together @ tokens.T).numpy(), begins[:-1] - begins[0], axis=1)
        scores[:, row : row + 100] = np.add.reduceat(best, ends, axis=0)
    return [[int(row) for row in np.argsort(-some, kind="stable")[:K]] for some in scores]


def _ours(work: Workload, folder: Path, precision: str, pool_factor: float = 1) -> Candidate:
    ids = [str(row) for row in range(len(work.start) - 1)]

    def build() -> None:
        late_index.build(
            work.tokens, work.start, ids, folder, LateOptions(precision, pool_factor=pool_factor), manifest={}
        )

    wall, cpu = _timed(build)
    index = late_index.load(folder)
    return Candidate(
        wall, cpu, _size(folder), _one_by_one(work.queries, lambda query: late_index.search(index, [query], K)[0])
    )


def _faiss(work: Workload, path: Path, options: Options) -> Candidate:
    """Twenty lines of faiss: search for tokens, then exact MaxSim of the documents of the tokens found."""
    import faiss

    faiss.omp_set_num_threads(options.threads)
    lists = inverted_lists.how_many(len(work.tokens)) or 256
    index = faiss.index_factory(work.tokens.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)

    def build() -> None:
        index.train(work.tokens[:: max(1, len(work.tokens) // (40 * lists))].astype(np.float32))
        for row in range(0, len(work.tokens), 2**16):
            index.add(work.tokens[row : row + 2**16].astype(np.float32))
        faiss.write_index(index, str(path))

    wall, cpu = _timed(build)
    faiss.ParameterSpace().set_index_parameter(index, "nprobe", 32)
    of = np.repeat(np.arange(len(work.start) - 1), np.diff(work.start))

    def search(query: np.ndarray) -> list[tuple[str, float]]:
        _, tokens = index.search(query, 1000)
        rows = np.unique(of[tokens[tokens >= 0]])
        scores = [(query @ work.tokens[work.start[r] : work.start[r + 1]].astype("f4").T).max(1).sum() for r in rows]
        return [(str(rows[i]), scores[i]) for i in np.argsort(-np.array(scores))[:K]]

    return Candidate(wall, cpu, path.stat().st_size + work.tokens.nbytes, _one_by_one(work.queries, search))


def _plaid(work: Workload, folder: Path, options: Options) -> Candidate | None:
    python = os.environ.get("PLAID_PYTHON")
    if not python or subprocess.run([python, "-c", "import fast_plaid"], capture_output=True, check=False).returncode:
        return None
    folder.mkdir()
    for name, array in zip(("tokens", "start"), work[:2], strict=True):
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "queries.npy", np.concatenate(work.queries))
    np.save(folder / "queries-start.npy", np.cumsum([0, *map(len, work.queries)]))
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    process = subprocess.Popen(
        [python, str(Path(__file__).with_name("late_plaid.py")), str(folder), str(K), str(options.threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | threads,
    )  # fmt: skip
    built = _reply(process)

    def answer(how: str = "one") -> tuple[list[float], list[float], Answers]:
        assert process.stdin is not None
        process.stdin.write(f"{how}\n")
        process.stdin.flush()
        told = _reply(process)
        return told["wall"], told["cpu"], told["found"]

    return Candidate(built["wall"], built["cpu"], built["bytes"], answer)


def _reply(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of JSON; what libraries print between is passed over."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise CannotRunError(f"fast-plaid stopped with status {process.wait()}")


def _timed(build: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    build()
    return time.perf_counter() - wall, time.process_time() - cpu


def _one_by_one(
    queries: Sequence[np.ndarray], search: Callable[[np.ndarray], list[tuple[str, float]]]
) -> Callable[[], tuple[list[float], list[float], Answers]]:
    def answer() -> tuple[list[float], list[float], Answers]:
        walls, cpus, found = [], [], []
        for query in queries:
            wall, cpu = time.perf_counter(), time.process_time()
            best = search(query)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            found.append([int(row) for row, _ in best])
        return walls, cpus, found

    return answer


def _turns(candidates: dict[str, Candidate], exact: Answers, repeats: int) -> list[list[str]]:
    """Rows of the table; each query's time is its median over the rounds, the first of which is not counted."""
    rounds: dict[str, list] = {name: [] for name in candidates}
    for _ in range(repeats + 1):
        for name, candidate in candidates.items():
            rounds[name].append(candidate.answer())
    rows = []
    for name, candidate in candidates.items():
        wall, cpu = (
            statistics.mean(
                statistics.median(times) for times in zip(*(r[part] for r in rounds[name][1:]), strict=True)
            )
            for part in (0, 1)
        )
        rows.append([name, f"{candidate.wall:.0f} ({candidate.cpu:.0f})", f"{candidate.size / 1e6:.0f}",
                     *_speed(wall, cpu), *_recalls(rounds[name][-1][2], exact)])  # fmt: skip
    return rows


def _together(peer: Candidate, exact: Answers, count: int) -> list[str]:
    [wall], [cpu], found = peer.answer("all")
    return [
        "fast-plaid 1.7, all queries in one call",
        "",
        "",
        *_speed(wall / count, cpu / count),
        *_recalls(found, exact),
    ]


def _speed(wall: float, cpu: float) -> list[str]:
    return [f"{wall * 1e3:.1f}", f"{cpu * 1e3:.1f}", f"{1 / wall:.1f}"]


def _recalls(found: Answers, exact: Answers) -> list[str]:
    shares = [
        np.mean([len(set(some[:k]) & set(best[:k])) / k for some, best in zip(found, exact, strict=True)])
        for k in (10, K)
    ]
    return [f"{share:.4f}" for share in shares]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
