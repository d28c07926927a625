"""Measure how well the student's vocabulary fits sentences of X that it was not made from.

On its own bitext the fertility of a vocabulary with a row for every word is near 1 by construction, so it is measured
on held-out pairs, with a tokenizer made in the same way from all the others. Nothing is aligned for it, and the
student's own vocabulary still comes from every pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from optical.data.bitext import Pair, split
from optical.data.words import split_words
from optical.vocabulary.token_ids import token_ids

LEAST = 20  # pairs below which nothing is measured: one held-out sentence says nothing
SHARE = 0.05  # of the pairs that are held out
MOST = 500  # pairs that are held out


class Fit(NamedTuple):
    """Fit of a tokenizer to a language, measured on running text.

    Attributes:
        tokens_per_word: Mean number of tokens of a word in running text (its fertility); 1 is best.
        unknown_rate: Share of those tokens that are the unknown token.
        words: Running words measured.
    """

    tokens_per_word: float
    unknown_rate: float
    words: int


def fit(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Fit:
    """Measure a tokenizer on running text, word by word, punctuation and numbers left out."""
    words = Counter(w for text in texts for w in split_words(text))
    if not words:
        return Fit(0.0, 0.0, 0)
    ids = token_ids(tokenizer, [f" {word}" for word in words])  # some pieces contain the space before a word
    tokens = sum(len(row) * n for row, n in zip(ids, words.values(), strict=True))
    nothing: Any = tokenizer.unk_token_id
    unknown = sum(int((row == nothing).sum()) * n for row, n in zip(ids, words.values(), strict=True))
    return Fit(tokens / words.total(), unknown / max(tokens, 1), words.total())


def held_out_fit(
    base: Any, pairs: Sequence[Pair], make: Callable[[list[Pair]], Any], *, seed: int = 0
) -> tuple[Fit, Fit] | None:
    """Fertility and unknown rate before and after, on X sentences that the vocabulary was not made from.

    Args:
        base: The teacher's tokenizer.
        pairs: Bitext; 5 % of it, at most ``MOST`` pairs, are held out.
        make: Pairs to leave out in, the tokenizer that the others give the student out.
        seed: Which pairs are held out.

    Returns:
        How the teacher's tokenizer fits the held-out sentences, and how the tokenizer made from the other pairs does;
        None for fewer than ``LEAST`` pairs, or when no word of X is held out.
    """
    if len(pairs) < LEAST:
        return None
    _, held_out = split(pairs, min(MOST, int(SHARE * len(pairs))), seed)
    texts = [pair.foreign for pair in held_out]
    seen = set(texts)
    away = [pair for pair in pairs if pair.foreign in seen]
    before = fit(base, texts)
    if len(away) == len(pairs) or not before.words:
        return None
    return before, fit(make(away), texts)
