"""The document side of a run: its collections, embedded once by the teacher and indexed.

Takes a recipe and a teacher, gives vectors from the cache and index folders, and says which index serves which
documents. Knows no student and no judgement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from optical import encoders
from optical.development import Searched
from optical.embed import document_vectors
from optical.encoders import Encoder
from optical.inputs import collection_path, distinct, run_collections
from optical.manifest import write_text
from optical.recipe import Recipe, write_recipe
from optical.retrieval import dense
from optical.text.collection import Collection


def load_teacher(recipe: Recipe) -> Encoder:
    """The teacher as the recipe reads it: as it is, or token by token."""
    teacher = encoders.load(recipe.teacher, recipe.device)
    return encoders.as_multi_vector(teacher, recipe.query_length) if recipe.late_interaction else teacher


def embed(recipe: Recipe, teacher: Encoder, collection: Collection, progress: bool = True) -> Searched:
    """The teacher's vectors of the documents, from the cache where they are there."""
    ids = [doc.id for doc in collection.docs]
    texts = [doc.full for doc in collection.docs]
    vectors = document_vectors(teacher, ids, texts, Path(recipe.cache), progress=progress)
    return Searched(collection, vectors, ids)


def embed_each(
    recipe: Recipe, teacher: Encoder, collections: Mapping[str, Collection | None], progress: bool = True
) -> dict[str, Searched]:
    """Language -> its collection embedded; one that languages share is embedded once."""
    done = {id(one): embed(recipe, teacher, one, progress) for one in distinct(collections)}
    return {lang: done[id(one)] for lang, one in collections.items() if one}


def embed_collections(recipe: Recipe) -> list[Searched]:
    """Read the recipe's collections, one for each language or one for all, and embed them.

    Raises:
        DataError: The recipe has no collection.
    """
    teacher = load_teacher(recipe)
    return [embed(recipe, teacher, one) for one in distinct(run_collections(recipe))]


def index_run(recipe: Recipe) -> list[Path]:
    """Build the index of a finished run, as the recipe now has it; one for each collection."""
    teacher = load_teacher(recipe)
    folders = build_indexes(recipe, teacher, embed_each(recipe, teacher, run_collections(recipe)))
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    return folders


def index_folder(recipe: Recipe) -> Path:
    """Where the index that serves a recipe of one language is: of its own collection, or of one that all share."""
    own = recipe.folder / f"index-{recipe.lang}"
    return own if own.is_dir() else recipe.folder / "index"


def build_indexes(recipe: Recipe, teacher: Encoder, searched: Mapping[str, Searched]) -> list[Path]:
    """One index for a collection that all languages share, or one for each language."""
    shared = len({id(one.collection) for one in searched.values()}) == 1
    built = (
        build_index(recipe.of(lang), teacher, one, recipe.folder / ("index" if shared else f"index-{lang}"))
        for lang, one in (list(searched.items())[:1] if shared else searched.items())
    )
    return [folder for folder in built if folder]


def build_index(recipe: Recipe, teacher: Encoder, searched: Searched, folder: Path) -> Path | None:
    """A faiss index of a run; None for late interaction, which compares with the cached tokens exactly."""
    if encoders.is_multi_vector(teacher):
        return None
    manifest = {
        "teacher": recipe.teacher,
        "teacher_fingerprint": encoders.fingerprint(teacher),
        "collection": collection_path(recipe),
        "collection_checksum": searched.collection.checksum,
    }
    dense.build(searched.vectors.sentences, searched.ids, folder, recipe.search.factory, manifest=manifest)
    return folder


def serves(index: Path, teacher: Encoder, searched: Searched) -> bool:
    """Whether an index on disk is of exactly these documents, by this teacher."""
    if not (index / dense.MANIFEST).is_file():
        return False
    manifest = json.loads((index / dense.MANIFEST).read_text(encoding="utf-8"))
    made_of = (manifest.get("teacher_fingerprint"), manifest.get("collection_checksum"), manifest.get("count"))
    return made_of == (encoders.fingerprint(teacher), searched.collection.checksum, len(searched.ids))
