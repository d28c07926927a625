"""Compare words in spelling: find the seen words that share the most, and the rarest, n-grams with a new word.

Works for any script. Needs no torch, so that an exported student can use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, UInt64

from optical.data.words import without_marks

SHORTEST, LONGEST = 3, 6  # letters of an n-gram, the boundaries of the word counted as letters
# Chosen on held-out pairs of seven languages (experiments/LOG.md, 2026-11-29).
NEIGHBOURS = 20
LEAST_LIKENESS = 0.3
LEAST_COUNT = 1
_CHUNK = 10_000  # words whose n-grams are looked up at once


class Alike(NamedTuple):
    """The seen words that new words are composed of.

    Attributes:
        at: Positions of the seen words, the most alike first, ``(n, k)``; 0 where there are fewer than k.
        weight: Their weights, ``(n, k)``, proportional to the square of their cosine: they sum to 1, or are all 0 where
            no seen word is alike enough.
        likeness: Cosine of the most alike seen word, ``(n,)``, in [0, 1]; 0 where none is alike enough.
    """

    at: Int[np.ndarray, "n k"]
    weight: Float32[np.ndarray, "n k"]
    likeness: Float32[np.ndarray, " n"]


class Spellings:
    """An index of seen words by their letters.

    Two words are as alike as the cosine of their character n-grams, of ``SHORTEST`` to ``LONGEST`` letters with the
    boundaries of the word, each weighted by ``idf = 1 + ln((1 + N) / (1 + df))`` over the N words. An n-gram that no
    word has counts in the length of a new word, with the idf of df = 0.
    """

    def __init__(
        self,
        words: Sequence[str],
        counts: Sequence[int] | Int[np.ndarray, " w"] | None = None,
        *,
        neighbours: int = NEIGHBOURS,
        least_likeness: float = LEAST_LIKENESS,
        least_count: int = LEAST_COUNT,
        others: Sequence[str] = (),
    ) -> None:
        """Index the words.

        Args:
            words: Distinct seen words, as a model sees them: in any script, all in one case.
            counts: Occurrences of each; 1 without.
            neighbours: Most seen words that a new one is composed of, k.
            least_likeness: Cosine below which a seen word is no neighbour, in (0, 1].
            least_count: Occurrences below which a seen word is no neighbour.
            others: Words that are no neighbours, as those of another language are: a new word that is more alike to one
                of them than to any seen word resembles none.

        Raises:
            ValueError: Counts of another number of words, or an option out of its range.
        """
        if counts is not None and len(counts) != len(words):
            raise ValueError(f"each word has one count; received {len(words)} words and {len(counts)} counts")
        if neighbours < 1 or not 0 < least_likeness <= 1:
            raise ValueError(
                f"neighbours is at least 1 and least_likeness above 0 and at most 1; received {neighbours} and "
                f"{least_likeness}"
            )
        self.words = list(words)
        self.neighbours, self.least_likeness = neighbours, least_likeness
        self.place = {word: k for k, word in enumerate(self.words)}
        self.counts = np.ones(len(words)) if counts is None else np.maximum(counts, 1)
        self.unmarked: dict[str, list[int]] = {}
        for k in np.argsort(-self.counts, kind="stable").tolist():
            self.unmarked.setdefault(without_marks(self.words[k]), []).append(k)
        words = [*words, *others]
        owner, grams = _ngrams(words)
        self.grams, gram = np.unique(grams, return_inverse=True)
        # Entries of a sparse matrix, n-gram by word, in the order of the n-grams.
        entry, times = np.unique(gram.astype(np.int64) * max(len(words), 1) + owner, return_counts=True)
        gram, owner = entry // max(len(words), 1), entry % max(len(words), 1)
        frequency = np.bincount(gram, minlength=len(self.grams))
        self.idf = 1 + np.log((1 + len(words)) / (1 + frequency))
        self.unknown = 1 + np.log(1 + len(words))
        value = times * self.idf[gram]
        length = np.sqrt(np.bincount(owner, weights=value**2, minlength=len(words)))
        kept = np.ones(len(words), bool)
        kept[: len(self.words)] = counts is None or np.asarray(counts) >= least_count
        value = np.where(kept[owner], value / length[owner], 0)
        self.start = np.concatenate([[0], np.cumsum(frequency)])
        self.owner, self.value = owner.astype(np.int32), value.astype(np.float32)

    def alike(self, new: Sequence[str], *, apart: bool = False) -> Alike:
        """The neighbours of each new word, and their weights.

        A word that is seen is its own only neighbour. One that only its accents or tones set apart from seen words has
        these, weighted by their counts: in Yoruba many are written without.

        Args:
            new: Words, spelled as the seen ones are.
            apart: Compose a word that is seen from others: it is no neighbour of itself.
        """
        found = Alike(
            np.zeros((len(new), self.neighbours), np.int64),
            np.zeros((len(new), self.neighbours), np.float32),
            np.zeros(len(new), np.float32),
        )
        for k in range(0, len(new), _CHUNK):
            self._fill(found, k, new[k : k + _CHUNK], apart)
        return found

    def _own(self, word: str) -> list[int]:
        """The seen word that a new one is, or those that differ from it in marks alone, the most frequent first."""
        if word in self.place:
            return [self.place[word]]
        return self.unmarked.get(without_marks(word), [])[: self.neighbours]

    def _fill(self, found: Alike, first: int, new: Sequence[str], apart: bool) -> None:
        """Find the neighbours of some words, whose rows in ``found`` begin at ``first``."""
        owner, grams = _ngrams(new)
        order = np.argsort(owner, kind="stable")
        owner, grams = owner[order], grams[order]
        at = np.minimum(np.searchsorted(self.grams, grams), max(len(self.grams) - 1, 0))
        known = self.grams[at] == grams if len(self.grams) else np.zeros(len(grams), bool)
        ends = np.searchsorted(owner, np.arange(len(new) + 1))
        for k, word in enumerate(new):
            if not apart and (own := self._own(word)):
                found.at[first + k, : len(own)], found.likeness[first + k] = own, 1
                found.weight[first + k, : len(own)] = self.counts[own] / self.counts[own].sum()
                continue
            here = slice(ends[k], ends[k + 1])
            gram, times = np.unique(at[here][known[here]], return_counts=True)
            if not len(gram):
                continue
            weight = times * self.idf[gram]
            length = np.sqrt((weight**2).sum() + (~known[here]).sum() * self.unknown**2)
            sizes = self.start[gram + 1] - self.start[gram]
            offsets = np.repeat(self.start[gram] - np.cumsum(sizes) + sizes, sizes)
            entries = offsets + np.arange(sizes.sum())
            products = self.value[entries] * np.repeat(weight / length, sizes)
            cosine = np.bincount(self.owner[entries], weights=products, minlength=len(self.words))
            if apart and word in self.place:
                cosine[self.place[word]] = 0
            cosine, others = cosine[: len(self.words)], cosine[len(self.words) :]
            if others.max(initial=0) > cosine.max(initial=0):
                continue
            near = np.flatnonzero(cosine >= self.least_likeness)
            near = near[np.lexsort((near, -cosine[near]))[: self.neighbours]]
            if len(near):
                found.at[first + k, : len(near)] = near
                found.weight[first + k, : len(near)] = cosine[near] ** 2 / (cosine[near] ** 2).sum()
                found.likeness[first + k] = min(cosine[near[0]], 1)


def _ngrams(words: Sequence[str]) -> tuple[Int[np.ndarray, " g"], UInt64[np.ndarray, " g"]]:
    """The n-grams of each word with its boundaries: the position of the word, and a hash of 64 bits (FNV-1a)."""
    text = "".join(f" {word} " for word in words)
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    sizes = np.array([len(word) + 2 for word in words], dtype=np.int64)
    owner, end = np.repeat(np.arange(len(words)), sizes), np.repeat(np.cumsum(sizes), sizes)
    owners, hashes = [], []
    hashed = np.full(len(letters), 0xCBF29CE484222325, dtype=np.uint64)
    for n in range(1, min(LONGEST, len(letters)) + 1):
        places = len(letters) - n + 1
        hashed = (hashed[:places] ^ letters[n - 1 :]) * np.uint64(0x100000001B3)
        if n >= SHORTEST:
            inside = np.arange(n, len(letters) + 1) <= end[:places]
            owners.append(owner[:places][inside])
            hashes.append(hashed[inside])
    if not owners:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    return np.concatenate(owners), np.concatenate(hashes)
