"""Means over strata: queries in groups whose means count by fixed weights, with a standard error and a paired test.

This is how a development score says what it is sure of, and how one student is told from another by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from optical.errors import RecipeError
from optical.evaluation.significance import EQUAL, randomisation

LEVEL = 0.05  # p-value below which one is better than another
TESTABLE = 6  # queries: the signs of five have a p-value of 2/2^5 = .06 at best


class Stratum(NamedTuple):
    """Queries whose mean counts by its weight.

    Attributes:
        weight: Of the mean; the weights of all strata add up to 1.
        values: Of a measure by query, ``(n,)``, n at least 1.
    """

    weight: float
    values: np.ndarray


class Stratified(NamedTuple):
    """A measure by query, or the difference of two systems by it, in strata.

    Attributes:
        strata: One or more, with the same queries in the same order for every system.
    """

    strata: tuple[Stratum, ...]

    @property
    def queries(self) -> int:
        """The number of queries."""
        return sum(len(values) for _, values in self.strata)

    @property
    def testable(self) -> bool:
        """Whether there are enough queries for a test to tell anything."""
        return self.queries >= TESTABLE

    @property
    def mean(self) -> float:
        """The weighted mean of the strata's means."""
        return float(sum(weight * values.mean() for weight, values in self.strata))

    @property
    def error(self) -> float:
        r"""Standard error of the mean, :math:`\sqrt{\sum_h w_h^2 s_h^2 / n_h}`; NaN where a stratum has one query.

        Cochran, Sampling Techniques, 3rd ed. 1977, section 5.4.
        """
        if any(len(values) < 2 for _, values in self.strata):
            return math.nan
        return math.sqrt(sum(weight**2 * values.var(ddof=1) / len(values) for weight, values in self.strata))

    @property
    def p_value(self) -> float:
        """Of a difference: two-sided, of the randomisation test; NaN of fewer than ``TESTABLE`` queries.

        The sign of what each query adds to the mean, ``w / n`` times its difference, is a coin toss under the null
        hypothesis (:func:`optical.evaluation.significance.compare`).
        """
        if not self.testable:
            return math.nan
        added = [self.queries * weight / len(values) * values for weight, values in self.strata]
        return randomisation(np.concatenate(added))

    def minus(self, other: Stratified) -> Stratified:
        """The difference by query; exactly 0 where both are equal up to rounding."""
        differences = []
        for (weight, values), (_, others) in zip(self.strata, other.strata, strict=True):
            difference = values - others
            differences.append(Stratum(weight, np.where(np.abs(difference) < EQUAL, 0.0, difference)))
        return Stratified(tuple(differences))


def by_query(score: Callable[[Any], float], encoder: Any) -> Stratified:
    """Score an encoder by a development score: by query where it has a method ``measured``, else the score alone.

    A score alone is one query, so that nothing can be tested.
    """
    measured = getattr(score, "measured", None)
    return measured(encoder) if measured else alone(score(encoder))


def alone(score: float) -> Stratified:
    """A score of which no more is known.

    Raises:
        RecipeError: It is no number.
    """
    try:
        score = float(score)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"the development score is {score!r} ({type(score).__name__}); return a number, higher is better"
        ) from error
    return Stratified((Stratum(1.0, np.array([score])),))


def better(one: Stratified, other: Stratified, looks: int = 1) -> bool:
    """Whether one is better than another beyond chance: by the paired test, ``looks * p`` below ``LEVEL``.

    Where there are too few queries to test, the higher score is better.

    Args:
        one: The best of ``looks``, whose p-value is corrected for them (Bonferroni).
        other: On the same queries.
        looks: How many.
    """
    difference = one.minus(other)
    return difference.mean > 0 and (not difference.testable or looks * difference.p_value < LEVEL)
