"""The sentence pairs that a student is made from, of one language or several, and how often each is drawn.

A student of several languages has one vocabulary, in which a word that they share has one row: a mixture of its
meanings by how often each is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from optical.config.training import Training
from optical.data.bitext import Pair
from optical.data.words import split_words
from optical.errors import DataError
from optical.training.batches import language_weights


class Mixture(NamedTuple):
    """The pairs that one student is made from.

    Attributes:
        pairs: Of all languages, which take turns as long as they last.
        weights: Expected draws of each pair in an epoch, repeats of questions aside; None where all are 1.
        shares: Language -> its share of the draws of an epoch.
    """

    pairs: list[Pair]
    weights: list[float] | None
    shares: dict[str, float]

    def trained(self, training: Training) -> list[tuple[Pair, float]]:
        """The pairs that are trained on, and the expected draws of each in an epoch."""
        weights = [1] * len(self.pairs) if self.weights is None else self.weights
        able = ((pair, weight) for pair, weight in zip(self.pairs, weights, strict=True) if fits(pair, training))
        return [(pair, weight * _draws(pair, training)) for pair, weight in able if weight]


def usable(pairs: Sequence[Pair], training: Training) -> list[Pair]:
    """Keep the pairs whose X side has the length that training asks for, in their order."""
    return [p for p in pairs if fits(p, training)]


def left_out(pairs: Sequence[Pair], training: Training) -> list[str]:
    """Say how many pairs are too short or too long to train on, and by which option; nothing where all fit."""
    counts = [len(split_words(pair.foreign)) for pair in pairs]
    short, long = (
        sum(count < training.min_words for count in counts),
        sum(count > training.max_words for count in counts),
    )
    said = []
    if long:
        said.append(f"{long:,} of {len(pairs):,} longer than {training.max_words} words: training.max_words")
    if short:
        said.append(f"{short:,} of {len(pairs):,} shorter than {training.min_words} words: training.min_words")
    return said


def fits(pair: Pair, training: Training) -> bool:
    """Whether the X side has the length that training asks for."""
    return training.min_words <= len(split_words(pair.foreign)) <= training.max_words


def mix(
    pairs: Mapping[str, Sequence[Pair]], training: Training, weights: Mapping[tuple[str, str], float] | None = None
) -> Mixture:
    """Mix the pairs of several languages for one student; pairs of small languages are drawn more often.

    Language l is drawn in proportion to ``n_l^(1 / training.language_temperature)``
    (:func:`optical.training.batches.language_weights`), where n_l counts the pairs that can be trained on, a question
    as often as it is drawn. An epoch has as many draws as without these weights. Within a language, a pair is drawn as
    often as its own weight says.

    Args:
        pairs: Language -> its pairs.
        training: Lengths, repeats of questions, temperature.
        weights: Pair -> its own weight, where that is not 1.

    Raises:
        DataError: A language has no pair that can be trained on.
    """
    own_weights = weights or {}
    counts = {
        lang: sum(_draws(pair, training) * own_weights.get(pair, 1) for pair in usable(own, training))
        for lang, own in pairs.items()
    }
    # Languages take turns, so that code which reads only the first thousands of pairs sees all of them.
    turns = chain.from_iterable(zip_longest(*([(lang, pair) for pair in own] for lang, own in pairs.items())))
    order = [turn for turn in turns if turn]
    if len(pairs) == 1:
        every = [own_weights.get(pair, 1.0) for _, pair in order]
        return Mixture([pair for _, pair in order], every if own_weights else None, dict.fromkeys(pairs, 1.0))
    if empty := [lang for lang, count in counts.items() if not count]:
        raise DataError(
            f"no {empty[0]} pair to train on: of {len(pairs[empty[0]])} pairs none has {training.min_words} to "
            f"{training.max_words} words; give more bitext, set training.min_words, or leave the language out"
        )
    drawn = language_weights(counts, training.language_temperature)
    total = sum(counts.values())
    shares = {lang: drawn[lang] * count / total for lang, count in counts.items()}
    every = [drawn[lang] * own_weights.get(pair, 1.0) for lang, pair in order]
    return Mixture([pair for _, pair in order], every, shares)


def _draws(pair: Pair, training: Training) -> int:
    return training.question_repeats if pair.is_question else 1
