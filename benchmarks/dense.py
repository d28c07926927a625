"""Our search of single vectors against raw faiss, one after the other; and recall by kind of index."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import CannotRunError, Options, interleaved, markdown
from optical.embeddings.shards import read_shards
from optical.errors import DataError
from optical.retrieval import dense

COUNT, DIMENSION = 50_000, 384  # of drawn vectors
QUERIES, DEPTH = 200, 100


def run(options: Options) -> str:
    """Markdown: recall of what is exact, and milliseconds a query, 64 at a time and one by one.

    Faiss gives row numbers, so it stands there twice: as it is, beside our ``nearest``, and with the ids looked up as
    its user would write it, beside our ``search``.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    vectors, queries, what = some_vectors()
    clusters = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))
    factories = ("Flat", "HNSW32", f"IVF{clusters},Flat", f"IVF{clusters},SQ8", f"IVF{clusters},PQ192x4fs,Refine(SQ8)")
    rows, times, probes = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        exact = np.argsort(-queries @ vectors.T, axis=1, kind="stable")[:, :DEPTH]
        for factory in factories:
            place, start = Path(folder) / factory, time.process_time()
            dense.build(vectors, [f"d{k}" for k in range(len(vectors))], place, factory, manifest={})
            seconds = time.process_time() - start
            index = dense.load(place)
            rows.append([factory, f"{seconds:.1f}", f"{(place / 'index').stat().st_size / len(vectors):.0f}"])
            rows[-1] += [f"{_recall(index, queries, exact, depth):.3f}" for depth in (10, DEPTH)]
            times += [[factory, *line] for line in _times(index, queries, options)]
            if factory.endswith(",Flat"):
                probes = [
                    [n, f"{_recall(dense.load(place, nprobe=n), queries, exact, 10):.3f}",
                     f"{_recall(dense.load(place, nprobe=n), queries, exact, DEPTH):.3f}"]
                    for n in (1, 4, 8, clusters // 32, clusters // 16, clusters // 8, clusters // 4)
                ]  # fmt: skip
    faiss.omp_set_num_threads(options.threads)
    about = f"{len(vectors)} {what}, {len(queries)} queries, k = {DEPTH}, one thread, seconds of the processor."
    kinds = markdown(["index", "build s", "bytes a vector", "recall@10", f"recall@{DEPTH}"], rows)
    speed = markdown(["index", "at a time", "faiss ms", "nearest ms", "x", "faiss, ids looked up, ms", "search ms", "x",
                      "search x faiss"], times)  # fmt: skip
    of_clusters = markdown(["clusters visited", "recall@10", f"recall@{DEPTH}"], probes)
    return f"## dense\n\n{about}\n\n{kinds}\n\n{speed}\n\nOf {clusters} clusters:\n\n{of_clusters}\n"


def _times(index: dense.DenseIndex, queries: np.ndarray, options: Options) -> list[list[str]]:
    """Milliseconds a query, and ratios: of rows faiss's and ours, of ids theirs and ours; in batches and one by one."""
    found, ids = [], index.ids.tolist()
    for size in (64, 1):
        parts = [queries[k : k + size] for k in range(0, len(queries), size)]
        candidates = {
            "faiss": lambda parts=parts: [index.index.search(part, DEPTH) for part in parts],
            "nearest": lambda parts=parts: [dense.nearest(index, part, DEPTH) for part in parts],
            "faiss, ids": lambda parts=parts: [_looked_up(ids, *index.index.search(part, DEPTH)) for part in parts],
            "search": lambda parts=parts: [dense.search(index, part, DEPTH) for part in parts],
        }
        times = interleaved(candidates, options.repeats, clock=time.process_time)
        raw, nearest, theirs, ours = (1000 * times[name].median / len(queries) for name in candidates)
        found.append([str(size), f"{raw:.3f}", f"{nearest:.3f}", f"{nearest / raw:.3f}", f"{theirs:.3f}"])
        found[-1] += [f"{ours:.3f}", f"{ours / theirs:.3f}", f"{ours / raw:.3f}"]
    return found


def _looked_up(ids: list[str], scores: np.ndarray, rows: np.ndarray) -> list[list[tuple[str, float]]]:
    """Look up ids as a user of faiss would; as :func:`optical.retrieval.dense.index.search` returns them."""
    return [
        [(ids[row], score) for row, score in zip(*pair, strict=True) if row >= 0]
        for pair in zip(rows.tolist(), scores.tolist(), strict=True)
    ]


def _recall(index: dense.DenseIndex, queries: np.ndarray, exact: np.ndarray, depth: int) -> float:
    found = dense.search(index, queries, depth)
    hits = [len({f"d{k}" for k in best[:depth]} & {d for d, _ in a}) for a, best in zip(found, exact, strict=True)]
    return float(np.mean(hits)) / depth


def some_vectors() -> tuple[np.ndarray, np.ndarray, str]:
    """The embedded collection that OPTICAL_BENCH_SHARDS names, its last vectors the queries; drawn ones without it."""
    named = os.environ.get("OPTICAL_BENCH_SHARDS")
    if named is None:
        drawn = synthetic(COUNT + QUERIES, DIMENSION)
        return drawn[:-QUERIES], drawn[-QUERIES:], "drawn unit vectors round 2,000 centres"
    try:
        vectors = np.asarray(read_shards(named).vectors(), dtype=np.float32)
    except DataError as error:
        raise CannotRunError(str(error)) from error
    return vectors[:-QUERIES], vectors[-QUERIES:], "vectors of an embedded collection, some of them held out as queries"


def synthetic(count: int, dimension: int) -> np.ndarray:
    """Unit vectors round 2,000 centres, which an index can group, float32."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(2000, dimension)).astype(np.float32)
    drawn = centres[random.integers(len(centres), size=count)]
    drawn += 0.7 * random.standard_normal(size=drawn.shape, dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
