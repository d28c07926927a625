"""Embed the documents of a run, once: English ones by the teacher, those in X by the student of the run.

Of a teacher with two towers, that of the documents embeds, and that of the queries is what students are made of.
Vectors go to the cache and are found there by every later job with the same encoder and documents. Documents in X wait
until there is a student.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from optical.config.recipe import Recipe
from optical.config.search import Search
from optical.data.collection import Collection, documents_of, stream_docs
from optical.data.document_store import FullTexts, ids_of
from optical.data.passages import PassageDocs, PassageIds, passages
from optical.data.records import ENGLISH, Doc
from optical.embeddings.cache import document_vectors, stream_vectors
from optical.embeddings.embed import EmbedOptions
from optical.embeddings.embedded_collection import EmbeddedCollection, unembedded
from optical.embeddings.vectors import Vectors
from optical.errors import DataError
from optical.files import file_written_whole, mark_used
from optical.marker import check_sealed
from optical.models import encoders, load
from optical.models.encoders import Encoder
from optical.models.linear_map import Body, body_for
from optical.models.load import load_encoder, load_towers
from optical.models.prompts import document_prompt, with_prompts
from optical.models.reading import counted_tokens, limit_of
from optical.models.towers import Towers, check_towers, names_of, prompted_towers
from optical.pipeline.choose_compute import with_compute
from optical.pipeline.inputs import collection_path, distinct, no_collection
from optical.pipeline.run_folder import check_part
from optical.pipeline.sides import check_english

MUCH = 0.2  # share of the documents' tokens that are not read from which passages are proposed


def teacher_towers(recipe: Recipe) -> Towers:
    """The teacher as the recipe reads it: with its prompts, as it is, or token by token.

    Raises:
        DataError: It cannot be loaded, or its two encoders have vectors that cannot be compared.
    """
    names = names_of(recipe.teacher)
    for name in names:
        check_part(Path(name))
    queries, documents = towers = load_towers(recipe.teacher, recipe.device)
    if recipe.late_interaction:
        queries = encoders.as_multi_vector(queries, recipe.query_length)
        towers = Towers(queries, encoders.as_multi_vector(documents) if towers.apart else queries)
    check_towers(towers, names)
    return prompted_towers(towers, recipe.teacher_prompts.model_dump(), names)


def load_teacher(recipe: Recipe) -> Encoder:
    """The teacher's encoder of queries, which also reads the documents where it has no other."""
    return teacher_towers(recipe).queries


def load_body(recipe: Recipe, teacher: Encoder) -> Body | None:
    """The encoder that the recipe's student starts from, with its own prompts; None where that is the teacher."""
    if recipe.student is None:
        return None
    check_part(Path(recipe.student))
    encoder = load_encoder(recipe.student, recipe.device)
    encoder = with_prompts(encoder, recipe.student_prompts.model_dump(), recipe.student, "student_prompts")
    return body_for(encoder, teacher)


def load_student(recipe: Recipe) -> Encoder:
    """The student of a finished run, which composes the rows of unseen words if it was made so."""
    return load.load_student(recipe.folder / "student", recipe.device)


def document_encoder(recipe: Recipe, collection: Collection) -> Encoder:
    """The encoder of the documents of a finished run: the teacher where they are English, else its student."""
    return teacher_towers(recipe).documents if collection.docs_lang == ENGLISH else load_student(recipe)


def embed_documents(
    recipe: Recipe,
    encoder: Encoder,
    collection: Collection,
    progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> EmbeddedCollection:
    """The vectors of the documents, whatever their language, by any encoder; from the cache where they are there.

    How many of them are cut is said, and how many are new or changed where an earlier collection has the others.
    """
    ids, texts = searched_texts(recipe, encoder, collection)
    if line := split_into(ids, collection):
        say(line)
    options = embed_options(with_compute(recipe, encoder, texts, say).search)
    vectors = document_vectors(encoder, ids, texts, recipe.cache_folder, options, progress=progress, say=say)
    if line := documents_cut(vectors, "teacher" if collection.docs_lang == ENGLISH else "student"):
        say(line)
        if (
            recipe.search.passages == "off"
            and vectors.reading
            and vectors.reading.unread > MUCH * vectors.reading.tokens
        ):
            say("--set search.passages=auto splits such documents at sentences, so that all of them is searched")
    return EmbeddedCollection(collection, vectors, ids)


def searched_texts(
    recipe: Recipe, encoder: Encoder, collection: Collection, *, keep: bool = True
) -> tuple[list[str], FullTexts]:
    """Ids and texts of what is embedded and searched: documents, or passages where some are too long.

    Where passages begin and end is kept in the cache, as long as ``keep``, so that every later job tokenizes nothing.
    """
    limit, whole = passage_limit(recipe, encoder), ids_of(collection.docs)
    if not limit:
        return whole, FullTexts(collection.docs)
    kept = (
        recipe.cache_folder / f"passages-{encoders.fingerprint(encoder, 'document')}-{collection.checksum}-{limit}.json"
    )
    ids = _read_passages(kept)
    if ids is None:
        count = partial(counted_tokens, encoder)
        ids = PassageIds(doc.id for doc in passages(collection.docs, collection.docs_lang, count, limit))
        if keep:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with file_written_whole(kept, sealed=True) as unfinished:
                unfinished.write_text(json.dumps(ids), encoding="utf-8")
    if len(ids) == len(whole):
        return whole, FullTexts(collection.docs)
    ids.limit = limit
    return ids, FullTexts(PassageDocs(ids, collection.docs))


def _read_passages(kept: Path) -> PassageIds | None:
    """The ids of passages that an earlier job has kept; None where it has not, or they are damaged."""
    try:
        check_sealed(kept, "", full=True)
        found = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError, DataError):
        return None
    mark_used(kept)
    return PassageIds(found)


def split_into(ids: Sequence[str], collection: Collection) -> str:
    """The line that says how many passages are searched; empty where there are none."""
    if not isinstance(ids, PassageIds):
        return ""
    whole = len(collection.docs)
    return f"{whole:,} documents are searched as {len(ids):,} passages of at most {ids.limit:,} tokens"


def passage_limit(recipe: Recipe, encoder: Encoder) -> int:
    """Tokens of a passage at most as an encoder of documents reads it; 0 where documents are not split."""
    wanted = recipe.search.passages
    if wanted == "off":
        return 0
    limit = limit_of(encoder, document_prompt(encoder))
    return limit if wanted == "auto" else min(wanted, limit)


def _split(
    recipe: Recipe, encoder: Encoder, docs: Callable[[], Iterable[Doc]], lang: str
) -> Callable[[], Iterator[Doc]] | None:
    """A function that gives the passages of documents anew; None where no document is split."""
    if not (limit := passage_limit(recipe, encoder)):
        return None

    def split() -> Iterator[Doc]:
        return passages(docs(), lang, partial(counted_tokens, encoder), limit)

    whole = sum(1 for _ in docs())
    return split if sum(1 for _ in split()) > whole else None


def documents_cut(vectors: Vectors, reader: str = "teacher") -> str:
    """The line that says how many documents are longer than their encoder reads; empty where none is."""
    return vectors.reading.said("documents", reader) if vectors.reading else ""


def embed_each(
    recipe: Recipe,
    embedder: Encoder,
    collections: Mapping[str, Collection | None],
    progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, EmbeddedCollection]:
    """Language -> its collection, embedded if it is English; one that languages share is embedded once.

    ``embedder`` is the teacher's encoder of documents.
    """
    done = {
        id(one): embed_documents(recipe, embedder, one, progress, say) if one.docs_lang == ENGLISH else unembedded(one)
        for one in distinct(collections)
    }
    return {lang: done[id(one)] for lang, one in collections.items() if one}


def embed_collections(recipe: Recipe, say: Callable[[str], None] = lambda _: None, workers: int = 1) -> list[Vectors]:
    """Embed the documents of the recipe's collections, one for each language or one for all, a shard in memory.

    Queries and judgements need not be there. Under ``accelerate launch`` the ranks share the shards; each
    encodes with so many ``workers``.

    Returns:
        Their vectors, in folders where every later run of the same teacher finds them.

    Raises:
        DataError: The recipe has no collection, or one whose documents are in X.
    """
    paths = dict.fromkeys(path for lang in recipe.langs if (path := collection_path(recipe.of(lang))))
    if not paths:
        raise no_collection(recipe.lang)
    for path in paths:
        check_english(str(path), documents_of(path).lang)
    local = os.environ.get("LOCAL_RANK")  # of a launch: a rank has a GPU of its own
    device = f"cuda:{local}" if local and recipe.device is None and torch.cuda.is_available() else recipe.device
    embedder = teacher_towers(recipe.model_copy(update={"device": device})).documents
    reading = {path: partial(stream_docs, path) for path in paths}
    reading = {path: _split(recipe, embedder, docs, ENGLISH) or docs for path, docs in reading.items()}
    recipe = with_compute(recipe, embedder, (doc.full for docs in reading.values() for doc in docs()), say)
    options = embed_options(recipe.search)._replace(shard_size=recipe.search.shard_size, workers=workers)
    return [
        stream_vectors(
            embedder, lambda docs=docs: ((doc.id, doc.full) for doc in docs()), recipe.cache_folder, options,
            progress=True, say=say,
        )
        for docs in reading.values()
    ]  # fmt: skip


def embed_options(search: Search) -> EmbedOptions:
    """Options of the documents' vectors, as a recipe gives them, whose ``compute`` is chosen."""
    assert search.compute != "auto", "with_compute has chosen"
    return EmbedOptions(None if search.precision == "auto" else search.precision, search.compute)
