"""Questions, answered by a finished run: its student, its index, the texts of the passages.

Takes a recipe once, then one question after the other, and gives passages; of late interaction, with the words that
matched. Knows no judgement, no training and no server.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from optical.config.recipe import Recipe
from optical.data.collection import Collection, Doc
from optical.data.document_store import ids_of
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.errors import DataError
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.index import document_encoder, embed_by, index_folder, search_params, serves
from optical.pipeline.inputs import Say, check_embeddable, collection_path, distinct, run_collections
from optical.retrieval import dense
from optical.retrieval.dense import partitioned
from optical.retrieval.dense.index import DenseIndex
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateIndex
from optical.retrieval.matches import Match, match_words, word_spans
from optical.retrieval.search import search_vectors


class Late(NamedTuple):
    """What late interaction needs beside the student.

    Attributes:
        embedder: Of the documents, whose tokenizer says where the words of a passage are.
        searched: The token vectors of all documents.
        rows: Document id -> its row there.
        index: Lists of those tokens, where there are some; without, every document is compared.
    """

    embedder: Encoder
    searched: EmbeddedCollection
    rows: dict[str, int]
    index: LateIndex | None


class Answers(NamedTuple):
    """A finished run, loaded: what :func:`answer` asks.

    Attributes:
        recipe: Of the run.
        lang: The language, of several, whose collection is searched.
        collection: Where the passages are from; their texts are read as they are found.
        student: The query side.
        index: Of single vectors; None for late interaction.
        late: Of late interaction; None for single vectors.
    """

    recipe: Recipe
    lang: str
    collection: Collection
    student: Encoder
    index: DenseIndex | None
    late: Late | None


class Found(NamedTuple):
    """A passage that answers a question.

    Attributes:
        doc: The passage.
        score: Cosine of single vectors, or MaxSim: a sum over the tokens of the question.
        matches: Words of the question and of ``doc.full`` that found each other; empty for single vectors.
    """

    doc: Doc
    score: float
    matches: list[Match]


def load_answers(recipe: Recipe, say: Say = lambda _: None) -> Answers:
    """Load the student of a finished run and what it searches, once for any number of questions.

    Where languages have collections of their own, those of the first one are searched, and that is said.

    Raises:
        DataError: No student, no collection, or an index of other documents, or of another student.
    """
    collections = run_collections(recipe)
    lang, collection = next(iter(collections.items()))
    check_embeddable(recipe, collection)
    if len(distinct(collections)) > 1:
        say(f"searching the documents of {lang}; others: --set lang=...")
    folder = index_folder(recipe.of(lang))
    student = encoders.load(recipe.folder / "student", recipe.device)
    loaded = Answers(recipe, lang, collection, student, None, None)
    if encoders.is_multi_vector(student):
        embedder = document_encoder(recipe, collection)
        searched = embed_by(recipe, embedder, collection, False)
        lists = late_index.load(folder) if serves(folder, embedder, searched) else None
        rows = {doc_id: k for k, doc_id in enumerate(searched.ids)}
        return loaded._replace(late=Late(embedder, searched, rows, lists))
    index = partitioned.load(folder, mapped=recipe.search.mapped, nprobe=recipe.search.probe)
    if index.manifest.get("collection_checksum") != collection.checksum:
        raise DataError(
            f"{folder} is of other documents than {collection_path(recipe.of(lang))} has now; run "
            f"`optical index {recipe.folder}`"
        )
    own = index.manifest.get("student_fingerprint")  # of documents in X
    if own is not None and own != encoders.fingerprint(student):
        raise DataError(
            f"{folder} is of another student than {recipe.folder / 'student'} is now, who embeds documents in "
            f"{collection.docs_lang}; run `optical index {recipe.folder}`"
        )
    ids = np.array(ids_of(collection.docs), dtype=object)  # the same words, held once
    return loaded._replace(index=index._replace(ids=ids))


def answer(answers: Answers, question: str, depth: int) -> list[Found]:
    """Passages for one question, best first. Not for several threads at once: an encoder answers one at a time."""
    query = encode_question(answers.student, question)
    if answers.late is not None:
        return _with_matches(answers, answers.late, question, query, _found(answers, answers.late, query, depth))
    assert answers.index is not None, "a run is loaded with one of the two"
    scores, rows = dense.nearest(answers.index, query[None], depth)
    docs = answers.collection.docs
    return [Found(docs[k], score, []) for k, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True) if k >= 0]


def encode_question(student: Encoder, question: str) -> np.ndarray:
    """Vector ``(e,)`` of a question, or its token matrix ``(n, d)``."""
    return encoders.encode_queries(student, [question])[0]


def _found(answers: Answers, late: Late, query: np.ndarray, depth: int) -> list[tuple[str, float]]:
    if late.index is not None:
        return late_index.search(late.index, [query], depth, **search_params(answers.recipe).late_options())[0]
    _, vectors, ids = late.searched
    return list(search_vectors([query], ["q"], vectors, ids, depth)["q"].items())


def _with_matches(
    answers: Answers, late: Late, question: str, query: np.ndarray, found: list[tuple[str, float]]
) -> list[Found]:
    """Passages by their ids and scores, with the words that matched; ``query`` is the question's vectors."""
    asked = word_spans(answers.student, question, query=True)
    return [_explained(answers, late, asked, query, late.rows[doc_id], score) for doc_id, score in found]


def _explained(answers: Answers, late: Late, asked: list, query: np.ndarray, row: int, score: float) -> Found:
    doc, tokens = answers.collection.docs[row], np.asarray(late.searched.vectors.of(row))
    return Found(doc, score, match_words(query, asked, tokens, word_spans(late.embedder, doc.full, query=False)))
