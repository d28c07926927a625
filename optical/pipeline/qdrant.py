"""Export a run's documents to Qdrant, and ask them there by the run's student."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from optical.config.recipe import Recipe
from optical.data.passages import PASSAGES
from optical.errors import DataError
from optical.pipeline.exported_documents import OWN, Asking, asking, embedded_for_export
from optical.pipeline.inputs import first_collection
from optical.retrieval.matches import Hit
from optical.retrieval.qdrant.place import Place, check_folder, check_installed, connect, explained
from optical.retrieval.qdrant.search import CANDIDATES, check, search
from optical.retrieval.qdrant.write import Written, write_documents

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

PATIENCE = 30  # seconds for a question; those that come after it wait too


class ExportedRun(NamedTuple):
    """A finished run and its documents in Qdrant, loaded: what :func:`answer` asks.

    Attributes:
        asking: The student, and which documents it asks.
        place: Where they are.
        client: Connected to it.
    """

    asking: Asking
    place: Place
    client: QdrantClient


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
    check_installed()  # before documents are embedded
    embedded, facts = embedded_for_export(recipe, say)
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
        run = asking(recipe, lang, collection)
        with explained(place):
            there = check(client, place, run.facts, own=OWN)
        yield ExportedRun(run.of_passages(there["points"] if PASSAGES in there else 0), place, client)


def answer(run: ExportedRun, question: str, depth: int, candidates: int | None = CANDIDATES) -> list[Hit]:
    """Passages for one question: see :func:`answer_all`."""
    return answer_all(run, [question], depth, candidates)[0]


def answer_all(
    run: ExportedRun, questions: Sequence[str], depth: int, candidates: int | None = CANDIDATES
) -> list[list[Hit]]:
    """Passages for each question, best first, without matches.

    Not for several threads at once: an encoder makes one call at a time.

    Args:
        run: What :func:`opened` gives.
        questions: In a language of the run, whatever the documents' language: its student asks.
        depth: How many passages.
        candidates: Documents that the mean token finds for MaxSim to rank; None ranks all. Not used for single vectors.

    Raises:
        Unavailable: The place does not answer, or refuses; it may do so at the next question.
    """
    queries = run.asking.encode(questions)
    with explained(run.place):
        return [
            run.asking.hits(lambda k, query=query: search(run.client, run.place.name, query, k, candidates), depth)
            for query in queries
        ]
