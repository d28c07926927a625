"""Write the document vectors and texts of a collection to Qdrant; a stopped export goes on where it was."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from optical.data.passages import PASSAGES
from optical.data.records import Doc
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import Vectors
from optical.errors import DataError
from optical.retrieval.qdrant.place import Place, connect, explained

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

SENTENCE, TOKENS, POOLED = "sentence", "tokens", "pooled"  # names of the vectors of a point
LOCAL_LIMIT = 20_000  # points, above which the client's own engine, which compares with every one, is no use
NUMBERS_AT_ONCE = 500_000  # of one upsert: some 5 MB of JSON, and a server takes 32
POINTS_AT_ONCE = 256
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "optical/documents")


class Written(NamedTuple):
    """Outcome of an export.

    Attributes:
        place: Where the collection is.
        points: How many documents it holds.
        written: How many of them were not there before.
        left_out: Documents without any token, which late interaction never finds.
        unit: Documents, or passages of them.
    """

    place: Place
    points: int
    written: int
    left_out: int
    unit: str = "documents"


def write_documents(
    place: Place,
    embedded: EmbeddedCollection,
    facts: dict[str, Any],
    *,
    shards: int | None = None,
    replicas: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Written:
    """Write documents; the same call goes on where an earlier one was stopped.

    Args:
        place: Where to; a collection of this name must be new, or have the same facts.
        embedded: Documents with their vectors.
        facts: What the collection says about itself there, for :func:`optical.retrieval.qdrant.search.check`.
        shards: Parts of the collection on a server; None leaves it to the server.
        replicas: Copies of each part; None leaves it to the server.
        say: Told of progress.

    Raises:
        DataError: A collection of something else is there, or the folder cannot be opened.
        Unavailable: The place does not answer, or refuses.
    """
    rows = _rows(embedded.vectors, len(embedded.ids))
    if place.path is not None and len(rows) > LOCAL_LIMIT:
        say(
            f"warning: {len(rows)} points in a folder, which compares every question with every one of them; above "
            f"{LOCAL_LIMIT} take a server: --url http://host:6333"
        )
    with connect(place) as client, explained(place):
        _create(client, place, embedded, {"points": len(rows), **facts}, shards, replicas)
        written = _write(client, place.name, embedded, rows, say)
    unit = PASSAGES if PASSAGES in facts else "documents"
    return Written(place, len(rows), written, len(embedded.ids) - len(rows), unit)


def point_id(doc_id: str) -> str:
    """The id of a document's point, the same in every export."""
    return str(uuid.uuid5(_NAMESPACE, doc_id))


def payload_of(doc: Doc) -> dict[str, Any]:
    """The fields that a point keeps of its document; ``metadata`` only where it has any."""
    kept = {"id": doc.id, "title": doc.title, "text": doc.text}
    return kept | {"metadata": doc.metadata} if doc.extra else kept


def doc_of(payload: Mapping[str, Any]) -> Doc:
    """The document of a point."""
    others = payload.get("metadata")
    extra = json.dumps(others, ensure_ascii=False) if others else ""
    return Doc(payload["id"], payload["title"], payload["text"], extra)


def mean_token(tokens: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean of unit tokens, scaled to length 1; zero where they cancel out."""
    mean = tokens.astype(np.float32).mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _create(
    client: QdrantClient, place: Place, embedded: EmbeddedCollection, facts: dict[str, Any], shards: int | None,
    replicas: int | None,
) -> None:  # fmt: skip
    """Create the collection, unless it is there already, with the same facts."""
    if client.collection_exists(place.name):
        there = facts_there(client, place.name)
        if there != facts:
            raise DataError(
                f"{place} is there already and is of something else: {there or 'nothing of ours'}, where the run "
                f"has {facts}; give another --name, or delete it there"
            )
        return
    own: dict[str, Any] = {"shard_number": shards, "replication_factor": replicas} if place.path is None else {}
    client.create_collection(place.name, vectors_config=_vectors(embedded.vectors), metadata=facts, **own)


def _vectors(vectors: Vectors) -> dict[str, Any]:
    """Inner products throughout: of unit vectors they are cosines, and half-precision tokens keep their length."""
    from qdrant_client import models

    dot = models.Distance.DOT
    if vectors.sentences.shape[1]:
        return {SENTENCE: models.VectorParams(size=vectors.sentences.shape[1], distance=dot)}
    size = vectors.tokens.shape[1]
    maxsim = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    tokens = models.VectorParams(  # never searched alone, so no graph; float16, as they are
        size=size, distance=dot, multivector_config=maxsim, on_disk=True, datatype=models.Datatype.FLOAT16,
        hnsw_config=models.HnswConfigDiff(m=0),
    )  # fmt: skip
    return {TOKENS: tokens, POOLED: models.VectorParams(size=size, distance=dot)}


def _rows(vectors: Vectors, count: int) -> Sequence[int]:
    """Documents that can be found: all of single vectors, those with a token of late interaction."""
    return range(count) if vectors.sentences.shape[1] else np.flatnonzero(np.diff(vectors.start)).tolist()


def _write(
    client: QdrantClient, name: str, embedded: EmbeddedCollection, rows: Sequence[int], say: Callable[[str], None]
) -> int:
    """Upsert what is not there yet; the number of points that were written."""
    from qdrant_client import models

    written, told = 0, 0
    for batch in _batches(embedded.vectors, rows):
        own = {point_id(embedded.ids[row]): row for row in batch}
        there = {str(one.id) for one in client.retrieve(name, list(own), with_payload=False, with_vectors=False)}
        points = [
            models.PointStruct(
                id=one, vector=_vector(embedded.vectors, row), payload=payload_of(embedded.collection.docs[row])
            )
            for one, row in own.items()
            if one not in there
        ]
        if points:
            client.upsert(name, points, wait=True)
        written += len(points)
        if batch[-1] - told >= len(embedded.ids) / 10:
            told = batch[-1]
            say(f"{told + 1} of {len(embedded.ids)} documents")
    return written


def _batches(vectors: Vectors, rows: Sequence[int]) -> Iterator[list[int]]:
    """Rows together, bounded in number and in size."""
    batch: list[int] = []
    numbers = 0
    for row in rows:
        size = vectors.sentences.shape[1] or int(vectors.start[row + 1] - vectors.start[row]) * vectors.tokens.shape[1]
        if batch and (numbers + size > NUMBERS_AT_ONCE or len(batch) == POINTS_AT_ONCE):
            yield batch
            batch, numbers = [], 0
        batch.append(row)
        numbers += size
    if batch:
        yield batch


def _vector(vectors: Vectors, row: int) -> dict[str, Any]:
    if vectors.sentences.shape[1]:
        return {SENTENCE: np.asarray(vectors.sentences[row : row + 1], dtype=np.float32)[0].tolist()}
    tokens = np.asarray(vectors.of(row), dtype=np.float32)
    return {TOKENS: tokens.tolist(), POOLED: mean_token(tokens).tolist()}


def facts_there(client: QdrantClient, name: str) -> dict[str, Any]:
    """Read what a collection there says about itself; empty where it is none of our exports."""
    return client.get_collection(name).config.metadata or {}
