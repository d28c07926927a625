"""Alignment error: links between the words of sentence pairs, compared with sure and possible links.

A link is (number of the English word, number of the word of X), from 0. Links are taken from a matrix of likeness,
probability or mass between the words; those that are right come from a file, or from a word aligner ("silver").

Silver links that a word aligner learnt from one bitext favour what resembles it: another table of the same aligner has
their mistakes too. So its own row, learnt from other sentences, says how far silver links can be trusted, and is no
competitor of an encoder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from optical.data.lines import lines
from optical.errors import DataError

Links: TypeAlias = frozenset[tuple[int, int]]

_LINK = re.compile(r"(\d{1,6})([-?p])(\d{1,6})", re.ASCII)
_SAMPLES = 1000  # of the bootstrap


class Gold(NamedTuple):
    """Right links of one sentence pair.

    Attributes:
        sure: Those that have to be found.
        possible: Those that may be found; the sure ones are among them.
    """

    sure: Links
    possible: Links


class AlignmentError(NamedTuple):
    r"""Links that were found, counted against sure links S and possible links P by sentence pair.

    Attributes:
        found: Links that were found, \|A\|, ``(k,)``.
        sure: \|S\|.
        found_sure: \|A and S\|.
        found_possible: \|A and P\|.
    """

    found: Int[np.ndarray, " k"]
    sure: Int[np.ndarray, " k"]
    found_sure: Int[np.ndarray, " k"]
    found_possible: Int[np.ndarray, " k"]

    @property
    def precision(self) -> float:
        r"""Share of the found links that are possible, \|A and P\| / \|A\|; 0 where none was found."""
        return _ratio(self.found_possible.sum(), self.found.sum())

    @property
    def recall(self) -> float:
        r"""Share of the sure links that were found, \|A and S\| / \|S\|."""
        return _ratio(self.found_sure.sum(), self.sure.sum())

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; without links that are merely possible, 1 - AER."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def aer(self) -> float:
        r"""Alignment error rate, ``1 - (|A and S| + |A and P|) / (|A| + |S|)``, over all pairs together.

        0 where all sure links were found and nothing but possible ones, 1 where nothing found is possible. Och and Ney
        2003, "A systematic comparison of various statistical alignment models".
        """
        return 1.0 - _ratio((self.found_sure + self.found_possible).sum(), (self.found + self.sure).sum())

    @property
    def by_pair(self) -> Float[np.ndarray, " k"]:
        """AER of each sentence pair, for paired tests; 0 where it has no sure link and none was found."""
        total = self.found + self.sure
        right = self.found_sure + self.found_possible
        return 1.0 - np.divide(right, total, out=np.ones(len(total)), where=total > 0)

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """The 95 % percentile interval of the AER by the bootstrap over sentence pairs."""
        wrong, total = self.found + self.sure - self.found_sure - self.found_possible, self.found + self.sure
        generator = np.random.default_rng(seed)
        drawn = (generator.integers(0, len(total), size=len(total)) for _ in range(_SAMPLES))
        rates = [_ratio(wrong[rows].sum(), total[rows].sum()) for rows in drawn]
        low, high = np.percentile(rates, [2.5, 97.5])
        return float(low), float(high)


def alignment_error(found: Sequence[Links], gold: Sequence[Gold]) -> AlignmentError:
    """Count the links that were found in each sentence pair against the right ones.

    Raises:
        ValueError: Another number of pairs on either side.
        DataError: No pair has a sure link, so that nothing can be measured.
    """
    counted = [
        (len(links), len(one.sure), len(links & one.sure), len(links & (one.possible | one.sure)))
        for links, one in zip(found, gold, strict=True)
    ]
    error = AlignmentError(*np.array(counted, dtype=np.int64).reshape(-1, 4).T)
    if not error.sure.sum():
        raise DataError(f"no sure link in {len(counted):,} sentence pairs; give more pairs, or a file of links (i-j)")
    return error


def links_of(matrix: Bool[np.ndarray, "m n"]) -> Links:
    """The links that a matrix has, English words in its rows."""
    return frozenset((int(i), int(j)) for i, j in np.argwhere(matrix))


def mutual(weight: Float[np.ndarray, "m n"]) -> Links:
    """Link two words where each is the other's best: argmax both ways (Jalili Sabet et al. 2020, "Argmax").

    Args:
        weight: Likeness, probability or mass, English words in rows; -inf is never linked. Of equal values the first
            is best.
    """
    if not weight.size:
        return frozenset()
    best = np.zeros(weight.shape, dtype=bool)
    rows = np.arange(len(weight))
    columns = weight.argmax(axis=1)
    best[rows, columns] = weight.argmax(axis=0)[columns] == rows
    return links_of(best & np.isfinite(weight))


def greedy(weight: Float[np.ndarray, "m n"]) -> Links:
    """Link one to one, the most alike pair of words first, until one side is used up.

    Competitive linking of Melamed 2000, "Models of translational equivalence among words". What is -inf is not linked.
    """
    m, n = weight.shape
    taken: dict[int, int] = {}
    free = np.ones(n, dtype=bool)
    for place in np.argsort(-weight, axis=None, kind="stable"):
        i, j = divmod(int(place), n)
        if i not in taken and free[j] and np.isfinite(weight[i, j]):
            taken[i], free[j] = j, False
            if len(taken) == min(m, n):
                break
    return frozenset(taken.items())


def touching(found: Links, sure: Links) -> Links:
    """The found links that share a word with a sure one: of the others, sure links that are few say nothing."""
    english, foreign = {i for i, _ in sure}, {j for _, j in sure}
    return frozenset((i, j) for i, j in found if i in english or j in foreign)


def read_gold(path: Path, words: Sequence[tuple[int, int]]) -> list[Gold]:
    """Read right links in the Pharaoh format: a line for each sentence pair, ``0-0 1-2 2?1``.

    ``i-j`` is a sure link of English word i and word j of X, counted from 0; ``i?j`` (or ``ipj``) a possible one.

    Args:
        path: Plain or gzip.
        words: English words and words of X in each pair, by which the links are checked.

    Raises:
        DataError: A link that is none, or of a word that is not there; another number of lines than pairs.
    """
    found: list[Gold] = []
    for number, text in lines(path):
        place = f"{path}:{number}"
        if len(found) == len(words):
            raise DataError(
                f"more lines of links than the {len(words):,} sentence pairs, at {place}; give a line for each"
            )
        sure, possible = set[tuple[int, int]](), set[tuple[int, int]]()
        for link in text.split():
            parts = _LINK.fullmatch(link)
            if parts is None:
                raise DataError(
                    f"{link[:40]!r} is no link, at {place}; write i-j for a sure and i?j for a possible one"
                )
            i, kind, j = int(parts[1]), parts[2], int(parts[3])
            english, foreign = words[len(found)]
            if i >= english or j >= foreign:
                raise DataError(
                    f"{link!r} links a word that is not there: {english} English words and {foreign} others, counted "
                    f"from 0, at {place}; the English word comes first, and words are what stands between spaces"
                )
            (sure if kind == "-" else possible).add((i, j))
        found.append(Gold(frozenset(sure), frozenset(sure | possible)))
    if len(found) < len(words):
        raise DataError(f"{len(found):,} lines of links for {len(words):,} sentence pairs in {path}; give one for each")
    return found


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
