"""Augmentation: while training, words of X are replaced by synonyms, or by their English translations.

Without a list of synonyms, the replacements come from the lexicon of the bitext (:mod:`optical.vocabulary.lexicon`),
which makes code-switched sentences.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optical.data.lines import lines
from optical.data.words import fold, in_case_of, replace_words, split_words
from optical.errors import DataError


def read_synonyms(path: str | Path) -> dict[str, list[str]]:
    """Read a file of synonyms: ``word<TAB>synonym``, or ``word<TAB>synonym synonym ..``, a line.

    Lines of one word add up; empty lines are passed over. The relation is not made symmetric: a list that means it
    both ways has both lines.

    Returns:
        Folded word -> its synonyms as written, in the order of the file, without the word itself.

    Raises:
        DataError: The file cannot be read, a line has not two columns, a column is empty or the first is not one word,
            or there is no synonym at all.
    """
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for number, text in lines(Path(path)):
        if not text.strip():
            continue
        columns = text.split("\t")
        words = split_words(columns[0])
        if len(columns) != 2 or len(words) != 1 or not columns[1].strip():
            raise DataError(
                f"{path}:{number}: a line of synonyms is word<TAB>synonyms; received {text[:80]!r}; write one word, a "
                "tab, and its synonyms with spaces between them"
            )
        own = fold(words[0])
        found[own] |= dict.fromkeys(word for word in columns[1].split() if fold(word) != own)
    table = {word: list(synonyms) for word, synonyms in found.items() if synonyms}
    if not table:
        raise DataError(f"{path}: no word has a synonym; received {len(found)} words; write word<TAB>synonym on a line")
    return table


class Augment:
    """A tokenization function that replaces words first (RS-DA of Huang et al. 2021, after Ye et al. 2020).

    They redraw each word from itself and its synonyms; here a word is replaced at a stated rate, since a sentence half
    of whose words are English would no longer be one of X. The choice depends on the seed and the batch alone, so a
    resumed run replaces the same words.
    """

    def __init__(
        self, preprocess: Callable[..., Any], replacements: Mapping[str, Sequence[str]], rate: float, seed: int
    ) -> None:
        """Wrap ``preprocess``, whose first argument is a list of texts.

        Args:
            preprocess: What the texts go to.
            replacements: Folded word -> its possible replacements, from :func:`read_synonyms` or
                :func:`optical.vocabulary.lexicon.bitext_lexicon`.
            rate: Probability, in [0, 1], that a word which has a replacement gets one.
            seed: Of the choice.

        Raises:
            ValueError: A rate outside [0, 1].
        """
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"the rate of augmentation is a share of words; received {rate}; 0.15 is a start")
        self.preprocess, self.replacements, self.rate, self.seed = preprocess, replacements, rate, seed

    def __call__(self, inputs: Sequence[str], **options: Any) -> Any:
        """Call ``preprocess`` on the texts with words replaced."""
        return self.preprocess(self.texts(inputs), **options)

    def texts(self, inputs: Sequence[str]) -> list[str]:
        """Replace words of the texts."""
        digest = hashlib.blake2b("\0".join(inputs).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        random = np.random.default_rng((self.seed, int.from_bytes(digest, "little")))
        return [replace_words(text, lambda word: self._other(word, random)) for text in inputs]

    def _other(self, word: str, random: np.random.Generator) -> str | None:
        found = self.replacements.get(fold(word))
        if not found or random.random() >= self.rate:
            return None
        return in_case_of(word, found[int(random.integers(len(found)))])
