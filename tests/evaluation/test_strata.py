from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from optical.evaluation.strata import Stratified, Stratum, alone, better, by_query


def stratified(*strata) -> Stratified:
    return Stratified(tuple(Stratum(weight, np.array(values, dtype=float)) for weight, values in strata))


def test_strata_count_by_their_weight_not_by_their_size():
    score = stratified((0.5, [1.0, 0.0, 1.0, 0.0]), (0.5, [0.0, 0.5]))
    assert score.queries == 6
    assert score.mean == 0.5 * 0.5 + 0.5 * 0.25
    # By hand: variances 1/3 and 1/8, each divided by its size.
    assert score.error == pytest.approx((0.25 * (1 / 3) / 4 + 0.25 * (1 / 8) / 2) ** 0.5)


def test_of_one_stratum_the_error_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(size=30)
    assert stratified((1.0, values)).error == pytest.approx(stats.sem(values))


def test_the_error_is_the_spread_of_the_score_over_draws():
    random = np.random.default_rng(0)
    drawn = [
        stratified((0.5, random.normal(0, 1, 40)), (0.25, random.normal(1, 3, 20)), (0.25, random.normal(2, 2, 10)))
        for _ in range(2000)
    ]
    assert np.mean([one.error for one in drawn]) == pytest.approx(np.std([one.mean for one in drawn]), rel=0.05)


def test_the_p_value_is_that_of_all_signs():
    one = stratified((0.5, [0.5, 0.1, 0.3, -0.2, 0.4, 0.3]), (0.5, [-0.3, 0.0, 0.5]))
    added = [weight / len(values) * value for weight, values in one.strata for value in values]
    sums = [abs(np.dot(signs, added)) for signs in itertools.product((-1, 1), repeat=len(added))]
    assert one.p_value == pytest.approx(np.mean([total >= one.mean - 1e-9 for total in sums]), abs=0.01)
    pooled = stratified((1.0, np.concatenate([values for _, values in one.strata])))
    assert abs(one.p_value - pooled.p_value) > 0.02, "weights matter"


def test_a_difference_is_taken_by_query_and_is_zero_up_to_rounding():
    one, other = stratified((1.0, [0.1 + 0.2, 0.5])), stratified((1.0, [0.3, 0.25]))
    (found,) = one.minus(other).strata
    assert found.values.tolist() == [0.0, 0.25]


GAIN = [0.1, 0.2, 0.1, 0.3, 0.1, 0.2, 0.1]


@pytest.mark.parametrize(
    ("values", "looks", "expected"),
    [(GAIN, 1, True), (GAIN, 6, False), ([-x for x in GAIN], 1, False), ([0.1, -0.1, 0.2, -0.1, 0.1, 0.0], 1, False),
     ([0.0] * 8, 1, False), (GAIN[:5], 1, True), (GAIN[:5], 100, True), ([0.1, -0.1], 1, False)],
)  # fmt: skip
def test_better_is_beyond_chance_where_that_can_be_told(values, looks, expected):
    nothing = stratified((1.0, np.zeros(len(values))))
    assert better(stratified((1.0, values)), nothing, looks) is expected


def test_a_score_alone_is_one_query():
    assert by_query(lambda _: 0.25, None) == alone(0.25)
    assert alone(0.25).mean == 0.25
    assert not alone(0.25).testable
    assert np.isnan([alone(0.25).error, alone(0.25).p_value]).all()
    assert better(alone(0.3), alone(0.2))
    assert not better(alone(0.2), alone(0.2))
    assert not better(alone(-np.inf), alone(0.2))
    assert not better(alone(np.nan), alone(0.2))
