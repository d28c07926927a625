"""Queries in, ranking out: one door to single-vector and late-interaction retrieval.

Takes an encoder, texts and the document vectors of a teacher, gives a run. Knows no judgement and no training.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from optical.data.collection import Query
from optical.data.trec_run import Run, rank
from optical.embeddings.vectors import Vectors, padded
from optical.errors import DataError
from optical.models.encoders import Encoder, encode_sentences, encode_tokens, is_multi_vector
from optical.retrieval import dense
from optical.retrieval.dense import partitioned
from optical.retrieval.dense.index import DenseIndex
from optical.retrieval.late import index as late_index
from optical.retrieval.late import maxsim
from optical.retrieval.late.store import LateIndex

NUMBERS_AT_ONCE = 2**26  # of padded document tokens in late interaction, of scores otherwise: 256 MB of float32
QUERIES_AT_ONCE = 1024  # compared with everything, for which all vectors are read
RECALL_QUERIES, RECALL_DEPTH = 20, 100  # of a sample: an exhaustive search reads every vector of the collection
TOKENS_COMPARED, RECALL_LEAST = 2**28, 3  # fewer queries where there are more tokens, but not fewer than these


class Effort(NamedTuple):
    """How far an approximate index is searched, None leaves it to the index; and from where.

    Attributes:
        probe: Clusters of an IVF index, or lists of tokens for each query token.
        candidates: Documents that late interaction scores exactly.
        mapped: An index of single vectors is left on disk; the token vectors of late interaction always are.
    """

    probe: int | None = None
    candidates: int | None = None
    mapped: bool = False


USUAL = Effort()
Opened: TypeAlias = DenseIndex | LateIndex


def search(
    encoder: Encoder,
    queries: Sequence[Query],
    documents: Vectors,
    ids: Sequence[str],
    depth: int,
    index: Path | Opened | None = None,
    effort: Effort = USUAL,
) -> Run:
    """Rank documents for queries.

    Args:
        encoder: Query side: a student on queries in X, or the teacher on English ones.
        queries: What to search for.
        documents: Vectors of the documents by the teacher.
        ids: Document ids, row by row.
        depth: Documents for a query.
        index: Of these documents (:mod:`optical.retrieval.dense.partitioned`, :mod:`optical.retrieval.late.index`),
            its folder or what :func:`open_index` gives; without one, every document is compared.
        effort: How far that index is searched. What was opened already keeps its ``probe`` and ``mapped``, if it is of
            single vectors.

    Raises:
        DataError: The encoder's vectors have another dimension than the documents'.
    """
    texts = [query.text for query in queries]
    late_interaction = is_multi_vector(encoder)
    vectors = encode_tokens(encoder, texts, query=True) if late_interaction else encode_sentences(encoder, texts)
    return search_vectors(vectors, [query.id for query in queries], documents, ids, depth, index, effort)


def search_vectors(
    vectors: np.ndarray | Sequence[np.ndarray],
    query_ids: Sequence[str],
    documents: Vectors,
    ids: Sequence[str],
    depth: int,
    index: Path | Opened | None = None,
    effort: Effort = USUAL,
) -> Run:
    """The same for queries that are vectors already: ``(q, e)`` unit vectors, or a list of q unit token matrices."""
    if isinstance(index, Path):
        index = open_index(index, effort, late=not isinstance(vectors, np.ndarray))
    if isinstance(index, DenseIndex):
        found = dense.search(index, np.asarray(vectors), depth)
    elif isinstance(index, LateIndex):
        found = late_index.search(index, list(vectors), depth, **given(effort))
    elif isinstance(vectors, np.ndarray):
        found = _exact(vectors, documents, ids, depth)
    else:
        found = _late(vectors, documents, ids, depth)
    return {query_id: rank(scored) for query_id, scored in zip(query_ids, found, strict=True)}


def open_index(folder: Path, effort: Effort = USUAL, *, late: bool) -> Opened:
    """An index for any number of searches: of tokens, or of single vectors, which is read into memory here."""
    return late_index.load(folder) if late else partitioned.load(folder, mapped=effort.mapped, nprobe=effort.probe)


def sampled_recall(
    encoder: Encoder, queries: Sequence[Query], documents: Vectors, index: Path | Opened, effort: Effort = USUAL
) -> float:
    """Share of the exact first hundred that an index finds, on the first queries; NaN without any.

    Of late interaction, exact is MaxSim of all tokens as they were embedded, so that what an index lost by rounding and
    pooling counts too.
    """
    count = max(RECALL_LEAST, min(RECALL_QUERIES, TOKENS_COMPARED // max(1, len(documents.tokens))))
    texts = [query.text for query in queries[:count]]
    opened = open_index(index, effort, late=is_multi_vector(encoder)) if isinstance(index, Path) else index
    if isinstance(opened, LateIndex):
        asked = encode_tokens(encoder, texts, query=True)
        exact = _late(asked, documents, opened.ids, RECALL_DEPTH)
        return late_index.recall(opened, asked, RECALL_DEPTH, exact=exact, **given(effort))
    if not texts:
        return float("nan")
    vectors = encode_sentences(encoder, texts)
    found, exact = dense.nearest(opened, vectors, RECALL_DEPTH).rows, _nearest(vectors, documents, RECALL_DEPTH).rows
    return float(np.mean([np.isin(best, some).mean() for some, best in zip(found, exact, strict=True)]))


def given(effort: Effort) -> dict[str, Any]:
    """What of an effort is said to late interaction, by name."""
    said = {"probe": effort.probe, "candidates": effort.candidates}
    return {name: value for name, value in said.items() if value is not None}


def _late(
    queries: Sequence[np.ndarray], documents: Vectors, ids: Sequence[str], depth: int
) -> list[list[tuple[str, float]]]:
    """MaxSim with every document, read from disk and padded a block at a time; only the best so far are kept."""
    asked = padded(queries)
    lengths = np.diff(documents.start)
    some = np.flatnonzero(lengths)  # a document without tokens is never found
    block = max(1, NUMBERS_AT_ONCE // max(1, int(lengths.max(initial=0)) * documents.tokens.shape[1]))
    best: list[list[tuple[str, float]]] = [[] for _ in queries]
    for start in range(0, len(some), block):
        rows = [int(i) for i in some[start : start + block]]
        found = maxsim.search(asked, padded([documents.of(i) for i in rows]), [ids[i] for i in rows], depth)
        # Stable: among equal scores the earlier document stays first, as within a block.
        best = [heapq.nlargest(depth, old + new, key=itemgetter(1)) for old, new in zip(best, found, strict=True)]
    return best


def _exact(vectors: np.ndarray, documents: Vectors, ids: Sequence[str], depth: int) -> list[list[tuple[str, float]]]:
    """Inner products with every document; the same ranking as a Flat index, but for equal scores at the cut."""
    found = []
    for start in range(0, len(vectors), QUERIES_AT_ONCE):
        scores, rows = _nearest(vectors[start : start + QUERIES_AT_ONCE], documents, depth)
        found += [
            [(ids[row], score) for row, score in zip(*pair, strict=True)]
            for pair in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
    return found


def _nearest(vectors: np.ndarray, documents: Vectors, depth: int) -> dense.Nearest:
    """The ``depth`` best documents of each query, in no order; their vectors are read some at a time."""
    count, size = documents.sentences.shape
    if vectors.shape[1] != size:
        raise DataError(
            f"queries have {vectors.shape[1]} dimensions, the documents {size}; encode the queries with a student of "
            "the teacher that embedded the documents"
        )
    scores, rows = np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
    block = max(1, NUMBERS_AT_ONCE // max(len(vectors), size))
    for first in range(0, count, block):
        some = np.asarray(documents.sentences[first : first + block], dtype=np.float32)
        numbers = np.broadcast_to(np.arange(first, first + len(some)), (len(vectors), len(some)))
        scores, rows = np.hstack([scores, vectors @ some.T]), np.hstack([rows, numbers])
        if scores.shape[1] > depth:
            best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
            scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
    return dense.Nearest(scores, rows)
