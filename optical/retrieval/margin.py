"""Which sentence pairs are likelier paired by chance than translations, by the vectors of their two sides.

A cosine says little by itself: encoders differ in how near any two texts are, and some sentences ("hubs") are near all.
So it is divided by those of the nearest other sentences, and compared with that of pairs made by chance of the same
lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

NEIGHBOURS = 4  # of each side, as in the paper
AMONG = 20_000  # sentences of the other side, evenly taken, that neighbours are looked for among
CHANCE = 10_000  # pairs made by chance, at least
LOST = 0.5  # what a right pair that is suspected costs, where a chance pair that is not costs 1
LEAST = 50  # pairs, below which there is no distribution to compare with
READS = 0.5  # share of chance pairs, above which the encoder seems not to read one of the languages
NUMBERS_AT_ONCE = 2**24  # cosines: 64 MB


class Suspicion(NamedTuple):
    """Margins of pairs, and which pairs they speak against.

    Attributes:
        margins: Of each pair; 1 is as near as the nearest others.
        share: Of pairs that are paired by chance, estimated.
        reads: Whether the encoder seems to read both languages: less than half of the pairs look like chance.
        suspected: Which pairs are likelier chance; none where it does not read them.
    """

    margins: Float[np.ndarray, " n"]
    share: float
    reads: bool
    suspected: Bool[np.ndarray, " n"]


def suspect(x: Float[np.ndarray, "n e"], y: Float[np.ndarray, "n e"], texts: Sequence[tuple[str, str]]) -> Suspicion:
    r"""Compare pairs of sentences with pairs made by chance of the same sentences.

    The ratio margin of a pair is :math:`\cos(x, y)` over the mean cosine of x and its k nearest other y, and of y and
    its k nearest other x (Artetxe and Schwenk 2019, "Margin-based parallel corpus mining with multilingual sentence
    embeddings", equation 2, k = 4; here without the nearest sentence of all, so that a wrong pair is judged alike
    whether the right side is in the file or not). With F the distribution of the margins of chance pairs, the share of
    chance among the pairs is twice the share of pairs below the median of F (Storey 2002); that share of F says how
    many of the lowest margins are chance and how many are right pairs, and the threshold is where missing the former
    and losing the latter cost least.

    Args:
        x: Unit vectors of one side.
        y: Of the other.
        texts: Both sides: a pair that shares a text with another is not its neighbour.
    """
    ids = [np.unique([pair[side] for pair in texts], return_inverse=True)[1] for side in (0, 1)]
    near = _neighbours(x, y, ids), _neighbours(y, x, ids)
    own = 2 * (x * y).sum(axis=1) / (near[0] + near[1])
    rows, others = _chance(ids)
    chance = np.sort(2 * (x[rows] * y[others]).sum(axis=1) / (near[0][rows] + near[1][others]))
    below = np.searchsorted(chance, own) / len(chance)  # F
    share = min(1.0, 2 * float((below < 0.5).mean()))
    suspected = np.zeros(len(own), dtype=bool)
    order = np.argsort(own, kind="stable")
    gained = (1 + LOST) * share * len(own) * below[order] - LOST * np.arange(1, len(own) + 1)
    if share <= READS and gained.max() > 0:
        suspected[order[: gained.argmax() + 1]] = True
    return Suspicion(own, share, share <= READS, suspected)


def _neighbours(
    own: Float[np.ndarray, "n e"], others: Float[np.ndarray, "n e"], ids: Sequence[Int[np.ndarray, " n"]]
) -> Float[np.ndarray, " n"]:
    """The mean cosine of each sentence and its nearest of the other side, the very nearest left out."""
    some = np.unique(np.linspace(0, len(others) - 1, min(len(others), AMONG)).astype(int))
    means = []
    rows = max(1, NUMBERS_AT_ONCE // len(some))
    for first in range(0, len(own), rows):
        block = np.arange(first, min(first + rows, len(own)))
        cosines = own[block] @ others[some].T
        again = (ids[0][block][:, None] == ids[0][some]) | (ids[1][block][:, None] == ids[1][some])
        cosines[again & (block[:, None] != some)] = -1
        best = np.partition(cosines, -NEIGHBOURS - 1, axis=1)[:, -NEIGHBOURS - 1 :]
        means.append((best.sum(axis=1) - best.max(axis=1)) / NEIGHBOURS)
    return np.concatenate(means)


def _chance(ids: Sequence[Int[np.ndarray, " n"]]) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Rows of either side that make at least ``CHANCE`` pairs, and about one for each line; the same every time."""
    count = len(ids[0])
    draws = np.random.default_rng(0)
    rows = np.tile(np.arange(count), -(-CHANCE // count))
    others = draws.integers(count, size=len(rows))
    apart = np.logical_and(*(side[rows] != side[others] for side in ids))
    return rows[apart], others[apart]
