"""Search by lists in stages that each score fewer documents, better, by the compiled loops of the extra ``late``.

Lists propose documents; MaxSim of the centroids of their tokens keeps some; MaxSim of the tokens whose centroid is
nearly the best of the document keeps fewer; exact MaxSim ranks those. Each stage begins with the documents that are the
best so far, and may end where the others have hardly a chance. (Centroids before tokens: Santhanam et al. 2022,
PLAID. Tokens of a document that a query token need not meet, told by their centroids, are this project's.)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import NormalDist
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

if TYPE_CHECKING:
    from optical.retrieval.late.store import LateIndex

GAP = 20  # of 255 levels: how far below the best centroid a token's centroid may lie
BY_CENTROIDS, BY_NEAR_TOKENS = 8, 3  # documents in the two stages, times those that are scored exactly
# Where as few are scored as seem enough (experiments/LOG.md, 2026-11-30 and 2026-12-01): the same two, as bounds that
# few questions reach, of a collection of MANY or fewer; the gap; how many more than k are scored exactly in any case;
# standard deviations that a score by near tokens, and an exact one, may be above the expected one.
FEWER_BY_CENTROIDS, FEWER_BY_NEAR_TOKENS, MANY = 16, 6, 20_000
FEWER_GAP, FIRST, SURE_NEAR, SURE_EXACT = 12, 20, 2.5, 5.0
BY_CHANCE = 70  # documents of a collection that may be further above it, were scores normal: the more, the surer
PART = 32  # documents that are worth another thread
Found = tuple[Int[np.ndarray, " c"], Float[np.ndarray, " c"]]


@functools.cache
def kernels() -> ModuleType | None:
    """The compiled loops, where numba is there, can keep what it compiles, and the processor has the instructions."""
    try:
        from optical.retrieval.late import kernels as compiled
    except (ImportError, RuntimeError):  # numba raises the second where it finds no folder to write to
        return None
    return compiled if compiled.usable() else None


def serves(index: LateIndex) -> bool:
    """Whether the compiled loops fit an index: int8 of a multiple of 32 dimensions, or int4 of one of 64."""
    compiled = kernels()
    if compiled is None or index.scale is None or index.tokens.shape[1] % compiled.WIDTH:
        return False
    return index.lists is None or index.lists.codes.dtype == np.uint16


def search(
    index: LateIndex,
    vectors: Float[np.ndarray, "n d"],
    k: int,
    probe: int,
    candidates: int | None,
    *,
    fewer: bool = False,
) -> Found:
    """Documents and their exact scores, in the order of the index, among them nearly always the k best.

    Args:
        index: One that :func:`serves` is true of.
        vectors: Query tokens, turned as the stored ones are; at least one.
        k: At least so many documents, where there are as many with tokens.
        probe: Lists opened for each query token.
        candidates: Documents scored exactly; None for all.
        fewer: Score fewer where the scores so far leave others hardly a chance.
    """
    compiled = kernels()
    assert compiled is not None
    assert index.scale is not None
    lists = index.lists
    codes = np.zeros(0, dtype=np.uint16) if lists is None else lists.codes
    tokens = index.tokens.numpy().view(np.int8)
    longest = int(np.diff(index.start).max())
    stored = compiled.Stored(
        tokens, index.scale.numpy(), codes, index.start, longest, int(index.tokens.dtype == torch.uint8)
    )
    asked = _asked(compiled, np.ascontiguousarray(vectors, dtype=np.float32))
    exactly = partial(_scores, compiled.exactly, asked, stored)
    if lists is None or candidates is None:
        rows = np.flatnonzero(np.diff(index.start))
        return rows, exactly(rows)
    listed, by_near = _bounds(len(index.ids)) if fewer else (BY_CENTROIDS, BY_NEAR_TOKENS)
    rows, table = _listed(index, compiled, asked, k, probe, listed * candidates)
    rough = np.zeros(len(rows), dtype=np.float32)
    if fewer or len(rows) > by_near * candidates:
        rough = _scores(compiled.by_centroids, table, asked.lengths, stored, rows) / np.float32(compiled.LEVELS)
    if fewer or len(rows) > candidates:
        near = partial(_scores, compiled.by_near_tokens, table, FEWER_GAP if fewer else GAP, asked, stored)
        first = candidates if fewer else None
        rows, rough = _narrowed(rows, rough, near, k, by_near * candidates, first, _sure_near(len(index.ids)))
    return _narrowed(rows, rough, exactly, k, candidates, k + FIRST if fewer else None, SURE_EXACT)


def _bounds(count: int) -> tuple[int, int]:
    """The bounds where fewer are scored: by the square root of the documents where there are many."""
    growth = max(1.0, (count / MANY) ** 0.5)
    return round(growth * FEWER_BY_CENTROIDS), round(growth * FEWER_BY_NEAR_TOKENS)


def _sure_near(count: int) -> float:
    """Standard deviations that a score by near tokens may be above the expected one."""
    return max(SURE_NEAR, NormalDist().inv_cdf(1 - min(0.5, BY_CHANCE / count)))


def _scores(work: Callable[..., None], *given: Any) -> Float[np.ndarray, " c"]:
    """The scores that a compiled loop gives to the documents that are its last argument; threads divide these."""
    *fixed, rows = given
    scores = np.empty(len(rows), dtype=np.float32)
    _divided(lambda begin, end: work(*fixed, rows[begin:end], scores[begin:end]), len(rows))
    return scores


def _divided(work: Callable[[int, int], None], count: int) -> None:
    """Work on parts from and to a number, each on a thread of its own where there are more than PART for it."""
    parts = max(1, min(torch.get_num_threads(), count // PART))
    cuts = np.linspace(0, count, parts + 1).astype(int)
    with ThreadPoolExecutor(parts) as threads:  # its threads are made as work is handed to them
        others = [threads.submit(work, begin, end) for begin, end in itertools.pairwise(cuts[1:])]
        work(0, cuts[1])
        for other in others:
            other.result()


def _narrowed(
    rows: Int[np.ndarray, " c"],
    rough: Float[np.ndarray, " c"],
    score: Callable[[np.ndarray], np.ndarray],
    k: int,
    most: int,
    first: int | None,
    sure: float,
) -> Found:
    """The rows with the highest rough scores, in their order, and better scores of them.

    Args:
        rows: Documents, in the order of the index.
        rough: Their scores so far.
        score: Gives documents better ones.
        k: How many are looked for.
        most: How many get a better score at most.
        first: How many get one at least, k or more; others only while theirs could be among the k best, going by how
            much higher the better scores are so far. None for ``most``.
        sure: Standard deviations that one may be above the mean of that.
    """
    order = np.argsort(-rough, kind="stable")[:most]
    scores = np.empty(len(order), dtype=np.float32)
    done, until = 0, len(order) if first is None else min(first, len(order))
    while done < until:
        scores[done:until] = score(np.ascontiguousarray(rows[order[done:until]]))
        done = until
        if done < len(order):
            gained = scores[:done] - rough[order[:done]]
            least = np.partition(scores[:done], done - k)[done - k] - gained.mean() - sure * gained.std()
            until = int(np.count_nonzero(rough[order] >= least))
    found = np.argsort(rows[order[:done]])
    return rows[order[found]], scores[found]


def _asked(compiled: ModuleType, vectors: Float[np.ndarray, "n d"]) -> Any:
    n, dimension = vectors.shape
    padded = -(-n // compiled.TOGETHER) * compiled.TOGETHER
    step = np.zeros(padded, dtype=np.float32)
    step[:n] = np.abs(vectors).max(axis=1) / compiled.DIGIT
    step[:n][step[:n] < np.finfo(np.float32).tiny] = 1
    digits = np.zeros((padded, dimension), dtype=np.int8)
    digits[:n] = np.rint(vectors / step[:n, None])
    return compiled.Asked(vectors, np.linalg.norm(vectors, axis=1), digits, digits.sum(axis=1, dtype=np.int32), step)


def _listed(
    index: LateIndex, compiled: ModuleType, asked: Any, k: int, probe: int, most: int
) -> tuple[Int[np.ndarray, " c"], UInt8[np.ndarray, "l w"]]:
    """Documents of the nearest lists, in the order of the index, and the levels of all centroids and query tokens."""
    lists = index.lists
    assert lists is not None
    coarse, unit = lists.coarse
    table = np.zeros((len(coarse), -(-len(asked.lengths) // compiled.WIDTH) * compiled.WIDTH), dtype=np.uint8)
    _divided(lambda begin, end: compiled.levels(coarse[begin:end], unit, asked, table[begin:end]), len(coarse))
    while True:
        probe = min(probe, len(table))
        score = np.zeros(len(index.ids), dtype=np.float32)
        found = compiled.listed(table, asked.lengths, probe, lists.start, lists.documents, score)
        if found >= k or probe == len(table):
            break
        probe *= 4
    rows = np.flatnonzero(score)
    if len(rows) > most:
        rows = np.sort(rows[np.argpartition(-score[rows], most)[:most]])
    return rows, table
