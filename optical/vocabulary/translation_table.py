"""Translation tables of word alignment: how probable each English piece is for each word of X, and the reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int, UInt64

from optical.vocabulary.subwords import WordParts, borrow, likeness

Smooth: TypeAlias = Callable[[np.ndarray], np.ndarray]

AT_ONCE = 1 << 22  # entries that are added up at once: numpy makes float64 of them
REVERSE = 0.2  # of 0.1 to 0.7 the best on the development sets: more favours English words that are rare by chance


class TranslationTable(NamedTuple):
    """A sparse translation table, sorted by X id and then by falling weight.

    Attributes:
        foreign: X id of each entry.
        english: English id of each entry.
        counts: Expected number of times that they translate each other.
        probability: ``t(english | foreign)``; sums to 1 over the entries of one X id.
        reverse: ``t(foreign | english)`` from the same expected counts; sums to 1 over the entries of one English id.
    """

    foreign: Int[np.ndarray, " k"]
    english: Int[np.ndarray, " k"]
    counts: Float[np.ndarray, " k"]
    probability: Float[np.ndarray, " k"]
    reverse: Float[np.ndarray, " k"]

    @property
    def weight(self) -> Float[np.ndarray, " k"]:
        """``t(e | f) t(f | e)^0.2``: what f means, less what every f means ("the", commas)."""
        return self.probability * self.reverse**REVERSE


class Prior(NamedTuple):
    """Translations that are known before any sentence is read, as distinct pairs of ids.

    Attributes:
        foreign: X id of each pair, ``(k,)``.
        english: English id of each pair.
        share: ``d(english | foreign)``; sums to 1 over the pairs of one X id.
        weight: Occurrences that the known translations of a word are worth, w.
    """

    foreign: Int[np.ndarray, " k"]
    english: Int[np.ndarray, " k"]
    share: Float[np.ndarray, " k"]
    weight: float

    def of(self, f: Int[np.ndarray, " n"], e: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """``d(e | f)`` of pairs of ids, 0 where nothing is known of them."""
        width = 1 + int(max(self.english.max(initial=0), e.max(initial=0)))
        keys, asked = self.foreign * width + self.english, f.astype(np.int64) * width + e
        order = np.argsort(keys)
        if not len(keys):
            return np.zeros(len(asked), dtype=np.float32)
        at = order[np.minimum(np.searchsorted(keys, asked, sorter=order), len(keys) - 1)]
        return np.where(keys[at] == asked, self.share[at], 0).astype(np.float32)

    def occurrences(self, size: int) -> Float[np.ndarray, " f"]:
        """Occurrences that each of ``size`` X ids gains: w where a translation is known, else 0."""
        return np.bincount(self.foreign, weights=self.weight * self.share, minlength=size)


class Hints(NamedTuple):
    """Hints from the spelling of words, and from what is known of them, taken before any sentence is read.

    Attributes:
        parts: Halves that words share; rare words lean on them.
        letters: Character pairs of X ids and of English ids; words that look alike probably mean the same.
        alike: Weight of looking alike in the start: ``t0 ~ 1 + alike * dice^2``.
        lean: Occurrences that a word needs before its own counts weigh more than its halves'.
        prior: Known translations; they start as if they looked alike, and add to the counts of each step.
    """

    parts: WordParts
    letters: tuple[UInt64[np.ndarray, "f 12"], UInt64[np.ndarray, "e 12"]]
    alike: float = 20.0
    lean: float = 1.0
    prior: Prior | None = None


def apply_hints(hints: Hints | None, f: Int[np.ndarray, " k"], e: Int[np.ndarray, " k"]) -> tuple[np.ndarray, Smooth]:
    """Starting weights of distinct pairs, and how their counts are smoothed, from the hints.

    Args:
        hints: None for a uniform start and no smoothing.
        f: X id of each pair.
        e: English id of each pair.

    Returns:
        Start ``(k,)``, at least 1, and a function from expected counts ``(k,)`` to the occurrences ``(k,)`` that shared
        parts and known translations add to them.
    """
    start = np.ones(len(f), dtype=np.float32)
    if hints is None:
        return start, np.zeros_like
    start += hints.alike * likeness(*hints.letters, f, e) ** 2
    smooth = borrow(hints.parts, f, e)
    if (prior := hints.prior) is None:
        return start, lambda counts: hints.lean * smooth(counts)
    known = prior.of(f, e)
    start += hints.alike * known
    return start, lambda counts: hints.lean * smooth(counts) + prior.weight * known


def with_prior(table: TranslationTable, prior: Prior) -> TranslationTable:
    """Add known translations to a table: what a word never met in a sentence counts as it does where it was met.

    Counts grow by ``w d(e | f)``; so ``t(e | f)`` of a pair that never met is ``w d / (c(f) + w)``, and a word that the
    bitext lacks has ``d``. What the alignment had as a hint is in its probabilities already.
    """
    f, e = np.concatenate([table.foreign, prior.foreign]), np.concatenate([table.english, prior.english])
    size, width = 1 + int(f.max(initial=0)), 1 + int(e.max(initial=0))
    met = np.isin(prior.foreign * width + prior.english, table.foreign.astype(np.int64) * width + table.english)
    kept = np.concatenate([np.full(len(table.foreign), True), ~met])
    known = prior.weight * prior.of(table.foreign, table.english)
    mass = np.bincount(table.foreign, weights=table.counts + known, minlength=size)[table.foreign]
    added = prior.weight * prior.share[~met]
    counts = np.concatenate([table.counts + known, added]).astype(np.float32)
    f, e = f[kept], e[kept]
    return sorted_table(f, e, counts, per_id(np.concatenate([mass * table.probability, added]), f))


def empty_table() -> TranslationTable:
    """The table of a bitext in which no two tokens co-occur."""
    empty = np.zeros(0, dtype=np.int64)
    return TranslationTable(empty, empty, np.zeros(0), np.zeros(0), np.zeros(0))


def sorted_table(f: np.ndarray, e: np.ndarray, counts: np.ndarray, probability: np.ndarray) -> TranslationTable:
    """A :class:`TranslationTable` from distinct pairs in any order.

    Args:
        f: X id of each pair, ``(k,)``.
        e: English id of each pair.
        counts: Expected counts.
        probability: ``t(e | f)``.
    """
    table = TranslationTable(f, e, counts, probability, per_id(counts, e))
    order = order_of(table)
    return TranslationTable(*(values[order] for values in table))


def order_of(table: TranslationTable) -> Int[np.ndarray, " k"]:
    """Positions by X id, then by falling weight.

    Weights are at most 1, so one sort of a combined key does it, which is faster than lexsort.
    """
    return np.argsort(table.foreign.astype(np.float64) * 2 - table.weight, kind="stable")


def per_id(values: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Values ``(k,)`` divided by their sum over the entries of the same id."""
    sums = np.zeros(1 + int(f.max(initial=-1)))
    for k in range(0, len(f), AT_ONCE):
        sums += np.bincount(f[k : k + AT_ONCE], weights=values[k : k + AT_ONCE], minlength=len(sums))
    return (values / np.maximum(sums, 1e-30).astype(np.float32)[f]).astype(np.float32, copy=False)
