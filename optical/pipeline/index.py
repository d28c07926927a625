"""Index the documents of a run, and tell which index serves which documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optical.config.recipe import Recipe, write_recipe
from optical.config.search import Search
from optical.data.passages import PASSAGES, PassageIds
from optical.data.records import ENGLISH
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.files import remove_whole, write_text
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.models.prompts import document_prompt
from optical.pipeline.embed import embed_documents, embed_each, load_student, teacher_towers
from optical.pipeline.hubness import NONE, hubness_of
from optical.pipeline.inputs import collection_path, run_collections
from optical.pipeline.run_folder import check_index, check_read, next_generation
from optical.pipeline.sides import embeddable
from optical.retrieval import dense
from optical.retrieval.dense import partitioned
from optical.retrieval.dense.penalised import HUBNESS
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateOptions
from optical.retrieval.search import SearchParams

LATE_INDEX_FROM = 10_000  # documents; below, comparing all of them takes a second or two a question


def index_run(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Build the index of a finished run, as the recipe now has it; one for each collection.

    Raises:
        DataError: The recipe has no collection, or none in a language that the teacher or the student knows.
    """
    check_index(recipe)
    check_read(recipe)
    with next_generation(recipe, say) as (recipe, say):
        collections = embeddable(run_collections(recipe), recipe.langs, say)
        embedder = teacher_towers(recipe).documents
        folders = build_indexes(recipe, embedder, embed_each(recipe, embedder, collections, say=say), say)
        write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    return [recipe.home / folder.name for folder in folders]


def index_folder(run: Path, lang: str) -> Path:
    """Where the index that serves a language of a run is: of its own collection, or of one that all share."""
    own = run / f"index-{lang}"
    return own if own.is_dir() or partitioned.unfinished_parts(own) else run / "index"


def build_indexes(
    recipe: Recipe,
    embedder: Encoder,
    searched: Mapping[str, EmbeddedCollection],
    say: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Build one index for a collection that all languages share, or one for each language.

    ``embedder`` is the teacher's encoder of documents.
    """
    shared = len({id(one.collection) for one in searched.values()}) == 1
    built = (
        _build_index(recipe.of(lang), embedder, one, recipe.folder / ("index" if shared else f"index-{lang}"), say)
        for lang, one in (list(searched.items())[:1] if shared else searched.items())
    )
    return [folder for folder in built if folder]


def _build_index(
    recipe: Recipe,
    embedder: Encoder,
    searched: EmbeddedCollection,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Path | None:
    """Build an index of single vectors, or lists of tokens; None for late interaction that compares all documents.

    Documents in X are embedded for it by the student in the folder of the run, which also measures hubness.
    """
    late = encoders.is_multi_vector(embedder)
    if late and not _wants_late_index(recipe.search, len(searched.ids)):
        if (folder / dense.MANIFEST).is_file():  # of an earlier recipe; it would be searched
            remove_whole(folder)
        return None
    manifest = {
        "teacher": recipe.teacher,
        "teacher_fingerprint": encoders.fingerprint(embedder),
        "document_prompt": document_prompt(embedder),
        "collection": collection_path(recipe),
        "collection_checksum": searched.collection.checksum,
    }
    if searched.collection.docs_lang != ENGLISH:
        student = load_student(recipe)
        searched = embed_documents(recipe, student, searched.collection, say=say)
        manifest["student_fingerprint"] = encoders.fingerprint(student)
    vectors, ids = searched.vectors, searched.ids
    if isinstance(ids, PassageIds):
        manifest[PASSAGES] = ids.limit
    if (hubness := hubness_of(recipe)).method != NONE:
        student = load_student(recipe)
        vectors = hubness.penalised(student, recipe.lang, vectors)
        manifest[HUBNESS] = hubness.facts(student, recipe.lang)
    manifest["reading"] = vectors.reading and vectors.reading._asdict()
    if late:
        late_index.build(
            vectors.tokens, vectors.start, ids, folder,
            LateOptions(recipe.search.late_precision, pool_factor=recipe.search.pool_factor), manifest=manifest,
        )  # fmt: skip
    else:
        partitioned.build(
            vectors.sentences, ids, folder, recipe.search.factory,
            manifest=manifest, index_size=recipe.search.index_size, say=say,
        )  # fmt: skip
    return folder


def _wants_late_index(search: Search, documents: int) -> bool:
    return search.late_index == "on" or (search.late_index == "auto" and documents >= LATE_INDEX_FROM)


def search_params(search: Search) -> SearchParams:
    """Return how far indexes are searched and where they are read from, as the recipe says."""
    return SearchParams(search.probe, search.candidates, search.mapped)


def factory_of(index: Path) -> str | None:
    """The faiss factory of an index; None for one of tokens."""
    return json.loads((index / dense.MANIFEST).read_text(encoding="utf-8")).get("factory")


def serves(
    index: Path, encoder: Encoder, searched: EmbeddedCollection, hubness: Mapping[str, Any] | None = None
) -> bool:
    """Whether an index on disk is of exactly these documents, by this encoder, with these penalties or with none."""
    if not (index / dense.MANIFEST).is_file():
        return False
    manifest = json.loads((index / dense.MANIFEST).read_text(encoding="utf-8"))
    by = manifest.get("student_fingerprint", manifest.get("teacher_fingerprint"))
    made_of = (by, manifest.get("collection_checksum"), manifest.get("count"), manifest.get(HUBNESS))
    split = getattr(searched.ids, "limit", None)
    wanted = (encoders.fingerprint(encoder), searched.collection.checksum, len(searched.ids), hubness)
    return made_of == wanted and manifest.get(PASSAGES) == split
