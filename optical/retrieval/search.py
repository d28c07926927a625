"""Search: queries in, a ranking out, by single vectors or late interaction, with an index or without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from optical.data.passages import PassageIds, place_of
from optical.data.records import Query
from optical.data.trec_run import Run, rank
from optical.embeddings.vectors import Vectors
from optical.models.encoders import Encoder, encode_queries
from optical.retrieval import dense, exhaustive
from optical.retrieval.dense import partitioned
from optical.retrieval.dense.index import DenseIndex
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateIndex


class SearchParams(NamedTuple):
    """Options of a search: how far an index is searched, where it is read from; None takes the index's default.

    Attributes:
        probe: Clusters of an IVF index, or lists of tokens for each query token.
        candidates: Documents that late interaction scores exactly.
        mapped: Leave an index of single vectors on disk; the token vectors of late interaction always stay there.
    """

    probe: int | None = None
    candidates: int | None = None
    mapped: bool = False

    def late_options(self) -> dict[str, Any]:
        """The options of :func:`optical.retrieval.late.index.search` that were chosen."""
        chosen = {"probe": self.probe, "candidates": self.candidates}
        return {name: value for name, value in chosen.items() if value is not None}


DEFAULTS = SearchParams()
Opened: TypeAlias = DenseIndex | LateIndex


def search(
    encoder: Encoder,
    queries: Sequence[Query],
    documents: Vectors,
    ids: Sequence[str],
    depth: int,
    index: Path | Opened | None = None,
    params: SearchParams = DEFAULTS,
) -> Run:
    """Rank documents for queries.

    Args:
        encoder: Query side: a student on queries in X, or the teacher on English ones.
        queries: What to search for.
        documents: Vectors of the documents by the teacher.
        ids: Document ids, row by row; or :class:`optical.data.passages.PassageIds`, of which documents are answered.
        depth: Documents for a query.
        index: Of these documents (:mod:`optical.retrieval.dense.partitioned`, :mod:`optical.retrieval.late.index`): its
            folder, or what :func:`open_index` gives. Without one, every document is compared.
        params: How far that index is searched. An index of single vectors that is open already keeps the ``probe`` and
            ``mapped`` that it was opened with.

    Raises:
        DataError: The encoder's vectors have another dimension than the documents'.
    """
    vectors = encode_queries(encoder, [query.text for query in queries])
    return search_vectors(vectors, [query.id for query in queries], documents, ids, depth, index, params)


def search_vectors(
    vectors: np.ndarray | Sequence[np.ndarray],
    query_ids: Sequence[str],
    documents: Vectors,
    ids: Sequence[str],
    depth: int,
    index: Path | Opened | None = None,
    params: SearchParams = DEFAULTS,
) -> Run:
    """The same for queries that are encoded already: ``(q, e)`` unit vectors, or a list of q unit token matrices."""
    if isinstance(index, Path):
        index = open_index(index, params, late=not isinstance(vectors, np.ndarray))

    def nearest(depth: int) -> list[list[tuple[str, float]]]:
        if isinstance(index, DenseIndex):
            return dense.search(index, np.asarray(vectors), depth)
        if isinstance(index, LateIndex):
            return late_index.search(index, list(vectors), depth, **params.late_options())
        if isinstance(vectors, np.ndarray):
            return exhaustive.search_sentences(vectors, documents, ids, depth)
        return exhaustive.search_tokens(vectors, documents, ids, depth)

    if isinstance(ids, PassageIds):
        found = [
            [(place_of(one).doc_id, score) for one, score in some] for some in best_passages(nearest, depth, len(ids))
        ]
    else:
        found = nearest(depth)
    return {query_id: rank(scored) for query_id, scored in zip(query_ids, found, strict=True)}


def best_passages(
    nearest: Callable[[int], list[list[tuple[str, float]]]], depth: int, count: int
) -> list[list[tuple[str, float]]]:
    """The ``depth`` best documents of each query, each by its best passage.

    Args:
        nearest: Gives the so many best passages of each query, ids and scores in any order.
        depth: Documents for a query.
        count: Of all passages.

    Returns:
        For each query ``(passage id, score)``, best first.
    """
    some = min(2 * depth, count)
    while True:
        found = [_one_each(passages) for passages in nearest(some)]
        if some == count or all(len(best) >= depth for best in found):
            return [best[:depth] for best in found]
        some = min(4 * some, count)  # too many of the passages were of the same documents


def _one_each(found: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    best: dict[str, tuple[str, float]] = {}
    for passage in sorted(found, key=lambda one: (-one[1], one[0])):
        best.setdefault(place_of(passage[0]).doc_id, passage)
    return list(best.values())


def open_index(folder: Path, params: SearchParams = DEFAULTS, *, late: bool) -> Opened:
    """Open an index for any number of searches: of tokens if ``late``, else of single vectors.

    Raises:
        DataError: No such index, or a damaged one.
    """
    return late_index.load(folder) if late else partitioned.load(folder, mapped=params.mapped, nprobe=params.probe)
