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
from scipy.sparse import csr_matrix

from optical.vocabulary.cooccurrence import starts_of_runs

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
        f: X id of each distinct pair, sorted.
        e: English id of each distinct pair.
    """
    # For each half: the pairs whose X id is cut, those of one part and one English id together, and where these begin.
    numbers = np.arange(len(f), dtype=np.int32)
    ends = np.searchsorted(f, np.arange(len(parts.of) + 1))
    of_ids = csr_matrix((numbers, e, ends), shape=(len(parts.of), int(e.max(initial=0)) + 1))
    groups = []
    for half in parts.of.T:
        order = np.argsort(half, kind="stable")[(half < 0).sum() :]
        by_part = of_ids[order].tocsc()
        first = np.flatnonzero(starts_of_runs(by_part, half[order]))
        groups.append((half, by_part.data, np.append(first, by_part.nnz)))

    def probability(counts):
        result = np.zeros(len(f), dtype=np.float32)
        of_id = np.bincount(f, weights=counts, minlength=len(parts.of))
        for (half, pairs, begins), share in zip(groups, parts.share.T, strict=True):
            if not len(pairs):
                continue
            of_part = np.bincount(half + 1, weights=of_id)[half + 1]
            each = (share / np.maximum(of_part, 1e-30)).astype(np.float32)
            whole = np.add.reduceat(counts[pairs], begins[:-1], dtype=np.float32)
            result += csr_matrix((each[f[pairs]], pairs, begins), shape=(len(whole), len(f))).T @ whole
        return result

    return probability


def letters(words: Sequence[str]) -> UInt64[np.ndarray, "w 12"]:
    """The character pairs of each word as a set of bits, a word's first letter paired with a boundary.

    Words of fewer than ``LONG`` letters get the empty set: they resemble others by accident.
    """
    lower = [word.lower() if len(word) >= LONG else "" for word in words]
    lengths = np.fromiter(map(len, lower), dtype=np.int64, count=len(lower))
    other = _ALPHABET - 1
    codes = np.frombuffer("".join(lower).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64) - 97
    codes[(codes < 0) | (codes > 25)] = other
    before = np.append(other, codes)[:-1]
    before[(np.cumsum(lengths) - lengths)[lengths > 0]] = other
    pair, word = before * _ALPHABET + codes, np.repeat(np.arange(len(words)), lengths)
    sets = np.zeros((len(words), _BITS // 64), dtype=np.uint64)
    np.bitwise_or.at(sets, (word, pair // 64), np.uint64(1) << (pair % 64).astype(np.uint64))
    return sets


def likeness(
    foreign: UInt64[np.ndarray, "f 12"],
    english: UInt64[np.ndarray, "e 12"],
    f: Int[np.ndarray, " k"],
    e: Int[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:
    """Dice coefficient of the character pairs of each (X id, English id) pair, in [0, 1]."""
    result = np.zeros(len(f), dtype=np.float32)
    sizes = [np.bitwise_count(side).sum(axis=1, dtype=np.int32) for side in (foreign, english)]
    some = np.flatnonzero((sizes[0] > 0)[f] & (sizes[1] > 0)[e])
    for k in range(0, len(some), 1 << 18):
        at = some[k : k + (1 << 18)]
        a, b = f[at], e[at]
        common = np.bitwise_count(foreign[a] & english[b]).sum(axis=1, dtype=np.int32)
        result[at] = 2 * common / (sizes[0][a] + sizes[1][b])
    return result
