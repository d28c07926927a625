"""The main job, from bitext to a measured student: every room of the package in its order, one folder a run.

Takes a recipe, leaves a folder: the recipe, the transplant, the student, the index, the runs, the measures, and a
manifest that says what they were made of. Each part is written whole; what is already there from the same inputs (the
teacher's vectors, the last checkpoint) is used again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optical.config.recipe import Recipe, write_recipe
from optical.data.bitext import Pair
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.shards import Rows
from optical.errors import DataError
from optical.evaluation import report
from optical.evaluation.report import Report
from optical.files import strict_json, write_text, written_whole
from optical.models.encoders import Encoder, is_multi_vector
from optical.models.layers import keep_layers
from optical.models.precision import check_precision
from optical.pipeline.bm25_rows import save_lexicons
from optical.pipeline.dev_score import development_scores
from optical.pipeline.evaluate import compare_languages, single
from optical.pipeline.export import export_colbert
from optical.pipeline.index import build_indexes, embed_each, load_teacher
from optical.pipeline.inputs import Inputs, Say, embeddable, judged, read_inputs
from optical.pipeline.manifest import Clock, write_manifest
from optical.pipeline.run_folder import check_distill
from optical.training.distillation import Distilled, check_enough, distill_student
from optical.training.mixture import Mixture, mix
from optical.vocabulary.transplant import Transplant, size_of, transplant


def make_transplant(recipe: Recipe, teacher: Encoder, pairs: list[Pair], say: Say) -> Transplant:
    """The student before training, saved in the folder of the run."""
    grown = _grow(recipe, teacher, pairs, say)
    save_encoder(grown.student, recipe.folder / "transplant")
    return grown


def _grow(recipe: Recipe, teacher: Encoder, pairs: list[Pair], say: Say) -> Transplant:
    grown = transplant(teacher, pairs, recipe.vocabulary, seed=recipe.seed)
    if recipe.layers is not None:
        shallow = keep_layers(grown.student, recipe.layers)
        grown = grown._replace(student=shallow, size_after=size_of(shallow))
    rows = f"{grown.size_before.rows} -> {grown.size_after.rows} rows"
    say(
        f"vocabulary: {grown.added} words added, {rows}, from {len(pairs)} pairs in {grown.seconds:.0f} s; "
        f"{_fertility(grown)}; cosine of teacher and student on English sentences: mean {grown.english.mean():.3f}, "
        f"least {grown.english.min():.3f}"
    )
    return grown


def _fertility(grown: Transplant) -> str:
    before, after = grown.before, grown.after
    if before is None or after is None:
        return "tokens per word not measured: too few pairs to hold any out"
    return (
        f"on held-out sentences, tokens per word {before.tokens_per_word:.2f} -> {after.tokens_per_word:.2f}, "
        f"unknown {100 * before.unknown_rate:.2f} % -> {100 * after.unknown_rate:.2f} %"
    )


def distil(recipe: Recipe, say: Say = lambda _: None, *, progress: bool = True) -> Report | None:
    """The whole chain for one language; the report is None where there is no collection to measure on.

    Raises:
        ValueError: The recipe has several languages.
    """
    return distil_languages(single(recipe), say, progress=progress).get(recipe.lang)


def distil_languages(recipe: Recipe, say: Say = lambda _: None, *, progress: bool = True) -> dict[str, Report]:
    """The whole chain, one student for all languages of the recipe: the reports of those that can be measured.

    An earlier run in the same folder stays as it was until training has ended well.

    Raises:
        DataError: Inputs that cannot be used.
        RecipeError: bfloat16 on a processor without it.
        Interrupted: Ctrl-C during training; the same call goes on.
    """
    clock = Clock()
    check_distill(recipe)
    inputs = read_inputs(recipe, say)
    measured = judged(recipe, inputs.collections, say)
    teacher = load_teacher(recipe)
    check_precision(recipe.training.precision, teacher.device.type)
    clock("read")
    searched = embed_each(recipe, teacher, inputs.collections, progress)
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
    _save(recipe, grown, distilled, say)
    save_lexicons(recipe, pairs, measured)
    facts = _facts(grown, distilled, inputs, mixture, pairs, clock)
    reports = {}
    if measured:
        indexed = embeddable(recipe, {lang: one.collection for lang, one in searched.items()})
        build_indexes(recipe, teacher, {lang: searched[lang] for lang in indexed}, say)
        systems = {report.TRANSPLANT: grown.student, report.STUDENT: distilled.student}
        reports = compare_languages(recipe, teacher, systems, {lang: searched[lang] for lang in measured}, None, say)
        clock("index, search, measures")
    write_manifest(recipe, teacher, facts)
    return reports


def _save(recipe: Recipe, grown: Transplant, distilled: Distilled, say: Say) -> None:
    with written_whole(recipe.folder / "transplant") as start, written_whole(recipe.folder / "student") as end:
        grown.student.save(str(start))
        distilled.student.save(str(end))
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    write_text(recipe.folder / "training.json", strict_json(distilled.history))
    if is_multi_vector(distilled.student):
        try:
            export_colbert(recipe, say=say)
        except DataError as error:  # a student that other libraries cannot hold is a student all the same
            say(f"no folder for PyLate and Stanford's ColBERT: {error}")


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


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Save a model folder whole; an earlier one stays until then."""
    with written_whole(folder) as unfinished:
        encoder.save(str(unfinished))


def _passages(recipe: Recipe, searched: Mapping[str, EmbeddedCollection]) -> np.ndarray | None:
    """Sentence vectors of the passages that the scores objective ranks, as many of each collection; None without.

    They are drawn by the seed where a collection has more. Passages in X have none: nobody embeds them before there is
    a student.
    """
    distinct = {id(one.collection): one.vectors.sentences for one in searched.values()}
    different = [sentences for sentences in distinct.values() if sentences.shape[1]]
    if not different:
        return None
    random = np.random.default_rng(recipe.seed)
    each = max(1, recipe.objective.documents // len(different))
    drawn = [drawn_rows(sentences, each, random) for sentences in different]
    return drawn[0] if len(drawn) == 1 else np.concatenate(drawn)


def drawn_rows(vectors: np.ndarray | Rows, count: int, random: np.random.Generator) -> np.ndarray:
    """``count`` different rows in their order, each as likely as any other; all of them where there are no more."""
    if len(vectors) <= count:
        return vectors[:]
    return vectors[np.sort(random.choice(len(vectors), count, replace=False))]
