"""A run's documents in Qdrant, for collections that one machine cannot hold: exported once, with the same answers.

Takes a recipe and a place, writes the vectors that the run itself searches, and asks them by its student. One vector a
document, or all its tokens (MaxSim, computed by Qdrant) with their mean, which finds the candidates. Sharding,
replication and the protocol are Qdrant's; a folder instead of an address is its client's own small engine.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from optical import encoders
from optical.answering import Found, encode_question
from optical.development import Searched
from optical.embed import Vectors
from optical.errors import DataError
from optical.indexing import embed, load_teacher
from optical.inputs import Say, distinct, run_collections
from optical.recipe import Recipe
from optical.run import rank
from optical.text.collection import Doc

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

SENTENCE, TOKENS, POOLED = "sentence", "tokens", "pooled"  # names of the vectors of a point
API_KEY = "QDRANT_API_KEY"  # environment variable
LOCAL_LIMIT = 20_000  # points, above which the client's own engine, which compares with every one, is no use
CANDIDATES = 1_000  # documents that the mean vector finds for MaxSim to rank
NUMBERS_AT_ONCE = 500_000  # of one upsert: some 5 MB of JSON, and a server takes 32
POINTS_AT_ONCE = 256
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "optical/documents")


class Place(NamedTuple):
    """Where a collection is: on a server, or in a folder.

    Attributes:
        url: ``http://host:6333``; None for a folder.
        path: The folder; None for a server.
        name: Of the collection there.
    """

    url: str | None
    path: Path | None
    name: str

    def __str__(self) -> str:
        return f"{self.name} at {self.url or self.path}"


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


def place_of(recipe: Recipe, url: str | None, path: Path | None, name: str | None) -> Place:
    """The place that options name; the collection is called as the folder of the run unless it has a name.

    Raises:
        DataError: Neither a server nor a folder, or both.
    """
    if (url is None) == (path is None):
        got = "both" if url else "neither"
        raise DataError(
            f"Qdrant is either a server or a folder; received {got}; add --url http://host:6333 or --path folder"
        )
    return Place(url, path, name or recipe.folder.resolve().name)


def export_run(
    recipe: Recipe, place: Place, *, shards: int | None = None, replicas: int | None = None, say: Say = lambda _: None
) -> Exported:
    """Write the document vectors of a finished run; the same call goes on where an earlier one was stopped.

    Args:
        recipe: Of the run. Of languages with collections of their own, the first one's is exported, and that is said.
        place: Where to; a collection of this name must be new, or of the same documents by the same teacher.
        shards: Parts of the collection on a server; None leaves it to the server.
        replicas: Copies of each part; None leaves it to the server.
        say: Told of progress.

    Raises:
        DataError: No server there, a collection of something else, a teacher that is not the run's any more.
    """
    collections = run_collections(recipe)
    lang, collection = next(iter(collections.items()))
    if len(distinct(collections)) > 1:
        say(f"exporting the documents of {lang}; others: --set lang=...")
    teacher = load_teacher(recipe)
    if (found := encoders.fingerprint(teacher)) != (made := _teacher_of(recipe)):
        raise DataError(
            f"the teacher {recipe.teacher} is not the one that taught this student: its fingerprint is {found}, the "
            f"run in {recipe.folder} was made with {made}; name that teacher, or distil again"
        )
    searched = embed(recipe, teacher, collection)
    rows = _rows(searched.vectors, len(searched.ids))
    if place.path is not None and len(rows) > LOCAL_LIMIT:
        say(
            f"warning: {len(rows)} points in a folder, which compares every question with every one of them; above "
            f"{LOCAL_LIMIT} take a server: --url http://host:6333"
        )
    with connect(place) as client:
        _create(
            client, place, searched, {"points": len(rows), **_made_of(recipe, collection.checksum)}, shards, replicas
        )
        written = _write(client, place.name, searched, rows, say)
    return Exported(place, len(rows), written, len(searched.ids) - len(rows))


def answer(recipe: Recipe, place: Place, question: str, depth: int, candidates: int | None = CANDIDATES) -> list[Found]:
    """Passages for one question, best first, as :func:`optical.answering.answer` finds them; no words are matched.

    Args:
        recipe: Of the run, whose student asks.
        place: A collection that :func:`export_run` has finished.
        question: In a language of the run.
        depth: How many passages.
        candidates: Documents that the mean vector finds for MaxSim to rank; None ranks all. Single vectors have no use
            for it.

    Raises:
        DataError: No such collection, one that is not finished, or one of other documents or another teacher.
    """
    collection = next(iter(run_collections(recipe).values()))
    with connect(place) as client:
        check(client, place, _made_of(recipe, collection.checksum))
        student = encoders.load(recipe.folder / "student", recipe.device)
        return search(client, place.name, encode_question(student, question), depth, candidates)


def search(
    client: QdrantClient, name: str, query: np.ndarray, depth: int, candidates: int | None = CANDIDATES
) -> list[Found]:
    """The same for a question that is vectors already: ``(e,)``, or ``(n, d)`` unit tokens."""
    from qdrant_client import models

    asked: dict[str, Any] = {"query": query.tolist(), "using": SENTENCE if query.ndim == 1 else TOKENS}
    if query.ndim == 2 and candidates is not None:
        limit = max(depth, candidates)
        asked["prefetch"] = models.Prefetch(query=pooled(query).tolist(), using=POOLED, limit=limit)
    points = client.query_points(name, limit=depth, with_payload=True, **asked).points
    held = [(point.payload or {}, point.score) for point in points]
    docs = {kept["id"]: Doc(*(kept[field] for field in Doc._fields)) for kept, _ in held}
    ranked = rank([(kept["id"], score) for kept, score in held])
    return [Found(docs[doc_id], score, []) for doc_id, score in ranked.items()]


def pooled(tokens: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean of unit tokens, of length 1; zero where they cancel out."""
    mean = tokens.astype(np.float32).mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def check(client: QdrantClient, place: Place, made_of: dict[str, Any]) -> None:
    """Refuse a collection that is not finished, or is of something else.

    Raises:
        DataError: What it is, and what to do.
    """
    if not client.collection_exists(place.name):
        there = ", ".join(sorted(one.name for one in client.get_collections().collections)) or "none"
        raise DataError(
            f"there is no collection {place}; there is {there}; run `optical export RUN --to qdrant`, or give --name"
        )
    metadata = _metadata(client, place.name)
    for key, value in made_of.items():
        if metadata.get(key) != value:
            raise DataError(
                f"{place} is of another {key.replace('_', ' ')}: {metadata.get(key)}, where the run has {value}; give "
                "another --name, or export the run again"
            )
    held = client.count(place.name, exact=True).count
    if held != metadata.get("points"):
        raise DataError(
            f"{place} holds {held} of {metadata.get('points')} documents: an export was stopped; run the same "
            "`optical export` again, it goes on"
        )


@contextmanager
def connect(place: Place) -> Iterator[QdrantClient]:
    """A client, closed at the end; what goes wrong on the way there is one message.

    Raises:
        DataError: The client is not installed, or the place does not answer, or refuses.
    """
    try:
        from qdrant_client import QdrantClient
        from qdrant_client.http.exceptions import ApiException
    except ImportError as error:
        raise DataError(
            "Qdrant needs a package that is not installed: qdrant-client; run `pip install qdrant-client`, or install "
            "optical with its extra: optical[qdrant]"
        ) from error
    try:
        if place.path is not None:
            client = QdrantClient(path=str(place.path))
        else:
            key = os.environ.get(API_KEY) or None
            client = QdrantClient(url=place.url, api_key=key, timeout=120, check_compatibility=False)
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{place} cannot be opened: {error}; another program may hold the folder") from error
    try:
        yield client
    except (ApiException, OSError) as error:
        raise DataError(
            f"{place} does not do what was asked ({type(error).__name__}: {' '.join(str(error).split())[:200]}); see "
            f"that the server runs, and that {API_KEY} is set where it wants a key; what was written stays"
        ) from error
    finally:
        client.close()


def point_id(doc_id: str) -> str:
    """The id of a document's point, which no second export changes."""
    return str(uuid.uuid5(_NAMESPACE, doc_id))


def _create(
    client: QdrantClient, place: Place, searched: Searched, facts: dict[str, Any], shards: int | None,
    replicas: int | None,
) -> None:  # fmt: skip
    """The collection, unless it is there already, of the same things."""
    if client.collection_exists(place.name):
        metadata = _metadata(client, place.name)
        if metadata != facts:
            raise DataError(
                f"{place} is there already and is of something else: {metadata or 'nothing of ours'}, where the run "
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


def _write(client: QdrantClient, name: str, searched: Searched, rows: Sequence[int], say: Say) -> int:
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


def _made_of(recipe: Recipe, checksum: str) -> dict[str, Any]:
    return {"teacher_fingerprint": _teacher_of(recipe), "collection_checksum": checksum}


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


def _metadata(client: QdrantClient, name: str) -> dict[str, Any]:
    return client.get_collection(name).config.metadata or {}
