"""Measures on rankings small enough to count by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from optical.data.records import Qrel
from optical.errors import DataError, RecipeError
from optical.evaluation.measures import (
    ALL_MEASURES,
    MEASURES,
    measure,
    share_of_ceiling,
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
