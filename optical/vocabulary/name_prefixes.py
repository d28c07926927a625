"""Prefixes that a language puts before names: Zulu "eNigeria", in Nigeria, "uMaria", "neVatican".

A tokenizer sees one unseen word, and cuts it where it likes; without the prefix it is a name that the teacher knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from optical.data.words import split_words
from optical.vocabulary.choose_words import parts_of

# Small letters before a capital, or one capital before another (UMaria); what follows is no abbreviation.
PREFIX = r"(?<![\p{L}\p{M}\p{Nd}'’ʼ])(?:\p{Ll}{1,5}|\p{Lu})(?=\p{Lu}\p{Ll})"
LEAST_RATE = 0.005  # of the words of X; Zulu has .048, Finnish, the next of ten languages, .0008
MORE_THAN_ENGLISH = 10.0
_PREFIX = regex.compile(PREFIX)


def puts_prefixes(foreign: Sequence[str], english: Sequence[str]) -> bool:
    """Whether X puts prefixes before capitals: at least ``LEAST_RATE`` of its words, and much more often than English.

    Args:
        foreign: Sentences of X.
        english: Their translations.
    """
    of_x = _rate(foreign)
    return of_x >= LEAST_RATE and of_x > MORE_THAN_ENGLISH * _rate(english)


def _rate(texts: Sequence[str]) -> float:
    parts = parts_of(texts)
    prefixes = sum(n * len(_PREFIX.findall(part)) for part, n in parts.items())
    return prefixes / max(1, sum(n * len(split_words(part)) for part, n in parts.items()))


def without_prefixes(text: str) -> str:
    """A text in which the names stand without their prefixes."""
    return _PREFIX.sub("", text)
