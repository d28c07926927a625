"""Paired tests of two systems on the same queries, and of several systems with one baseline.

The randomisation test and the t-test take the values of one measure query by query. Holm's correction accounts for how
many systems were compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from optical.errors import DataError, RecipeError
from optical.evaluation.measures import Scores

SIGNS_AT_ONCE = 2**22  # of the randomisation test: bounds its memory at some 40 MB, whatever the number of queries
EQUAL = 1e-9  # two values of a measure closer than this are the same ranking, up to the order of summation


class Comparison(NamedTuple):
    """Two systems on the same queries.

    Attributes:
        difference: Mean of the first minus mean of the second.
        p_value: Two-sided, of the randomisation test.
        win: Queries on which the first is better.
        tie: Queries on which they are equal.
        loss: Queries on which the first is worse.
    """

    difference: float
    p_value: float
    win: int
    tie: int
    loss: int

    def in_words(self, name: str) -> str:
        """The comparison by AP as a sentence; ``name`` is what was subtracted, as in ``student - transplant``."""
        return (
            f"{name}: MAP {self.difference:+.4f}, p = {self.p_value:.4f} (paired randomisation), "
            f"{self.win} won / {self.tie} tied / {self.loss} lost"
        )


class Tested(NamedTuple):
    """One of several systems, compared with the baseline.

    Attributes:
        difference: Mean of the system minus mean of the baseline.
        p_value: Two-sided, of the randomisation test.
        p_holm: The same adjusted by Holm's procedure for all systems that were compared.
        t_p_value: Two-sided, of the paired t-test.
        t_p_holm: The same adjusted.
        win: Queries on which the system is better.
        tie: Queries on which they are equal.
        loss: Queries on which the system is worse.
    """

    difference: float
    p_value: float
    p_holm: float
    t_p_value: float
    t_p_holm: float
    win: int
    tie: int
    loss: int


def compare(a: Scores, b: Scores, measure: str = "AP", *, permutations: int = 10_000, seed: int = 0) -> Comparison:
    """Compare two systems query by query with a paired two-sided randomisation test.

    Under the null hypothesis the sign of each per-query difference is a coin toss. The p-value is
    ``(1 + c) / (1 + permutations)``, where c counts the random sign vectors whose mean difference is at least as far
    from 0 as the observed one; it is therefore never 0 and never below ``1 / (1 + permutations)``.

    Args:
        a: The first system.
        b: The second; the difference is positive where the first is better.
        measure: One of the measures that both hold.
        permutations: Number of random sign vectors.
        seed: Of the sign vectors; the same seed gives the same p-value.

    Raises:
        RecipeError: One of the two does not hold the measure, or there is no permutation.
        DataError: They were measured on different queries, or a value is NaN or infinite.
    """
    if permutations < 1:
        raise RecipeError(f"the test needs at least 1 permutation; got {permutations}; 10000 is usual")
    differences = _differences(a, b, measure)
    return comparison(differences, randomisation(differences, permutations, seed))


def comparison(differences: np.ndarray, p_value: float) -> Comparison:
    """The comparison that differences by query, ``(n,)``, and the p-value of their test make; ties are exactly 0."""
    return Comparison(
        difference=float(differences.mean()) if len(differences) else 0.0,
        p_value=p_value,
        win=int((differences > 0).sum()),
        tie=int((differences == 0).sum()),
        loss=int((differences < 0).sum()),
    )


def t_test(a: Scores, b: Scores, measure: str = "AP") -> float:
    """p-value of the paired two-sided t-test of two systems, query by query.

    It assumes that the mean difference is normally distributed, which many queries make true. The p-value is 1 for a
    single query or without any difference, and 0 when the difference is the same for every query.

    Raises:
        RecipeError: One of the two does not hold the measure.
        DataError: They were measured on different queries, or a value is NaN or infinite.
    """
    differences = _differences(a, b, measure)
    if len(differences) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) < EQUAL:
        return 0.0
    from scipy import stats

    found: Any = stats.ttest_1samp(differences, 0.0)
    return float(found.pvalue)


def compare_all(
    scores: Mapping[str, Scores], against: str, measure: str = "AP", *, permutations: int = 10_000, seed: int = 0
) -> dict[str, Tested]:
    """Compare several systems with one baseline, by both tests, with Holm's correction for their number.

    Args:
        scores: Name of the system -> its scores, all on the same queries.
        against: Name of the baseline among them.
        measure: One of the measures that all hold.
        permutations: Of each randomisation test.
        seed: Of each randomisation test.

    Returns:
        Name of every other system -> its comparison, in the given order.

    Raises:
        RecipeError: The baseline is not there, a system does not hold the measure, or there is no permutation.
        DataError: They were measured on different queries, or a value is NaN or infinite.
    """
    if against not in scores:
        raise RecipeError(f"the baseline is none of the systems; got {against!r}; choose among {', '.join(scores)}")
    base, others = scores[against], {name: one for name, one in scores.items() if name != against}
    found = [compare(one, base, measure, permutations=permutations, seed=seed) for one in others.values()]
    by_t = [t_test(one, base, measure) for one in others.values()]
    columns = zip(others, found, holm([one.p_value for one in found]), by_t, holm(by_t), strict=True)
    return {
        name: Tested(one.difference, one.p_value, p_holm, t, t_holm, one.win, one.tie, one.loss)
        for name, one, p_holm, t, t_holm in columns
    }


def randomisation(differences: np.ndarray, permutations: int = 10_000, seed: int = 0) -> float:
    """p-value of the sign-flip test of :func:`compare`; queries without a difference cannot change it.

    The same seed and number of differences draw the same sign vectors. That keeps the level of each test (null data
    have signs of their own), and Holm's correction holds however tests depend on each other. NaN where a difference is
    NaN or infinite.
    """
    if not np.isfinite(differences).all():
        return math.nan
    differences = differences[differences != 0]
    observed = abs(differences.sum()) - EQUAL  # a sign vector that gives the same sum in another order must count
    generator = np.random.default_rng(seed)
    block = max(1, SIGNS_AT_ONCE // max(1, len(differences)))
    extreme = 0
    for start in range(0, permutations, block):
        shape = (min(block, permutations - start), len(differences))
        flip = generator.integers(0, 2, size=shape, dtype=np.int8)
        extreme += int((np.abs(differences.sum() - 2 * (flip @ differences)) >= observed).sum())
    return (1 + extreme) / (1 + permutations)


def bootstrap_interval(values: np.ndarray, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over queries, by the bootstrap: queries drawn again, with replacement.

    It says how much the mean would move with other queries of the same kind, not with another training. One query, or
    the same value for all, has an interval of no width.

    Args:
        values: Of a measure by query, ``(n,)``, n at least 1.
        samples: How often n queries are drawn.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    block = max(1, SIGNS_AT_ONCE // len(values))
    means: list[float] = []
    while len(means) < samples:
        drawn = generator.integers(0, len(values), size=(min(block, samples - len(means)), len(values)))
        means += values[drawn].mean(axis=1).tolist()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down procedure (Holm 1979), in the order given."""
    order, adjusted, largest = np.argsort(p_values), [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


def _differences(a: Scores, b: Scores, measure: str) -> np.ndarray:
    """First minus second, query by query; exactly 0 where the two are equal."""
    first, second = _per_query(a, measure), _per_query(b, measure)
    if first.keys() != second.keys():
        raise DataError(
            f"a paired test needs the same queries on both sides; {len(first.keys() - second.keys())} of "
            f"{len(first)} are only in the first and {len(second.keys() - first.keys())} of {len(second)} only in the "
            "second; measure both runs with the same judgements"
        )
    for query_id, values in ((query_id, (first[query_id], second[query_id])) for query_id in first):
        if not all(map(math.isfinite, values)):
            raise DataError(
                f"a paired test needs finite numbers; {measure} of query {query_id!r} is {values[0]} and {values[1]}; "
                "measure both runs again"
            )
    differences = np.array([first[query_id] - second[query_id] for query_id in first])
    differences[np.abs(differences) < EQUAL] = 0.0
    return differences


def _per_query(scores: Scores, measure: str) -> dict[str, float]:
    if measure not in scores.per_query:
        raise RecipeError(
            f"the measure {measure!r} was not computed; the scores hold {', '.join(scores.per_query) or 'none'}; "
            "compare by one of these, or name it in measure(run, qrels, measures)"
        )
    return scores.per_query[measure]
