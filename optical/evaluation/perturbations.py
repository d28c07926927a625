"""Perturbed queries, to measure robustness: typos, lost diacritics, other case, code-switching, lost words, word order.

The rate of a perturbation is a share of the words that it can change, which depends on the language: Swahili has no
diacritics to lose, and code-switching changes only words that the lexicon translates.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import regex

from optical.data.words import Lexicon, fold, in_case_of, replace_words, split_words
from optical.errors import RecipeError

Options = list[list[str]]  # what a word may become, grouped: first the group is drawn, then one of it

_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SIGNS = regex.compile(r"\X")  # a letter with its marks
# Marks that people leave out when they type. In Indic scripts, Thai or Khmer a mark is a vowel of its own, and without
# it nobody can read the word: those stay.
_MARK = regex.compile(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}]\p{M}*)\p{Mn}")
_REACHED = 100  # letters of a word among which typos are made
_PLAIN = str.maketrans("ɓɗƙƴƁƊƘƳłøđħŁØĐĦı", "bdkyBDKYlodhLODHi")  # letters that Unicode does not take apart


def perturb(text: str, kind: str, rate: float, random: np.random.Generator, *, lexicon: Lexicon | None = None) -> str:
    """Perturb some of the words of a text.

    The number of words changed is ``rate`` times those that the kind can change, rounded up or down at random so that
    it is right on average. The same state of the generator gives the same text; a higher rate changes the same words
    and more.

    Args:
        text: What to change; never becomes empty.
        kind: One of ``KINDS``.
        rate: Share of the words that the kind can change, in [0, 1]; at 0 the text stays as it is.
        random: Source of randomness.
        lexicon: Folded word -> what it may become; of ``codeswitch``.

    Raises:
        RecipeError: An unknown kind, or a rate outside [0, 1].
        ValueError: ``codeswitch`` without a lexicon.
    """
    check(kind, rate)
    if kind == "codeswitch" and lexicon is None:
        raise ValueError(
            "codeswitch needs a lexicon; received none; make one by optical.vocabulary.lexicon.bitext_lexicon"
        )
    words = split_words(text)
    options = [KINDS[kind](word, lexicon or {}) for word in words]
    able = [k for k, groups in enumerate(options) if groups]
    count = int(rate * len(able) / (2 if kind == "order" else 1) + random.random())
    if kind == "order":
        return _reordered(text, words, random.permutation(len(words)).tolist(), count)
    if kind == "drop":
        count = min(count, len(words) - 1)
    become: dict[int, str] = {}
    for at in random.permutation(len(able))[: max(0, count)].tolist():
        group = options[able[at]][int(random.integers(len(options[able[at]])))]
        become[able[at]] = group[int(random.integers(len(group)))]
    position = iter(range(len(words)))
    changed = replace_words(text, lambda _: become.get(next(position)))
    return " ".join(changed.split()) if kind == "drop" and become else changed


def check(kind: str, rate: float) -> None:
    """Check the kind and the rate of a perturbation.

    Raises:
        RecipeError: An unknown kind (the nearest known one is named), or a rate outside [0, 1].
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"choose among {', '.join(KINDS)}"
        raise RecipeError(f"unknown perturbation; received {kind!r}; {remedy}")
    if not 0.0 <= rate <= 1.0:
        raise RecipeError(f"the rate of a perturbation is a share of words, from 0 to 1; received {rate}; try 0.2")


def touched(before: str, after: str) -> float:
    """Share of the words of ``before`` that ``after`` does not have, in [0, 1]; 0 for a text without words."""
    words = Counter(split_words(before))
    return (words - Counter(split_words(after))).total() / max(1, words.total())


def _typos(word: str, lexicon: Lexicon) -> Options:
    """One typo: two letters swapped, a letter lost, doubled, or hit on the next key; the first letter stays."""
    signs = _SIGNS.findall(word)
    if len(signs) < 3:
        return []
    signs, rest = signs[:_REACHED], "".join(signs[_REACHED:])
    groups = [
        ["".join((*signs[:k], b, a, *signs[k + 2 :])) for k, (a, b) in enumerate(pairwise(signs)) if k],
        ["".join((*signs[:k], *signs[k + 1 :])) for k in range(1, len(signs))],
        ["".join((*signs[: k + 1], *signs[k:])) for k in range(1, len(signs))],
        ["".join((*signs[:k], near, *signs[k + 1 :])) for k in range(1, len(signs)) for near in _beside(signs[k])],
    ]
    return [[other + rest for other in group] for group in _others("".join(signs), groups)]


def _beside(sign: str) -> list[str]:
    """Letters left and right of a letter on a Latin keyboard; none for other scripts and letters with marks."""
    row = next((row for row in _KEYBOARD if sign.lower() in row), None)
    if row is None:
        return []
    at = row.index(sign.lower())
    near = row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    return list(near.upper() if sign.isupper() else near)


def _diacritics(word: str, lexicon: Lexicon) -> Options:
    """The word without diacritics, with plain letters for hooked and barred ones (ɓ of Hausa, ł of Polish)."""
    plain = _MARK.sub("", unicodedata.normalize("NFD", word)).translate(_PLAIN)
    return _others(unicodedata.normalize("NFC", word), [[unicodedata.normalize("NFC", plain)]])


def _case(word: str, lexicon: Lexicon) -> Options:
    """The word in capitals, in small letters, or with a capital first letter."""
    return _others(word, [[word.upper()], [word.lower()], [word[0].upper() + word[1:].lower()]])


def _codeswitch(word: str, lexicon: Lexicon) -> Options:
    return _others(word, [[in_case_of(word, other) for other in lexicon.get(fold(word), ())]])


def _drop(word: str, lexicon: Lexicon) -> Options:
    return [[""]]


def _order(word: str, lexicon: Lexicon) -> Options:
    """Any word may stand elsewhere; :func:`_reordered` says where."""
    return [[word]]


def _reordered(text: str, words: list[str], order: list[int], count: int) -> str:
    """The text with ``count`` words exchanged with those that follow them, as far as these are others; each once."""
    become: dict[int, str] = {}
    for k in order:
        if len(become) < 2 * count and k + 1 < len(words) and not {k, k + 1} & become.keys():
            become |= {k: words[k + 1], k + 1: words[k]} if words[k] != words[k + 1] else {}
    position = iter(range(len(words)))
    return replace_words(text, lambda _: become.get(next(position)))


def _others(word: str, groups: Options) -> Options:
    """The groups without this word, without repeated words, and without empty and repeated groups."""
    distinct = (tuple(dict.fromkeys(other for other in group if other != word)) for group in groups)
    return [list(group) for group in dict.fromkeys(distinct) if group]


KINDS: dict[str, Callable[[str, Lexicon], Options]] = {
    "typos": _typos,
    "diacritics": _diacritics,
    "case": _case,
    "codeswitch": _codeswitch,
    "drop": _drop,
    "order": _order,
}
"""Kind -> function from a word to what it may become."""
