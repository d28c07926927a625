"""A lexicon of single words, learnt from parallel sentences.

It puts queries into English word by word, perturbs them by code-switching, and augments training sentences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from optical.data.bitext import Pair
from optical.data.words import fold, split_words
from optical.vocabulary.align_ibm1 import align_ibm1

STEPS = 10  # EM iterations of the lexicon: more than the transplant's, whose rows average what is still undecided


def bitext_lexicon(
    pairs: Sequence[Pair],
    *,
    into: Literal["english", "foreign"] = "english",
    most: int = 3,
    least: float = 0.15,
    min_count: int = 2,
) -> dict[str, list[str]]:
    """Learn what words mean from parallel sentences, by IBM model 1 between the words of both sides.

    How surely two words translate each other is ``sqrt(t(e | f) t(f | e))``: a word seen twice may well go with "the",
    but "the" does not go with it. A translation that is the word itself, such as a name, is left out. A language
    written without spaces has no words here but whole phrases, so its lexicon is thin.

    Args:
        pairs: Bitext.
        into: ``english`` translates words of X; ``foreign`` translates English words into X.
        most: Translations of one word, at least 1.
        least: How sure a translation is at least, in (0, 1].
        min_count: Least occurrences of the word, and of the translation.

    Returns:
        Folded word -> translations, surest first, each in its commonest spelling.
    """
    english, foreign = (
        ([split_words(text) for text in side] for side in zip(*pairs, strict=True)) if pairs else ([], [])
    )
    to, of = (english, foreign) if into == "english" else (foreign, english)
    (to_ids, to_words, to_counts), (of_ids, of_words, of_counts) = _numbered(to), _numbered(of)
    table = align_ibm1(to_ids, of_ids, steps=STEPS)
    sure = np.sqrt(table.probability * table.reverse)
    kept = (sure >= least) & (of_counts[table.foreign] >= min_count) & (to_counts[table.english] >= min_count)
    kept = np.flatnonzero(kept)[np.argsort(-sure[kept], kind="stable")]
    found: dict[str, list[str]] = {}
    for f, e in zip(table.foreign[kept].tolist(), table.english[kept].tolist(), strict=True):
        word, translation = fold(of_words[f]), to_words[e]
        if fold(translation) != word and len(found.setdefault(word, [])) < most:
            found[word].append(translation)
    return found


def _numbered(sentences: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[str], np.ndarray]:
    """Sentences as ids of folded words; the commonest spelling of each id, and how often it occurs."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for word in sentence:
            spellings[fold(word)][word] += 1
    ids = {word: k for k, word in enumerate(spellings)}
    common = [max(sorted(counts), key=counts.__getitem__) for counts in spellings.values()]
    totals = np.array([counts.total() for counts in spellings.values()], dtype=np.int64)
    return [[ids[fold(word)] for word in sentence] for sentence in sentences], common, totals
