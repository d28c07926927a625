"""The recall of an index: the share of the exact best that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optical.data.records import Query
from optical.embeddings.vectors import Vectors
from optical.models.encoders import Encoder, encode_queries, is_multi_vector
from optical.retrieval import dense, exhaustive
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateIndex
from optical.retrieval.search import DEFAULTS, Opened, SearchParams, open_index

QUERIES, DEPTH = 20, 100  # of a sample: an exhaustive search reads every vector of the collection
TOKENS_COMPARED, LEAST_QUERIES = 2**28, 3  # fewer queries where there are more tokens, but not fewer than these


def sampled_recall(
    encoder: Encoder,
    queries: Sequence[Query],
    documents: Vectors,
    index: Path | Opened,
    params: SearchParams = DEFAULTS,
) -> float:
    """Share of the exact first hundred that an index finds, the mean over the first queries; NaN without any.

    For late interaction, exact is MaxSim of all tokens as they were embedded, so that what an index lost by rounding
    and pooling counts too.

    Args:
        encoder: Query side.
        queries: The first 20 are asked; of large token collections fewer, down to 3.
        documents: Vectors of all documents.
        index: Of these documents: its folder, or what :func:`optical.retrieval.search.open_index` gives.
        params: How far the index is searched.
    """
    count = max(LEAST_QUERIES, min(QUERIES, TOKENS_COMPARED // max(1, len(documents.tokens))))
    texts = [query.text for query in queries[:count]]
    opened = open_index(index, params, late=is_multi_vector(encoder)) if isinstance(index, Path) else index
    if not texts:
        return float("nan")
    asked = encode_queries(encoder, texts)
    if isinstance(opened, LateIndex):
        exact = exhaustive.search_tokens(list(asked), documents, opened.ids, DEPTH)
        return late_index.recall(opened, list(asked), DEPTH, exact=exact, **params.late_options())
    vectors = np.asarray(asked)
    found = dense.nearest(opened, vectors, DEPTH).rows
    best = exhaustive.nearest(vectors, documents, DEPTH).rows
    return float(np.mean([np.isin(exact, some).mean() for some, exact in zip(found, best, strict=True)]))
