"""Which words of X deserve a row of their own in the student's vocabulary."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from optical.data.words import first_word, fold, split_words, words_after_signs


class Words(NamedTuple):
    """The words of X that get a row.

    Attributes:
        forms: Written forms of each word as they occur in the bitext, ``folded word -> forms``.
        counts: How often each word occurs on the X side.
        inside: Written forms that occur right after something other than a space, as in ``(maji``.
        first: Written forms that occur at the start of a sentence.
    """

    forms: dict[str, list[str]]
    counts: dict[str, int]
    inside: frozenset[str] = frozenset()
    first: frozenset[str] = frozenset()


def choose_words(
    foreign: Sequence[str], english: Sequence[str], *, min_count: int = 1, max_words: int = 100_000
) -> Words:
    """Choose the words of the X side that are not just repeated on the English side.

    A word is kept when it occurs at least ``min_count`` times in X and less than half of these have the same word in
    the English sentence beside them: names and loans, which look alike on both sides, keep the teacher's pieces,
    while a homograph ("me", "sold") is a word of X. When more than ``max_words`` remain, the most frequent stay.

    Args:
        foreign: Sentences of X.
        english: Their translations, in the same order.
        min_count: Least occurrences, >= 1.
        max_words: Most words.

    Raises:
        ValueError: The two sides have different numbers of sentences.
    """
    counts: Counter[str] = Counter()
    repeated: Counter[str] = Counter()
    forms: defaultdict[str, set[str]] = defaultdict(set)
    for sentence, translation in zip(foreign, english, strict=True):
        here = Counter(split_words(sentence))
        beside = Counter(fold(word) for word in split_words(translation))
        for word, n in here.items():
            counts[fold(word)] += n
            forms[fold(word)].add(word)
            repeated[fold(word)] += min(n, beside[fold(word)])
    kept = [w for w, n in counts.items() if n >= min_count and 2 * repeated[w] < n]
    kept.sort(key=lambda w: (-counts[w], w))
    kept = kept[:max_words]
    return Words(
        {w: sorted(forms[w] | {w}) for w in kept},
        {w: counts[w] for w in kept},
        frozenset(w for sentence in foreign for w in words_after_signs(sentence)),
        frozenset(w for sentence in foreign if (w := first_word(sentence))),
    )
