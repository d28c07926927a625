"""Measures of a run, per query and mean; ir-measures computes every one of them.

Every query with at least one relevant document counts, whether the run has it or not: a query that the run does not
have scores 0. Average precision divides by all documents that were judged relevant, retrieved or not.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optical.errors import DataError, RecipeError

if TYPE_CHECKING:
    from optical.data.records import Qrel
    from optical.data.trec_run import Run

MEASURES = ("AP", "nDCG@10", "R@100", "RR@10", "P@1")
"""Shown in tables."""

ALL_MEASURES = ("AP", "AP@100", "nDCG@10", "nDCG@20", "R@100", "RR@10", "P@1", "Judged@10")
"""Kept for every query; ``Judged@10`` is the share of the first ten documents that have a judgement."""

CUTOFF = {"AP": "may", "nDCG": "may", "RR": "may", "R": "must", "P": "must", "Success": "must", "Judged": "must"}
"""Measures by their name in ir-measures, and whether a cut-off (the 10 of nDCG@10) may or must follow."""


class Scores(NamedTuple):
    """The measures of a run.

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


def measure(run: Run, qrels: Sequence[Qrel], measures: Sequence[str] = MEASURES) -> Scores:
    """Measure a run against judgements.

    Ties are broken as trec_eval breaks them (scores in single precision, then the higher document id first), for every
    measure alike, so that a run with ties gets the numbers of trec_eval and its measures agree with each other. Runs
    made by :func:`optical.data.trec_run.rank` have no ties.

    Args:
        run: Rankings; queries without a relevant document are passed over.
        qrels: Judgements; a document is relevant when its relevance is at least 1.
        measures: Names as ir-measures prints them: ``AP``, ``nDCG@10``, ``R@100``, ``RR@10``, ``P@1``, ``Success@5``.

    Raises:
        RecipeError: A measure is unknown.
        DataError: No judgement is positive, the run shares no query with the judgements, or a score is not finite.
    """
    import ir_measures

    objects = {name: _measure_object(name) for name in measures}
    judged = _judged(qrels)
    _check_same_queries(run, {qrel.query_id for qrel in qrels})
    retrieved = {query_id: _untie(query_id, run[query_id]) for query_id in judged if run.get(query_id)}
    result: Any = ir_measures.calc(list(objects.values()), judged, retrieved)
    values = {(metric.measure, metric.query_id): float(metric.value) for metric in result.per_query}
    return Scores(
        mean={name: float(result.aggregated[item]) for name, item in objects.items()},
        per_query={name: {query: values[item, query] for query in judged} for name, item in objects.items()},
        queries=len(judged),
        missing=len(judged) - len(retrieved),
    )


def share_of_ceiling(score: float, ceiling: float) -> float:
    """A score as a share of the ceiling, the teacher on the English queries; more than 1 is possible.

    Raises:
        DataError: The ceiling is not above 0.
    """
    if not ceiling > 0:
        raise DataError(
            f"the ceiling must be above 0 to take a share of it; got {ceiling}; the teacher finds nothing on the "
            "queries of its own language: check that judgements and collection belong together"
        )
    return score / ceiling


def _measure_object(name: str) -> Any:
    """The ir-measures object of a measure; an unknown name is refused with the nearest known one."""
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
    """Refuse a run that shares no query with the judgements; an empty run is allowed and scores 0."""
    if run and not run.keys() & query_ids:
        raise DataError(
            f"none of the {len(run)} queries of the run is judged; the run has e.g. {min(run)!r}, the judgements "
            f"{min(query_ids)!r}; give the judgements that belong to this run"
        )


def _untie(query_id: str, ranking: dict[str, float]) -> dict[str, float]:
    """The ranking in the order of trec_eval, with scores n, n - 1, ..., 1, the same for every measure."""
    for doc_id, score in ranking.items():
        if not math.isfinite(score):
            raise DataError(
                f"the score of document {doc_id!r} for query {query_id!r} is {score}, which has no rank; make the run "
                "again, or leave the document out"
            )
    ordered = sorted(((np.float32(score), doc_id) for doc_id, score in ranking.items()), reverse=True)
    return {doc_id: float(len(ordered) - position) for position, (_, doc_id) in enumerate(ordered)}
