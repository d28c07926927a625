"""Documents for a question from Qdrant, and whether the collection there is the one that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optical.data.records import Doc
from optical.data.trec_run import rank
from optical.errors import DataError
from optical.retrieval.qdrant.place import Place
from optical.retrieval.qdrant.write import POOLED, SENTENCE, TOKENS, doc_of, facts_there, mean_token

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

CANDIDATES = 1_000  # documents that the mean token finds for MaxSim to rank


def search(
    client: QdrantClient, name: str, query: np.ndarray, depth: int, candidates: int | None = CANDIDATES
) -> list[tuple[Doc, float]]:
    """Documents and their scores for one question, best first.

    Args:
        client: Connected to the place.
        name: Of the collection there.
        query: The question's unit vector ``(e,)``, or its unit tokens ``(n, d)``.
        depth: How many documents.
        candidates: Documents that the mean token finds for MaxSim to rank; None ranks all. Not used for single vectors.
    """
    from qdrant_client import models

    asked: dict[str, Any] = {"query": query.tolist(), "using": SENTENCE if query.ndim == 1 else TOKENS}
    if query.ndim == 2 and candidates is not None:
        limit = max(depth, candidates)
        asked["prefetch"] = models.Prefetch(query=mean_token(query).tolist(), using=POOLED, limit=limit)
    points = client.query_points(name, limit=depth, with_payload=True, **asked).points
    held = [(point.payload or {}, point.score) for point in points]
    docs = {kept["id"]: doc_of(kept) for kept, _ in held}
    ranked = rank([(kept["id"], score) for kept, score in held])
    return [(docs[doc_id], score) for doc_id, score in ranked.items()]


def check(client: QdrantClient, place: Place, facts: dict[str, Any], own: Sequence[str] = ()) -> dict[str, Any]:
    """Refuse a collection that is not finished, or is of something else.

    Args:
        client: Connected to the place.
        place: Where the collection is.
        facts: What it must say about itself, as it was written.
        own: Facts that it must not have unless they are among ``facts``.

    Returns:
        All that it says about itself.

    Raises:
        DataError: There is no such collection, it is of something else, or its export was stopped.
    """
    if not client.collection_exists(place.name):
        names = ", ".join(sorted(one.name for one in client.get_collections().collections)) or "none"
        raise DataError(
            f"there is no collection {place}; there is {names}; run `optical export RUN --to qdrant`, or give --name"
        )
    there = facts_there(client, place.name)
    for key in dict.fromkeys([*facts, *own]):
        if there.get(key) != facts.get(key):
            raise DataError(
                f"{place} is of another {key.replace('_', ' ')}: {there.get(key)}, where the run has {facts.get(key)}; "
                "give another --name, or export the run again"
            )
    held = client.count(place.name, exact=True).count
    if held != there.get("points"):
        raise DataError(
            f"{place} holds {held} of {there.get('points')} documents: an export was stopped; run the same "
            "`optical export` again, it goes on"
        )
    return there
