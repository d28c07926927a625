"""The documents of a run as a server of vectors gets them, and the facts that it knows them by.

English documents are embedded by the teacher, documents in X by the student, as for the run's own index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.data.document_store import ids_of
from optical.data.passages import PASSAGES, PassageDocs, PassageIds
from optical.data.records import ENGLISH, Doc
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.errors import DataError
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.embed import document_encoder, embed_documents, load_student
from optical.pipeline.hubness import NONE, hubness_of
from optical.pipeline.inputs import first_collection
from optical.pipeline.manifest import teacher_of
from optical.pipeline.run_folder import check_read
from optical.retrieval.dense.penalised import HUBNESS, asked
from optical.retrieval.matches import Hit, passage_hit
from optical.retrieval.search import best_passages

STUDENT = "student_fingerprint"  # a fact of collections with documents in X only
OWN = (STUDENT, HUBNESS)  # facts that a run may have or not


class Asking(NamedTuple):
    """The query side of a finished run whose documents are on a server.

    Attributes:
        lang: The language, of several, whose documents are there.
        collection: Where they are from.
        student: Who asks.
        facts: What the server must say of the documents.
        passages: How many are there, where it has passages; 0 where it has whole documents.
        rows: Document id -> its number in the collection, where the server has passages.
    """

    lang: str
    collection: Collection
    student: Encoder
    facts: dict[str, Any]
    passages: int = 0
    rows: Mapping[str, int] = {}

    @property
    def late(self) -> bool:
        """Whether scores are sums of MaxSim, not cosines."""
        return encoders.is_multi_vector(self.student)

    @property
    def penalised(self) -> bool:
        """Whether documents there have a penalty as their last dimension."""
        return HUBNESS in self.facts

    def encode(self, questions: Sequence[str]) -> Sequence[np.ndarray]:
        """Questions as documents are asked: vectors ``(e,)``, one longer with penalties, or tokens ``(t, d)``.

        Not for several threads at once: an encoder makes one call at a time.
        """
        queries = encoders.encode_queries(self.student, list(questions))
        return list(asked(np.asarray(queries), len(queries[0]) + 1) if self.penalised else queries)

    def of_passages(self, count: int) -> Asking:
        """The same where the server has so many passages, or none."""
        return self._replace(passages=count, rows=rows_of(self.collection)) if count else self

    def hits(self, nearest: Callable[[int], list[tuple[Doc, float]]], depth: int) -> list[Hit]:
        """Documents for one question, best first, each by its best passage where the server has passages.

        Args:
            nearest: Asks the server for so many documents, or passages, and their scores.
            depth: How many documents.
        """
        if not self.passages:
            return [Hit(doc, score, []) for doc, score in nearest(depth)]
        (best,) = best_passages(lambda k: [[(doc.id, score) for doc, score in nearest(k)]], depth, self.passages)
        return [passage_hit(self.collection.docs, self.rows, passage, score) for passage, score in best]


def rows_of(collection: Collection) -> dict[str, int]:
    """Document id -> its number in the collection."""
    return {doc_id: k for k, doc_id in enumerate(ids_of(collection.docs))}


def asking(recipe: Recipe, lang: str, collection: Collection) -> Asking:
    """Load the student of a finished run and tell which documents are its own."""
    check_read(recipe)
    student = load_student(recipe)
    made = hubness_of(recipe).facts(student, lang)
    return Asking(
        lang, collection, student, _facts(recipe.folder, collection, student) | ({HUBNESS: made} if made else {})
    )


def embedded_for_export(
    recipe: Recipe, say: Callable[[str], None], refuse: Callable[[Encoder], None] = lambda _: None
) -> tuple[EmbeddedCollection, dict[str, Any]]:
    """The documents of a finished run with the vectors that it searches, and the facts to write beside them.

    Of languages with collections of their own, the first one's are taken, and that is said.

    Args:
        recipe: Of the run.
        say: Told of progress.
        refuse: Given the encoder of the documents before they are embedded; raises for one that the server has no
            vectors for.

    Raises:
        DataError: The teacher is not the run's any more.
    """
    check_read(recipe)
    lang, collection = first_collection(recipe, say, "exporting")
    embedder, hubness = document_encoder(recipe, collection), hubness_of(recipe)
    refuse(embedder)
    facts = _facts(recipe.folder, collection, embedder)
    if collection.docs_lang == ENGLISH:
        _check_teacher(recipe, embedder)
    embedded = embed_documents(recipe, embedder, collection)
    if isinstance(ids := embedded.ids, PassageIds):
        facts[PASSAGES] = ids.limit
        embedded = embedded._replace(collection=collection._replace(docs=PassageDocs(ids, collection.docs)))
    if hubness.method != NONE:
        student = load_student(recipe)
        embedded = embedded._replace(vectors=hubness.penalised(student, lang, embedded.vectors))
        facts[HUBNESS] = hubness.facts(student, lang)
    return embedded, facts


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
