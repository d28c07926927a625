"""The document vectors of a finished run, written to Qdrant; a stopped export goes on where it was.

Takes a recipe and a place, gives how many points are there. English documents are the teacher's to embed, documents in
X the student's. Knows no query.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.data.records import ENGLISH
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import Vectors
from optical.errors import DataError
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.index import document_encoder, embed_by
from optical.pipeline.inputs import Say, check_embeddable, distinct, run_collections
from optical.retrieval.qdrant.place import Place, connect, explained

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

SENTENCE, TOKENS, POOLED = "sentence", "tokens", "pooled"  # names of the vectors of a point
STUDENT = "student_fingerprint"  # what a collection of documents in X says beside what all say
LOCAL_LIMIT = 20_000  # points, above which the client's own engine, which compares with every one, is no use
NUMBERS_AT_ONCE = 500_000  # of one upsert: some 5 MB of JSON, and a server takes 32
POINTS_AT_ONCE = 256
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "optical/documents")


class Exported(NamedTuple):
    """What an export did.

    Attributes:
        place: Where the collection is.
        points: How many documents it holds.
        written: How many of them were not there before.
        left_out: Documents without any token, which late interaction never finds.
    """

    place: Place
    points: int
    written: int
    left_out: int


def export_run(
    recipe: Recipe, place: Place, *, shards: int | None = None, replicas: int | None = None, say: Say = lambda _: None
) -> Exported:
    """Write the document vectors of a finished run; the same call goes on where an earlier one was stopped.

    Args:
        recipe: Of the run. Of languages with collections of their own, the first one's is exported, and that is said.
        place: Where to; a collection of this name must be new, or of the same documents by the same teacher, those in X
            by the same student.
        shards: Parts of the collection on a server; None leaves it to the server.
        replicas: Copies of each part; None leaves it to the server.
        say: Told of progress.

    Raises:
        DataError: No server there, a collection of something else, a teacher that is not the run's any more.
    """
    _, collection = first_collection(recipe, say, "exporting")
    embedder = document_encoder(recipe, collection)
    facts = made_of(recipe, collection, embedder)
    if collection.docs_lang == ENGLISH:
        _check_teacher(recipe, embedder)
    searched = embed_by(recipe, embedder, collection)
    rows = _rows(searched.vectors, len(searched.ids))
    if place.path is not None and len(rows) > LOCAL_LIMIT:
        say(
            f"warning: {len(rows)} points in a folder, which compares every question with every one of them; above "
            f"{LOCAL_LIMIT} take a server: --url http://host:6333"
        )
    with connect(place) as client, explained(place):
        _create(client, place, searched, {"points": len(rows), **facts}, shards, replicas)
        written = _write(client, place.name, searched, rows, say)
    return Exported(place, len(rows), written, len(searched.ids) - len(rows))


def point_id(doc_id: str) -> str:
    """The id of a document's point, which no second export changes."""
    return str(uuid.uuid5(_NAMESPACE, doc_id))


def pooled(tokens: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean of unit tokens, of length 1; zero where they cancel out."""
    mean = tokens.astype(np.float32).mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _create(
    client: QdrantClient, place: Place, searched: EmbeddedCollection, facts: dict[str, Any], shards: int | None,
    replicas: int | None,
) -> None:  # fmt: skip
    """The collection, unless it is there already, of the same things."""
    if client.collection_exists(place.name):
        there = facts_there(client, place.name)
        if there != facts:
            raise DataError(
                f"{place} is there already and is of something else: {there or 'nothing of ours'}, where the run "
                f"has {facts}; give another --name, or delete it there"
            )
        return
    own: dict[str, Any] = {"shard_number": shards, "replication_factor": replicas} if place.path is None else {}
    client.create_collection(place.name, vectors_config=_vectors(searched.vectors), metadata=facts, **own)


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


def _write(client: QdrantClient, name: str, searched: EmbeddedCollection, rows: Sequence[int], say: Say) -> int:
    """Upsert what is not there yet; the number of points that were written."""
    from qdrant_client import models

    written, told = 0, 0
    for batch in _batches(searched.vectors, rows):
        own = {point_id(searched.ids[row]): row for row in batch}
        there = {str(one.id) for one in client.retrieve(name, list(own), with_payload=False, with_vectors=False)}
        points = [
            models.PointStruct(
                id=one, vector=_vector(searched.vectors, row), payload=searched.collection.docs[row]._asdict()
            )
            for one, row in own.items()
            if one not in there
        ]
        if points:
            client.upsert(name, points, wait=True)
        written += len(points)
        if batch[-1] - told >= len(searched.ids) / 10:
            told = batch[-1]
            say(f"{told + 1} of {len(searched.ids)} documents")
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
    return {TOKENS: tokens.tolist(), POOLED: pooled(tokens).tolist()}


def _check_teacher(recipe: Recipe, teacher: Encoder) -> None:
    """Refuse a teacher that is not the one that the run was made with."""
    if (found := encoders.fingerprint(teacher)) != (made := _teacher_of(recipe)):
        raise DataError(
            f"the teacher {recipe.teacher} is not the one that taught this student: its fingerprint is {found}, the "
            f"run in {recipe.folder} was made with {made}; name that teacher, or distil again"
        )


def first_collection(recipe: Recipe, say: Say, doing: str) -> tuple[str, Collection]:
    """The first language with a collection, and that collection; where there are others, that is said."""
    collections = run_collections(recipe)
    lang, collection = next(iter(collections.items()))
    check_embeddable(recipe, collection)
    if len(distinct(collections)) > 1:
        say(f"{doing} the documents of {lang}; others: --set lang=...")
    return lang, collection


def made_of(recipe: Recipe, collection: Collection, student: Encoder) -> dict[str, Any]:
    """What a collection there says of itself, as an index does; of documents in X also who embedded them."""
    made = {"teacher_fingerprint": _teacher_of(recipe), "collection_checksum": collection.checksum}
    own = {STUDENT: encoders.fingerprint(student)} if collection.docs_lang != ENGLISH else {}
    return {**made, **own}


def _teacher_of(recipe: Recipe) -> str:
    """Fingerprint of the teacher that the run was made with."""
    file = recipe.folder / "manifest.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))["teacher_fingerprint"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{file} does not say by which teacher the run was made ({type(error).__name__}); name a folder that "
            "`optical distill` left"
        ) from error


def facts_there(client: QdrantClient, name: str) -> dict[str, Any]:
    """What a collection there says of itself; empty where it is nobody's export."""
    return client.get_collection(name).config.metadata or {}
