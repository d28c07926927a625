"""Kinds of faiss index: which one suits how many vectors, how it is trained, filled and set for searching."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from optical.embeddings.shards import Matrix
from optical.errors import DataError, RecipeError

ROWS_AT_ONCE = 65_536  # cast to float32 at a time, so that half-precision vectors are never all held twice
TRAINING_ROWS = 262_144  # faiss itself samples 256 rows a cluster; this is enough for a thousand clusters
ROWS_A_CLUSTER = 64  # sampled where there are more clusters than that; faiss wants at least 39
FLAT_BELOW = 200_000  # vectors of one index; see :func:`choose`
MOST_CLUSTERS = 16_384
EF_SEARCH = 64  # candidates of HNSW, or k if that is more; faiss's default 16 loses answers for k = 10
MOST_PADDING = 257  # dimensions tried for vectors with penalties: PQ of 256 parts needs at most 255 zeros
REFINED = 8  # times k documents that PQ finds are scored again by the finer codes


def choose(count: int, dimension: int) -> str:
    """The factory that ``auto`` stands for.

    - Below 200,000 vectors ``Flat``: exact, 4 bytes a number, some 30 ms a query and core at 384 dimensions.
    - From there on ``IVFc,PQ(d/2)x4fs,Refine(SQ8)`` with c = 4 sqrt(count), rounded to a power of two, at most 16,384:
      the clusters hold d/4 bytes a vector, and only the best are scored again by one byte a number, which may stay on
      disk (``mapped``). Compared with ``IVFc,SQ8``, which an odd dimension gets, that is a quarter more bytes and the
      same recall; the hundred best take a quarter to a half of the time, the thousand best the same
      (benchmarks/README.md).

    Never plain ``PQ``, whose training is slow. Above 50 million vectors :mod:`optical.retrieval.dense.partitioned`
    makes several indexes, which are searched as one.
    """
    if count < FLAT_BELOW:
        return "Flat"
    clusters = min(2 ** round(math.log2(4 * math.sqrt(count))), MOST_CLUSTERS)
    if dimension % 2:
        return f"IVF{clusters},SQ8"
    return f"IVF{clusters},PQ{dimension // 2}x4fs,Refine(SQ8)"


def probes(clusters: int) -> int:
    """Clusters that a search visits by default.

    A quarter of up to 4,096 (some million vectors), 64 at least; an eighth of more, 1,024 at least. On 219,500 real
    sentence vectors 512 of 2,048 clusters hold .97 of the ten best for questions, and of the hundred best; 256 hold .94
    and .93, 128 hold .91 and .89 (benchmarks/README.md). SQ8 codes lose nothing in comparison, so ``nprobe``
    decides recall.
    """
    if clusters <= 4096:
        return min(clusters, max(64, clusters // 4))
    return max(1024, clusters // 8)


def planned(vectors: Matrix, factory: str, *, pads: bool) -> tuple[str, int]:
    """The factory, where ``auto`` asked for one, and the dimension of its index.

    Vectors with penalties (``pads``) have an odd dimension where others are even, which product quantisers cannot
    divide: zeros fill them up to the next dimension that the factory takes.
    """
    count, width = vectors.shape
    if factory == "auto":
        factory = choose(count, width + width % 2 if pads else width)
    if pads:
        faiss = load_faiss()
        for wider in range(width, width + MOST_PADDING):
            with contextlib.suppress(RuntimeError):
                faiss.index_factory(wider, factory, faiss.METRIC_INNER_PRODUCT)
                return factory, wider
    return factory, int(width)


def filled(vectors: Matrix, factory: str, dimension: int) -> Any:
    """A trained index that holds the vectors, with zeros up to the dimension."""
    faiss = load_faiss()
    if "IDMap" in factory:
        raise RecipeError(f"rows of this index are positions, so it cannot be an IDMap; got {factory!r}; leave it out")
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise RecipeError(
            f"faiss does not know this kind of index for {dimension} dimensions; got {factory!r}; "
            "'Flat', 'HNSW32' and 'IVF1024,SQ8' are kinds that it knows"
        ) from error
    clusters = _prepare(index)
    try:
        if not index.is_trained:
            step = -(-len(vectors) // max(TRAINING_ROWS, ROWS_A_CLUSTER * clusters))
            sample = _widened(vectors[::step], dimension)
            check_finite(sample, "document", step=step)
            index.train(sample)
    except RuntimeError as error:
        raise DataError(
            f"{len(vectors)} vectors are too few to train the index {factory!r} ({first_line(error)}); "
            "use the factory 'Flat', or fewer clusters"
        ) from error
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        block = _widened(vectors[start : start + ROWS_AT_ONCE], dimension)
        check_finite(block, "document", start)
        index.add(block)
    return index


def _widened(block: np.ndarray, dimension: int) -> np.ndarray:
    """Rows as faiss takes them, with zeros up to the dimension."""
    block = np.ascontiguousarray(block, dtype=np.float32)
    more = dimension - block.shape[1]
    return np.pad(block, ((0, 0), (0, more))) if more else block


def set_parameter(index: Any, name: str, value: int | None, folder: Path) -> None:
    """Set a parameter of the search on the index that has it, whatever is wrapped around that."""
    if value is None:
        return
    if value < 1:
        raise RecipeError(f"{name} must be at least 1; got {value}; leave it out, or raise it")
    try:
        load_faiss().ParameterSpace().set_index_parameter(index, name, value)
    except RuntimeError as error:
        raise RecipeError(
            f"this index has no {name}; got {value}; at {folder}; leave it out, or build another kind (IVF has nprobe, "
            "HNSW has efSearch)"
        ) from error


def _inside(index: Any) -> Iterator[Any]:
    """An index and those that it wraps: the one below a rotation, the one below finer codes."""
    faiss = load_faiss()
    while index is not None:
        yield index
        wrapped = getattr(index, "base_index", index.index if isinstance(index, faiss.IndexPreTransform) else None)
        index = None if wrapped is None else faiss.downcast_index(wrapped)


def _prepare(index: Any) -> int:
    """Replace defaults of faiss that train slowly or search poorly; the number of clusters, 0 without any."""
    clusters = 0
    for one in _inside(index):
        if hasattr(one, "do_polysemous_training"):  # minutes of training for a search not used here
            one.do_polysemous_training = False
        if hasattr(one, "k_factor"):
            one.k_factor = REFINED
        if hasattr(one, "hnsw"):
            one.hnsw.efSearch = EF_SEARCH
        if hasattr(one, "nprobe"):
            clusters = one.nlist
            one.nprobe = probes(clusters)
    return clusters


def check_finite(vectors: np.ndarray, what: str, first: int = 0, step: int = 1) -> None:
    """Refuse NaN and infinity; row i of ``vectors`` is number ``first + i * step``, from 0."""
    if math.isfinite(np.vdot(vectors, vectors)):  # fast: NaN and infinity never pass, but large numbers may fail it
        return
    broken = ~np.isfinite(vectors).all(axis=1)
    if broken.any():
        raise DataError(
            f"{int(broken.sum())} {what} vectors hold NaN or infinity; the first is number "
            f"{first + int(broken.argmax()) * step + 1}; encode the texts again, in float32 if this was half precision"
        )


def first_line(error: Exception) -> str:
    """The readable part of a message: the system's text, or the last clause of faiss's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().splitlines()[0].rpartition("Error: ")[2]


def load_faiss() -> ModuleType:
    """Import faiss late: where torch is used too, torch must start its threads first."""
    import faiss

    if sys.platform == "darwin":  # torch and faiss each carry an OpenMP there, and two that run at once crash
        faiss.omp_set_num_threads(1)
    return faiss
