"""Distill a student and measure it: the main job, from a recipe to a run folder.

The folder has the recipe, the transplant, the student, the index, the runs, the measures, and a manifest that says what
they were made of. Each part is written whole; what is already there from the same inputs (the teacher's vectors, the
last checkpoint) is used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from optical.config.recipe import Recipe, StudentOptions, write_recipe
from optical.data.bitext import Bitext, Pair
from optical.data.dictionary import Dictionary
from optical.data.records import ENGLISH
from optical.errors import DataError
from optical.evaluation import report
from optical.evaluation.report import Report
from optical.files import strict_json, write_text, written_whole
from optical.models import encoders
from optical.models.encoders import is_multi_vector
from optical.models.precision import check_precision
from optical.models.save import save_encoder, write_encoder
from optical.pipeline.bm25_rows import save_lexicons
from optical.pipeline.card import write_card
from optical.pipeline.choose_compute import with_compute
from optical.pipeline.dev_score import development_scores
from optical.pipeline.embed import embed_each, load_body, load_teacher, teacher_towers
from optical.pipeline.evaluate import compare_languages, rank_unjudged
from optical.pipeline.export import export_colbert
from optical.pipeline.html_report import page_after_distill
from optical.pipeline.hubness import AUTO, check_hubness, choose, draw_banks, save_banks
from optical.pipeline.index import build_indexes
from optical.pipeline.inputs import Inputs, distinct, read_inputs
from optical.pipeline.manifest import note_seconds, write_manifest
from optical.pipeline.run_folder import DISTILLED, check_distill, check_transplant, next_generation
from optical.pipeline.sides import embeddable, judged, unjudged
from optical.pipeline.word_lists import read_word_lists
from optical.progress import clock, stage
from optical.training.distillation import Distilled, distill
from optical.training.start import Start, choose_vocabulary, make_start
from optical.training.trainer import Trained, Workspace
from optical.training.unseen import add_words
from optical.vocabulary.transplant import check_tokenizer


def transplant_run(recipe: Recipe, say: Callable[[str], None] = lambda _: None, *, progress: bool = True) -> Start:
    """Make the recipe's student without training and save it in the run folder.

    Raises:
        DataError: Inputs that cannot be used.
    """
    check_transplant(recipe.folder)
    with next_generation(recipe, say) as (recipe, say):
        return _transplant(recipe, say, progress)


def _transplant(recipe: Recipe, say: Callable[[str], None], progress: bool) -> Start:
    inputs = read_inputs(recipe, say)
    words = read_word_lists(recipe, inputs.bitext_pairs, inputs.collections, say)
    workspace = Workspace(recipe.home, recipe.cache_folder, progress, say)
    teacher = load_teacher(recipe)
    body = load_body(recipe, teacher)
    options, _ = choose_vocabulary(teacher, inputs.pairs, _options(recipe, inputs), workspace, body)
    start = make_start(teacher, inputs.pairs, options, workspace, body)
    add_words([start.student], words.counts, recipe.vocabulary, say)
    save_encoder(start.student, recipe.folder / "transplant")
    return start


def distill_run(
    recipe: Recipe, say: Callable[[str], None] = lambda _: None, *, progress: bool = True
) -> dict[str, Report]:
    """Make one student for all languages of the recipe and measure it; reports of those that can be measured.

    An earlier run in the same folder stays as it was until all has ended well: then this one takes its place.

    Raises:
        DataError: Inputs that cannot be used.
        RecipeError: bfloat16 on a processor without it.
        Interrupted: Ctrl-C during training; the same call goes on.
    """
    check_distill(recipe)
    with clock(), next_generation(recipe, say, DISTILLED) as (recipe, say):
        reports, trained = _distill(recipe, say, progress)
    trained.clear_checkpoints()  # now that all is saved
    return reports


def _distill(recipe: Recipe, say: Callable[[str], None], progress: bool) -> tuple[dict[str, Report], Trained]:
    ended = clock()
    ended("start")
    inputs = read_inputs(recipe, say)
    words = read_word_lists(recipe, inputs.bitext_pairs, inputs.collections, say)
    measured, asked = judged(inputs.collections, recipe.search.split, say), unjudged(inputs.collections)
    if given := {lang: one for lang, one in inputs.collections.items() if one}:
        embeddable(given, recipe.langs)  # before any work
    towers = teacher_towers(recipe)
    teacher, body = towers.queries, load_body(recipe, towers.queries)
    check_hubness(recipe.search.hubness, towers.documents)
    check_precision(recipe.training.precision, teacher.device.type)
    check_tokenizer((body.encoder if body else teacher).tokenizer, recipe.vocabulary.mode)
    ended("read")
    english = (doc.full for one in distinct(inputs.collections) if one.docs_lang == ENGLISH for doc in one.docs)
    recipe = with_compute(recipe, towers.documents, english, say)  # so that the run's own recipe says it
    searched = embed_each(recipe, towers.documents, inputs.collections, progress, say)
    ended("documents")
    weights = inputs.weights
    dev, pairs = development_scores(recipe, towers, inputs.bitext_pairs, searched, say, weights)
    banks = draw_banks(recipe, {lang: [pair for pair in own if weights.get(pair, 1)] for lang, own in pairs.items()})
    ended("development set")
    workspace = Workspace(recipe.home, recipe.cache_folder, progress, say)
    # Passages in X have no vectors yet: nobody embeds them before there is a student.
    passages = list({id(one.collection): one.vectors.sentences for one in searched.values()}.values())
    distilled = distill(teacher, pairs, _options(recipe, inputs), workspace, passages=passages, dev=dev, start=body)
    # After training, so that their rows are composed of rows that have learnt.
    distilled.transplant.update(add_words([distilled.start, distilled.student], words.counts, recipe.vocabulary, say))
    ended("transplant")
    _save(recipe, distilled, say)
    ended("saving")
    save_lexicons(recipe, pairs, [*measured, *asked])
    ended("lexicons")
    save_banks(recipe.folder, banks)
    hubness = choose(recipe, distilled.student, dev, banks)
    if recipe.search.hubness == AUTO:
        say(f"hubness: {hubness.method}; {hubness.reason}")
    recipe = recipe.model_copy(update={"search": recipe.search.model_copy(update={"hubness": hubness.method})})
    facts = _facts(distilled, inputs, pairs) | {"hubness": hubness._asdict()}
    facts["compute"] = recipe.search.compute
    facts["fingerprint"] = encoders.fingerprint(distilled.student)  # which results repeat
    facts |= {"word_lists": words.sources} if words.sources else {}
    if body is not None:
        facts |= {"student_of": recipe.student, "student_of_fingerprint": encoders.fingerprint(body.encoder)}
    read = {one.collection.name: one.vectors.reading for one in searched.values()}
    facts["reading"] = {name: of_documents and of_documents._asdict() for name, of_documents in read.items()}
    reports = {}
    if searched:
        indexed = embeddable({lang: one.collection for lang, one in searched.items()}, recipe.langs)
        with stage("index"):
            build_indexes(recipe, towers.documents, {lang: searched[lang] for lang in indexed}, say)
        systems = {report.TRANSPLANT: distilled.start, report.STUDENT: distilled.student}
        reports = compare_languages(recipe, towers, systems, {lang: searched[lang] for lang in measured}, None, say)
        rank_unjudged(recipe, towers, systems, {lang: searched[lang] for lang in asked}, None, say)
        ended("evaluation")
    write_manifest(recipe, teacher, facts, towers.documents)
    write_card(recipe, say)
    ended("report")
    note_seconds(recipe.folder, ended)  # which the page shows, so its own are not among them
    page_after_distill(recipe, teacher, distilled, inputs.collections, say)
    ended("report")
    return reports, distilled.trained


def _options(recipe: Recipe, inputs: Inputs) -> StudentOptions:
    names = inputs.names() if recipe.vocabulary.compose != "off" else []
    return recipe.student_options._replace(entries=inputs.entries, weights=inputs.weights, names=names)


def _save(recipe: Recipe, distilled: Distilled, say: Callable[[str], None]) -> None:
    with written_whole(recipe.folder / "transplant") as start, written_whole(recipe.folder / "student") as end:
        write_encoder(distilled.start, start)
        write_encoder(distilled.student, end)
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    write_text(recipe.folder / "training.json", strict_json(distilled.trained.history))
    if is_multi_vector(distilled.student):
        try:
            export_colbert(recipe, say=say)
        except DataError as error:  # a student that other libraries cannot hold is a student all the same
            say(f"no folder for PyLate and Stanford's ColBERT: {error}")


def _sources(read: Iterable[Bitext | Dictionary]) -> dict[str, str]:
    """Path -> SHA-256 of all files that were read."""
    return {file: checksum for one in read for file, checksum in one.sources.items()}


def _facts(distilled: Distilled, inputs: Inputs, pairs: dict[str, list[Pair]]) -> dict[str, Any]:
    """Collect what the manifest says of the inputs and of the student; of several languages, of each."""
    named = {lang: c and {"name": c.name, "checksum": c.checksum} for lang, c in inputs.collections.items()}
    trained = distilled.trained
    facts: dict[str, Any] = {
        "transplant": distilled.transplant,
        "development": trained.facts,
        "trained_pairs": distilled.pairs,
        "bitext": _sources(inputs.bitexts.values()),
        "text": {
            "sources": [{"lang": lang, **one} for lang, own in inputs.bitexts.items() for one in own.facts()],
            "left_out": {lang: own.skipped for lang, own in inputs.bitexts.items()},
        },
        "dictionary": _sources(inputs.dictionaries.values()),
        "pairs": len(distilled.mixture.pairs),
    }
    if len(pairs) == 1:
        return {**facts, "collection": next(iter(named.values()))}
    each = {lang: {"pairs": len(own), "share_of_draws": distilled.mixture.shares[lang]} for lang, own in pairs.items()}
    return {**facts, "collection": named, "languages": each}
