"""Search: queries in, a ranking out, by single vectors or late interaction, with an index or without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

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
        ids: Document ids, row by row.
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
    if isinstance(index, DenseIndex):
        found = dense.search(index, np.asarray(vectors), depth)
    elif isinstance(index, LateIndex):
        found = late_index.search(index, list(vectors), depth, **params.late_options())
    elif isinstance(vectors, np.ndarray):
        found = exhaustive.search_sentences(vectors, documents, ids, depth)
    else:
        found = exhaustive.search_tokens(vectors, documents, ids, depth)
    return {query_id: rank(scored) for query_id, scored in zip(query_ids, found, strict=True)}


def open_index(folder: Path, params: SearchParams = DEFAULTS, *, late: bool) -> Opened:
    """Open an index for any number of searches: of tokens if ``late``, else of single vectors.

    Raises:
        DataError: No such index, or a damaged one.
    """
    return late_index.load(folder) if late else partitioned.load(folder, mapped=params.mapped, nprobe=params.probe)
