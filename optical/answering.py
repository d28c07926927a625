"""One question, answered by a finished run: its student, its index, the texts of the passages.

Takes a recipe and a question, gives passages. Knows no judgement and no training.
"""

from __future__ import annotations

from optical import encoders
from optical.errors import DataError
from optical.indexing import embed, index_folder, load_teacher
from optical.inputs import Say, collection_path, distinct, run_collections
from optical.recipe import Recipe
from optical.retrieval import dense
from optical.search import search
from optical.text.collection import Doc, Query


def answer(recipe: Recipe, question: str, depth: int, say: Say = lambda _: None) -> list[tuple[Doc, float]]:
    """Passages for one question, best first, by the student and the index of a finished run.

    Where languages have collections of their own, those of the first one are searched, and that is said.
    """
    collections = run_collections(recipe)
    lang, collection = next(iter(collections.items()))
    if len(distinct(collections)) > 1:
        say(f"searching the documents of {lang}; others: --set lang=...")
    student = encoders.load(recipe.folder / "student", recipe.device)
    docs = {doc.id: doc for doc in collection.docs}
    if encoders.is_multi_vector(student):
        run = search(
            student, [Query("q", question)], *embed(recipe, load_teacher(recipe), collection, False)[1:], depth
        )
        return [(docs[doc], score) for doc, score in run["q"].items()]
    folder = index_folder(recipe.of(lang))
    index = dense.load(folder)
    if index.manifest.get("collection_checksum") != collection.checksum:
        raise DataError(
            f"{folder} is of other documents than {collection_path(recipe.of(lang))} has now; run "
            f"`optical index {recipe.folder}`"
        )
    found = dense.search(index, encoders.encode_sentences(student, [question]), depth)[0]
    return [(docs[doc], score) for doc, score in found]
