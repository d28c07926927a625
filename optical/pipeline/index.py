"""The document side of a run: its collections, embedded and indexed, English ones by the teacher, once.

Takes a recipe and an encoder, gives vectors from the cache and index folders, and says which index serves which
documents. Documents in X are the student's to embed, so they wait until there is one. Knows no judgement.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from optical.config.recipe import Recipe, write_recipe
from optical.data.collection import Collection, documents_of, stream_docs
from optical.data.document_store import FullTexts, ids_of
from optical.data.records import ENGLISH
from optical.embeddings.cache import document_vectors, stream_vectors
from optical.embeddings.embed import EmbedOptions
from optical.embeddings.embedded_collection import EmbeddedCollection, unembedded
from optical.embeddings.vectors import Vectors
from optical.files import remove_whole, write_text
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.inputs import (
    Say,
    check_english,
    check_english_documents,
    collection_path,
    distinct,
    embeddable,
    no_collection,
    run_collections,
)
from optical.pipeline.run_folder import check_index
from optical.retrieval import dense
from optical.retrieval.dense import partitioned
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateOptions
from optical.retrieval.search import SearchParams

LATE_INDEX_FROM = 10_000  # documents; below, comparing all of them takes a second or two a question


def load_teacher(recipe: Recipe) -> Encoder:
    """The teacher as the recipe reads it: as it is, or token by token."""
    teacher = encoders.load(recipe.teacher, recipe.device)
    return encoders.as_multi_vector(teacher, recipe.query_length) if recipe.late_interaction else teacher


def embed(recipe: Recipe, teacher: Encoder, collection: Collection, progress: bool = True) -> EmbeddedCollection:
    """The teacher's vectors of English documents, from the cache where they are there.

    Raises:
        DataError: The documents are in X.
    """
    check_english_documents(collection)
    return embed_by(recipe, teacher, collection, progress)


def embed_by(recipe: Recipe, encoder: Encoder, collection: Collection, progress: bool = True) -> EmbeddedCollection:
    """The vectors of the documents, whatever their language, by the document side of any encoder; cached for it."""
    ids, texts = ids_of(collection.docs), FullTexts(collection.docs)
    vectors = document_vectors(encoder, ids, texts, Path(recipe.cache), _options(recipe), progress=progress)
    return EmbeddedCollection(collection, vectors, ids)


def _options(recipe: Recipe) -> EmbedOptions:
    chosen = recipe.search
    return EmbedOptions(None if chosen.precision == "auto" else chosen.precision, chosen.compute)


def document_encoder(recipe: Recipe, collection: Collection) -> Encoder:
    """Who embeds the documents of a finished run: the teacher where they are English, else its student."""
    if collection.docs_lang == ENGLISH:
        return load_teacher(recipe)
    return encoders.load(recipe.folder / "student", recipe.device)


def embed_each(
    recipe: Recipe, teacher: Encoder, collections: Mapping[str, Collection | None], progress: bool = True
) -> dict[str, EmbeddedCollection]:
    """Language -> its collection, embedded if it is English; one that languages share is embedded once."""
    done = {
        id(one): embed(recipe, teacher, one, progress) if one.docs_lang == ENGLISH else unembedded(one)
        for one in distinct(collections)
    }
    return {lang: done[id(one)] for lang, one in collections.items() if one}


def embed_collections(recipe: Recipe) -> list[Vectors]:
    """Embed the documents of the recipe's collections, one for each language or one for all, a shard in memory.

    Queries and judgements need not be there. Under ``accelerate launch`` the ranks share the shards.

    Returns:
        Their vectors, in folders where every later run of the same teacher finds them.

    Raises:
        DataError: The recipe has no collection, or one whose documents are in X.
    """
    paths = dict.fromkeys(path for lang in recipe.langs if (path := collection_path(recipe.of(lang))))
    if not paths:
        raise no_collection(recipe)
    for path in paths:
        check_english(str(path), documents_of(path).lang)
    local = os.environ.get("LOCAL_RANK")  # of a launch: a rank has a GPU of its own
    device = f"cuda:{local}" if local and recipe.device is None and torch.cuda.is_available() else recipe.device
    teacher = load_teacher(recipe.model_copy(update={"device": device}))
    return [
        stream_vectors(
            teacher, lambda path=path: ((doc.id, doc.full) for doc in stream_docs(path)), Path(recipe.cache),
            _options(recipe)._replace(shard_size=recipe.search.shard_size), progress=True,
        )
        for path in paths
    ]  # fmt: skip


def index_run(recipe: Recipe, say: Say = lambda _: None) -> list[Path]:
    """Build the index of a finished run, as the recipe now has it; one for each collection.

    Raises:
        DataError: The recipe has no collection, or none in a language that the teacher or the student knows.
    """
    check_index(recipe)
    collections = embeddable(recipe, run_collections(recipe), say)
    teacher = load_teacher(recipe)
    folders = build_indexes(recipe, teacher, embed_each(recipe, teacher, collections), say)
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    return folders


def index_folder(recipe: Recipe) -> Path:
    """Where the index that serves a recipe of one language is: of its own collection, or of one that all share."""
    own = recipe.folder / f"index-{recipe.lang}"
    return own if own.is_dir() or partitioned.unfinished_parts(own) else recipe.folder / "index"


def build_indexes(
    recipe: Recipe, teacher: Encoder, searched: Mapping[str, EmbeddedCollection], say: Say = lambda _: None
) -> list[Path]:
    """One index for a collection that all languages share, or one for each language."""
    shared = len({id(one.collection) for one in searched.values()}) == 1
    built = (
        build_index(recipe.of(lang), teacher, one, recipe.folder / ("index" if shared else f"index-{lang}"), say)
        for lang, one in (list(searched.items())[:1] if shared else searched.items())
    )
    return [folder for folder in built if folder]


def build_index(
    recipe: Recipe, teacher: Encoder, searched: EmbeddedCollection, folder: Path, say: Say = lambda _: None
) -> Path | None:
    """An index of single vectors, or lists of tokens; None for late interaction that compares all documents.

    That of documents in X is made by the student in the folder of the run.
    """
    late = encoders.is_multi_vector(teacher)
    if late and not _wants_late_index(recipe, len(searched.ids)):
        if (folder / dense.MANIFEST).is_file():  # of an earlier recipe; it would be searched
            remove_whole(folder)
        return None
    manifest = {
        "teacher": recipe.teacher,
        "teacher_fingerprint": encoders.fingerprint(teacher),
        "collection": collection_path(recipe),
        "collection_checksum": searched.collection.checksum,
    }
    if searched.collection.docs_lang != ENGLISH:
        student = document_encoder(recipe, searched.collection)
        searched = embed_by(recipe, student, searched.collection)
        manifest["student_fingerprint"] = encoders.fingerprint(student)
    vectors, ids = searched.vectors, searched.ids
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


def _wants_late_index(recipe: Recipe, documents: int) -> bool:
    wanted = recipe.search.late_index
    return wanted == "on" or (wanted == "auto" and documents >= LATE_INDEX_FROM)


def search_params(recipe: Recipe) -> SearchParams:
    """How far indexes are searched, and where they are read from."""
    return SearchParams(recipe.search.probe, recipe.search.candidates, recipe.search.mapped)


def factory_of(index: Path) -> str | None:
    """What kind of faiss index is there; None for one of tokens."""
    return json.loads((index / dense.MANIFEST).read_text(encoding="utf-8")).get("factory")


def serves(index: Path, encoder: Encoder, searched: EmbeddedCollection) -> bool:
    """Whether an index on disk is of exactly these documents, by this encoder."""
    if not (index / dense.MANIFEST).is_file():
        return False
    manifest = json.loads((index / dense.MANIFEST).read_text(encoding="utf-8"))
    by = manifest.get("student_fingerprint", manifest.get("teacher_fingerprint"))
    made_of = (by, manifest.get("collection_checksum"), manifest.get("count"))
    return made_of == (encoders.fingerprint(encoder), searched.collection.checksum, len(searched.ids))
