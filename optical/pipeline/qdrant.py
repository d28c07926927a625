"""Export a run's documents to Qdrant, and ask them there by the run's student.

English documents are embedded by the teacher, documents in X by the student, as for the run's own index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.data.records import ENGLISH
from optical.errors import DataError
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.embed import document_encoder, embed_documents, load_student
from optical.pipeline.hubness import NONE, hubness_of
from optical.pipeline.inputs import first_collection
from optical.pipeline.manifest import teacher_of
from optical.retrieval.dense.penalised import HUBNESS, asked
from optical.retrieval.matches import Hit
from optical.retrieval.qdrant.place import Place, check_folder, connect, explained
from optical.retrieval.qdrant.search import CANDIDATES, check, search
from optical.retrieval.qdrant.write import Written, write_documents

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

PATIENCE = 30  # seconds for a question; those that come after it wait too
STUDENT = "student_fingerprint"  # a fact of collections with documents in X only


class ExportedRun(NamedTuple):
    """A finished run and its documents in Qdrant, loaded: what :func:`answer` asks.

    Attributes:
        lang: The language, of several, whose documents are there.
        collection: Where they are from.
        student: The query side.
        place: Where they are.
        client: Connected to it.
        penalised: Whether documents there have a penalty as their last dimension.
    """

    lang: str
    collection: Collection
    student: Encoder
    place: Place
    client: QdrantClient
    penalised: bool = False

    @property
    def late(self) -> bool:
        """Whether scores are sums of MaxSim, not cosines."""
        return encoders.is_multi_vector(self.student)


def place_of(recipe: Recipe, url: str | None, path: Path | None, name: str | None) -> Place:
    """The place that options name; without a name, the collection is called as the folder of the run.

    Raises:
        DataError: Neither a server nor a folder, or both.
    """
    if (url is None) == (path is None):
        got = "both" if url else "neither"
        raise DataError(
            f"Qdrant is either a server or a folder; received {got}; add --url http://host:6333 or --path folder"
        )
    return Place(url, path, name or recipe.folder.resolve().name)


def export_qdrant(
    recipe: Recipe,
    place: Place,
    *,
    shards: int | None = None,
    replicas: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Written:
    """Write the document vectors of a finished run; the same call goes on where an earlier one was stopped.

    Args:
        recipe: Of the run. Of languages with collections of their own, the first one's is exported, and that is said.
        place: Where to; a collection of this name must be new, or of the same documents by the same teacher, those in X
            by the same student.
        shards: Parts of the collection on a server; None leaves it to the server.
        replicas: Copies of each part; None leaves it to the server.
        say: Told of progress.

    Raises:
        DataError: A collection of something else is there, or the teacher is not the run's any more.
        Unavailable: The place does not answer, or refuses.
    """
    check_folder(place)
    lang, collection = first_collection(recipe, say, "exporting")
    embedder, hubness = document_encoder(recipe, collection), hubness_of(recipe)
    facts = _facts(recipe.folder, collection, embedder)
    if collection.docs_lang == ENGLISH:
        _check_teacher(recipe, embedder)
    embedded = embed_documents(recipe, embedder, collection)
    if hubness.method != NONE:
        student = load_student(recipe)
        embedded = embedded._replace(vectors=hubness.penalised(student, lang, embedded.vectors))
        facts[HUBNESS] = hubness.facts(student, lang)
    return write_documents(place, embedded, facts, shards=shards, replicas=replicas, say=say)


@contextmanager
def opened(recipe: Recipe, place: Place, say: Callable[[str], None] = lambda _: None) -> Iterator[ExportedRun]:
    """The student of a finished run and a client, loaded once for any number of questions; closed at the end.

    Args:
        recipe: Of the run, whose student asks.
        place: A collection that :func:`export_qdrant` has finished.
        say: Told which language's documents are searched, where each has its own.

    Raises:
        DataError: No such collection, one that is not finished, or one of other documents, another teacher or, of
            documents in X, another student.
        Unavailable: The place does not answer, or refuses.
    """
    lang, collection = first_collection(recipe, say, "searching")
    with connect(place, PATIENCE) as client:
        student, hubness = load_student(recipe), hubness_of(recipe).facts
        facts = _facts(recipe.folder, collection, student)
        facts |= {HUBNESS: made} if (made := hubness(student, lang)) else {}
        with explained(place):
            check(client, place, facts, own=[STUDENT, HUBNESS])
        yield ExportedRun(lang, collection, student, place, client, HUBNESS in facts)


def answer(run: ExportedRun, question: str, depth: int, candidates: int | None = CANDIDATES) -> list[Hit]:
    """Passages for one question, best first, without matches.

    Not for several threads at once: an encoder answers one at a time.

    Args:
        run: What :func:`opened` gives.
        question: In a language of the run, whatever the documents' language: its student asks.
        depth: How many passages.
        candidates: Documents that the mean token finds for MaxSim to rank; None ranks all. Not used for single vectors.

    Raises:
        Unavailable: The place does not answer, or refuses; it may do so at the next question.
    """
    query = encoders.encode_queries(run.student, [question])[0]
    query = asked(query[None], len(query) + 1)[0] if run.penalised else query
    with explained(run.place):
        found = search(run.client, run.place.name, query, depth, candidates)
    return [Hit(doc, score, []) for doc, score in found]


def _facts(run: Path, collection: Collection, student: Encoder) -> dict[str, Any]:
    """Fingerprints kept with a collection there to know it by, as in the manifest of an index."""
    made = {"teacher_fingerprint": teacher_of(run), "collection_checksum": collection.checksum}
    own = {STUDENT: encoders.fingerprint(student)} if collection.docs_lang != ENGLISH else {}
    return {**made, **own}


def _check_teacher(recipe: Recipe, teacher: Encoder) -> None:
    """Refuse a teacher that is not the one that the run was made with."""
    if (found := encoders.fingerprint(teacher)) != (made := teacher_of(recipe.folder)):
        raise DataError(
            f"the teacher {recipe.teacher} is not the one that taught this student: its fingerprint is {found}, the "
            f"run in {recipe.folder} was made with {made}; name that teacher, or distil again"
        )
