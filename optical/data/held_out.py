"""Pairs that are held out of a bitext, drawn in strata: with or without an unseen word, short or long.

A sentence drawn at random has fewer words that the bitext lacks than a real question has, because questions are no part
of the bitext.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from statistics import median_low
from typing import NamedTuple

from optical.data.bitext import Pair, lot, split
from optical.data.words import fold, split_words

LEAST = 10  # sentences of a stratum


class Kind(NamedTuple):
    """Held-out pairs of one stratum.

    Attributes:
        name: What they have in common, as in ``short with an unseen word``; empty where there is but one stratum.
        weight: Of their mean; the weights of all strata add up to 1.
        pairs: In the order of the bitext.
    """

    name: str
    weight: float
    pairs: list[Pair]


def hold_out(
    pairs: Sequence[Pair], count: int, seed: int, among: Sequence[Pair] | None = None
) -> tuple[list[Kind], list[Pair]]:
    """Hold out pairs in strata of fixed weight; what is left comes with them.

    A sentence of X is *unseen* if it has a word that no pair left has, and *long* if it has more words than the median
    of those drawn from. Unseen sentences are one half of those held out and of the score, or what they are in a plain
    draw if that is more, so that the score depends little on how seldom the bitext has them. On either side short and
    long ones count the same. All are drawn by a hash of pair and seed; where the bitext has too few of a stratum, any
    sentences fill its place. A stratum of fewer than ``LEAST`` is joined with its neighbour: long with short; where
    there are so few on one side, with the other side.

    Which sentences are unseen depends on which are drawn. So those are drawn as unseen that have a word of no other
    pair, which stays unseen whatever else is drawn; and all are told apart by the pairs that are left in the end.

    Args:
        pairs: Distinct.
        count: How many to hold out, questions alone if there are more than twice as many.
        seed: Of the draw.
        among: The pairs that may be held out; all without it.
    """
    among = pairs if among is None else among
    questions = [pair for pair in among if pair.is_question]
    among = questions if len(questions) > 2 * count else among
    if count < 2 * LEAST:
        drawn = split(among, count, seed)[1]
        strata = [Kind("", 1.0, drawn)]
    else:
        sentences = Counter(word for pair in pairs for word in _words(pair))
        median = median_low(_length(pair) for pair in among)
        order = sorted(among, key=lambda pair: lot(pair, seed))
        share = max(0.5, sum(_alone(pair, sentences) for pair in order[:count]) / count)
        chosen = _drawn(order, sentences, median, share, count)
        drawn = [pair for pair in among if pair in chosen]
        strata = _strata(drawn, sentences, median, share)
    away = set(drawn)
    return strata, [pair for pair in pairs if pair not in away]


def in_words(strata: Sequence[Kind]) -> str:
    """The strata and their weights in half a sentence."""
    if len(strata) == 1:
        return "too few or too alike for strata of unseen words and length"
    return "; ".join(f"{len(kind.pairs)} {kind.name} ({100 * kind.weight:.0f} %)" for kind in strata)


def _words(pair: Pair) -> set[str]:
    return {fold(word) for word in split_words(pair.foreign)}


def _length(pair: Pair) -> int:
    return len(pair.foreign.split())


def _alone(pair: Pair, sentences: Counter[str]) -> bool:
    """Whether it has a word of no other pair."""
    return any(sentences[word] == 1 for word in _words(pair))


def _drawn(order: Sequence[Pair], sentences: Counter[str], median: int, share: float, count: int) -> set[Pair]:
    """The first of each stratum, as many as it should have, up to ``count``; then the first of any."""
    wanted = {(unseen, long): round(part * count) // 2 for unseen, part in ((True, share), (False, 1 - share))
              for long in (True, False)}  # fmt: skip
    taken: set[Pair] = set()
    for pair in order:
        if not any(wanted.values()):
            break
        kind = _alone(pair, sentences), _length(pair) > median
        if wanted[kind]:
            wanted[kind] -= 1
            taken.add(pair)
    others = (pair for pair in order if pair not in taken)
    return taken | set(islice(others, count - len(taken)))


def _strata(drawn: Sequence[Pair], sentences: Counter[str], median: int, share: float) -> list[Kind]:
    """The strata of those drawn, joined where they are too small."""
    away = Counter(word for pair in drawn for word in _words(pair))
    seen, unseen = ([], []), ([], [])
    for pair in drawn:
        side = unseen if any(away[word] == sentences[word] for word in _words(pair)) else seen
        side[_length(pair) > median].append(pair)
    sides = [(" of seen words", 1 - share, *seen), (" with an unseen word", share, *unseen)]
    if min(len(short) + len(long) for _, _, short, long in sides) < LEAST:
        sides = [("", 1.0, seen[0] + unseen[0], seen[1] + unseen[1])]
    found = []
    for name, weight, short, long in sides:
        parts = {"short": short, "long": long} if min(len(short), len(long)) >= LEAST else {"": short + long}
        found += [Kind((length + name).strip(), weight / len(parts), own) for length, own in parts.items()]
    return found
