"""Which words of X deserve a row of their own in the student's vocabulary."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from optical.data.words import first_word, fold, split_words, words_after_signs


class Words(NamedTuple):
    """The words of X that get a row.

    Attributes:
        forms: Written forms of each word as they occur in the bitext, ``folded word -> forms``.
        counts: How often each word occurs on the X side.
        inside: Written forms that occur right after something other than a space, as in ``(maji``.
        first: Written forms that occur at the start of a sentence.
        needed: Words, as written, of the only texts that a tokenizer is for: others need not be added to it. None where
            it is for any.
    """

    forms: dict[str, list[str]]
    counts: dict[str, int]
    inside: frozenset[str] = frozenset()
    first: frozenset[str] = frozenset()
    needed: frozenset[str] | None = None


class WordCounts(NamedTuple):
    """Occurrences of words in sentence pairs.

    Attributes:
        written: Words of X as they are written.
        inside: Those of them that occur right after something other than a space.
        first: Those of them that begin a sentence.
        repeated: Folded words of X that the English sentence beside them has too.
        english: Folded words of the English side.
    """

    written: Counter[str]
    inside: Counter[str]
    first: Counter[str]
    repeated: Counter[str]
    english: Counter[str]

    def without(self, others: WordCounts) -> WordCounts:
        """The counts of those sentence pairs that are not among some others."""
        return WordCounts(*(mine - theirs for mine, theirs in zip(self, others, strict=True)))


def count_words(foreign: Sequence[str], english: Sequence[str]) -> WordCounts:
    """Count the words of sentences of X and of their translations.

    Args:
        foreign: Sentences of X.
        english: Their translations, in the same order.

    Raises:
        ValueError: The two sides have different numbers of sentences.
    """
    folded = cache(fold)
    written, repeated, english_written = Counter[str](), Counter[str](), Counter[str]()
    for sentence, translation in zip(foreign, english, strict=True):
        here, beside = split_words(sentence), split_words(translation)
        written.update(here)
        english_written.update(beside)
        there = list(map(folded, beside))
        for word in set(there).intersection(map(folded, here)):
            forms = Counter(form for form in here if folded(form) == word)
            repeated[word] += sum(min(n, there.count(word)) for n in forms.values())
    after_signs = ((words_after_signs(part), n) for part, n in parts_of(foreign).items() if not part.isalpha())
    return WordCounts(
        written,
        _counted(after_signs),
        Counter(filter(None, map(first_word, foreign))),
        repeated,
        _counted(([folded(form)], n) for form, n in english_written.items()),
    )


def parts_of(texts: Iterable[str]) -> Counter[str]:
    """The parts of some texts between spaces, and their occurrences: no word has a space in it."""
    return Counter(chain.from_iterable(map(str.split, texts)))


def _counted(found: Iterable[tuple[Iterable[str], int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for words, n in found:
        for word in words:
            counts[word] += n
    return counts


def choose_words(
    foreign: Sequence[str], english: Sequence[str], *, min_count: int = 1, max_words: int = 100_000
) -> Words:
    """Count the words of sentence pairs and choose among them by :func:`choose_counted`."""
    return choose_counted(count_words(foreign, english), min_count=min_count, max_words=max_words)


def choose_counted(found: WordCounts, *, min_count: int = 1, max_words: int = 100_000) -> Words:
    """Choose the words of the X side that are not just repeated on the English side.

    A word is kept when it occurs at least ``min_count`` times in X and less than half of these have the same word in
    the English sentence beside them: names and loans, which look alike on both sides, keep the teacher's pieces,
    while a homograph ("me", "sold") is a word of X. When more than ``max_words`` remain, the most frequent stay.

    Args:
        found: Of sentence pairs.
        min_count: Least occurrences, >= 1.
        max_words: Most words.
    """
    counts: Counter[str] = Counter()
    forms: defaultdict[str, set[str]] = defaultdict(set)
    for form, n in found.written.items():
        word = fold(form)
        counts[word] += n
        forms[word].add(form)
    kept = [w for w, n in counts.items() if n >= min_count and 2 * found.repeated[w] < n]
    kept.sort(key=lambda w: (-counts[w], w))
    kept = kept[:max_words]
    return Words(
        {w: sorted(forms[w] | {w}) for w in kept},
        {w: counts[w] for w in kept},
        frozenset(found.inside),
        frozenset(found.first),
    )
