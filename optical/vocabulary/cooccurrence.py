"""Co-occurrences: every (English token, X token) of every sentence pair in flat arrays, as all alignments need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

MAX_ENTRIES = 40_000_000  # in memory, some 20 bytes each; beyond, the longest sentence pairs are left out


class CoOccurrences(NamedTuple):
    """Co-occurrences, ordered by English token of the corpus, and the distinct pairs that they are of.

    Attributes:
        entry: Which distinct pair each of the c co-occurrences is of, ``(c,)``.
        first: Where the co-occurrences of each of the n English tokens begin, ``(n,)``.
        lengths: How many there are: the X tokens of its sentence, ``(n,)``.
        start: Which X token of the corpus is the first of these, ``(n,)``.
        f: X id of each distinct pair, ``(k,)``; sorted.
        e: English id of each distinct pair, ``(k,)``; sorted within one X id.
    """

    entry: Int[np.ndarray, " c"]
    first: Int[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]
    start: Int[np.ndarray, " n"]
    f: Int[np.ndarray, " k"]
    e: Int[np.ndarray, " k"]

    def per_english(self, values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " c"]:
        """Share of each co-occurrence in a value of its pair, normalised to sum 1 over each English token."""
        share = values[self.entry]
        share /= np.repeat(np.add.reduceat(share, self.first), self.lengths)
        return share

    def foreign_tokens(self) -> Int[np.ndarray, " c"]:
        """Which X token of the corpus each co-occurrence has."""
        return (np.arange(len(self.entry)) - np.repeat(self.first - self.start, self.lengths)).astype(np.int32)


def co_occurrences(
    english: Sequence[Sequence[int] | np.ndarray], foreign: Sequence[Sequence[int] | np.ndarray], max_length: int
) -> CoOccurrences | None:
    """Pair up the tokens of each sentence with those of its translation.

    Args:
        english: Token ids of each English sentence.
        foreign: Token ids of its translation.
        max_length: Sentence pairs with a longer side are left out, and the longest where ``MAX_ENTRIES`` is not enough.

    Returns:
        None when no two tokens co-occur.

    Raises:
        ValueError: The two sides have different numbers of sentences, or ids too large to be packed.
    """
    if len(english) != len(foreign):
        raise ValueError(f"the sides must be parallel; received {len(english)} English and {len(foreign)} X sentences")
    n, m = (np.fromiter(map(len, side), dtype=np.int64, count=len(side)) for side in (english, foreign))
    keep = np.flatnonzero((n > 0) & (m > 0) & (n <= max_length) & (m <= max_length))
    shortest = keep[np.argsort(n[keep] * m[keep], kind="stable")]
    keep = np.sort(shortest[np.cumsum(n[shortest] * m[shortest]) <= MAX_ENTRIES])
    if not len(keep):
        return None
    e_tokens, f_tokens = (np.concatenate([side[k] for k in keep]).astype(np.int64) for side in (english, foreign))
    n, m = n[keep], m[keep]
    lengths = np.repeat(m, n)  # X tokens in the sentence pair of each English token
    first = np.cumsum(lengths) - lengths
    start = np.repeat(np.cumsum(m) - m, n)  # where its sentence starts on the X side
    # One sort of (X id, English id, position), packed into 64 bits, is faster and smaller than numpy.unique with its
    # inverse.
    shift = int(lengths.sum()).bit_length()
    width = int(e_tokens.max()) + 1
    if (int(f_tokens.max()) + 1) * width >= 1 << (63 - shift):
        raise ValueError(
            f"too many ids to align: {int(f_tokens.max()) + 1} of X and {width} of English; lower max_words or size"
        )
    within = np.arange(int(lengths.sum()), dtype=np.int64)
    key = f_tokens[within - np.repeat(first - start, lengths)]
    key *= width
    key += np.repeat(e_tokens, lengths)
    key <<= shift
    key |= within
    del within
    key.sort()
    position = (key & ((1 << shift) - 1)).astype(np.int32)
    key >>= shift
    new = np.empty(len(key), dtype=bool)
    new[0] = True
    np.not_equal(key[1:], key[:-1], out=new[1:])
    distinct = key[new]
    entry = np.empty(len(key), dtype=np.int32)
    entry[position] = np.cumsum(new, dtype=np.int32) - 1
    return CoOccurrences(entry, first, lengths, start, distinct // width, distinct % width)
