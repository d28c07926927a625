"""Measure how well the student's vocabulary fits sentences of X that it was not made from.

On its own bitext the fertility of a vocabulary with a row for every word is near 1 by construction, so it is measured
on held-out pairs, with a tokenizer made in the same way from all the others. Nothing is aligned for it, and the
student's own vocabulary still comes from every pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optical.data.bitext import Pair, split
from optical.vocabulary.tokenizer import Fit, fit

LEAST = 20  # pairs below which nothing is measured: one held-out sentence says nothing
SHARE = 0.05  # of the pairs that are held out
MOST = 500  # pairs that are held out


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
