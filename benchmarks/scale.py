"""Time and memory against the size of a collection, and what 8.8 million and a billion passages would take."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.dense import synthetic
from benchmarks.embedding import default_teacher, passages
from benchmarks.timing import Options, forget_peak, interleaved, markdown, memory
from optical.embeddings.embed import EmbedOptions, embed_collection
from optical.retrieval import dense
from optical.retrieval.dense.factory import probes

INDEXED = (1_000, 10_000, 100_000)
SHARD = 250  # passages; small, so that what is embedded here is of several shards
DIMENSION, QUERIES, DEPTH = 384, 100, 100
WANTED = {"8.8M (MS MARCO)": 8_841_823, "1B": 10**9}
PQ = f"PQ{DIMENSION // 2}x4fs,Refine(SQ8)"  # of clusters: what auto takes
AN_INDEX = 50_000_000  # vectors at most; a larger collection is several of them


class Cost(NamedTuple):
    """Cost of one size: seconds of the processor, bytes on disk, megabytes that memory grew by at most."""

    texts: int
    seconds: float
    size: int
    grown: float


def run(options: Options) -> str:
    """Markdown: embedding, index and search at several sizes, and an estimate from their slopes."""
    import faiss

    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    embedded = _embed(options)
    table, slopes = _index(options)
    faiss.omp_set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    first, last = embedded[0], embedded[-1]
    slope = (last.seconds - first.seconds) / (last.texts - first.texts) if last.texts > first.texts else np.nan
    header = ["passages", "ms each", "bytes each, float32", "memory grew by MB"]
    rows = [
        [f"{c.texts:,}", f"{1000 * c.seconds / c.texts:.1f}", f"{c.size / c.texts:.0f}", f"{c.grown:.0f}"]
        for c in embedded
    ]
    return "\n\n".join(
        [
            f"## scale\n\nEmbedding real passages in shards of {SHARD}, one thread, seconds of the processor; the "
            f"slope is {1000 * slope:.1f} ms a passage.",
            markdown(header, rows),
            f"Indexing and searching drawn vectors of {DIMENSION} dimensions, k = {DEPTH}, one thread.",
            table,
            "Estimate, from these slopes: embedding on one such core, which ranks divide; a search on one core.",
            _estimate(slope, last.size / last.texts, slopes),
        ]
    ) + "\n"  # fmt: skip


def _embed(options: Options) -> list[Cost]:
    encoder, texts = default_teacher(options.device), passages()
    embed_collection(encoder, [("d", texts[0])], Path(tempfile.mkdtemp()) / "warm")
    costs = []
    sizes = [int(size) for size in os.environ.get("OPTICAL_BENCH_PASSAGES", "1000,4000").split(",")]
    for count in [size for size in sizes if size <= len(texts)] or [len(texts)]:
        with tempfile.TemporaryDirectory() as folder:
            documents = ((f"d{k}", text) for k, text in enumerate(texts[:count]))
            costs.append(
                _cost(
                    count,
                    Path(folder),
                    lambda documents=documents, folder=folder: embed_collection(
                        encoder, documents, Path(folder) / "v", EmbedOptions(shard_size=SHARD)
                    ),
                )
            )
    return costs


def _index(options: Options) -> tuple[str, dict[str, float]]:
    """A table of sizes and kinds, and nanoseconds a vector that a search compares, by kind."""
    rows, slopes = [], {}
    for count in INDEXED:
        drawn = synthetic(count + QUERIES, DIMENSION)
        vectors, queries = drawn[:-QUERIES], drawn[-QUERIES:]
        clusters = 2 ** round(np.log2(4 * np.sqrt(count)))
        for factory in ("Flat", f"IVF{clusters},{PQ}"):
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / "index"
                ids = [f"d{k}" for k in range(count)]
                cost = _cost(count, place, lambda: dense.build(vectors, ids, place, factory, manifest={}))  # noqa: B023 - called at once
                index = dense.load(place)
                taken = (
                    interleaved(
                        {"": lambda: dense.search(index, queries, DEPTH)},  # noqa: B023 - called at once
                        options.repeats,
                        clock=time.process_time,
                    )[""].median
                    / QUERIES
                )
                compared = count if factory == "Flat" else count * probes(clusters) / clusters + clusters
                kind = factory.partition(",")[2] or factory
                slopes[kind] = 1e9 * taken / compared
                slopes[f"{kind} bytes"] = cost.size / count
                rows.append([f"{count:,}", factory, f"{1e6 * cost.seconds / count:.1f}", f"{cost.size / count:.0f}",
                             f"{1000 * taken:.3f}", f"{slopes[kind]:.1f}"])  # fmt: skip
    header = ["vectors", "index", "build us each", "bytes each", "search ms a query", "ns a vector compared"]
    return markdown(header, rows), slopes


def _estimate(slope: float, size: float, slopes: dict[str, float]) -> str:
    rows = []
    for name, count in WANTED.items():
        indexes = -(-count // AN_INDEX)
        clusters = min(16_384, 2 ** round(np.log2(4 * np.sqrt(count / indexes))))
        compared = indexes * (count / indexes * probes(clusters) / clusters + clusters)
        rows.append(
            [
                name,
                f"{slope * count / 3600:,.0f}",
                f"{size * count / 1e9:,.0f}",
                f"{(size - 3 * DIMENSION) * count / 1e9:,.0f}",
                f"{slopes[f'{PQ} bytes'] * count / 1e9:,.1f} in {indexes}",
                f"{slopes['Flat'] * count / 1e9:,.2f}",
                f"{slopes[PQ] * compared / 1e9:,.3f}",
            ]
        )
    header = ["passages", "embedding, core hours", "vectors GB, float32", "int8", "index IVF,PQ GB", "search Flat s",
              "search IVF,PQ s"]  # fmt: skip
    return markdown(header, rows)


def _cost(count: int, folder: Path, work: Callable[[], object]) -> Cost:
    before, start = forget_peak(), time.process_time()
    work()
    seconds = time.process_time() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Cost(count, seconds, size, memory("VmHWM") - before)
