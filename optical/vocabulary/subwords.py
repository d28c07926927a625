"""Parts that words share, for words that are too rare to be aligned by themselves.

Words are cut in two where both parts are shared with other words ("linalo|uzwa"), by counting alone: no morphology of
any language. Rare words lean on their parts in the alignment, and unseen words fall apart into them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt64

LONG = 4  # letters of the longer part: below, parts are shared by accident
SHORT = 4  # letters of a beginning that becomes a piece
LONGEST_END = 7  # letters of an end that does
ENDS = 5  # words that share such an end
_ALPHABET = 27  # a to z, and one place for every other character
_BITS = 768  # holds all 27 * 27 character pairs


class WordParts(NamedTuple):
    """The two parts of each X word, and the weight of each in its meaning.

    Attributes:
        names: Every part: a prefix as it is, a suffix after ``##``.
        types: How many words were cut so that they share the part.
        of: Prefix and suffix of each X id, as positions in ``names``; -1 where the id is not cut.
        share: Weight of prefix and suffix in the meaning of the id; sums to 1 where it is cut.
    """

    names: list[str]
    types: Int[np.ndarray, " p"]
    of: Int[np.ndarray, "f 2"]
    share: Float[np.ndarray, "f 2"]


def cut(words: Iterable[str], *, min_types: int = 2) -> dict[str, tuple[str, str]]:
    """Cut words in two where both parts are shared with the most other words.

    The cut maximises ``log P log S``, P the number of words that start with the prefix and S the number that end with
    the suffix. One part has at least ``LONG`` letters; words for which no cut has two parts shared by ``min_types``
    words are absent.

    Args:
        words: Distinct words, as the tokenizer's model sees them.
        min_types: Least number of words, the word itself included, that share each part.
    """
    words = list(words)
    starts = Counter(w[:k] for w in words for k in range(1, len(w) + 1))
    ends = Counter(w[k:] for w in words for k in range(len(w)))
    logs = [0.0] + [math.log(n) for n in range(1, len(words) + 1)]
    cuts = {}
    for w in words:
        best, at = 0.0, 0
        for k in range(1, len(w)):
            p, s = starts[w[:k]], ends[w[k:]]
            if p >= min_types and s >= min_types and max(k, len(w) - k) >= LONG and logs[p] * logs[s] > best:
                best, at = logs[p] * logs[s], k
        if at:
            cuts[w] = (w[:at], w[at:])
    return cuts


def parts_of(spelling: Sequence[tuple[int, str]], size: int, *, min_types: int = 2) -> WordParts:
    """Cut the words of the student's vocabulary, and weigh their parts.

    The rarer half says more: a stem is shared by few words, an inflection by many. So each half weighs as much as the
    other is common.

    Args:
        spelling: X id of each word and the word as the tokenizer's model sees it.
        size: How many X ids there are.
        min_types: See :func:`cut`.
    """
    cuts = cut({w for _, w in spelling}, min_types=min_types)
    halves = {w: (p, "##" + s) for w, (p, s) in cuts.items()}
    counts = Counter(half for pair in halves.values() for half in pair)
    names = sorted(counts)
    index = {name: k for k, name in enumerate(names)}
    of, share = np.full((size, 2), -1, dtype=np.int64), np.zeros((size, 2), dtype=np.float32)
    for i, w in spelling:
        if w in halves:
            p, s = halves[w]
            of[i] = index[p], index[s]
            share[i] = counts[s], counts[p]
            share[i] /= share[i].sum()
    return WordParts(names, np.array([counts[n] for n in names], dtype=np.int64), of, share)


def choose_pieces(words: Iterable[str], taken: set[str], *, min_types: int, most: int = 20_000) -> list[str]:
    """Choose the parts that get a piece of their own, so that an unseen word falls into a beginning and an end.

    A beginning is chosen where words part: no longer one has all its words. The tokenizer takes the longest that it
    finds, so an unseen word begins with what it shares with its nearest relatives.

    Args:
        words: Distinct words, as the tokenizer's model sees them.
        taken: Pieces that there are already.
        min_types: Least number of words that share a beginning. An end needs ``ENDS`` words: it is shared by accident
            more often.
        most: Most pieces, the most shared first.
    """
    words = set(words)
    starts = Counter(w[:k] for w in words for k in range(SHORT, len(w) + 1))
    longer: Counter[str] = Counter()
    for part, n in starts.items():
        longer[part[:-1]] = max(longer[part[:-1]], n)
    ends = Counter("##" + w[-k:] for w in words for k in range(1, min(len(w), LONGEST_END + 1)))
    found = {part: n for part, n in starts.items() if n >= min_types and n > longer[part]}
    found |= {part: n for part, n in ends.items() if n >= ENDS}
    return sorted(sorted(found.keys() - taken, key=lambda part: (-found[part], part))[:most])


def borrow(parts: WordParts, f: Int[np.ndarray, " k"], e: Int[np.ndarray, " k"]) -> Callable[[np.ndarray], np.ndarray]:
    """Probability of each (X id, English id) pair by the parts of the word, as a function of the expected counts.

    ``b(e | f) = sum_h share(f, h) c(h, e) / c(h)`` over the two halves h, with ``c(h, .)`` summed over all words that
    share h.

    Args:
        parts: Halves of the X ids.
        f: X id of each distinct pair.
        e: English id of each distinct pair.
    """
    width = int(e.max()) + 1 if len(e) else 1
    sides = []
    for side in (0, 1):
        at = np.flatnonzero(parts.of[f, side] >= 0)
        half = parts.of[f[at], side]
        _, pair = np.unique(half * width + e[at], return_inverse=True)
        sides.append((at.astype(np.int32), half.astype(np.int32), pair.astype(np.int32), parts.share[f[at], side]))

    def probability(counts):
        result = np.zeros(len(f), dtype=np.float32)
        for at, half, pair, share in sides:
            own = counts[at]
            together = np.bincount(pair, weights=own)[pair]
            result[at] += share * together / np.maximum(np.bincount(half, weights=own)[half], 1e-30)
        return result

    return probability


def letters(words: Sequence[str]) -> UInt64[np.ndarray, "w 12"]:
    """The character pairs of each word as a set of bits, a word's first letter paired with a boundary.

    Words of fewer than ``LONG`` letters get the empty set: they resemble others by accident.
    """
    sets = np.zeros((len(words), _BITS // 64), dtype=np.uint64)
    for row, word in enumerate(words):
        if len(word) < LONG:
            continue
        codes = [26] + [c - 97 if 0 <= (c := ord(x)) - 97 < 26 else 26 for x in word.lower()]
        bits = 0
        for a, b in zip(codes, codes[1:], strict=False):
            bits |= 1 << (a * _ALPHABET + b)
        sets[row] = np.frombuffer(bits.to_bytes(_BITS // 8, "little"), dtype=np.uint64)
    return sets


def likeness(
    foreign: UInt64[np.ndarray, "f 12"],
    english: UInt64[np.ndarray, "e 12"],
    f: Int[np.ndarray, " k"],
    e: Int[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:
    """Dice coefficient of the character pairs of each (X id, English id) pair, in [0, 1]."""
    result = np.empty(len(f), dtype=np.float32)
    sizes = [np.bitwise_count(side).sum(axis=1, dtype=np.int32) for side in (foreign, english)]
    for k in range(0, len(f), 1 << 18):
        a, b = f[k : k + (1 << 18)], e[k : k + (1 << 18)]
        common = np.bitwise_count(foreign[a] & english[b]).sum(axis=1, dtype=np.int32)
        result[k : k + (1 << 18)] = 2 * common / np.maximum(sizes[0][a] + sizes[1][b], 1)
    return result
