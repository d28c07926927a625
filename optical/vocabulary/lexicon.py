"""A lexicon of single words, learnt from parallel sentences, and how probable each translation is.

It puts queries into English word by word, perturbs them by code-switching, and augments training sentences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from optical.data.bitext import Pair
from optical.data.words import fold, split_words
from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.translation_table import TranslationTable

STEPS = 10  # EM iterations of the lexicon: more than the transplant's, whose rows average what is still undecided
# Of translation probabilities, by the sample's development questions and held-out questions of other languages
# (experiments/LOG.md, 2026-11-29, PSQ). Yang et al. 2024 keep .99 and .0001 of tables from far more bitext.
MASS, LEAST = 0.8, 0.01


class Words(NamedTuple):
    """The words of one side.

    Attributes:
        spellings: Of each word, the commonest.
        counts: How often each occurs.
    """

    spellings: list[str]
    counts: Int[np.ndarray, " w"]


class AlignedWords(NamedTuple):
    """The words of both sides, and the table between them; ``english`` is the side translated into.

    Attributes:
        table: By the numbers of the words.
        english: Words of the side translated into.
        foreign: Words that are translated.
    """

    table: TranslationTable
    english: Words
    foreign: Words


def align_words(pairs: Sequence[Pair], into: Literal["english", "foreign"] = "english") -> AlignedWords:
    """Align the folded words of both sides by IBM model 1; ``into`` is the side translated into."""
    english, foreign = (
        ([split_words(text) for text in side] for side in zip(*pairs, strict=True)) if pairs else ([], [])
    )
    to, of = (english, foreign) if into == "english" else (foreign, english)
    (to_ids, to_words), (of_ids, of_words) = _numbered(to), _numbered(of)
    return AlignedWords(align_ibm1(to_ids, of_ids, steps=STEPS), to_words, of_words)


def bitext_lexicon(
    pairs: Sequence[Pair],
    *,
    into: Literal["english", "foreign"] = "english",
    most: int = 3,
    least: float = 0.15,
    min_count: int = 2,
) -> dict[str, list[str]]:
    """Learn what words mean from parallel sentences: :func:`lexicon_of` of their alignment."""
    return lexicon_of(align_words(pairs, into), most=most, least=least, min_count=min_count)


def lexicon_of(
    aligned: AlignedWords, *, most: int = 3, least: float = 0.15, min_count: int = 2
) -> dict[str, list[str]]:
    """Translate words by the table between the words of both sides.

    How surely two words translate each other is ``sqrt(t(e | f) t(f | e))``: a word seen twice may well go with "the",
    but "the" does not go with it. A translation that is the word itself, such as a name, is left out. A language
    written without spaces has no words here but whole phrases, so its lexicon is thin.

    Args:
        aligned: Of bitext.
        most: Translations of one word, at least 1.
        least: How sure a translation is at least, in (0, 1].
        min_count: Least occurrences of the word, and of the translation.

    Returns:
        Folded word -> translations, surest first, each in its commonest spelling.
    """
    table, to, of = aligned
    sure = np.sqrt(table.probability * table.reverse)
    kept = (sure >= least) & (of.counts[table.foreign] >= min_count) & (to.counts[table.english] >= min_count)
    kept = np.flatnonzero(kept)[np.argsort(-sure[kept], kind="stable")]
    found: dict[str, list[str]] = {}
    for f, e in zip(table.foreign[kept].tolist(), table.english[kept].tolist(), strict=True):
        word, translation = fold(of.spellings[f]), to.spellings[e]
        if fold(translation) != word and len(found.setdefault(word, [])) < most:
            found[word].append(translation)
    return found


def translation_probabilities(
    aligned: AlignedWords, *, mass: float = MASS, least: float = LEAST
) -> dict[str, list[tuple[str, float]]]:
    r"""Weigh the translations of each word by their probability in both directions of the table.

    .. math:: p(e | f) \propto \sqrt{t(e | f) \, t(f | e)}

    normalised over e, since t(e | f) alone gives every word a share of "the" (Wang & Oard 2006, "Combining
    bidirectional translation and synonymy for cross-language information retrieval"). The most probable translations
    up to ``mass`` are kept, without those below ``least``, and normalised again.

    Args:
        aligned: Of bitext; its names are translations of themselves.
        mass: In (0, 1]; the translation that reaches it is kept.
        least: In [0, 1).

    Returns:
        Folded word -> (folded translation, probability), the most probable first; words of which no translation is
        left are not there.
    """
    table, to, of = aligned
    sure = np.sqrt(table.probability.astype(np.float64) * table.reverse)
    order = np.lexsort((-sure, table.foreign))
    f, e, sure = table.foreign[order], table.english[order], sure[order]
    size = len(of.spellings)
    p = sure / np.bincount(f, weights=sure, minlength=size)[f]
    before = np.cumsum(p) - p
    before -= before[np.searchsorted(f, f)]  # of the same word
    kept = (before < mass) & (p >= least)
    f, e, p = f[kept], e[kept], p[kept]
    p /= np.bincount(f, weights=p, minlength=size)[f]
    found: dict[str, list[tuple[str, float]]] = {}
    for word, translation, probability in zip(f.tolist(), e.tolist(), p.tolist(), strict=True):
        found.setdefault(fold(of.spellings[word]), []).append((fold(to.spellings[translation]), probability))
    return found


def _numbered(sentences: Sequence[Sequence[str]]) -> tuple[list[list[int]], Words]:
    """Sentences as ids of folded words, and these words."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for word in sentence:
            spellings[fold(word)][word] += 1
    ids = {word: k for k, word in enumerate(spellings)}
    common = [max(sorted(counts), key=counts.__getitem__) for counts in spellings.values()]
    totals = np.array([counts.total() for counts in spellings.values()], dtype=np.int64)
    return [[ids[fold(word)] for word in sentence] for sentence in sentences], Words(common, totals)
