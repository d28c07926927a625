"""Which words of X deserve a row of their own in the student's vocabulary.

Plain text in, words out: no tokenizer, no embeddings.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import regex

# Letters with their marks; an apostrophe inside holds a word together (Swahili ng'ombe), so do the invisible joiners of
# Indic and Arabic scripts. Digits and hyphens end a word: the teacher reads numbers already.
_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’ʼ\u200c\u200d][\p{L}\p{M}]+)*")
_LATIN = regex.compile(r"^[\p{Latin}\p{M}'’ʼ]+$")


class Words(NamedTuple):
    """The words of X to add.

    Attributes:
        forms: Written forms of each word as they occur in the bitext, ``folded word -> forms``.
        counts: How often each word occurs on the X side.
    """

    forms: dict[str, list[str]]
    counts: dict[str, int]


def split_words(text: str) -> list[str]:
    """The words of a text in order, as written, with straight apostrophes."""
    return [_straight(w) for w in _WORD.findall(text)]


def replace_words(text: str, replace: Callable[[str], str | None]) -> str:
    """A text with other words and all that is between them unchanged.

    Args:
        text: What to change.
        replace: Called with each word of :func:`split_words` in turn; None leaves the word as it is written.
    """
    return _WORD.sub(lambda match: match[0] if (new := replace(_straight(match[0]))) is None else new, text)


def _straight(word: str) -> str:
    return word.replace("’", "'").replace("ʼ", "'")


def fold(word: str) -> str:
    """The form under which the occurrences of a word are counted together."""
    return unicodedata.normalize("NFC", word).casefold()


def in_case_of(word: str, other: str) -> str:
    """Another word, capitalised where a word is: ``Watoto`` becomes ``Children``, ``MAJI`` ``WATER``."""
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[0].upper() + other[1:] if word[0].isupper() else other


def is_latin(word: str) -> bool:
    """Whether a word is written in Latin letters only."""
    return _LATIN.match(word) is not None


def choose_words(
    foreign: Sequence[str], english: Sequence[str], *, min_count: int = 1, max_words: int = 100_000
) -> Words:
    """Words of the X side that are not just repeated on the English side.

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
    return Words({w: sorted(forms[w] | {w}) for w in kept}, {w: counts[w] for w in kept})
