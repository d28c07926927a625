"""Paired tests: the p-value against all sign vectors and against Student's density, Holm's steps by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from optical.errors import DataError, RecipeError
from optical.evaluation.measures import Scores
from optical.evaluation.significance import bootstrap_interval, compare, compare_all, holm, randomisation, t_test


def scores(*values: float, measure: str = "AP") -> Scores:
    per_query = {f"q{number}": value for number, value in enumerate(values)}
    return Scores({measure: sum(values) / len(values)}, {measure: per_query}, len(values), 0)


def test_a_comparison_counts_and_subtracts() -> None:
    found = compare(scores(0.5, 0.25, 1.0, 0.0, 0.5), scores(0.25, 0.5, 0.5, 0.0, 0.5 + 1e-12))
    assert found.difference == pytest.approx(0.5 / 5)
    assert (found.win, found.tie, found.loss) == (2, 2, 1)


def test_swapping_the_systems_turns_the_difference_and_keeps_the_p_value() -> None:
    a, b = scores(0.9, 0.4, 0.3, 0.8), scores(0.1, 0.5, 0.2, 0.6)
    there, back = compare(a, b), compare(b, a)
    assert back == (-there.difference, there.p_value, there.loss, there.tie, there.win)


def test_p_value_agrees_with_all_sign_vectors() -> None:
    differences = np.random.default_rng(3).normal(0.15, 0.3, size=11)
    differences[4] = 0.0
    signs = np.array(list(itertools.product([-1, 1], repeat=11)))  # (2048, 11)
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean()
    assert 0.02 < exact < 0.5, "the case must be one where the p-value is neither 0 nor 1"
    found = compare(scores(*differences), scores(*np.zeros(11)), permutations=40_000)
    assert found.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 40_000))  # 4 standard errors


def test_p_value_of_equal_systems_is_one_and_of_clear_ones_the_smallest() -> None:
    a, b = scores(*[0.5] * 30), scores(*[0.25] * 30)
    assert compare(a, a).p_value == 1.0
    assert compare(a, b, permutations=999).p_value == 1 / 1000  # 2 in 2**30 sign vectors are as extreme


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused_and_not_significant(wrong: float) -> None:
    fine, broken = scores(0.1, 0.2, 0.3), scores(0.1, wrong, 0.3)
    for test in (compare, t_test, lambda a, b: compare_all({"a": a, "b": b}, "a")):
        for pair in ((fine, broken), (broken, fine)):
            with pytest.raises(
                DataError, match="a paired test needs finite numbers; AP of query 'q1' is .*; measure both"
            ):
                test(*pair)
    assert math.isnan(randomisation(np.array([0.1, wrong, 0.3])))


@pytest.mark.parametrize("queries", [12, 40])
def test_the_level_of_the_test_is_what_it_says(queries: int) -> None:
    """4,000 null experiments with the default seed: as many are significant as should be, at .05 and at .2."""
    null = np.random.default_rng(5).standard_t(3, size=(4000, queries))
    found = np.array([randomisation(differences, 499) for differences in null])
    for level in (0.05, 0.2):
        low, high = stats.binom.interval(0.9999, len(null), level)
        assert low <= (found <= level).sum() <= high, level


def test_the_blocks_of_the_test_are_all_drawn_and_reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = scores(0.9, 0.4, 0.3), scores(0.1, 0.5, 0.2)
    whole = compare(a, b, permutations=1001, seed=5)
    monkeypatch.setattr("optical.evaluation.significance.SIGNS_AT_ONCE", 12)  # blocks of 4, and a last one of 1
    assert compare(a, b, permutations=1001, seed=5).p_value == pytest.approx(whole.p_value, abs=0.06)
    assert compare(a, b, permutations=1001, seed=5) == compare(a, b, permutations=1001, seed=5)
    assert compare(a, a, permutations=1001).p_value == 1.0


def test_a_comparison_needs_the_same_queries() -> None:
    with pytest.raises(DataError, match="1 of 3 are only in the first and 0 of 2 only in the second; measure both"):
        compare(scores(0.1, 0.2, 0.3), scores(0.1, 0.2))


def test_a_comparison_needs_the_measure_and_a_permutation() -> None:
    with pytest.raises(RecipeError, match="measure 'RR' was not computed; the scores hold AP; compare"):
        compare(scores(0.1), scores(0.2), "RR")
    with pytest.raises(RecipeError, match="at least 1 permutation; got 0; 10000 is usual"):
        compare(scores(0.1), scores(0.2), permutations=0)


def test_another_measure_can_be_compared() -> None:
    found = compare(scores(0.1, measure="RR"), scores(0.3, measure="RR"), "RR")
    assert found.difference == pytest.approx(-0.2)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_t_test_is_the_paired_one() -> None:
    a, b = (np.random.default_rng(seed).uniform(size=17) for seed in (1, 2))
    differences = b - a
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(17))
    # Student's distribution by its density, integrated from |t| on
    x = np.linspace(abs(t), 400.0, 2_000_001)
    density = math.gamma(8.5) / (math.sqrt(16 * math.pi) * math.gamma(8.0)) * (1 + x**2 / 16) ** -8.5
    expected = 2 * float(((density[1:] + density[:-1]) / 2).sum() * (x[1] - x[0]))
    assert 0.01 < expected < 0.99, "the case must be one where the p-value is neither 0 nor 1"
    assert t_test(scores(*a), scores(*b)) == pytest.approx(expected, rel=1e-5)
    assert t_test(scores(*b), scores(*a)) == t_test(scores(*a), scores(*b))


def test_the_t_test_where_nothing_varies() -> None:
    a, b = scores(0.8, 0.5, 0.3), scores(0.7, 0.4, 0.2)  # .1 each, but for the rounding
    assert t_test(a, a) == 1.0
    assert t_test(a, b) == 0.0
    assert t_test(scores(0.9), scores(0.1)) == 1.0, "one query says nothing"
    with pytest.raises(DataError, match="the same queries on both sides"):
        t_test(a, scores(0.5))
    with pytest.raises(RecipeError, match="'RR' was not computed"):
        t_test(a, b, "RR")


def test_several_systems_are_compared_with_one_and_corrected_for_their_number() -> None:
    values = np.random.default_rng(5).uniform(size=(3, 23))
    values[1] += 0.15
    systems = {name: scores(*row) for name, row in zip(("base", "b", "c"), values, strict=True)}
    systems["twin"] = systems["base"]
    found = compare_all(systems, "base", permutations=2000, seed=3)
    assert list(found) == ["b", "c", "twin"]
    for name, test in found.items():
        alone = compare(systems[name], systems["base"], permutations=2000, seed=3)
        assert (test.difference, test.p_value, test.win, test.tie, test.loss) == alone
        assert test.t_p_value == t_test(systems[name], systems["base"])
    assert [t.p_holm for t in found.values()] == holm([t.p_value for t in found.values()])
    assert [t.t_p_holm for t in found.values()] == holm([t.t_p_value for t in found.values()])
    assert found["b"].p_holm == pytest.approx(3 * found["b"].p_value), "the smallest of three"
    assert found["twin"] == (0.0, 1.0, 1.0, 1.0, 1.0, 0, 23, 0)
    assert compare_all({"base": systems["base"]}, "base") == {}
    with pytest.raises(
        RecipeError, match="the baseline is none of the systems; got 'd'; choose among base, b, c, twin"
    ):
        compare_all(systems, "d")


def test_a_bootstrap_interval_is_that_of_the_normal_distribution_for_many_queries() -> None:
    values = np.random.default_rng(1).random(2_000)
    low, high = bootstrap_interval(values, samples=4_000)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert bootstrap_interval(values, samples=4_000) == (low, high)


def test_a_bootstrap_interval_stays_where_the_values_are_and_one_value_has_no_width() -> None:
    low, high = bootstrap_interval(np.array([1.0] * 9 + [0.0]))
    assert 0.5 < low < 0.9 < high <= 1.0
    assert bootstrap_interval(np.array([0.3])) == (0.3, 0.3)
