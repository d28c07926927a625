"""Text and its words: white space and Unicode made uniform, words split and replaced, forms compared, scripts told."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeAlias

import regex

Lexicon: TypeAlias = Mapping[str, Sequence[str]]
"""Folded word of X -> English words, surest first, as :func:`optical.vocabulary.lexicon.bitext_lexicon` makes it."""

# Letters with their marks; an apostrophe inside holds a word together (Swahili ng'ombe), so do the invisible joiners of
# Indic and Arabic scripts. Digits and hyphens end a word: the teacher reads numbers already.
_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’ʼ\u200c\u200d][\p{L}\p{M}]+)*")
_ASCII_WORD = re.compile("[A-Za-z]+(?:'[A-Za-z]+)*")  # the same of ASCII alone, in half the time
_AFTER_SIGN = regex.compile(r"(?<=[^\s\p{L}\p{M}])(?<![\p{L}\p{M}]['’ʼ\u200c\u200d])" + _WORD.pattern)
_INSIDE = regex.compile(rf"(?<=[\p{{L}}\p{{M}}\p{{Nd}},)]) ({_WORD.pattern})")
# After 30 marks on a letter Unicode's stream-safe text ends; putting 100,000 of them into order takes a minute.
_MARKS = regex.compile(r"(\p{M}{30})\p{M}+")
_MARK = regex.compile(r"\p{M}")
_FEW = 1_000  # characters that are put into order at once, whatever they are
_LATIN = regex.compile(r"^[\p{Latin}\p{M}'’ʼ]+$")


def tidy(text: str) -> str:
    """Unicode NFC with single spaces: line breaks, tabs, no-break spaces and characters 0 are spaces too."""
    return " ".join(_normalised(text).replace("\0", " ").split())


def _normalised(text: str) -> str:
    """Unicode NFC; of more than 30 marks in a row in a long text, the first 30."""
    if len(text) > _FEW and not text.isascii():
        text = _MARKS.sub(r"\1", text)
    return unicodedata.normalize("NFC", text)


def cut(text: str, most: int) -> str:
    """The text, or its beginning and "..." in at most so many characters: cut after a word, where it has spaces."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    room = text[: most - 2]  # with the character after the last that there is room for
    whole, space, _ = room.rpartition(" ")
    return f"{(whole if space and len(whole) > most // 2 else room[:-1]).rstrip(' ,;:.')}..."


def fold_text(text: str) -> str:
    """A key that is equal for texts that differ in case, punctuation, symbols and spacing only; may be empty.

    Letters keep their marks: a vowel sign of Devanagari is no punctuation, and neither is a tone of Yoruba.
    """
    return " ".join(_normalised(text.casefold()).translate(_punctuation()).split())


@cache
def _punctuation() -> dict[int, None]:
    """Punctuation, symbols and invisible format characters, as ``str.translate`` deletes them."""
    characters = map(chr, range(min(sys.maxunicode + 1, 0x20000)))  # the planes above hold ideographs only
    return {ord(c): None for c in characters if (kind := unicodedata.category(c))[0] in "PS" or kind == "Cf"}


def split_words(text: str) -> list[str]:
    """The words of a text in order, as written, with straight apostrophes."""
    text = text.replace("’", "'")
    return _ASCII_WORD.findall(text) if text.isascii() else [_straight(w) for w in _WORD.findall(text)]


def word_places(text: str) -> list[tuple[int, int]]:
    """Where the words of :func:`split_words` begin and end, in characters."""
    return [match.span() for match in _WORD.finditer(text)]


def words_after_signs(text: str) -> list[str]:
    """The words of :func:`split_words` that stand right after something other than a space, as in ``(maji``."""
    return [_straight(w) for w in _AFTER_SIGN.findall(text)]


def words_inside(text: str) -> list[str]:
    """The words of :func:`split_words` that surely begin no sentence: right after a word, number, comma or bracket."""
    return [_straight(w) for w in _INSIDE.findall(text)]


def first_word(text: str) -> str:
    """The word that a text begins with; empty where it begins with something else."""
    match = _WORD.match(text)
    return _straight(match[0]) if match else ""


def replace_words(text: str, replace: Callable[[str], str | None]) -> str:
    """Replace words of a text, and leave everything between them unchanged.

    Args:
        text: What to change.
        replace: Called with each word of :func:`split_words` in turn; None leaves the word as it is written.
    """
    return _WORD.sub(lambda match: match[0] if (new := replace(_straight(match[0]))) is None else new, text)


def _straight(word: str) -> str:
    return word.replace("’", "'").replace("ʼ", "'")


def fold(word: str) -> str:
    """The form under which the occurrences of a word are counted together."""
    return _normalised(word).casefold()


def in_case_of(word: str, other: str) -> str:
    """``other``, capitalised as ``word`` is: ``Watoto`` becomes ``Children``, ``MAJI`` ``WATER``."""
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[0].upper() + other[1:] if word[0].isupper() else other


def is_latin(word: str) -> bool:
    """Whether a word is written in Latin letters only."""
    return _LATIN.match(word) is not None


def without_marks(word: str) -> str:
    """A word of Latin letters without accents and tones: ``omo`` for ``ọmọ``. In other scripts marks stay."""
    if word.isascii() or not is_latin(word):
        return word
    return _normalised(_MARK.sub("", unicodedata.normalize("NFD", word)))


def script_of(c: str) -> str:
    """The script of a letter, the first word of its Unicode name; none for signs, digits and accents."""
    if unicodedata.category(c)[0] not in "LM":
        return ""
    name = unicodedata.name(c, "UNKNOWN").split()[0]
    return "" if name == "COMBINING" else name
