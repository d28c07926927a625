"""Co-occurrences: every (English token, X token) of every sentence pair in flat arrays, as all alignments need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

MAX_ENTRIES = 40_000_000  # in memory, some 20 bytes each; beyond, the longest sentence pairs are left out


class CoOccurrences(NamedTuple):
    """The distinct pairs of ids, and where they co-occur: of an id that a sentence has twice, once for the sentence.

    Attributes:
        english: How often the X id of each pair stands beside each of the n English ids of the sentences, ``(k, n)``.
        weight: How often its sentence has each of the n English ids, ``(n,)``.
        foreign: Which X id of the sentences each entry of ``english`` is of, ``(c,)``.
        f: X id of each pair, ``(k,)``; sorted.
        e: English id of each pair, ``(k,)``; sorted within one X id.
    """

    english: csr_matrix
    weight: Float[np.ndarray, " n"]
    foreign: Int[np.ndarray, " c"]
    f: Int[np.ndarray, " k"]
    e: Int[np.ndarray, " k"]

    def counts(self, values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Expected counts of the pairs: each English token is shared out by the values of its pairs."""
        return values * (self.english @ (self.weight / (self.english.T @ values)))


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
        ValueError: The two sides have different numbers of sentences, or ids of more than 31 bits.
    """
    if len(english) != len(foreign):
        raise ValueError(f"the sides must be parallel; received {len(english)} English and {len(foreign)} X sentences")
    n, m = (np.fromiter(map(len, side), dtype=np.int64, count=len(side)) for side in (english, foreign))
    keep = np.flatnonzero((n > 0) & (m > 0) & (n <= max_length) & (m <= max_length))
    shortest = keep[np.argsort(n[keep] * m[keep], kind="stable")]
    keep = np.sort(shortest[np.cumsum(n[shortest] * m[shortest]) <= MAX_ENTRIES])
    if not len(keep):
        return None
    (e, beside, weight), (sentence, f, times) = (
        _distinct([english[k] for k in keep]),
        _distinct([foreign[k] for k in keep], by_sentence=True),
    )
    of_sentence = np.bincount(sentence)
    lengths = of_sentence[beside]
    first = np.append(0, np.cumsum(lengths))
    begin = (np.cumsum(of_sentence) - of_sentence)[beside]  # where its sentence starts on the X side
    place = np.arange(first[-1], dtype=np.int32)
    place += np.repeat((begin - first[:-1]).astype(np.int32), lengths)
    # Rows are sorted by English id, columns are X ids. Turning rows into columns then sorts by X id, English id and
    # sentence, in linear time.
    rows = csr_matrix((place, f[place], first), shape=(len(e), int(f.max()) + 1))
    met: Any = rows.tocsc()
    del rows, place
    at = np.flatnonzero(starts_of_runs(met, e))
    pairs = csr_matrix((times[met.data], met.indices, np.append(at, met.nnz)), shape=(len(at), len(e)))
    return CoOccurrences(pairs, weight, met.data, f[met.data[at]], e[met.indices[at]])


def starts_of_runs(columns: Any, keys: Int[np.ndarray, " r"]) -> Bool[np.ndarray, " c"]:
    """Which entries of a sparse matrix, column by column, begin a run of rows with one key."""
    own = keys[columns.indices]
    new = np.append(True, own[1:] != own[:-1])
    new[columns.indptr[:-1][np.diff(columns.indptr) > 0]] = True
    return new


def _distinct(sentences: list[Sequence[int] | np.ndarray], *, by_sentence: bool = False) -> tuple[np.ndarray, ...]:
    """The distinct ids of each sentence: id and number of the sentence, or the other way round, and how often.

    They are sorted by what comes first.
    """
    ids = np.concatenate(sentences).astype(np.int64)
    if ids.max() >= 1 << 31:
        raise ValueError(f"too many ids to align: {ids.max() + 1}; lower max_words or size")
    number = np.repeat(np.arange(len(sentences)), list(map(len, sentences)))
    high, low, width = (number, ids, ids.max() + 1) if by_sentence else (ids, number, len(sentences))
    keys, times = np.unique(high * width + low, return_counts=True)
    return (keys // width).astype(np.int32), (keys % width).astype(np.int32), times.astype(np.float32)
