"""The main job: every room of the package in its order, one folder a run.

Takes a recipe, leaves a folder: the recipe, the transplant, the student, the index, the runs, the measures, and a
manifest that says what they were made of. Each part is written whole; what is already there from the same inputs (the
teacher's vectors, the last checkpoint) is used again.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

from optical import encoders, report
from optical.development import Searched, about, development_score
from optical.distillation import check_enough, distill_student
from optical.embed import document_vectors
from optical.encoders import Encoder
from optical.errors import DataError
from optical.evaluate import measure
from optical.files import written_whole
from optical.inputs import Say, check_split, collection_path, read_inputs, run_collection
from optical.layers import keep_layers
from optical.manifest import Clock, strict_json, write_manifest, write_text
from optical.recipe import Recipe, write_recipe
from optical.report import Report
from optical.retrieval import dense
from optical.run import write_run
from optical.search import search
from optical.text.bitext import Pair
from optical.text.collection import Collection, Doc, Query, queries_of
from optical.vocabulary.transplant import Transplant, size_of, transplant


def load_teacher(recipe: Recipe) -> Encoder:
    """The teacher as the recipe reads it: as it is, or token by token."""
    teacher = encoders.load(recipe.teacher, recipe.device)
    return encoders.as_multi_vector(teacher) if recipe.late_interaction else teacher


def make_transplant(recipe: Recipe, teacher: Encoder, pairs: list[Pair], say: Say) -> Transplant:
    """The student before training, saved in the folder of the run."""
    grown = _grow(recipe, teacher, pairs, say)
    save_encoder(grown.student, recipe.folder / "transplant")
    return grown


def _grow(recipe: Recipe, teacher: Encoder, pairs: list[Pair], say: Say) -> Transplant:
    grown = transplant(teacher, pairs, seed=recipe.seed, **recipe.vocabulary.model_dump())
    if recipe.layers is not None:
        shallow = keep_layers(grown.student, recipe.layers)
        grown = grown._replace(student=shallow, size_after=size_of(shallow))
    before, after = grown.before, grown.after
    rows = f"{grown.size_before.rows} -> {grown.size_after.rows} rows"
    say(
        f"vocabulary: {grown.added} words added, {rows}, from {len(pairs)} pairs in {grown.seconds:.0f} s; "
        f"tokens per word {before.tokens_per_word:.2f} -> {after.tokens_per_word:.2f}, "
        f"unknown {100 * before.unknown_rate:.2f} % -> {100 * after.unknown_rate:.2f} %"
    )
    return grown


def distil(recipe: Recipe, say: Say = lambda _: None, *, progress: bool = True) -> Report | None:
    """The whole chain; the report is None where there is no collection to measure on.

    An earlier run in the same folder stays as it was until training has ended well.

    Raises:
        DataError: Inputs that cannot be used.
        Interrupted: Ctrl-C during training; the same call goes on.
    """
    clock = Clock()
    bitext, collection = read_inputs(recipe, say)
    if collection:
        check_split(recipe, collection)
    teacher = load_teacher(recipe)
    clock("read")
    searched = embed(recipe, teacher, collection, progress) if collection else None
    clock("documents")
    dev, pairs = development_score(recipe, teacher, bitext.pairs, searched, say)
    check_enough(pairs, recipe.training)
    grown = _grow(recipe, teacher, pairs, say)
    clock("transplant")
    student = copy.deepcopy(grown.student)
    distilled = distill_student(
        student, teacher, pairs, objective=recipe.objective, training=recipe.training, folder=recipe.folder,
        cache=Path(recipe.cache), documents=_passages(recipe, searched), dev=dev, seed=recipe.seed, progress=progress,
    )  # fmt: skip
    clock("training")
    say(f"training: {distilled.pairs} pairs, development MAP {distilled.start:.4f} -> {distilled.best:.4f}")
    with written_whole(recipe.folder / "transplant") as start, written_whole(recipe.folder / "student") as end:
        grown.student.save(str(start))
        distilled.student.save(str(end))
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    facts = {
        "transplant": grown.report(),
        "development": {"start": distilled.start, "best": distilled.best, "share": distilled.share},
    }
    facts |= {"trained_pairs": distilled.pairs, "bitext": bitext.sources, "pairs": len(pairs), "seconds": clock.seconds}
    facts |= {"collection": collection and {"name": collection.name, "checksum": collection.checksum}}
    write_text(recipe.folder / "training.json", strict_json(distilled.history))
    result = None
    if searched and collection:
        build_index(recipe, teacher, searched)
        systems = {report.TRANSPLANT: grown.student, report.STUDENT: distilled.student}
        result = compare_systems(recipe, teacher, systems, searched, _evaluation_folder(recipe, collection), say)
        clock("index, search, measures")
    write_manifest(recipe, teacher, facts)
    return result


def embed(recipe: Recipe, teacher: Encoder, collection: Collection, progress: bool = True) -> Searched:
    """The teacher's vectors of the documents, from the cache where they are there."""
    ids = [doc.id for doc in collection.docs]
    texts = [doc.full for doc in collection.docs]
    vectors = document_vectors(teacher, ids, texts, Path(recipe.cache), progress=progress)
    return Searched(collection, vectors, ids)


def embed_collection(recipe: Recipe) -> Searched:
    """Read the recipe's collection and embed it.

    Raises:
        DataError: The recipe has no collection.
    """
    return embed(recipe, load_teacher(recipe), run_collection(recipe))


def index_run(recipe: Recipe) -> Path | None:
    """Build the index of a finished run, as the recipe now has it."""
    teacher = load_teacher(recipe)
    folder = build_index(recipe, teacher, embed(recipe, teacher, run_collection(recipe)))
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    return folder


def evaluate(recipe: Recipe, student: Path | None = None, say: Say = lambda _: None) -> Report:
    """Measure the student of a finished run, or another one of the same teacher, on the recipe's collection.

    The results of another student go to a folder with its name, so that those of the run's own stay.
    """
    teacher, collection = load_teacher(recipe), run_collection(recipe)
    folder = _evaluation_folder(recipe, collection, student)
    systems: dict[str, Encoder] = {}
    if student is None and (recipe.folder / "transplant").is_dir():
        systems[report.TRANSPLANT] = encoders.load(recipe.folder / "transplant", recipe.device)
    systems[report.STUDENT] = encoders.load(student or recipe.folder / "student", recipe.device)
    return compare_systems(recipe, teacher, systems, embed(recipe, teacher, collection), folder, say)


def answer(recipe: Recipe, question: str, depth: int) -> list[tuple[Doc, float]]:
    """Passages for one question, best first, by the student and the index of a finished run."""
    collection = run_collection(recipe)
    student = encoders.load(recipe.folder / "student", recipe.device)
    docs = {doc.id: doc for doc in collection.docs}
    if encoders.is_multi_vector(student):
        run = search(
            student, [Query("q", question)], *embed(recipe, load_teacher(recipe), collection, False)[1:], depth
        )
        return [(docs[doc], score) for doc, score in run["q"].items()]
    index = dense.load(recipe.folder / "index")
    if index.manifest.get("collection_checksum") != collection.checksum:
        raise DataError(
            f"{recipe.folder / 'index'} is of other documents than {collection_path(recipe)} has now; run "
            f"`optical index {recipe.folder}`"
        )
    found = dense.search(index, encoders.encode_sentences(student, [question]), depth)[0]
    return [(docs[doc], score) for doc, score in found]


def _evaluation_folder(recipe: Recipe, collection: Collection, student: Path | None = None) -> Path:
    name = collection.name.strip("/").replace("/", "-").replace(":", "-")
    other = f"-{student.resolve().name}" if student else ""
    return recipe.folder / "evaluation" / f"{name}-{recipe.search.split}{other}"


def build_index(recipe: Recipe, teacher: Encoder, searched: Searched) -> Path | None:
    """The faiss index of the run; None for late interaction, which compares with the cached tokens exactly."""
    if encoders.is_multi_vector(teacher):
        return None
    folder = recipe.folder / "index"
    manifest = {
        "teacher": recipe.teacher,
        "teacher_fingerprint": encoders.fingerprint(teacher),
        "collection": collection_path(recipe),
        "collection_checksum": searched.collection.checksum,
    }
    dense.build(searched.vectors.sentences, searched.ids, folder, recipe.search.factory, manifest=manifest)
    return folder


def compare_systems(
    recipe: Recipe, teacher: Encoder, systems: dict[str, Encoder], searched: Searched, folder: Path, say: Say
) -> Report:
    """Search with the teacher and the given encoders, measure, and write runs, JSON and table into the folder.

    All rows answer the same questions: those that are judged in the split and asked in X. The ceiling is left out, and
    that is said, where one of them has no English version.
    """
    collection, name = searched.collection, recipe.search.split
    check_split(recipe, collection)
    foreign = queries_of(collection, recipe.lang, name)
    qrels = about(foreign, collection.qrels[name])
    index = recipe.folder / "index" if _serves(recipe.folder / "index", teacher, searched) else None
    ids = {query.id for query in foreign}
    english = [query for query in collection.queries.get("en", []) if query.id in ids]
    asked: dict[str, tuple[Encoder, list[Query]]] = {}
    if len(english) == len(foreign):
        asked[report.CEILING] = (teacher, english)
    else:
        missing = len(foreign) - len(english)
        say(f"no ceiling: {missing} of {len(foreign)} {recipe.lang} questions have no English version")
    asked |= {report.ZERO_SHOT: (teacher, foreign)} | {s: (encoder, foreign) for s, encoder in systems.items()}
    runs = {
        system: search(encoder, queries, searched.vectors, searched.ids, recipe.search.depth, index)
        for system, (encoder, queries) in asked.items()
    }
    scores = {system: measure(run, qrels) for system, run in runs.items()}
    result = Report(collection.name, name, recipe.lang, len(searched.ids), scores)
    for system, run in runs.items():
        tag = system.replace(", ", "-").replace(" ", "-")
        write_run(run, folder / f"{tag}.trec", f"optical-{tag}")
    write_text(folder / "results.json", strict_json(report.as_dict(result)))
    write_text(folder / "table.md", report.as_markdown(result))
    say(f"runs, results.json and table.md are in {folder}")
    return result


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Save a model folder whole; an earlier one stays until then."""
    with written_whole(folder) as unfinished:
        encoder.save(str(unfinished))


def _passages(recipe: Recipe, searched: Searched | None):
    """Sentence vectors of the passages that the scores objective ranks; None where there are none."""
    if searched is None or not searched.vectors.sentences.shape[1]:
        return None
    return searched.vectors.sentences[: recipe.objective.documents]


def _serves(index: Path, teacher: Encoder, searched: Searched) -> bool:
    """Whether an index on disk is of exactly these documents, by this teacher."""
    if not (index / dense.MANIFEST).is_file():
        return False
    manifest = json.loads((index / dense.MANIFEST).read_text(encoding="utf-8"))
    made_of = (manifest.get("teacher_fingerprint"), manifest.get("collection_checksum"), manifest.get("count"))
    return made_of == (encoders.fingerprint(teacher), searched.collection.checksum, len(searched.ids))
