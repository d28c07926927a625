"""Probabilities that two words of a sentence pair translate each other, by IBM model 1 in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from optical.data.bitext import Pair
from optical.data.words import fold, split_words
from optical.vocabulary.lexicon import AlignedWords, align_words

SURE = 0.5  # of both posteriors: the word has more of them than all others together
SEEN = 5  # occurrences of a word from which its probabilities are believed


class Posteriors(NamedTuple):
    """Probabilities of the links of one sentence pair, English words in rows.

    Attributes:
        english: ``t(e_i | f_j) / sum_j' t(e_i | f_j')``, ``(m, n)``: which word of X the English word i comes from.
        foreign: ``t(f_j | e_i) / sum_i' t(f_j | e_i')``: which English word the word j of X comes from.
        seen: Which pairs are of words that both occur ``SEEN`` times in the sentences learnt from.
    """

    english: Float[np.ndarray, "m n"]
    foreign: Float[np.ndarray, "m n"]
    seen: Bool[np.ndarray, "m n"]

    @property
    def sure(self) -> Bool[np.ndarray, "m n"]:
        """The links that both directions agree on: seldom many, each word in one at most."""
        return (self.english > SURE) & (self.foreign > SURE) & self.seen

    @property
    def both(self) -> Float[np.ndarray, "m n"]:
        """Geometric mean of the two, -inf where one is 0."""
        product = self.english * self.foreign
        return np.where(product > 0, np.sqrt(product), -np.inf)


class _Direction(NamedTuple):
    """One table with what finds its entries: keys ascending, and the number of each word."""

    aligned: AlignedWords
    keys: np.ndarray
    order: np.ndarray
    to: dict[str, int]
    of: dict[str, int]

    def probability(self, to: Sequence[str], of: Sequence[str]) -> np.ndarray:
        """``t(to | of)``, ``(len(to), len(of))``."""
        width = len(self.to) + 1
        e = np.array([self.to.get(word, width - 1) for word in to], dtype=np.int64)
        f = np.array([self.of.get(word, len(self.of)) for word in of], dtype=np.int64)
        asked = f[None, :] * width + e[:, None]
        if not len(self.keys):
            return np.zeros(asked.shape)
        at = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        found = self.aligned.table.probability[self.order[at]].astype(np.float64)
        return np.where(self.keys[at] == asked, found, 0.0)


class WordAligner(NamedTuple):
    """IBM model 1 of both directions, learnt from sentences; :func:`learn_aligner` makes one."""

    into_english: _Direction
    into_foreign: _Direction

    def posteriors(self, pair: Pair) -> Posteriors:
        """The probabilities between the words of a pair, as :func:`optical.data.words.split_words` splits it.

        A word that was never seen has no link: its probabilities are 0.
        """
        english, foreign = ([fold(word) for word in split_words(side)] for side in pair)
        e, f = self.into_english, self.into_foreign
        p = e.probability(english, foreign)  # t(e | f), (m, n)
        q = f.probability(foreign, english).T  # t(f | e), (m, n)
        often = [
            np.array([one.counts[ids[word]] >= SEEN if word in ids else False for word in words], dtype=bool)
            for one, ids, words in (
                (e.aligned.english, e.to, english),
                (e.aligned.foreign, e.of, foreign),
            )
        ]
        return Posteriors(_shares(p, 1), _shares(q, 0), often[0][:, None] & often[1][None, :])


def learn_aligner(pairs: Sequence[Pair]) -> WordAligner:
    """Learn IBM model 1 from sentence pairs in both directions (Brown et al. 1993)."""
    return WordAligner(_direction(align_words(pairs, "english")), _direction(align_words(pairs, "foreign")))


def _direction(aligned: AlignedWords) -> _Direction:
    to, of = ({fold(word): k for k, word in enumerate(side.spellings)} for side in (aligned.english, aligned.foreign))
    keys = aligned.table.foreign.astype(np.int64) * (len(to) + 1) + aligned.table.english
    order = np.argsort(keys)
    return _Direction(aligned, keys[order], order, to, of)


def _shares(values: np.ndarray, axis: int) -> np.ndarray:
    total = values.sum(axis=axis, keepdims=True)
    return np.divide(values, total, out=np.zeros_like(values), where=total > 0)
