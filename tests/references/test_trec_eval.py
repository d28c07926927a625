"""Our measures against trec_eval itself (pytrec_eval, used directly) on the runs that people get wrong."""

from __future__ import annotations

import random
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from optical.data.records import Qrel
from optical.data.trec_run import Run, rank, read_run, write_run
from optical.evaluation.measures import ALL_MEASURES, measure

NAMES = {  # ours -> trec_eval's, as asked and as answered
    "AP": ("map", "map"),
    "AP@100": ("map_cut.100", "map_cut_100"),
    "AP@5": ("map_cut.5", "map_cut_5"),
    "nDCG@10": ("ndcg_cut.10", "ndcg_cut_10"),
    "nDCG@20": ("ndcg_cut.20", "ndcg_cut_20"),
    "nDCG": ("ndcg", "ndcg"),
    "R@100": ("recall.100", "recall_100"),
    "R@5": ("recall.5", "recall_5"),
    "RR": ("recip_rank", "recip_rank"),
    "P@1": ("P.1", "P_1"),
    "P@10": ("P.10", "P_10"),
    "Success@5": ("success.5", "success_5"),
}
BY_RANK = ("RR@10", "Judged@10")


def awkward_qrels(seed: int) -> list[Qrel]:
    """Several relevant documents a query, graded, some judged not relevant or worse, one query with none relevant."""
    chance = random.Random(seed)
    qrels = []
    for query in range(25):
        for document in chance.sample(range(200), chance.choice([1, 2, 7, 30])):
            qrels.append(Qrel(f"q{query}", f"d{document}", chance.choice([-1, 0, 1, 1, 2, 3])))
        qrels.append(Qrel(f"q{query}", "d0" if query else "d199", int(query > 0)))
    return [qrel._replace(relevance=0) if qrel.query_id == "q7" else qrel for qrel in qrels]


def awkward_run(seed: int, values: list[float] | None) -> Run:
    """Rankings of 1 to 150 documents, most of them unjudged, queries missing, others not judged, ties on request."""
    chance = random.Random(seed)
    run: Run = {}
    for query in range(30):
        if query % 6 == 4:
            continue
        documents = chance.sample(range(200), chance.choice([1, 12, 150]))
        run[f"q{query}"] = {f"d{n}": chance.choice(values) if values else chance.uniform(-1, 1) for n in documents}
    return run


def as_judgements(qrels: list[Qrel]) -> dict[str, dict[str, int]]:
    """Judgements as the two programs take them."""
    judged: dict[str, dict[str, int]] = {}
    for qrel in qrels:
        judged.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
    return judged


def by_trec_eval(run: Run, qrels: list[Qrel]) -> dict[str, dict[str, float]]:
    """Measure -> query id -> value, from trec_eval alone; a query that the run lacks is 0, as with its option -c."""
    judged = as_judgements(qrels)
    judged = {query_id: documents for query_id, documents in judged.items() if max(documents.values()) > 0}
    answer = pytrec_eval.RelevanceEvaluator(judged, {asked for asked, _ in NAMES.values()}).evaluate(run)
    return {
        ours: {query_id: answer.get(query_id, {}).get(answered, 0.0) for query_id in judged}
        for ours, (_, answered) in NAMES.items()
    }


def by_rank(run: Run, qrels: list[Qrel], reciprocal: dict[str, float]) -> dict[str, dict[str, float]]:
    """Compute what trec_eval does not print, on its own ranking: reciprocal rank cut at 10, share judged of 10."""
    judged = {(qrel.query_id, qrel.doc_id) for qrel in qrels}
    first = {
        query_id: [d for _, d in sorted(((np.float32(s), d) for d, s in ranking.items()), reverse=True)][:10]
        for query_id, ranking in run.items()
    }
    return {
        "RR@10": {query_id: value if value >= 1 / 10 else 0.0 for query_id, value in reciprocal.items()},
        "Judged@10": {
            query_id: sum((query_id, doc_id) in judged for doc_id in first[query_id]) / len(first[query_id])
            if query_id in first else 0.0
            for query_id in reciprocal
        },
    }  # fmt: skip


def assert_agreement(run: Run, expected_from: Run, qrels: list[Qrel]) -> None:
    found, expected = measure(run, qrels, [*NAMES, *BY_RANK]), by_trec_eval(expected_from, qrels)
    expected |= by_rank(expected_from, qrels, expected["RR"])
    for name in [*NAMES, *BY_RANK]:
        assert found.per_query[name] == pytest.approx(expected[name], abs=1e-6), name
        assert found.mean[name] == pytest.approx(sum(expected[name].values()) / len(expected[name]), abs=1e-6), name
    assert 0.01 < found.mean["AP"] < 0.9, "a run that scores nothing, or all, shows nothing"
    assert found.missing > 0, "the case must have missing queries"


def test_all_that_is_kept_of_a_query_is_compared() -> None:
    assert set(ALL_MEASURES) <= {*NAMES, *BY_RANK}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "values",
    [
        None,
        [0.5],
        [0.25, 0.5, 0.75],
        [0.5, 0.5 + 1e-9, 0.5 - 1e-9],  # different numbers, equal in the single precision of trec_eval
        [31.999998, 31.999999, 32.0],
        [0.0, -0.0],
    ],
    ids=["no ties", "all tied", "many ties", "tied in single precision", "tied at high scores", "two zeros"],
)
def test_any_run_gets_the_numbers_of_trec_eval(seed: int, values: list[float] | None) -> None:
    run = awkward_run(seed, values)
    assert_agreement(run, run, awkward_qrels(seed))


@pytest.mark.parametrize("seed", range(4))
def test_a_ranked_run_means_the_same_to_everyone(seed: int, tmp_path: Path) -> None:
    qrels = awkward_qrels(seed)
    tied = awkward_run(seed, [0.25, 0.5, 0.75, 20.0])
    ranked = {query_id: rank(list(scores.items())) for query_id, scores in tied.items()}
    write_run(ranked, tmp_path / "a.trec", "tag")
    assert_agreement(read_run(tmp_path / "a.trec"), ranked, qrels)
    by_position = {
        query_id: {doc_id: -float(position) for position, doc_id in enumerate(ranking)}
        for query_id, ranking in ranked.items()
    }
    assert_agreement(ranked, by_position, qrels)
    found = measure(ranked, qrels, ["Judged@10"])
    by_ir_measures = ir_measures.calc([ir_measures.Judged @ 10], as_judgements(qrels), ranked).per_query
    values = {one.query_id: one.value for one in by_ir_measures if one.query_id in found.per_query["Judged@10"]}
    assert found.per_query["Judged@10"] == pytest.approx(values), "Judged@10 counts as ir-measures does"


IDS = st.text("abAB019é", min_size=1, max_size=3)
SCORES = st.sampled_from([-1.0, 0.0, -0.0, 0.5, 0.5 + 1e-9, 16.0, 3e30]) | st.floats(-1e6, 1e6, width=32)
RUNS = st.dictionaries(st.sampled_from("pqrs"), st.dictionaries(IDS, SCORES, max_size=30), max_size=4)
JUDGED = st.dictionaries(st.sampled_from("pqrs"), st.dictionaries(IDS, st.integers(-1, 3), max_size=12), max_size=4)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(run=RUNS, judged=JUDGED)
def test_drawn_runs_with_ties_get_the_numbers_of_trec_eval(run: Run, judged: dict[str, dict[str, int]]) -> None:
    judged = {**judged, "certain": {"a": 1}}
    run = {**run, "certain": {"b": 0.5, "a": 0.5}}  # one query at least that counts, and is tied
    qrels = [Qrel(query, doc, value) for query, documents in judged.items() for doc, value in documents.items()]
    found, expected = measure(run, qrels, list(NAMES)), by_trec_eval(run, qrels)
    for name in NAMES:
        assert found.per_query[name] == pytest.approx(expected[name], abs=1e-6), name
        assert all(-1e-9 <= value <= 1 + 1e-9 for value in found.per_query[name].values()), name
    turned = {query: dict(reversed(documents.items())) for query, documents in reversed(run.items())}
    again = measure(turned, qrels[::-1], list(NAMES))
    assert again.per_query == {name: pytest.approx(values) for name, values in found.per_query.items()}
    louder = {q: {d: float(np.float32(s) * np.float32(4)) for d, s in one.items()} for q, one in run.items()}
    assert measure(louder, qrels, list(NAMES)) == found
