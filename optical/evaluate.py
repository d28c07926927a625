"""Measures of a run, per query and mean, and the paired test of two systems.

Takes runs and judgements, gives numbers; ir-measures computes every measure. Knows no model, no text and no torch.
What is counted: every query with at least one relevant document, whether the run has it or not (a query that is missing
from the run scores 0); average precision divides by all relevant documents that were judged, retrieved or not.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optical.errors import DataError, RecipeError

if TYPE_CHECKING:
    from optical.run import Run
    from optical.text.collection import Qrel

MEASURES = ("AP", "nDCG@10", "R@100", "RR@10", "P@1")

CUTOFF = {"AP": "may", "nDCG": "may", "RR": "may", "R": "must", "P": "must", "Success": "must"}
"""Measures by their name in ir-measures, and whether a cut-off (the 10 of nDCG@10) may or must follow."""

SIGNS_AT_ONCE = 2**22  # of the randomisation test: bounds its memory at some 40 MB, whatever the number of queries
EQUAL = 1e-9  # two values of a measure closer than this are the same ranking, up to the order of summation


class Scores(NamedTuple):
    """What a run is worth.

    Attributes:
        mean: Measure -> mean over the queries.
        per_query: Measure -> query id -> value.
        queries: How many queries count: those with at least one relevant document.
        missing: How many of them the run has no document for; they count 0.
    """

    mean: dict[str, float]
    per_query: dict[str, dict[str, float]]
    queries: int
    missing: int


class Comparison(NamedTuple):
    """Two systems on the same queries.

    Attributes:
        difference: Mean of the first less mean of the second.
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
        """The comparison of two systems by AP as one sentence; ``name`` says which less which."""
        return (
            f"{name}: MAP {self.difference:+.4f}, p = {self.p_value:.4f} (paired randomisation), "
            f"{self.win} won / {self.tie} tied / {self.loss} lost"
        )


def measure(run: Run, qrels: Sequence[Qrel], measures: Sequence[str] = MEASURES) -> Scores:
    """Measure a run against judgements.

    Ties are broken as trec_eval breaks them (scores in single precision, then the higher document id first), for every
    measure alike, so that a run with ties gets the numbers of trec_eval and its measures agree with each other. Runs
    made by :func:`optical.run.rank` have none.

    Args:
        run: Rankings; queries without a relevant document are passed over.
        qrels: Judgements; a document is relevant when its relevance is at least 1.
        measures: Names as ir-measures prints them: ``AP``, ``nDCG@10``, ``R@100``, ``RR@10``, ``P@1``, ``Success@5``.

    Raises:
        RecipeError: a name is no known measure.
        DataError: no judgement is positive, or the run shares no query with the judgements.
    """
    import ir_measures

    objects = {name: _measure_object(name) for name in measures}
    judged = _judged(qrels)
    _check_same_queries(run, {qrel.query_id for qrel in qrels})
    retrieved = {query_id: _untie(run[query_id]) for query_id in judged if run.get(query_id)}
    result: Any = ir_measures.calc(list(objects.values()), judged, retrieved)
    values = {(metric.measure, metric.query_id): float(metric.value) for metric in result.per_query}
    return Scores(
        mean={name: float(result.aggregated[item]) for name, item in objects.items()},
        per_query={name: {query: values[item, query] for query in judged} for name, item in objects.items()},
        queries=len(judged),
        missing=len(judged) - len(retrieved),
    )


def compare(a: Scores, b: Scores, measure: str = "AP", *, permutations: int = 10_000, seed: int = 0) -> Comparison:
    """Compare two systems query by query with a paired two-sided randomisation test.

    Under the null hypothesis the sign of each per-query difference is a coin toss. The p-value is
    ``(1 + c) / (1 + permutations)``, where c counts the random sign vectors whose mean difference is at least as far
    from 0 as the observed one; it is therefore never 0 and never below ``1 / (1 + permutations)``.

    Args:
        a: The first system.
        b: The second; a positive difference says that the first is better.
        measure: One of the measures that both hold.
        permutations: Number of random sign vectors.
        seed: Of the sign vectors; the same seed gives the same p-value.

    Raises:
        RecipeError: one of the two does not hold the measure, or there is no permutation.
        DataError: they were measured on different queries.
    """
    if permutations < 1:
        raise RecipeError(f"the test needs at least 1 permutation; got {permutations}; 10000 is usual")
    first, second = _per_query(a, measure), _per_query(b, measure)
    if first.keys() != second.keys():
        raise DataError(
            f"a paired test needs the same queries on both sides; {len(first.keys() - second.keys())} of "
            f"{len(first)} are only in the first and {len(second.keys() - first.keys())} of {len(second)} only in the "
            "second; measure both runs with the same judgements"
        )
    differences = np.array([first[query_id] - second[query_id] for query_id in first])
    differences[np.abs(differences) < EQUAL] = 0.0
    return Comparison(
        difference=float(differences.mean()),
        p_value=_randomisation(differences, permutations, seed),
        win=int((differences > 0).sum()),
        tie=int((differences == 0).sum()),
        loss=int((differences < 0).sum()),
    )


def share_of_ceiling(score: float, ceiling: float) -> float:
    """What part of the ceiling (the teacher on the English queries) a score reaches; 1 is all of it, more is possible.

    Raises:
        DataError: the ceiling is not above 0.
    """
    if not ceiling > 0:
        raise DataError(
            f"the ceiling must be above 0 to take a share of it; got {ceiling}; the teacher finds nothing on the "
            "queries of its own language: check that judgements and collection belong together"
        )
    return score / ceiling


def _measure_object(name: str) -> Any:  # noqa: ANN401 - ir_measures is imported inside functions only
    """The measure of that name, built without the parser of ir-measures, which Python 3.14 breaks."""
    import ir_measures

    base, at, cutoff = name.partition("@")
    if base not in CUTOFF:
        near = difflib.get_close_matches(base, CUTOFF, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(CUTOFF)}"
        raise RecipeError(f"unknown measure; got {name!r}; {remedy}")
    if at and not (cutoff.isdecimal() and int(cutoff) > 0):
        raise RecipeError(f"the cut-off of a measure is a whole number above 0; got {name!r}; write {base}@10")
    if not at and CUTOFF[base] == "must":
        raise RecipeError(f"the measure {base!r} needs a cut-off; got {name!r}; write {base}@10")
    found = getattr(ir_measures, base)
    return found @ int(cutoff) if at else found


def _judged(qrels: Sequence[Qrel]) -> dict[str, dict[str, int]]:
    """Judgements by query, of the queries with at least one relevant document."""
    judgements: dict[str, dict[str, int]] = {}
    for qrel in qrels:
        judgements.setdefault(qrel.query_id, {})[qrel.doc_id] = int(qrel.relevance)
    judged = {query_id: documents for query_id, documents in judgements.items() if max(documents.values()) > 0}
    if not judged:
        raise DataError(
            f"no query has a relevant document; got {len(qrels)} judgements for {len(judgements)} queries; "
            "give judgements with a relevance of at least 1"
        )
    return judged


def _check_same_queries(run: Run, query_ids: set[str]) -> None:
    """A run without any judged query is a run of something else; an empty run is only a bad one."""
    if run and not run.keys() & query_ids:
        raise DataError(
            f"none of the {len(run)} queries of the run is judged; the run has e.g. {min(run)!r}, the judgements "
            f"{min(query_ids)!r}; give the judgements that belong to this run"
        )


def _untie(ranking: dict[str, float]) -> dict[str, float]:
    """The ranking that trec_eval would read, with scores n, n - 1, ..., 1: no provider can break ties its own way."""
    ordered = sorted(((np.float32(score), doc_id) for doc_id, score in ranking.items()), reverse=True)
    return {doc_id: float(len(ordered) - position) for position, (_, doc_id) in enumerate(ordered)}


def _per_query(scores: Scores, measure: str) -> dict[str, float]:
    if measure not in scores.per_query:
        raise RecipeError(
            f"the measure {measure!r} was not computed; the scores hold {', '.join(scores.per_query) or 'none'}; "
            "compare by one of these, or name it in measure(run, qrels, measures)"
        )
    return scores.per_query[measure]


def _randomisation(differences: np.ndarray, permutations: int, seed: int) -> float:
    """p-value of the sign-flip test; queries without a difference cannot change it and are left out."""
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
