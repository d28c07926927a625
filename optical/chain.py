"""The main job: every room of the package in its order, one folder a run.

Takes a recipe, leaves a folder: the recipe, the transplant, the student, the index, the runs, the measures, and a
manifest that says what they were made of. Each part is written whole; what is already there from the same inputs (the
teacher's vectors, the last checkpoint) is used again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optical import encoders, report
from optical.development import Searched, about, development_scores
from optical.distillation import Distilled, check_enough, distill_student
from optical.embed import document_vectors
from optical.encoders import Encoder
from optical.errors import DataError
from optical.evaluate import measure
from optical.files import written_whole
from optical.inputs import Inputs, Say, check_split, collection_path, distinct, judged, read_inputs, run_collections
from optical.languages import Mixture, mix
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
    return encoders.as_multi_vector(teacher, recipe.query_length) if recipe.late_interaction else teacher


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
    """The whole chain for one language; the report is None where there is no collection to measure on.

    Raises:
        ValueError: The recipe has several languages.
    """
    return distil_languages(_single(recipe), say, progress=progress).get(recipe.lang)


def distil_languages(recipe: Recipe, say: Say = lambda _: None, *, progress: bool = True) -> dict[str, Report]:
    """The whole chain, one student for all languages of the recipe: the reports of those that can be measured.

    An earlier run in the same folder stays as it was until training has ended well.

    Raises:
        DataError: Inputs that cannot be used.
        Interrupted: Ctrl-C during training; the same call goes on.
    """
    clock = Clock()
    inputs = read_inputs(recipe, say)
    measured = judged(recipe, inputs.collections, say)
    teacher = load_teacher(recipe)
    clock("read")
    searched = _embed_each(recipe, teacher, inputs.collections, progress)
    clock("documents")
    pairs = {lang: bitext.pairs for lang, bitext in inputs.bitexts.items()}
    dev, pairs = development_scores(recipe, teacher, pairs, searched, say)
    mixture = mix(pairs, recipe.training)
    check_enough(mixture.pairs, recipe.training)
    if len(pairs) > 1:
        drawn = (f"{lang} {len(own)} pairs, {100 * mixture.shares[lang]:.1f} %" for lang, own in pairs.items())
        say(f"languages and their shares of training: {'; '.join(drawn)}")
    grown = _grow(recipe, teacher, mixture.pairs, say)
    clock("transplant")
    distilled = distill_student(
        copy.deepcopy(grown.student), teacher, mixture.pairs, objective=recipe.objective, training=recipe.training,
        robustness=recipe.robustness, folder=recipe.folder, cache=Path(recipe.cache), weights=mixture.weights,
        documents=_passages(recipe, searched), dev=dev, seed=recipe.seed, progress=progress,
    )  # fmt: skip
    clock("training")
    say(f"training: {distilled.pairs} pairs, development MAP {distilled.start:.4f} -> {distilled.best:.4f}")
    _save(recipe, grown, distilled)
    facts = _facts(grown, distilled, inputs, mixture, pairs, clock)
    reports = {}
    if measured:
        _build_indexes(recipe, teacher, searched)
        systems = {report.TRANSPLANT: grown.student, report.STUDENT: distilled.student}
        reports = _compare_languages(recipe, teacher, systems, {lang: searched[lang] for lang in measured}, None, say)
        clock("index, search, measures")
    write_manifest(recipe, teacher, facts)
    return reports


def _single(recipe: Recipe) -> Recipe:
    if len(recipe.langs) > 1:
        raise ValueError(f"one language gives one report, received {recipe.lang!r}; call the function for languages")
    return recipe


def _save(recipe: Recipe, grown: Transplant, distilled: Distilled) -> None:
    with written_whole(recipe.folder / "transplant") as start, written_whole(recipe.folder / "student") as end:
        grown.student.save(str(start))
        distilled.student.save(str(end))
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    write_text(recipe.folder / "training.json", strict_json(distilled.history))


def _facts(
    grown: Transplant,
    distilled: Distilled,
    inputs: Inputs,
    mixture: Mixture,
    pairs: dict[str, list[Pair]],
    clock: Clock,
) -> dict[str, Any]:
    """What the manifest says of the inputs and of what came out; of several languages, of each."""
    named = {lang: c and {"name": c.name, "checksum": c.checksum} for lang, c in inputs.collections.items()}
    facts: dict[str, Any] = {
        "transplant": grown.report(),
        "development": {"start": distilled.start, "best": distilled.best, "share": distilled.share},
        "trained_pairs": distilled.pairs,
        "bitext": {file: checksum for bitext in inputs.bitexts.values() for file, checksum in bitext.sources.items()},
        "pairs": len(mixture.pairs),
        "seconds": clock.seconds,  # the stages to come are added to it
    }
    if len(pairs) == 1:
        return {**facts, "collection": next(iter(named.values()))}
    each = {lang: {"pairs": len(own), "share_of_draws": mixture.shares[lang]} for lang, own in pairs.items()}
    return {**facts, "collection": named, "languages": each}


def embed(recipe: Recipe, teacher: Encoder, collection: Collection, progress: bool = True) -> Searched:
    """The teacher's vectors of the documents, from the cache where they are there."""
    ids = [doc.id for doc in collection.docs]
    texts = [doc.full for doc in collection.docs]
    vectors = document_vectors(teacher, ids, texts, Path(recipe.cache), progress=progress)
    return Searched(collection, vectors, ids)


def _embed_each(
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
    folders = _build_indexes(recipe, teacher, _embed_each(recipe, teacher, run_collections(recipe)))
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    return folders


def evaluate(recipe: Recipe, student: Path | None = None, say: Say = lambda _: None) -> Report:
    """Measure the student of a finished run of one language, or another one of the same teacher.

    Raises:
        ValueError: The recipe has several languages.
    """
    return evaluate_languages(_single(recipe), student, say)[recipe.lang]


def evaluate_languages(recipe: Recipe, student: Path | None = None, say: Say = lambda _: None) -> dict[str, Report]:
    """Measure the student of a finished run, or another one of the same teacher, on the recipe's collections.

    The results of another student go to a folder with its name, so that those of the run's own stay.
    """
    teacher, collections = load_teacher(recipe), judged(recipe, run_collections(recipe), say)
    systems: dict[str, Encoder] = {}
    if student is None and (recipe.folder / "transplant").is_dir():
        systems[report.TRANSPLANT] = encoders.load(recipe.folder / "transplant", recipe.device)
    systems[report.STUDENT] = encoders.load(student or recipe.folder / "student", recipe.device)
    return _compare_languages(recipe, teacher, systems, _embed_each(recipe, teacher, collections), student, say)


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
    folder = _index_folder(recipe.of(lang))
    index = dense.load(folder)
    if index.manifest.get("collection_checksum") != collection.checksum:
        raise DataError(
            f"{folder} is of other documents than {collection_path(recipe.of(lang))} has now; run "
            f"`optical index {recipe.folder}`"
        )
    found = dense.search(index, encoders.encode_sentences(student, [question]), depth)[0]
    return [(docs[doc], score) for doc, score in found]


def evaluation_folder(recipe: Recipe, name: str, lang: str, student: Path | None) -> Path:
    """Where results are kept; ``lang`` is in the name where the recipe has several."""
    parts = [name.strip("/").replace("/", "-").replace(":", "-"), recipe.search.split]
    parts += [lang] if len(recipe.langs) > 1 else []
    return recipe.folder / "evaluation" / "-".join([*parts, *([student.resolve().name] if student else [])])


def _index_folder(recipe: Recipe) -> Path:
    """Where the index that serves a recipe of one language is: of its own collection, or of one that all share."""
    own = recipe.folder / f"index-{recipe.lang}"
    return own if own.is_dir() else recipe.folder / "index"


def _build_indexes(recipe: Recipe, teacher: Encoder, searched: Mapping[str, Searched]) -> list[Path]:
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


def _compare_languages(
    recipe: Recipe, teacher: Encoder, systems: dict[str, Encoder], searched: Mapping[str, Searched],
    student: Path | None, say: Say,
) -> dict[str, Report]:  # fmt: skip
    """A report for each language, and for several a summary beside them."""
    reports = {}
    for lang, one in searched.items():
        folder = evaluation_folder(recipe, one.collection.name, lang, student)
        reports[lang] = compare_systems(recipe.of(lang), teacher, systems, one, folder, say)
    if len(recipe.langs) > 1:
        names = {one.collection.name for one in searched.values()}
        folder = evaluation_folder(recipe, names.pop() if len(names) == 1 else "collections", "summary", student)
        write_text(folder / "results.json", strict_json(report.summary_as_dict(reports)))
        write_text(folder / "table.md", report.summary_as_markdown(reports))
        say(f"the summary is in {folder}")
    return reports


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
    index = _index_folder(recipe)
    index = index if _serves(index, teacher, searched) else None
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


def _passages(recipe: Recipe, searched: Mapping[str, Searched]) -> np.ndarray | None:
    """Sentence vectors of the passages that the scores objective ranks, as many of each collection; None without."""
    different = list({id(one.collection): one.vectors.sentences for one in searched.values()}.values())
    if not different or not different[0].shape[1]:
        return None
    if len(different) == 1:
        return different[0][: recipe.objective.documents]
    return np.concatenate([one[: max(1, recipe.objective.documents // len(different))] for one in different])


def _serves(index: Path, teacher: Encoder, searched: Searched) -> bool:
    """Whether an index on disk is of exactly these documents, by this teacher."""
    if not (index / dense.MANIFEST).is_file():
        return False
    manifest = json.loads((index / dense.MANIFEST).read_text(encoding="utf-8"))
    made_of = (manifest.get("teacher_fingerprint"), manifest.get("collection_checksum"), manifest.get("count"))
    return made_of == (encoders.fingerprint(teacher), searched.collection.checksum, len(searched.ids))
