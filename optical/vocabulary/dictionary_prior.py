"""What a dictionary says of words of X: which of them get a row though the bitext lacks them, and a prior of alignment.

A dictionary is never read as bitext: its entries say nothing of how often words are used, and as sentences they would
outvote what the bitext says of common words. As a prior it fades where a word is seen often.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optical.data.dictionary import Entry
from optical.data.words import fold, split_words
from optical.vocabulary.choose_words import Words
from optical.vocabulary.tokenizer import token_ids
from optical.vocabulary.translation_table import Prior

COMMON = 0.0  # power of the frequency of an English translation in its share


def add_entries(
    words: Words, entries: Sequence[Entry], foreign: Sequence[str], english: Sequence[str], *, max_words: int = 100_000
) -> Words:
    """Add the words of a dictionary that the bitext lacks.

    A word that occurs on the English side is left out: it is a name or a loan, which the teacher reads.

    Args:
        words: Those of the bitext; all of them stay.
        entries: Of the dictionary; those of several X words add none.
        foreign: Sentences of X.
        english: Their translations.
        max_words: Most words, those of the bitext counted.
    """
    if not entries:
        return words
    seen = {fold(word) for side in (foreign, english) for sentence in side for word in split_words(sentence)}
    forms: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if (form := single_word(entry)) and (word := fold(form)) not in seen and word not in words.forms:
            forms[word] |= {form, word}
    new = list(forms)[: max(0, max_words - len(words.forms))]
    added = {word: sorted(forms[word]) for word in new}
    return words._replace(forms=words.forms | added, counts=words.counts | dict.fromkeys(new, 0))


def single_word(entry: Entry) -> str:
    """The word of X that an entry is of; empty where it is of several."""
    words = split_words(entry.foreign)
    return words[0] if len(words) == 1 else ""


def prior_of(
    entries: Sequence[Entry], ids: Mapping[str, int], base: Any, english: Sequence[str], weight: float
) -> Prior:
    """The prior of an alignment between the words of X and the teacher's pieces.

    Of several translations of a word each has the share ``(n + 1/2)^COMMON``, n the occurrences of its rarest word, and
    each piece of a translation as much as the others.

    Args:
        entries: Of the dictionary; those of several X words are left out.
        ids: Word of X -> its id.
        base: The teacher's tokenizer.
        english: English sentences of the bitext.
        weight: See :class:`optical.vocabulary.translation_table.Prior`.
    """
    often = Counter(fold(word) for sentence in english for word in split_words(sentence))
    meanings: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for entry in entries:
        if (f := ids.get(fold(single_word(entry)))) is not None:
            rarest = min(often[fold(word)] for word in split_words(entry.english))
            meanings[f][entry.english] = (rarest + 0.5) ** COMMON
    texts = sorted({text for own in meanings.values() for text in own})
    pieces = dict(zip(texts, token_ids(base, texts), strict=True))
    shares: defaultdict[tuple[int, int], float] = defaultdict(float)
    for f, own in meanings.items():
        read = {text: n for text, n in own.items() if pieces[text]}
        for text, n in read.items():
            for e in pieces[text]:
                shares[f, e] += n / sum(read.values()) / len(pieces[text])
    at = np.array(sorted(shares), dtype=np.int64).reshape(-1, 2)
    share = np.array([shares[f, e] for f, e in at.tolist()], dtype=np.float32)
    return Prior(at[:, 0], at[:, 1], share, weight)
