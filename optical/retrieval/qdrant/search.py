"""Questions to a run's documents in Qdrant, by the student, which is loaded once for all of them.

Takes a recipe and a place whose export is finished, gives passages as :mod:`optical.pipeline.answer` does. Knows no
server of pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optical.config.recipe import Recipe
from optical.data.collection import Collection, Doc
from optical.data.trec_run import rank
from optical.errors import DataError
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.answer import Found, encode_question
from optical.pipeline.inputs import Say
from optical.retrieval.qdrant.place import Place, connect, explained
from optical.retrieval.qdrant.write import (
    POOLED,
    SENTENCE,
    STUDENT,
    TOKENS,
    facts_there,
    first_collection,
    made_of,
    pooled,
)

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

PATIENCE = 30  # seconds for a question; those that come after it wait too
CANDIDATES = 1_000  # documents that the mean vector finds for MaxSim to rank


class Opened(NamedTuple):
    """A finished run and its documents in Qdrant, loaded: what :func:`answer` asks.

    Attributes:
        recipe: Of the run.
        lang: The language, of several, whose documents are there.
        collection: Where they are from.
        student: The query side.
        place: Where they are.
        client: Connected to it.
    """

    recipe: Recipe
    lang: str
    collection: Collection
    student: Encoder
    place: Place
    client: QdrantClient

    @property
    def late(self) -> bool:
        """Whether scores are sums of MaxSim, not cosines."""
        return encoders.is_multi_vector(self.student)


@contextmanager
def opened(recipe: Recipe, place: Place, say: Say = lambda _: None) -> Iterator[Opened]:
    """The student of a finished run and a client, loaded once for any number of questions; closed at the end.

    Args:
        recipe: Of the run, whose student asks.
        place: A collection that :func:`export_run` has finished.
        say: Told which language's documents are searched, where each has its own.

    Raises:
        DataError: No such collection, one that is not finished, or one of other documents, another teacher or, of
            documents in X, another student.
        Unavailable: The place does not answer, or refuses.
    """
    lang, collection = first_collection(recipe, say, "searching")
    with connect(place, PATIENCE) as client:
        student = encoders.load(recipe.folder / "student", recipe.device)
        with explained(place):
            check(client, place, made_of(recipe, collection, student))
        yield Opened(recipe, lang, collection, student, place, client)


def answer(loaded: Opened, question: str, depth: int, candidates: int | None = CANDIDATES) -> list[Found]:
    """Passages for one question, best first, as :func:`optical.pipeline.answer.answer` finds them, without matches.

    Not for several threads at once: an encoder answers one at a time.

    Args:
        loaded: What :func:`opened` gives.
        question: In a language of the run, whatever the documents' language: its student asks.
        depth: How many passages.
        candidates: Documents that the mean vector finds for MaxSim to rank; None ranks all. Single vectors have no use
            for it.

    Raises:
        Unavailable: The place does not answer, or refuses; it may do so at the next question.
    """
    query = encode_question(loaded.student, question)
    with explained(loaded.place):
        return search(loaded.client, loaded.place.name, query, depth, candidates)


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


def check(client: QdrantClient, place: Place, facts: dict[str, Any]) -> None:
    """Refuse a collection that is not finished, or is of something else.

    Raises:
        DataError: What it is, and what to do.
    """
    if not client.collection_exists(place.name):
        names = ", ".join(sorted(one.name for one in client.get_collections().collections)) or "none"
        raise DataError(
            f"there is no collection {place}; there is {names}; run `optical export RUN --to qdrant`, or give --name"
        )
    there = facts_there(client, place.name)
    for key in dict.fromkeys([*facts, STUDENT]):  # a student's vectors are refused where the teacher's are wanted
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
