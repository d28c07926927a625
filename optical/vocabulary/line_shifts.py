"""Lines whose translation stands some lines above or below them, found by words, numbers, names and lengths alone.

A line that is missing on one side of a bitext shifts everything after it. No model is needed to see that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from optical.data.bitext import Pair
from optical.vocabulary.line_similarity import (
    BLOCK,
    OFFSETS,
    REACH,
    Lines,
    similarity_by_names,
    similarity_by_words,
    tokenized,
)

WINDOWS = (2, 0)  # lines above and below those believed that words are learnt from, round by round
CHANGE = 12.0  # nats that a change of the offset has to gain
SURE = 3.5  # standard errors by which a block of lines has to be better elsewhere to begin there
ROUNDS = 3  # path and histograms are estimated from each other so often
BINS = 12  # of the histograms that tell translations from other pairs


class Shift(NamedTuple):
    """Lines in a row whose translation stands elsewhere.

    Attributes:
        first: Position of the first of these lines, from 0.
        last: Position of the last one.
        by: Lines from the English one down to its translation; negative where that stands above.
    """

    first: int
    last: int
    by: int


class LineAlignment(NamedTuple):
    """Where the translation of each line of a file stands.

    Attributes:
        offsets: Lines from each English line down to its translation, 0 where it stands beside it.
        evidence: ``log p(x | translation) - log p(x | another pair)`` of each line and the one at its offset, in nats.
    """

    offsets: Int[np.ndarray, " n"]
    evidence: Float[np.ndarray, " n"]

    @property
    def shifts(self) -> list[Shift]:
        """The stretches of lines with an offset other than 0."""
        ends = np.flatnonzero(np.diff(self.offsets)) + 1
        bounds = pairwise([0, *ends.tolist(), len(self.offsets)])
        return [Shift(a, b - 1, by) for a, b in bounds if a < b and (by := int(self.offsets[a]))]


def align_lines(files: Sequence[Sequence[Pair]]) -> list[LineAlignment]:
    """Find where the translation of each line stands, by a hidden Markov model whose states are offsets.

    Two things are seen of an English line and the X line at each offset: the cosine of their words, those of X put into
    English, and the ratio of their lengths. Histograms over the pairs at the offsets believed and over all others make
    evidence of both, and the best path through it gives new offsets. The first path is by names and numbers alone.

    Args:
        files: The lines of each file in their order, with all that are empty or doubtful; words are learnt from all.
    """
    lines = tokenized(files)
    n = len(lines.english)
    if not n:
        return [LineAlignment(np.zeros(0, dtype=np.int64), np.zeros(0)) for _ in files]
    ratio = _length_ratios([pair for file in files for pair in file], lines)
    path, evidence = _estimated(similarity_by_names(lines), ratio, lines)
    for window in WINDOWS:
        path, evidence = _estimated(similarity_by_words(lines, OFFSETS[path], window), ratio, lines)
    own = evidence[np.arange(n), path]
    ends = np.cumsum([len(file) for file in files]).tolist()
    return [LineAlignment(OFFSETS[path[a:b]], own[a:b]) for a, b in pairwise([0, *ends])]


def _length_ratios(pairs: Sequence[Pair], lines: Lines) -> Float[np.ndarray, "n offsets"]:
    """Logarithm of the characters of the X line at each offset per English one; NaN where one is empty or missing."""
    english, foreign = (np.array([len(text) or np.nan for text in side]) for side in zip(*pairs, strict=True))
    ratio, rows = np.full((len(pairs), len(OFFSETS)), np.nan), np.arange(len(pairs))
    for column, by in enumerate(OFFSETS.tolist()):
        here = rows[lines.there(rows, by)]
        ratio[here, column] = np.log(foreign[here + by] / english[here])
    return ratio


def _estimated(
    similarity: Float[np.ndarray, "n offsets"], ratio: Float[np.ndarray, "n offsets"], lines: Lines
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n offsets"]]:
    """The column of each line's offset, and the evidence for each column."""
    similarity = np.where(np.isnan(ratio), np.nan, similarity)
    bounds = list(pairwise([0, *np.unique(lines.end).tolist()]))
    path, evidence = np.concatenate([_start(similarity[a:b]) for a, b in bounds]), np.zeros_like(ratio)
    for _ in range(ROUNDS):
        on = np.arange(len(OFFSETS)) == path[:, None]
        usual = np.nanmedian(ratio[on]) if np.isfinite(ratio[on]).any() else 0.0
        evidence = _evidence(similarity, on) + _evidence(np.abs(ratio - usual), on)
        path, before = np.concatenate([_best_path(evidence[a:b]) for a, b in bounds]), path
        if np.array_equal(path, before):
            break
    return path, evidence


def _start(similarity: np.ndarray) -> np.ndarray:
    """The best column, block by block, where it is surely better than the others; that of offset 0 elsewhere."""
    best = []
    for at in range(0, len(similarity), BLOCK):
        block = np.nan_to_num(similarity[at : at + BLOCK])
        block = block - block.mean(1, keepdims=True)
        errors = block.sum(0) / np.maximum(np.sqrt((block**2).sum(0)), 1e-9)
        best.append(int(errors.argmax()) if errors.max() > SURE else REACH)
    return np.repeat(best, BLOCK)[: len(similarity)]


def _evidence(values: Float[np.ndarray, "n offsets"], on: Bool[np.ndarray, "n offsets"]) -> np.ndarray:
    """``log p(value | on) - log p(value | off)`` by histograms of quantiles; 0 where there is no value."""
    there = np.isfinite(values)
    edges = np.unique(np.quantile(values[there], np.linspace(0, 1, BINS + 1)[1:-1])) if there.any() else np.zeros(0)
    at = np.digitize(np.where(there, values, 0), edges)
    p, q = (np.bincount(at[there & mask], minlength=len(edges) + 1) + 1.0 for mask in (on, ~on))
    return np.where(there, (np.log(p / p.sum()) - np.log(q / q.sum()))[at], 0.0)


def _best_path(evidence: Float[np.ndarray, "n offsets"]) -> Int[np.ndarray, " n"]:
    """The columns of most evidence (Viterbi); a change, or a start elsewhere than at offset 0, costs ``CHANGE``."""
    n, k = evidence.shape
    best = np.where(np.arange(k) == REACH, 0.0, -CHANGE)
    came = np.tile(np.arange(k), (n, 1))
    for i in range(n):
        if i:
            top = int(best.argmax())
            came[i] = np.where(best < best[top] - CHANGE, top, came[i])
            best = np.maximum(best, best[top] - CHANGE)
        best = best + evidence[i]
    path = np.zeros(n, dtype=np.int64)
    at = int(best.argmax())
    for i in range(n - 1, -1, -1):
        path[i] = at
        at = int(came[i, at])
    return path
