"""Late interaction: index build, time a query, recall of the exact answers and nDCG kept, against what people pick.

The tokens are those of ``OPTICAL_BENCH_TOKENS`` (a folder that ``benchmarks.late_tokens`` wrote), the same for all;
``OPTICAL_BENCH_LATE_PASSAGES`` takes the first so many. xtr-warp-rs, fast-plaid and PyLate want another torch, so they
run in the Pythons that ``WARP_PYTHON``, ``PLAID_PYTHON`` and ``PYLATE_PYTHON`` name. Every engine is a process of its
own, and they take turns.
``OPTICAL_BENCH_LATE_KEEP``, a folder, keeps what was built and how long it took, for another run with the same tokens.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.late_tokens import RELEVANT
from benchmarks.timing import CannotRunError, Options, markdown
from optical.data.records import Qrel
from optical.evaluation.measures import measure

K = 100
Answers = list[list[int]]
HEADER = ["index and search", "build CPU s", "MB on disk", "peak MB", "CPU ms a query", "queries / CPU s", "ms a query",
          "R@10", "R@100", "nDCG@10"]  # fmt: skip


class Workload(NamedTuple):
    """Token vectors of documents and queries, one after another, where each begins, and the rows that are relevant."""

    tokens: np.ndarray
    start: np.ndarray
    queries: list[np.ndarray]
    relevant: list[list[int]]


class Answered(NamedTuple):
    """Seconds of each query by the clock and of the processor, the rows found, and the most memory so far in MB."""

    wall: list[float]
    cpu: list[float]
    found: Answers
    peak: float


class Candidate(NamedTuple):
    """An index that was built, and ways to search it.

    Attributes:
        cpu: Processor seconds that the build took.
        size: Bytes on disk.
        answer: Takes the settings of a search and answers all queries.
        ways: What to call a search -> its settings.
    """

    cpu: float
    size: int
    answer: Callable[[dict[str, Any]], Answered]
    ways: Mapping[str, dict[str, Any]]


FEWER = {f", {count} candidates": {"candidates": count} for count in (500, 250, 150, 100)}
OURS = {
    "optical, int8": ("int8", {"": {}, **FEWER, ", all": {"exhaustive": True}, ", without numba": {"plain": True}}),
    "optical, int4": ("int4", {"": {}, **FEWER}),
    "optical, float16": ("float16", {"": {}}),
}
WARP = {"": {}} | {
    f", {probe} lists": {"nprobe": probe, "bound": 8 * probe, "t_prime": 200_000, "max_candidates": 2**20}
    for probe in (16, 32, 64)
}
AS_IT_IS = {"": {}}
MORE_TOKENS = {"": {}, ", 400 tokens": {"k_token": 400}}
PEERS = (  # name, module, what names its Python, script, ways to search, how to build
    ("xtr-warp-rs 2.1", "xtr_warp", "WARP_PYTHON", "late_warp.py", WARP, {}),
    ("fast-plaid 1.7", "fast_plaid", "PLAID_PYTHON", "late_plaid.py", AS_IT_IS, {}),
    ("PyLate 1.6 with ScaNN", "scann", "PYLATE_PYTHON", "late_pylate.py", MORE_TOKENS, {"engine": "ScaNN"}),
    ("PyLate 1.6 with Voyager", "voyager", "PYLATE_PYTHON", "late_pylate.py", AS_IT_IS, {"engine": "Voyager"}),
)


def run(options: Options) -> str:
    """Build each, let them take turns, and compare with the exact answers."""
    work = _workload()
    exact = _exact(work)
    with ExitStack() as stack:
        keep = os.environ.get("OPTICAL_BENCH_LATE_KEEP")
        folder = Path(keep or stack.enter_context(tempfile.TemporaryDirectory()))
        _hand_over(work, folder)
        candidates = {
            name: _engine(stack, sys.executable, "late_optical.py", folder, options, ways, {"precision": precision})
            for name, (precision, ways) in OURS.items()
        }
        skipped = []
        for name, module, variable, script, ways, how in PEERS:
            python = os.environ.get(variable)
            if python and not subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
                candidates[name] = _engine(stack, python, script, folder, options, ways, how)
            else:
                skipped.append(f"{name} was skipped: {variable} names no Python that has it.")
        rows = _turns(candidates, work, exact, options.repeats)
    about = (
        f"{len(work.start) - 1} passages, {len(work.tokens)} tokens of {work.tokens.shape[1]} dimensions, "
        f"{len(work.queries)} queries of {np.mean([len(q) for q in work.queries]):.1f} tokens, one at a time, k = {K}, "
        f"{options.threads} threads. Recall is of the k best by MaxSim in float32 over all tokens, whose nDCG@10 is "
        f"{_ndcg(exact, work.relevant)}. Memory counts files that are mapped."
    )
    return f"## late\n\n{' '.join([about, *skipped])}\n\n{markdown(HEADER, rows)}\n"


def _workload() -> Workload:
    folder = Path(os.environ.get("OPTICAL_BENCH_TOKENS") or "/nowhere")
    if not (folder / "start.npy").is_file():
        raise CannotRunError(
            "OPTICAL_BENCH_TOKENS names no folder of token vectors; python -m benchmarks.late_tokens writes one"
        )
    start = np.load(folder / "start.npy")
    start = start[: int(os.environ.get("OPTICAL_BENCH_LATE_PASSAGES", len(start) - 1)) + 1]
    tokens = np.load(folder / "tokens.npy", mmap_mode="r")[: start[-1]]
    rows, begins = np.load(folder / "queries.npy"), np.load(folder / "queries-start.npy")
    queries = [rows[a:b].astype(np.float32) for a, b in zip(begins[:-1], begins[1:], strict=True)]
    judged = folder / RELEVANT
    relevant = json.loads(judged.read_text(encoding="utf-8")) if judged.is_file() else [[] for _ in queries]
    return Workload(tokens, start, queries, [[row for row in rows if row < len(start) - 1] for rows in relevant])


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


def _hand_over(work: Workload, folder: Path) -> None:
    """What the processes of the engines read."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "start.npy").is_file() and not np.array_equal(np.load(folder / "start.npy"), work.start):
        raise CannotRunError(f"{folder} has indexes of other passages; name another folder, or empty it")
    np.save(folder / "tokens.npy", work.tokens)
    np.save(folder / "start.npy", work.start)
    np.save(folder / "queries.npy", np.concatenate(work.queries))
    np.save(folder / "queries-start.npy", np.cumsum([0, *map(len, work.queries)]))


def _engine(
    stack: ExitStack, python: str, script: str, folder: Path, options: Options, ways: dict, build: dict
) -> Candidate:
    """Start a process, which builds; it ends with the stack."""
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    ours = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    given = [str(Path(__file__).with_name(script)), str(folder), str(K), str(options.threads), json.dumps(build)]
    process = subprocess.Popen([python, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=os.environ | threads | ours)  # fmt: skip
    stack.callback(_end, process)
    built = _reply(process, script)

    def answer(settings: dict[str, Any]) -> Answered:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        told = _reply(process, script)
        return Answered(told["wall"], told["cpu"], told["found"], told["peak"])

    return Candidate(built["cpu"], built["bytes"], answer, ways)


def _reply(process: subprocess.Popen[str], script: str) -> dict[str, Any]:
    """The next line of JSON; what libraries print between is passed over."""
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise CannotRunError(f"{script} stopped with status {process.wait()}: {process.stderr.read()[-500:]}")


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _turns(candidates: dict[str, Candidate], work: Workload, exact: Answers, repeats: int) -> list[list[str]]:
    """Rows of the table; each query's time is its median over the rounds, the first of which is not counted."""
    ways = {(name, way): candidate for name, candidate in candidates.items() for way in candidate.ways}
    rounds: dict[tuple[str, str], list[Answered]] = {key: [] for key in ways}
    for _ in range(repeats + 1):
        for (name, way), candidate in ways.items():
            rounds[name, way].append(candidate.answer(dict(candidate.ways[way])))
    rows = []
    for (name, way), candidate in ways.items():
        timed = rounds[name, way][1:]
        wall, cpu = (_typical(times) for times in ([a.wall for a in timed], [a.cpu for a in timed]))
        last = timed[-1]
        first = way == next(iter(candidate.ways))
        built = [f"{candidate.cpu:.0f}", f"{candidate.size / 1e6:.0f}", f"{last.peak:.0f}"] if first else [""] * 3
        rows.append([name + way, *built, f"{cpu * 1e3:.2f}", f"{1 / cpu:.0f}", f"{wall * 1e3:.2f}",
                     *_recalls(last.found, exact), _ndcg(last.found, work.relevant)])  # fmt: skip
    return rows


def _typical(rounds: list[list[float]]) -> float:
    return statistics.mean(statistics.median(times) for times in zip(*rounds, strict=True))


def _recalls(found: Answers, exact: Answers) -> list[str]:
    shares = [
        np.mean([len(set(some[:k]) & set(best[:k])) / k for some, best in zip(found, exact, strict=True)])
        for k in (10, K)
    ]
    return [f"{share:.4f}" for share in shares]


def _ndcg(found: Answers, relevant: list[list[int]]) -> str:
    """Of the queries that have a relevant passage here; a dash where none has."""
    qrels = [Qrel(str(number), str(row), 1) for number, rows in enumerate(relevant) for row in rows]
    if not qrels:
        return "-"
    run = {str(q): {str(row): -float(rank) for rank, row in enumerate(rows)} for q, rows in enumerate(found)}
    return f"{measure(run, qrels, ['nDCG@10']).mean['nDCG@10']:.4f}"
