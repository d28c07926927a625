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
        weights: Expected draws of each pair in an epoch, repeats of questions aside; None for a single language.
        shares: Language -> its share of the draws of an epoch.
    """

    pairs: list[Pair]
    weights: list[float] | None
    shares: dict[str, float]


def usable(pairs: Sequence[Pair], training: Training) -> list[Pair]:
    """Keep the pairs whose X side has the length that training asks for, in their order."""
    return [p for p in pairs if fits(p, training)]


def fits(pair: Pair, training: Training) -> bool:
    """Whether the X side has the length that training asks for."""
    return training.min_words <= len(split_words(pair.foreign)) <= training.max_words


def mix(pairs: Mapping[str, Sequence[Pair]], training: Training) -> Mixture:
    """Mix the pairs of several languages for one student; pairs of small languages are drawn more often.

    Language l is drawn in proportion to ``n_l^(1 / training.language_temperature)``
    (:func:`optical.training.batches.language_weights`), where n_l counts the pairs that can be trained on, a question
    as often as it is drawn. An epoch has as many draws as without weights.

    Raises:
        DataError: A language has no pair that can be trained on.
    """
    counts = {lang: sum(_draws(pair, training) for pair in usable(own, training)) for lang, own in pairs.items()}
    # Languages take turns, so that code which reads only the first thousands of pairs sees all of them.
    turns = chain.from_iterable(zip_longest(*([(lang, pair) for pair in own] for lang, own in pairs.items())))
    order = [turn for turn in turns if turn]
    if len(pairs) == 1:
        return Mixture([pair for _, pair in order], None, dict.fromkeys(pairs, 1.0))
    if empty := [lang for lang, count in counts.items() if not count]:
        raise DataError(
            f"no {empty[0]} pair to train on: of {len(pairs[empty[0]])} pairs none has {training.min_words} to "
            f"{training.max_words} words; give more bitext, set training.min_words, or leave the language out"
        )
    weights = language_weights(counts, training.language_temperature)
    total = sum(counts.values())
    shares = {lang: weights[lang] * count / total for lang, count in counts.items()}
    return Mixture([pair for _, pair in order], [weights[lang] for lang, _ in order], shares)


def _draws(pair: Pair, training: Training) -> int:
    return training.question_repeats if pair.is_question else 1
