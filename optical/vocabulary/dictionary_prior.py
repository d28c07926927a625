"""Use a dictionary of X: give rows to words that the bitext lacks, and a prior to the alignment.

A dictionary is never read as bitext: its entries say nothing of how often words are used, and as sentences they would
outvote what the bitext says of common words. As a prior it fades where a word is seen often.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optical.data.dictionary import Entry
from optical.data.words import fold, split_words
from optical.vocabulary.choose_words import WordCounts, Words
from optical.vocabulary.token_ids import token_ids
from optical.vocabulary.translation_table import Prior


def add_entries(words: Words, entries: Sequence[Entry], found: WordCounts, *, max_words: int = 100_000) -> Words:
    """Add the words of a dictionary that the bitext lacks.

    A word that occurs on the English side is left out: it is a name or a loan, which the teacher reads.

    Args:
        words: Those of the bitext; all of them stay.
        entries: Of the dictionary; those of several X words add none.
        found: All words of the bitext.
        max_words: Most words, those of the bitext counted.
    """
    if not entries:
        return words
    seen = found.english.keys() | set(map(fold, found.written))
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


def prior_of(entries: Sequence[Entry], ids: Mapping[str, int], base: Any, weight: float) -> Prior:
    """The prior of an alignment between the words of X and the teacher's pieces.

    All translations of a word have one share, and all pieces of a translation: which of them a row takes most of is
    left to :attr:`TranslationTable.weight`, by which rare pieces count more. Shares by the frequency of the English
    words did no better.

    Args:
        entries: Of the dictionary; those of several X words are left out.
        ids: Word of X -> its id.
        base: The teacher's tokenizer.
        weight: See :class:`optical.vocabulary.translation_table.Prior`.
    """
    meanings: defaultdict[int, dict[str, None]] = defaultdict(dict)  # in the order of the entries
    for entry in entries:
        if (f := ids.get(fold(single_word(entry)))) is not None:
            meanings[f][entry.english] = None
    texts = sorted(set().union(*meanings.values()))
    pieces = {text: ids.tolist() for text, ids in zip(texts, token_ids(base, texts), strict=True)}
    shares: defaultdict[tuple[int, int], float] = defaultdict(float)
    for f, own in meanings.items():
        read = [pieces[text] for text in own if pieces[text]]
        for of_text in read:
            for e in of_text:
                shares[f, e] += 1 / len(read) / len(of_text)
    at = np.array(sorted(shares), dtype=np.int64).reshape(-1, 2)
    share = np.array([shares[f, e] for f, e in at.tolist()], dtype=np.float32)
    return Prior(at[:, 0], at[:, 1], share, weight)
