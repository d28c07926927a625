"""Measures on rankings small enough to count by hand, and the paired test against all sign vectors."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from optical.data.collection import Qrel
from optical.errors import DataError, RecipeError
from optical.evaluation.measures import (
    ALL_MEASURES,
    MEASURES,
    Scores,
    compare,
    compare_all,
    holm,
    measure,
    share_of_ceiling,
    t_test,
)

QRELS = [
    Qrel("q1", "a", 1),
    Qrel("q1", "b", 1),
    Qrel("q1", "c", 0),
    Qrel("q1", "never", 2),
    Qrel("q2", "a", 1),
    Qrel("q3", "a", 0),  # nothing relevant: does not count
    Qrel("q4", "d", 1),  # missing from the run: counts 0
]
RUN = {
    "q1": {"c": 4.0, "a": 3.0, "x": 2.0, "b": 1.0},
    "q2": {"x": 2.0, "a": 1.0},
    "q3": {"a": 1.0},
    "q9": {"a": 1.0},
}


def scores(*values: float, measure: str = "AP") -> Scores:
    per_query = {f"q{number}": value for number, value in enumerate(values)}
    return Scores({measure: sum(values) / len(values)}, {measure: per_query}, len(values), 0)


def test_measures_are_what_one_counts_by_hand() -> None:
    found = measure(RUN, QRELS)
    assert tuple(found.per_query) == tuple(found.mean) == MEASURES
    assert found.per_query["AP"] == pytest.approx({"q1": (1 / 2 + 2 / 4) / 3, "q2": 1 / 2, "q4": 0.0})
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    gained = 1 / math.log2(3) + 1 / math.log2(5)
    assert found.per_query["nDCG@10"] == pytest.approx({"q1": gained / ideal, "q2": 1 / math.log2(3), "q4": 0.0})
    assert found.per_query["R@100"] == pytest.approx({"q1": 2 / 3, "q2": 1.0, "q4": 0.0})
    assert found.per_query["RR@10"] == pytest.approx({"q1": 1 / 2, "q2": 1 / 2, "q4": 0.0})
    assert found.per_query["P@1"] == {"q1": 0.0, "q2": 0.0, "q4": 0.0}


def test_the_mean_is_over_all_queries_with_a_relevant_document() -> None:
    found = measure(RUN, QRELS)
    assert (found.queries, found.missing) == (3, 1)
    for name in MEASURES:
        assert found.mean[name] == pytest.approx(sum(found.per_query[name].values()) / 3)


def test_a_query_with_an_empty_ranking_is_missing_too() -> None:
    found = measure(RUN | {"q4": {}}, QRELS)
    assert found == measure(RUN, QRELS)


def test_an_empty_run_scores_zero() -> None:
    found = measure({}, QRELS, ["AP", "RR@10"])
    assert found.mean == {"AP": 0.0, "RR@10": 0.0}
    assert (found.queries, found.missing) == (3, 3)


def test_cutoffs_cut() -> None:
    found = measure(RUN, QRELS, ["R@2", "AP@2", "RR", "Success@1", "P@2", "nDCG"])
    assert found.per_query["R@2"]["q1"] == pytest.approx(1 / 3)
    assert found.per_query["AP@2"]["q1"] == pytest.approx(1 / 2 / 3)
    assert found.per_query["RR"]["q1"] == pytest.approx(1 / 2)
    assert found.per_query["Success@1"]["q1"] == 0.0
    assert found.per_query["P@2"]["q1"] == pytest.approx(1 / 2)
    assert found.per_query["nDCG"]["q2"] == pytest.approx(1 / math.log2(3))


@pytest.mark.parametrize(("relevant", "expected"), [("a", 1 / 3), ("c", 1.0)])
def test_every_measure_breaks_ties_alike(relevant: str, expected: float) -> None:
    tied = {"q": {"a": 1.0, "b": 1.0, "c": 1.0}}
    found = measure(tied, [Qrel("q", relevant, 1)], ["AP", "RR", "RR@10"])
    assert found.mean == pytest.approx({"AP": expected, "RR": expected, "RR@10": expected})


def test_the_order_of_a_ranking_as_a_dictionary_means_nothing() -> None:
    shuffled = {query_id: dict(reversed(list(ranking.items()))) for query_id, ranking in RUN.items()}
    assert measure(shuffled, QRELS) == measure(RUN, QRELS)


def test_numpy_scores_are_measured_and_arguments_left_alone() -> None:
    run: dict[str, dict[str, Any]] = {
        query_id: {doc_id: np.float32(score) for doc_id, score in ranking.items()} for query_id, ranking in RUN.items()
    }
    before = {query_id: dict(ranking) for query_id, ranking in run.items()}
    assert measure(run, QRELS) == measure(RUN, QRELS)
    assert run == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MAP", "unknown measure; got 'MAP'; did you mean 'AP'?"),
        ("NDCG@10", "unknown measure; got 'NDCG@10'; did you mean 'nDCG'?"),
        ("bleu", "unknown measure; got 'bleu'; choose among AP, nDCG, RR, R, P, Success"),
        ("R", "the measure 'R' needs a cut-off; got 'R'; write R@10"),
        ("P@", "a whole number above 0; got 'P@'; write P@10"),
        ("P@0", "a whole number above 0; got 'P@0'; write P@10"),
        ("AP@1.5", "a whole number above 0; got 'AP@1.5'; write AP@10"),
    ],
)
def test_a_measure_that_does_not_exist_is_refused(name: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        measure(RUN, QRELS, ["AP", name])
    assert message in str(caught.value)


@pytest.mark.parametrize("qrels", [[], [Qrel("q1", "a", 0), Qrel("q1", "b", -1)]])
def test_judgements_without_a_relevant_document_are_refused(qrels: list[Qrel]) -> None:
    with pytest.raises(DataError, match=f"no query has a relevant document; got {len(qrels)} judgements .*; give"):
        measure(RUN, qrels)


def test_a_run_of_another_collection_is_refused() -> None:
    with pytest.raises(DataError, match="none of the 2 queries of the run is judged; .*'t1'.*'q1'; give"):
        measure({"t2": {"a": 1.0}, "t1": {"a": 1.0}}, QRELS)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_without_a_rank_is_refused(score: float) -> None:
    with pytest.raises(
        DataError, match=f"document 'x' for query 'q2' is {score}, which has no rank; make the run again"
    ):
        measure(RUN | {"q2": {"a": 1.0, "x": score}}, QRELS)


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


def test_the_blocks_of_the_test_are_all_drawn_and_reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = scores(0.9, 0.4, 0.3), scores(0.1, 0.5, 0.2)
    whole = compare(a, b, permutations=1001, seed=5)
    monkeypatch.setattr("optical.evaluation.measures.SIGNS_AT_ONCE", 12)  # blocks of 4, and a last one of 1
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


def test_judged_is_the_share_of_the_first_that_somebody_looked_at() -> None:
    found = measure(RUN, QRELS, ["Judged@1", "Judged@3", "Judged@10"])
    assert found.per_query["Judged@1"] == {"q1": 1.0, "q2": 0.0, "q4": 0.0}
    assert found.per_query["Judged@3"]["q1"] == pytest.approx(2 / 3), "c is judged, and not relevant"
    assert found.per_query["Judged@10"]["q1"] == pytest.approx(3 / 4), "of the four that there are"


def test_all_measures_can_be_computed_and_hold_those_of_the_tables() -> None:
    found = measure(RUN, QRELS, ALL_MEASURES)
    assert tuple(found.mean) == tuple(found.per_query) == ALL_MEASURES
    assert set(MEASURES) < set(ALL_MEASURES)
    assert {name: found.mean[name] for name in MEASURES} == measure(RUN, QRELS).mean


def test_share_of_the_ceiling() -> None:
    assert share_of_ceiling(0.6, 0.8) == pytest.approx(0.75)
    assert share_of_ceiling(0.8, 0.4) == pytest.approx(2.0)
    for ceiling in (0.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="the ceiling must be above 0 .*; got .*; the teacher finds nothing"):
            share_of_ceiling(0.5, ceiling)


def test_neither_measuring_nor_the_run_imports_torch() -> None:
    code = (
        "import sys, types; import optical.data.trec_run, optical.evaluation.measures as e; "
        "q = types.SimpleNamespace(query_id='q', doc_id='a', relevance=1); "
        "e.measure({'q': {'a': 1.0}}, [q]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
