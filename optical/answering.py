"""Questions, answered by a finished run: its student, its index, the texts of the passages.

Takes a recipe once, then one question after the other, and gives passages; of late interaction, with the words that
matched. Knows no judgement, no training and no server.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from optical import encoders
from optical.development import Searched
from optical.encoders import Encoder
from optical.errors import DataError
from optical.indexing import document_encoder, effort, embed_by, index_folder, serves
from optical.inputs import Say, collection_path, distinct, run_collections
from optical.matches import Match, match_words, word_spans
from optical.recipe import Recipe
from optical.retrieval import dense, late_index
from optical.retrieval.dense import DenseIndex
from optical.retrieval.token_store import LateIndex
from optical.search import given, search_vectors
from optical.text.collection import Collection, Doc


class Late(NamedTuple):
    """What late interaction needs beside the student.

    Attributes:
        embedder: Of the documents, whose tokenizer says where the words of a passage are.
        searched: The token vectors of all documents.
        rows: Document id -> its row there.
        index: Lists of those tokens, where there are some; without, every document is compared.
    """

    embedder: Encoder
    searched: Searched
    rows: dict[str, int]
    index: LateIndex | None


class Answers(NamedTuple):
    """A finished run, loaded: what :func:`answer` asks.

    Attributes:
        recipe: Of the run.
        lang: The language, of several, whose collection is searched.
        collection: Where the passages are from.
        docs: Document id -> passage.
        student: The query side.
        index: Of single vectors; None for late interaction.
        late: Of late interaction; None for single vectors.
    """

    recipe: Recipe
    lang: str
    collection: Collection
    docs: dict[str, Doc]
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
        DataError: No student, no collection, or an index of other documents.
    """
    collections = run_collections(recipe, either_side=True)
    lang, collection = next(iter(collections.items()))
    if len(distinct(collections)) > 1:
        say(f"searching the documents of {lang}; others: --set lang=...")
    folder = index_folder(recipe.of(lang))
    student = encoders.load(recipe.folder / "student", recipe.device)
    docs = {doc.id: doc for doc in collection.docs}
    loaded = Answers(recipe, lang, collection, docs, student, None, None)
    if encoders.is_multi_vector(student):
        embedder = document_encoder(recipe, collection)
        searched = embed_by(recipe, embedder, collection, False)
        lists = late_index.load(folder) if serves(folder, embedder, searched) else None
        rows = {doc_id: k for k, doc_id in enumerate(searched.ids)}
        return loaded._replace(late=Late(embedder, searched, rows, lists))
    index = dense.load(folder, nprobe=recipe.search.probe)
    if index.manifest.get("collection_checksum") != collection.checksum:
        raise DataError(
            f"{folder} is of other documents than {collection_path(recipe.of(lang))} has now; run "
            f"`optical index {recipe.folder}`"
        )
    return loaded._replace(index=index)


def answer(answers: Answers, question: str, depth: int) -> list[Found]:
    """Passages for one question, best first. Not for several threads at once: an encoder answers one at a time."""
    query = encode_question(answers.student, question)
    if answers.late is not None and answers.late.index is not None:
        found = late_index.search(answers.late.index, [query], depth, **given(effort(answers.recipe)))[0]
    elif answers.late is not None:
        _, vectors, ids = answers.late.searched
        found = list(search_vectors([query], ["q"], vectors, ids, depth)["q"].items())
    else:
        assert answers.index is not None, "a run is loaded with one of the two"
        found = dense.search(answers.index, query[None], depth)[0]
    return with_matches(answers, question, query, found)


def encode_question(student: Encoder, question: str) -> np.ndarray:
    """Vector ``(e,)`` of a question, or its token matrix ``(n, d)``."""
    if encoders.is_multi_vector(student):
        return encoders.encode_tokens(student, [question], query=True)[0]
    return encoders.encode_sentences(student, [question])[0]


def with_matches(answers: Answers, question: str, query: np.ndarray, found: list[tuple[str, float]]) -> list[Found]:
    """Passages by their ids and scores, with the words that matched; ``query`` is the question's vectors."""
    if answers.late is None:
        return [Found(answers.docs[doc_id], score, []) for doc_id, score in found]
    asked = word_spans(answers.student, question, query=True)
    return [_explained(answers, answers.late, asked, query, doc_id, score) for doc_id, score in found]


def _explained(answers: Answers, late: Late, asked: list, query: np.ndarray, doc_id: str, score: float) -> Found:
    doc = answers.docs[doc_id]
    tokens = np.asarray(late.searched.vectors.of(late.rows[doc_id]))
    return Found(doc, score, match_words(query, asked, tokens, word_spans(late.embedder, doc.full, query=False)))
