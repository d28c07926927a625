"""Inverted lists of tokens: every stored token is in the list of its nearest centroid.

The centroids are found by spherical k-means on a bounded sample with a fixed seed. Stored tokens are int8, packed int4
or float16; only directions count, so the scale of a row does not matter.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from optical.retrieval.late.int4 import unpacked
from optical.retrieval.late.products import LEVELS, as_int8, whole_products

LISTS_FROM = 2**17  # tokens; comparing with all of fewer takes some 15 ms a query
MOST_LISTS = 2**16
SAMPLE = 32  # tokens in the sample of k-means for each centroid
ROUNDS = 4
AT_ONCE = 2**25  # products of tokens and centroids held at a time: 128 MB


class Lists(NamedTuple):
    """Tokens by centroid.

    Attributes:
        centroids: Unit vectors, ``(c, d)`` float32.
        start: List i has the rows ``rows[start[i]:start[i + 1]]``, ``(c + 1,)``.
        rows: Row numbers of all tokens, ascending within a list, ``(t,)``.
        documents: Their documents, ``(t,)``.
        codes: The list of each token, in the order of the tokens, ``(t,)``; uint16 where that is enough.
        coarse: The centroids in int8, ``(c, d)``, and the step of all of them.
    """

    centroids: Float[np.ndarray, "c d"]
    start: Int[np.ndarray, " c_plus_1"]
    rows: Int[np.ndarray, " t"]
    documents: Int[np.ndarray, " t"]
    codes: Int[np.ndarray, " t"]
    coarse: tuple[Int8[np.ndarray, "c d"], np.float32]


def how_many(tokens: int) -> int:
    """Number of lists: the power of two nearest to ``4 sqrt(tokens)``, at most 65,536; 0 below 131,072 tokens."""
    if tokens < LISTS_FROM:
        return 0
    return min(MOST_LISTS, 2 ** round(math.log2(4 * math.sqrt(tokens))))


def build(vectors: Tensor, begins: Int[np.ndarray, " n_plus_1"], count: int, *, seed: int = 0) -> Lists:
    """Cluster a sample of the tokens and put every token into one of ``count`` lists; document i begins at begins[i].

    Memory beside the vectors: some 18 bytes a token, 32 d bytes a list, and 128 MB.
    """
    generator = np.random.default_rng(seed)
    size = min(len(vectors), SAMPLE * count)
    sample = _whole(vectors[torch.from_numpy(np.sort(generator.choice(len(vectors), size, replace=False)))])
    centroids = _distinct_start(sample, count, generator)
    for _ in range(ROUNDS):
        centroids = _moved(sample, centroids, generator)
    nearest = assigned(vectors, centroids)
    start = np.concatenate([[0], np.cumsum(np.bincount(nearest, minlength=count))])
    kind = np.int32 if len(vectors) < 2**31 else np.int64
    rows = np.argsort(nearest, kind="stable").astype(kind)
    return read(centroids.numpy(), start, rows, documents_of(begins)[rows], nearest.astype(_code(count)))


def read(
    centroids: Float[np.ndarray, "c d"],
    start: Int[np.ndarray, " c_plus_1"],
    rows: Int[np.ndarray, " t"],
    documents: Int[np.ndarray, " t"],
    codes: Int[np.ndarray, " t"] | None = None,
) -> Lists:
    """Lists from what is on disk; codes are counted again where an older program kept none."""
    if codes is None:
        codes = np.empty(len(rows), dtype=_code(len(centroids)))
        codes[rows] = np.repeat(np.arange(len(centroids), dtype=codes.dtype), np.diff(start))
    small, step = coarse(torch.from_numpy(centroids))
    return Lists(centroids, start, rows, documents, codes, (small.numpy(), np.float32(step)))


def documents_of(begins: Int[np.ndarray, " n_plus_1"]) -> Int[np.ndarray, " t"]:
    """The document of each token, where document i begins at ``begins[i]``."""
    return np.repeat(np.arange(len(begins) - 1, dtype=np.int32), np.diff(begins))


def _code(count: int) -> type[np.integer]:
    return np.uint16 if count <= MOST_LISTS else np.int32


def assigned(vectors: Tensor, centroids: Float[Tensor, "c d"]) -> Int[np.ndarray, " t"]:
    """For each token, the centroid with the largest inner product."""
    small, _ = coarse(centroids)
    step = max(1, AT_ONCE // len(centroids))
    found = np.empty(len(vectors), dtype=np.int32)
    for k in range(0, len(vectors), step):
        found[k : k + step] = whole_products(_whole(vectors[k : k + step]), small).numpy().argmax(axis=1)
    return found


def coarse(centroids: Float[Tensor, "c d"]) -> tuple[Int8[Tensor, "c d"], float]:
    """Centroids as int8, with one step for all, so that the largest product is that of the nearest centroid."""
    step = max(float(centroids.abs().max()), 1e-9) / LEVELS
    return (centroids / step).round().to(torch.int8), step


def _whole(vectors: Tensor) -> Int8[Tensor, "t d"]:
    if vectors.dtype == torch.uint8:
        return unpacked(vectors)
    return vectors if vectors.dtype == torch.int8 else as_int8(vectors.float())[0]


def _distinct_start(sample: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    chosen = torch.from_numpy(generator.choice(len(sample), count, replace=count > len(sample)))
    return torch.nn.functional.normalize(sample[chosen].float(), dim=1)


def _moved(sample: Tensor, centroids: Tensor, generator: np.random.Generator) -> Tensor:
    """Lloyd's step: each centroid moves to the mean direction of its tokens; one without any restarts at random."""
    nearest = torch.from_numpy(assigned(sample, centroids)).long()
    total = torch.zeros_like(centroids)
    for k in range(0, len(sample), 2**16):
        total.index_add_(0, nearest[k : k + 2**16], sample[k : k + 2**16].float())
    lost = total.abs().sum(dim=1) == 0
    total[lost] = sample[torch.from_numpy(generator.integers(len(sample), size=int(lost.sum())))].float()
    return torch.nn.functional.normalize(total, dim=1)
