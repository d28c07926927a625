"""Exhaustive search: every document is compared, its vectors read from disk a block at a time.

What an index finds is measured against this; it is also what searches a collection that has no index.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from optical.embeddings.vectors import Vectors, padded
from optical.errors import DataError
from optical.retrieval import dense
from optical.retrieval.dense.penalised import Penalised, asked
from optical.retrieval.late import maxsim

NUMBERS_AT_ONCE = 2**26  # of padded document tokens in late interaction, of scores otherwise: 256 MB of float32
QUERIES_AT_ONCE = 1024  # single vectors compared with all documents in one pass over their vectors


def search_sentences(
    vectors: np.ndarray, documents: Vectors, ids: Sequence[str], depth: int
) -> list[list[tuple[str, float]]]:
    """The ``depth`` highest inner products: the ranking of a Flat index, except for equal scores at the cut.

    Args:
        vectors: Of the queries, ``(q, e)``.
        documents: Single vectors.
        ids: Document ids, row by row.
        depth: Documents for a query.

    Returns:
        For each query ``(document id, score)``, in no order.
    """
    found = []
    for start in range(0, len(vectors), QUERIES_AT_ONCE):
        scores, rows = nearest(vectors[start : start + QUERIES_AT_ONCE], documents, depth)
        found += [
            [(ids[row], score) for row, score in zip(*pair, strict=True)]
            for pair in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
    return found


def nearest(vectors: np.ndarray, documents: Vectors, depth: int) -> dense.Nearest:
    """The rows of the ``depth`` best documents of each query, in no order.

    Raises:
        DataError: Queries and documents differ in dimension.
    """
    count, size = documents.sentences.shape
    if isinstance(documents.sentences, Penalised) and vectors.shape[1] == size - 1:
        vectors = asked(vectors, size)
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


def search_tokens(
    queries: Sequence[np.ndarray], documents: Vectors, ids: Sequence[str], depth: int
) -> list[list[tuple[str, float]]]:
    """The ``depth`` highest MaxSim of all documents; only the best so far are kept.

    Args:
        queries: Unit token matrices, one a query.
        documents: Token vectors.
        ids: Document ids, row by row.
        depth: Documents for a query.

    Returns:
        For each query ``(document id, score)``, best first.
    """
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
