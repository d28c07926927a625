"""A penalty for each document, taken off its scores, as one more dimension of its vector.

``[q, 1] . [d, -p] = q . d - p``, so whatever ranks by inner products ranks by these scores, on disk, in faiss or on a
server. :mod:`optical.retrieval.hubness` computes penalties; here nothing but numpy is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optical.embeddings.shards import Matrix

HUBNESS = "hubness"  # in the manifest of an index of such vectors: the method, its bank, who asks
QUERY_DIMENSION = "query_dimension"  # in that manifest: of the queries, which the index makes wider


class Penalised:
    """Document vectors with their penalties, ``(n, e + 1)``, float32; rows are read when they are asked for."""

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, vectors: Matrix, penalties: np.ndarray) -> None:
        """Take vectors ``(n, e)`` and penalties ``(n,)``, in units of the score."""
        self._vectors, self._last = vectors, -np.asarray(penalties, dtype=np.float32)[:, None]
        self.shape = (len(vectors), int(vectors.shape[1]) + 1)

    def __len__(self) -> int:
        """Number of documents."""
        return self.shape[0]

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Some of them in memory, ``(k, e + 1)``."""
        some = np.asarray(self._vectors[rows], dtype=np.float32)  # pyright: ignore[reportArgumentType] - as given
        return np.hstack([some, self._last[rows]])


def query_dimension(vectors: Matrix, manifest: Mapping[str, Any]) -> dict[str, int]:
    """Describe the queries for the manifest of an index, where its documents have penalties."""
    return {QUERY_DIMENSION: int(vectors.shape[1]) - 1} if HUBNESS in manifest else {}


def asked(queries: np.ndarray, width: int) -> np.ndarray:
    """Queries ``(q, e)`` as such documents are asked: ``[q, 1]``, with zeros up to ``width`` dimensions; float32."""
    wide = np.zeros((len(queries), width), dtype=np.float32)
    wide[:, : queries.shape[1]] = queries
    wide[:, queries.shape[1]] = 1.0
    return wide
