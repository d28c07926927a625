"""Search by lists in stages that each score fewer documents, better, by the compiled loops of the extra ``late``.

Lists propose documents; MaxSim of the centroids of their tokens keeps some; MaxSim of the tokens whose centroid is
nearly the best of the document keeps fewer; exact MaxSim ranks those. (Centroids before tokens: Santhanam et al. 2022,
PLAID. Tokens of a document that a query token need not meet, told by their centroids, are this project's.)
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from optical.retrieval.late.store import LateIndex

GAP = 20  # of 255 levels: how far below the best centroid a token's centroid may lie
BY_CENTROIDS, BY_NEAR_TOKENS = 8, 3  # documents in the two stages, times those that are scored exactly
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


def search(index: LateIndex, vectors: Float[np.ndarray, "n d"], k: int, probe: int, candidates: int | None) -> Found:
    """Documents and their exact scores, in the order of the index, among them nearly always the k best.

    Args:
        index: One that :func:`serves` is true of.
        vectors: Query tokens, turned as the stored ones are; at least one.
        k: At least so many documents, where there are as many with tokens.
        probe: Lists opened for each query token.
        candidates: Documents scored exactly; None for all.
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
    if lists is None or candidates is None:
        rows = np.flatnonzero(np.diff(index.start))
    else:
        rows = _candidates(index, compiled, asked, stored, k, probe, candidates)
    scores = np.empty(len(rows), dtype=np.float32)
    compiled.exactly(asked, stored, rows, scores)
    return rows, scores


def _asked(compiled: ModuleType, vectors: Float[np.ndarray, "n d"]) -> tuple:
    n, dimension = vectors.shape
    padded = -(-n // compiled.TOGETHER) * compiled.TOGETHER
    step = np.zeros(padded, dtype=np.float32)
    step[:n] = np.abs(vectors).max(axis=1) / compiled.DIGIT
    step[:n][step[:n] < np.finfo(np.float32).tiny] = 1
    digits = np.zeros((padded, dimension), dtype=np.int8)
    digits[:n] = np.rint(vectors / step[:n, None])
    return compiled.Asked(vectors, np.linalg.norm(vectors, axis=1), digits, digits.sum(axis=1, dtype=np.int32), step)


def _candidates(
    index: LateIndex, compiled: ModuleType, asked: tuple, stored: tuple, k: int, probe: int, count: int
) -> Int[np.ndarray, " c"]:
    """Documents to be scored exactly, in the order of the index."""
    lists = index.lists
    assert lists is not None
    coarse, unit = lists.coarse
    lengths = asked[1]
    table = np.zeros((len(coarse), -(-len(lengths) // compiled.WIDTH) * compiled.WIDTH), dtype=np.uint8)
    compiled.levels(coarse, unit, asked, table)
    while True:
        probe = min(probe, len(table))
        score = np.zeros(len(index.ids), dtype=np.float32)
        found = compiled.listed(table, lengths, probe, lists.start, lists.documents, score)
        if found >= k or probe == len(table):
            break
        probe *= 4
    rows = np.flatnonzero(score)
    rows = _best(rows, score[rows], BY_CENTROIDS * count)
    if len(rows) > BY_NEAR_TOKENS * count:
        scores = np.empty(len(rows), dtype=np.float32)
        compiled.by_centroids(table, lengths, stored, rows, scores)
        rows = _best(rows, scores, BY_NEAR_TOKENS * count)
    if len(rows) > count:
        scores = np.empty(len(rows), dtype=np.float32)
        compiled.by_near_tokens(table, GAP, asked, stored, rows, scores)
        rows = _best(rows, scores, count)
    return rows


def _best(rows: Int[np.ndarray, " c"], scores: Float[np.ndarray, " c"], count: int) -> Int[np.ndarray, " count"]:
    """The rows with the highest scores, in their order."""
    if len(rows) <= count:
        return rows
    return np.sort(rows[np.argpartition(-scores, count)[:count]])
