"""Fusion: several runs over the same documents made into one, by ranks or by scores.

A query is fused from the runs that answer it; a document may be in any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import numpy as np

from optical.data.trec_run import Run, rank
from optical.errors import DataError, RecipeError

K = 60  # of Cormack et al.; the larger, the less the first ranks differ


def reciprocal_rank(runs: Sequence[Run], *, k: float = K, depth: int | None = None) -> Run:
    r"""Fuse runs by ranks; scores count only by their order.

    .. math:: s(d) = \sum_i \frac{1}{k + r_i(d)}

    with the rank :math:`r_i(d)` from 1; a document that a run lacks gets 0 from it. Equal scores of a run are ranked by
    document id, as :func:`optical.data.trec_run.rank` does. Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion
    outperforms Condorcet and individual rank learning methods", the formula of section 2.

    Args:
        runs: At least one.
        k: At least 0; larger makes the first ranks more alike.
        depth: How many documents of a query are kept; all when not given.

    Raises:
        RecipeError: There is no run, or k or depth is none of the above.
        DataError: A score is NaN or infinite.
    """
    if not (math.isfinite(k) and k >= 0):
        raise RecipeError(f"k of reciprocal rank fusion must be at least 0; got {k}; {K} is usual")

    def shares(scores: Mapping[str, float]) -> tuple[dict[str, float], float]:
        return {doc_id: 1 / (k + position) for position, doc_id in enumerate(rank(list(scores.items())), start=1)}, 0.0

    return _fuse(runs, [1.0] * len(runs), shares, depth)


def interpolate(
    runs: Sequence[Run],
    weights: Sequence[float] | None = None,
    *,
    normalisation: str = "min-max",
    depth: int | None = None,
) -> Run:
    r"""Fuse runs by scores: a weighted sum, after the scores of each query of each run are brought to one scale.

    .. math:: s(d) = \sum_i w_i \, n_i(d)

    ``min-max``: :math:`n = (s - \min) / (\max - \min)`, from 0 to 1, and 1 where all scores are equal; a document that
    a run lacks gets 0. ``z-score``: :math:`n = (s - \mu) / \sigma` (the deviation of the population), and 0 where all
    scores are equal; a document that a run lacks gets the lowest :math:`n` of that query, since the run ranks it below
    all that it found. A run that has nothing for a query adds nothing to it.

    Args:
        runs: At least one.
        weights: One a run, at least 0 and not all 0; only their proportions matter. Equal when not given.
        normalisation: ``min-max`` or ``z-score``.
        depth: How many documents of a query are kept; all when not given.

    Raises:
        RecipeError: There is no run, or weights, normalisation or depth is none of the above.
        DataError: A score is NaN or infinite.
    """
    scales: dict[str, Callable[[Mapping[str, float]], tuple[dict[str, float], float]]] = {
        "min-max": _min_max,
        "z-score": _z_score,
    }
    if normalisation not in scales:
        raise RecipeError(f"unknown normalisation; got {normalisation!r}; choose among {', '.join(scales)}")
    weights = [1.0] * len(runs) if weights is None else list(weights)
    if len(weights) != len(runs):
        raise RecipeError(f"every run needs a weight; got {len(weights)} weights for {len(runs)} runs; give one each")
    if not all(math.isfinite(w) and w >= 0 for w in weights) or (weights and not sum(weights) > 0):
        raise RecipeError(f"weights must be at least 0, one of them above; got {weights}; equal ones are a fair start")
    total = sum(weights)
    return _fuse(runs, [w / total for w in weights], scales[normalisation], depth)


def _fuse(
    runs: Sequence[Run],
    weights: Sequence[float],
    scale: Callable[[Mapping[str, float]], tuple[dict[str, float], float]],
    depth: int | None,
) -> Run:
    """Weighted sums of scaled scores. ``scale`` gives document -> number for a query, and the number of all others."""
    if not runs:
        raise RecipeError("fusion needs runs; got none; name at least two")
    if depth is not None and depth < 1:
        raise RecipeError(f"depth is how many documents of a query are kept, at least 1; got {depth}; leave it out")
    _check_finite(runs)
    fused: Run = {}
    for query_id in dict.fromkeys(query_id for run in runs for query_id in run):
        parts = [
            (weight, *scale(found)) for run, weight in zip(runs, weights, strict=True) if (found := run.get(query_id))
        ]
        documents = dict.fromkeys(doc_id for _, scaled, _ in parts for doc_id in scaled)
        columns = [[weight * scaled.get(doc_id, absent) for doc_id in documents] for weight, scaled, absent in parts]
        # Rounded once, so that documents with the same numbers in another order of the runs stay equal.
        add = math.fsum if len(columns) > 2 else sum
        sums = [(doc_id, add(terms)) for doc_id, terms in zip(documents, zip(*columns, strict=True), strict=True)]
        fused[query_id] = dict(islice(rank(sums).items(), depth))
    return fused


def _min_max(scores: Mapping[str, float]) -> tuple[dict[str, float], float]:
    low, high = min(scores.values()), max(scores.values())
    return {d: float((s - low) / (high - low)) if high > low else 1.0 for d, s in scores.items()}, 0.0


def _z_score(scores: Mapping[str, float]) -> tuple[dict[str, float], float]:
    values = np.array(list(scores.values()), dtype=np.float64)
    spread = values.max() > values.min()  # the computed deviation of equal numbers may be above 0
    scaled = (values - values.mean()) / values.std() if spread else np.zeros_like(values)
    return dict(zip(scores, scaled.tolist(), strict=True)), float(scaled.min())


def _check_finite(runs: Sequence[Run]) -> None:
    for number, run in enumerate(runs, start=1):
        for query_id, scores in run.items():
            for doc_id, score in scores.items():
                if not math.isfinite(score):
                    raise DataError(
                        f"a score of a run must be a finite number; got {score} for document {doc_id!r} of query "
                        f"{query_id!r} in run {number} of {len(runs)}; make that run again"
                    )
