"""Fusion against its formulas on runs that differ in queries, documents and scale."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optical.data.trec_run import Run, rank
from optical.errors import DataError, RecipeError
from optical.retrieval.fusion import interpolate, reciprocal_rank

A: Run = {"q1": {"a": 9.0, "b": 5.0, "c": 1.0}, "q2": {"a": 2.0}, "only a": {"x": 1.0, "y": 0.0}}
B: Run = {"q1": {"d": 0.5, "c": 0.25}, "q2": {}, "q3": {"b": -1.0, "a": -3.0}}


def random_run(seed: int) -> Run:
    chance = random.Random(seed)
    return {
        f"q{q}": rank([(f"d{d}", chance.gauss(0, 5)) for d in chance.sample(range(40), chance.randint(1, 30))])
        for q in chance.sample(range(8), 6)
    }


RUNS = [random_run(seed) for seed in range(3)]


def same(a: Run, b: Run) -> bool:
    return a.keys() == b.keys() and all(list(a[q]) == list(b[q]) and a[q] == pytest.approx(b[q]) for q in a)


def test_reciprocal_ranks_add_up():
    found = reciprocal_rank([A, B])
    assert list(found) == ["q1", "q2", "only a", "q3"]
    assert list(found["q1"]) == ["c", "a", "d", "b"]
    expected = {"c": 1 / 63 + 1 / 62, "a": 1 / 61, "d": 1 / 61, "b": 1 / 62}
    assert found["q1"] == pytest.approx(expected, abs=2e-6)  # the grid of rank, and a step down for the tie
    assert found["q1"]["a"] > found["q1"]["d"], "scores are strictly decreasing"
    assert found["only a"] == pytest.approx({"x": 1 / 61, "y": 1 / 62}, abs=1e-6)
    assert list(reciprocal_rank([A, B], k=0)["q1"]) == ["a", "d", "c", "b"]


def test_only_the_order_of_scores_counts_for_reciprocal_ranks_and_ties_go_by_id():
    louder = {q: {d: 3 * s + 7 for d, s in scores.items()} for q, scores in RUNS[0].items()}
    assert reciprocal_rank([louder, *RUNS[1:]]) == reciprocal_rank(RUNS)
    backwards = {q: dict(reversed(list(scores.items()))) for q, scores in RUNS[0].items()}
    assert reciprocal_rank([backwards, *RUNS[1:]]) == reciprocal_rank(RUNS)
    assert list(reciprocal_rank([{"q": {"b": 1.0, "a": 1.0}}, {"q": {"z": 1.0}}])["q"]) == ["a", "z", "b"]


@pytest.mark.parametrize(
    "fuse",
    [reciprocal_rank, interpolate, lambda runs: interpolate(runs, normalisation="z-score")],
    ids=["ranks", "min-max", "z-score"],
)
def test_the_order_of_the_runs_means_nothing_and_one_run_keeps_its_order(fuse):
    forwards, backwards = fuse(RUNS), fuse(RUNS[::-1])
    assert forwards == {query_id: backwards[query_id] for query_id in forwards}
    alone = fuse(RUNS[:1])
    assert {q: list(s) for q, s in alone.items()} == {q: list(s) for q, s in RUNS[0].items()}
    assert all(rank(list(scores.items())) == scores for scores in forwards.values()), "as rank makes them"


def test_three_runs_with_the_same_ranks_in_another_order_stay_tied():
    # In floating point 1/61 + 1/62 + 1/67 depends on the order; a tie must go by document id.
    runs: list[Run] = []
    for ranks in ((1, 2, 7), (2, 7, 1), (7, 1, 2)):
        places = {ranks[0]: "c", ranks[1]: "b", ranks[2]: "a"}
        runs.append({"q": {places.get(r, f"z{r}{len(runs)}"): -float(r) for r in range(1, 8)}})
    assert list(reciprocal_rank(runs)["q"])[:3] == ["a", "b", "c"]


def test_min_max_weighs_and_counts_a_missing_document_as_zero():
    found = interpolate([A, B], [3.0, 1.0])
    expected = {"a": 0.75, "b": 0.75 * 0.5, "d": 0.25, "c": 0.0}
    assert list(found["q1"]) == list(expected)
    assert found["q1"] == pytest.approx(expected, abs=1e-6)
    assert found["q2"] == pytest.approx({"a": 0.75}), "one document, so all are equal; the other run has nothing"
    assert found["q3"] == pytest.approx({"b": 0.25, "a": 0.0})
    assert same(found, interpolate([A, B], [0.3, 0.1])), "proportions matter"


def test_z_scores_weigh_and_count_a_missing_document_as_the_lowest():
    found = interpolate([A, B], normalisation="z-score")
    z = math.sqrt(3 / 2)
    expected = {"a": z / 2 - 1 / 2, "d": 1 / 2 - z / 2, "b": -1 / 2, "c": -z / 2 - 1 / 2}
    assert found["q1"] == pytest.approx(expected, abs=1e-6)
    assert found["q2"] == {"a": 0.0}
    tied = interpolate([{"q": {"a": 0.1, "b": 0.1, "c": 0.1}}, B], normalisation="z-score")
    assert tied["q"] == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.0}, abs=1e-5)


@pytest.mark.parametrize("normalisation", ["min-max", "z-score"])
def test_scale_and_origin_of_a_run_mean_nothing(normalisation):
    other = {q: {d: 2 * s - 100 for d, s in scores.items()} for q, scores in RUNS[0].items()}
    found = interpolate([other, *RUNS[1:]], [1, 2, 3], normalisation=normalisation)
    expected = interpolate(RUNS, [1, 2, 3], normalisation=normalisation)
    assert {q: list(s) for q, s in found.items()} == {q: list(s) for q, s in expected.items()}
    assert all(found[q] == pytest.approx(expected[q], abs=2e-6) for q in found)


def test_a_weight_of_zero_leaves_a_run_without_a_say_and_depth_cuts():
    found = interpolate(RUNS, [1, 0, 0])
    assert all(list(found[q])[: len(s) - 1] == list(s)[:-1] for q, s in RUNS[0].items())
    cut = reciprocal_rank(RUNS, depth=2)
    assert cut == {q: dict(list(s.items())[:2]) for q, s in reciprocal_rank(RUNS).items()}


def test_arguments_stay_as_they_are_and_numpy_scores_are_taken():
    before = {q: dict(s) for q, s in A.items()}
    numbers = {q: {d: np.float32(s) for d, s in scores.items()} for q, scores in A.items()}
    assert same(interpolate([numbers, B]), interpolate([A, B]))  # pyright: ignore - of other numbers than floats
    assert before == A


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reciprocal_rank([]), "fusion needs runs; got none; name at least two"),
        (lambda: interpolate([]), "fusion needs runs; got none"),
        (lambda: interpolate([A, B], [1.0]), "every run needs a weight; got 1 weights for 2 runs; give"),
        (lambda: interpolate([A, B], [1.0, math.nan]), r"at least 0, one of them above; got \[1.0, nan\]"),
        (lambda: interpolate([A, B], [1.0, -0.5]), r"got \[1.0, -0.5\]"),
        (lambda: interpolate([A, B], [0.0, 0.0]), r"got \[0.0, 0.0\]"),
        (lambda: interpolate([A, B], normalisation="max"), "got 'max'; choose among min-max, z-score"),
        (lambda: reciprocal_rank([A], k=-1), "must be at least 0; got -1; 60 is usual"),
        (lambda: reciprocal_rank([A], k=math.nan), "got nan"),
        (lambda: reciprocal_rank([A], depth=0), "at least 1; got 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(call, message):
    with pytest.raises(RecipeError, match=message):
        call()


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("fuse", [reciprocal_rank, interpolate])
def test_a_score_without_a_rank_is_refused_with_its_place(fuse, score):
    with pytest.raises(DataError, match=f"got {score} for document 'b' of query 'q3' in run 2 of 2; make"):
        fuse([A, B | {"q3": {"a": 1.0, "b": score}}])


WHOLE = st.integers(-50, 50).map(float)  # scores that no arithmetic below rounds
DRAWN = st.lists(
    st.dictionaries(st.sampled_from("pq"), st.dictionaries(st.sampled_from("abcdefgh"), WHOLE, max_size=8)),
    min_size=1, max_size=3,
)  # fmt: skip
FUSIONS = {
    "ranks": reciprocal_rank,
    "min-max": interpolate,
    "z-score": lambda runs, **more: interpolate(runs, normalisation="z-score", **more),
}


@pytest.mark.parametrize("name", FUSIONS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(runs=DRAWN, data=st.data())
def test_drawn_runs_are_fused_whatever_their_order_and_units(name, runs, data):
    fuse = FUSIONS[name]
    found = fuse(runs)
    assert found.keys() == {query for run in runs for query in run}
    for query, ranking in found.items():
        assert ranking.keys() == {doc for run in runs for doc in run.get(query, {})}
        assert all(one > other for one, other in itertools.pairwise(ranking.values()))
    assert fuse(data.draw(st.permutations(runs))) == found
    units = [(data.draw(st.sampled_from([0.5, 4.0])), data.draw(st.sampled_from([0.0, 8.0]))) for _ in runs]
    scaled = [
        {query: {doc: a * score + b for doc, score in ranking.items()} for query, ranking in run.items()}
        for run, (a, b) in zip(runs, units, strict=True)
    ]
    assert {q: r.keys() for q, r in fuse(scaled).items()} == {q: r.keys() for q, r in found.items()}
    for query, ranking in fuse(scaled).items():
        assert ranking == pytest.approx(found[query], abs=2e-5)  # the grid of rank, and a step down for each tie
    if len(runs) > 1 and name != "ranks":
        alone = interpolate([*runs[:-1]], normalisation=name)
        muted = fuse(runs, weights=[1.0] * (len(runs) - 1) + [0.0])
        for query, ranking in alone.items():
            assert {doc: muted[query][doc] for doc in ranking} == pytest.approx(ranking, abs=2e-5)
    short = fuse(runs, depth=2)
    assert short == {query: dict(list(ranking.items())[:2]) for query, ranking in found.items()}
