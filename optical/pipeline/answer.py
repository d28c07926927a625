"""Answer questions by a finished run: passages from its own index, Qdrant or PostgreSQL, best first."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.data.document_store import ids_of
from optical.data.passages import PASSAGES, PassageIds
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.errors import DataError
from optical.generation import read_whole
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.models.prompts import document_prompt
from optical.models.query_words import Known
from optical.pipeline import pgvector, qdrant
from optical.pipeline.embed import document_encoder, embed_documents, load_student
from optical.pipeline.exported_documents import Asking, rows_of
from optical.pipeline.index import index_folder, search_params, serves
from optical.pipeline.inputs import collection_path, first_collection
from optical.pipeline.manifest import teacher_of
from optical.pipeline.run_folder import SEARCHED, check_read
from optical.retrieval import dense
from optical.retrieval.dense import partitioned
from optical.retrieval.dense.index import DenseIndex
from optical.retrieval.dense.penalised import HUBNESS
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateIndex
from optical.retrieval.matches import Hit, known_of, match_words, passage_hit, word_spans
from optical.retrieval.pgvector.table import Table
from optical.retrieval.qdrant.place import Place
from optical.retrieval.search import best_passages, search_vectors


class Answers(NamedTuple):
    """An open run that answers questions, whichever engine searches.

    Attributes:
        lang: The language, of several, whose collection is searched.
        collection: Where the passages are from.
        late: Whether scores are sums of MaxSim, not cosines.
        penalised: Whether scores are cosines less a penalty of the document.
        student: Who asks.
        answer_all: ``answer_all(questions, depth)`` gives the passages of each question, best first. Not for several
            threads at once: an encoder makes one call at a time.
    """

    lang: str
    collection: Collection
    late: bool
    penalised: bool
    student: Encoder
    answer_all: Callable[[Sequence[str], int], list[list[Hit]]]

    def answer(self, question: str, depth: int) -> list[Hit]:
        """Passages for one question, best first."""
        return self.answer_all([question], depth)[0]

    def known(self, question: str) -> Known | None:
        """Tell which words of a question the student never saw; None where it reads such words like all others."""
        return known_of(self.student, question)


@contextmanager
def opened(
    recipe: Recipe, place: Place | Table | None = None, say: Callable[[str], None] = lambda _: None
) -> Iterator[Answers]:
    """Load a run once for any number of questions; closed at the end.

    Args:
        recipe: Of a finished run.
        place: Where its documents are in Qdrant or PostgreSQL; None searches the run's own index.
        say: Told which language's documents are searched, where each has its own.

    Raises:
        DataError: See :func:`load_run`; ``opened`` of :mod:`optical.pipeline.qdrant` and of
            :mod:`optical.pipeline.pgvector`.
        Unavailable: The server does not answer, or refuses.
    """
    if place is None:
        run = load_run(recipe, say)
        penalised = run.dense_index is not None and HUBNESS in run.dense_index.manifest
        yield Answers(run.lang, run.collection, run.late is not None, penalised, run.student, partial(answer_all, run))
        return
    if isinstance(place, Table):
        with pgvector.opened(recipe, place, say) as asked:
            yield _answers(asked.run, asked.answer_all)
        return
    with qdrant.opened(recipe, place, say) as there:
        yield _answers(there.asking, partial(qdrant.answer_all, there))


def _answers(run: Asking, answer_all: Callable[[Sequence[str], int], list[list[Hit]]]) -> Answers:
    return Answers(run.lang, run.collection, run.late, run.penalised, run.student, answer_all)


class Late(NamedTuple):
    """The documents' side of late interaction, which it needs besides the student.

    Attributes:
        embedder: Of the documents; its tokenizer says where the words of a passage are.
        embedded: The token vectors of all documents.
        rows: Document id -> its row there.
        lists: Inverted lists of those tokens; None where there are none, and every document is compared.
    """

    embedder: Encoder
    embedded: EmbeddedCollection
    rows: dict[str, int]
    lists: LateIndex | None


class LoadedRun(NamedTuple):
    """A finished run with its own index, loaded: what :func:`answer` asks.

    Attributes:
        recipe: Of the run.
        lang: The language, of several, whose collection is searched.
        collection: Where the passages are from; their texts are read when they are found.
        student: The query side.
        dense_index: Of single vectors; None for late interaction.
        late: Of late interaction; None for single vectors.
        rows: Document id -> its number, where passages are searched.
    """

    recipe: Recipe
    lang: str
    collection: Collection
    student: Encoder
    dense_index: DenseIndex | None
    late: Late | None
    rows: Mapping[str, int] = {}


def load_run(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> LoadedRun:
    """Load the student of a finished run and its index.

    Where languages have collections of their own, those of the first one are searched, and that is said. A run that
    another job replaces meanwhile is loaded again.

    Raises:
        DataError: No student, no collection, a file that is not as it was written, or an index of other documents or of
            another student.
    """
    check_read(recipe, *SEARCHED)
    lang, collection = first_collection(recipe, say, "searching")
    return read_whole(recipe.folder, lambda: _load_run(recipe, lang, collection))


def _load_run(recipe: Recipe, lang: str, collection: Collection) -> LoadedRun:
    student = load_student(recipe)
    run = LoadedRun(recipe, lang, collection, student, None, None)
    folder = index_folder(recipe.folder, lang)
    if encoders.is_multi_vector(student):
        late = _late(run, folder)
        return run._replace(late=late, rows=rows_of(collection) if isinstance(late.embedded.ids, PassageIds) else {})
    index = _index(run, folder)
    return run._replace(dense_index=index, rows=rows_of(collection) if PASSAGES in index.manifest else {})


def _late(run: LoadedRun, folder: Path) -> Late:
    embedder = document_encoder(run.recipe, run.collection)
    embedded = embed_documents(run.recipe, embedder, run.collection, False)
    lists = late_index.load(folder) if serves(folder, embedder, embedded) else None
    return Late(embedder, embedded, {doc_id: k for k, doc_id in enumerate(embedded.ids)}, lists)


def _index(run: LoadedRun, folder: Path) -> DenseIndex:
    recipe, collection = run.recipe, run.collection
    index = partitioned.load(folder, mapped=recipe.search.mapped, nprobe=recipe.search.probe)
    if index.manifest.get("collection_checksum") != collection.checksum:
        raise DataError(
            f"{folder} is of other documents than {collection_path(recipe.of(run.lang))} has now; run "
            f"`optical index {shlex.quote(str(recipe.folder))}`"
        )
    made, wanted = index.manifest.get("document_prompt", ""), document_prompt(run.student)
    if recipe.student is not None:  # a student of another encoder has other prompts than its teacher
        _check_teacher(index, recipe, folder)
    elif made != wanted:
        raise DataError(
            f"{folder} is of documents with the prompt {made!r}, and {recipe.folder / 'student'} is of a teacher that "
            f"puts {wanted!r} before them; run `optical index {shlex.quote(str(recipe.folder))}`"
        )
    own = index.manifest.get("student_fingerprint")  # of documents in X
    if own is not None and own != encoders.fingerprint(run.student):
        raise DataError(
            f"{folder} is of another student than {recipe.folder / 'student'} is now, who embeds documents in "
            f"{collection.docs_lang}; run `optical index {shlex.quote(str(recipe.folder))}`"
        )
    hubness = index.manifest.get(HUBNESS)
    if hubness is not None and hubness["asked_by"] != encoders.fingerprint(run.student, "query"):
        raise DataError(
            f"{folder} has penalties (search.hubness) by another student than {recipe.folder / 'student'} is now; run "
            f"`optical index {shlex.quote(str(recipe.folder))}`"
        )
    if PASSAGES in index.manifest:
        return index
    ids = np.array(ids_of(collection.docs), dtype=object)  # the same words, held once
    return index._replace(ids=ids)


def _check_teacher(index: DenseIndex, recipe: Recipe, folder: Path) -> None:
    """Refuse an index by another teacher, or with another prompt, than the run of a student of another encoder has."""
    if index.manifest.get("teacher_fingerprint") != teacher_of(recipe.folder):
        raise DataError(
            f"{folder} is of documents by another teacher, or with another prompt, than {recipe.folder / 'student'} "
            f"was made for; set both as they were, and run `optical index {shlex.quote(str(recipe.folder))}`"
        )


def answer(run: LoadedRun, question: str, depth: int) -> list[Hit]:
    """Passages for one question, best first. Not for several threads at once: an encoder makes one call at a time."""
    return answer_all(run, [question], depth)[0]


def answer_all(run: LoadedRun, questions: Sequence[str], depth: int) -> list[list[Hit]]:
    """Passages for each of several questions, which the student reads together."""
    queries = encoders.encode_queries(run.student, list(questions))
    if run.late is not None:
        return [_late_hits(run, run.late, *asked, depth) for asked in zip(questions, queries, strict=True)]
    assert run.dense_index is not None, "a run is loaded with one of the two"
    docs = run.collection.docs
    if run.rows:
        index, asked = run.dense_index, np.asarray(queries)
        best = best_passages(lambda k: dense.search(index, asked, k), depth, len(index.ids))
        return [[passage_hit(docs, run.rows, passage, score) for passage, score in one] for one in best]
    found = zip(*(one.tolist() for one in dense.nearest(run.dense_index, np.asarray(queries), depth)), strict=True)
    return [
        [Hit(docs[k], score, []) for k, score in zip(rows, scores, strict=True) if k >= 0] for scores, rows in found
    ]


def _late_hits(run: LoadedRun, late: Late, question: str, query: np.ndarray, depth: int) -> list[Hit]:
    """Passages for one question, with the words that matched."""
    asked = word_spans(run.student, question, query=True)
    return [_hit(run, late, asked, query, doc_id, score) for doc_id, score in _found(run, late, query, depth)]


def _found(run: LoadedRun, late: Late, query: np.ndarray, depth: int) -> list[tuple[str, float]]:
    """Ids and scores of the passages whose tokens match the question's vectors ``(t, d)`` best."""
    _, vectors, ids = late.embedded

    def nearest(depth: int) -> list[tuple[str, float]]:
        if late.lists is not None:
            return late_index.search(late.lists, [query], depth, **search_params(run.recipe.search).late_options())[0]
        return list(search_vectors([query], ["q"], vectors, list(ids), depth)["q"].items())

    return best_passages(lambda k: [nearest(k)], depth, len(ids))[0] if isinstance(ids, PassageIds) else nearest(depth)


def _hit(run: LoadedRun, late: Late, asked: list, query: np.ndarray, doc_id: str, score: float) -> Hit:
    """A passage with the words that matched those asked."""
    tokens = np.asarray(late.embedded.vectors.of(late.rows[doc_id]))
    if isinstance(late.embedded.ids, PassageIds):
        hit = passage_hit(run.collection.docs, run.rows, doc_id, score)
    else:
        hit = Hit(run.collection.docs[late.rows[doc_id]], score, [])
    return hit._replace(matches=match_words(query, asked, tokens, word_spans(late.embedder, hit.doc.full, query=False)))
