"""Measure the student of a run and what it is compared with: reports, TREC runs and per-query values in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from optical.config.recipe import Recipe
from optical.data.collection import judgements_of, queries_of
from optical.data.document_store import ids_of
from optical.data.feedback import SPLIT, judged_by_feedback
from optical.data.records import ENGLISH, Query
from optical.data.trec_run import Run, read_run, write_run
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import Vectors
from optical.evaluation import report
from optical.evaluation.compare_runs import ComparedRuns, compare_runs, read_runs, table
from optical.evaluation.measures import ALL_MEASURES, measure
from optical.evaluation.report import Report
from optical.evaluation.tables import page
from optical.files import strict_json, write_text
from optical.models import encoders, load
from optical.models.encoders import Encoder, is_multi_vector
from optical.models.towers import Towers
from optical.pipeline.bm25_rows import Development, word_rows
from optical.pipeline.card import write_measures
from optical.pipeline.dev_score import dev_queries
from optical.pipeline.embed import embed_documents, embed_each, load_student, teacher_towers
from optical.pipeline.hubness import hubness_of
from optical.pipeline.index import factory_of, index_folder, search_params, serves
from optical.pipeline.inputs import distinct, first_judged, run_collections, say_skipped
from optical.pipeline.run_folder import (
    COMPARED,
    MEASURED,
    check_evaluate,
    check_part,
    check_read,
    evaluation_folder,
    next_generation,
)
from optical.pipeline.sides import check_split, judged, measurable, sides, unjudged
from optical.retrieval import recall
from optical.retrieval.search import open_index, search


def evaluate_run(
    recipe: Recipe,
    student: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    feedback: Path | None = None,
) -> dict[str, Report]:
    """Measure the student of a finished run, or another one of the same teacher, on the recipe's collections.

    The results of another student go to a folder with its name, so that those of the run's own stay. Where there are
    questions and no judgements, runs are written and there is no report. With ``feedback``, the questions and
    judgements are those of such a file (:mod:`optical.data.feedback`), and the split is called ``feedback``.

    Raises:
        DataError: Nobody has judged or asked anything, or the run cannot be read.
    """
    check_evaluate(recipe.folder)
    check_read(recipe, *MEASURED)
    with next_generation(recipe, say) as (recipe, say):
        return _evaluate(recipe, student, say, feedback)


def _evaluate(
    recipe: Recipe, student: Path | None, say: Callable[[str], None], feedback: Path | None
) -> dict[str, Report]:
    found = run_collections(recipe)
    if feedback is not None:
        recipe = recipe.model_copy(update={"search": recipe.search.model_copy(update={"split": SPLIT})})
        found = judged_by_feedback(found, feedback)
    say_skipped(distinct(found), say)
    asked = unjudged(found)
    collections = (judged if asked else measurable)(found, recipe.search.split, say)
    teacher, systems = teacher_towers(recipe), load_systems(recipe, student)
    searched = embed_each(recipe, teacher.documents, {**collections, **asked}, say=say)
    rank_unjudged(recipe, teacher, systems, {lang: searched[lang] for lang in asked}, student, say)
    reports = compare_languages(recipe, teacher, systems, {lang: searched[lang] for lang in collections}, student, say)
    if student is None:
        write_measures(recipe, say)
    return reports


def load_systems(recipe: Recipe, student: Path | None) -> dict[str, Encoder]:
    """The transplant, where the run has kept it, and the student of a run; or another student alone."""
    systems = {}
    if student is not None:
        check_part(student)
    if student is None and (recipe.folder / "transplant").is_dir():
        systems[report.TRANSPLANT] = load.load_student(recipe.folder / "transplant", recipe.device)
    systems[report.STUDENT] = load.load_student(student, recipe.device) if student else load_student(recipe)
    return systems


def compare_languages(
    recipe: Recipe, teacher: Towers, systems: dict[str, Encoder], searched: Mapping[str, EmbeddedCollection],
    student: Path | None, say: Callable[[str], None],
) -> dict[str, Report]:  # fmt: skip
    """A report for each language, and for several a summary beside them."""
    reports = {}
    for lang, one in searched.items():
        folder = evaluation_folder(recipe, one.collection.name, lang, student)
        reports[lang] = compare_systems(recipe.of(lang), teacher, systems, one, folder, say)
    if len(recipe.langs) > 1 and reports:
        names = {one.collection.name for one in searched.values()}
        folder = evaluation_folder(recipe, names.pop() if len(names) == 1 else "collections", "summary", student)
        found = report.summary_as_dict(reports) | {"fingerprint": encoders.fingerprint(systems[report.STUDENT])}
        write_text(folder / "results.json", strict_json(found))
        write_text(folder / "table.md", page(report.summary_table(reports)))
        say(f"the summary is in {folder}")
    return reports


def compare_systems(
    recipe: Recipe,
    teacher: Towers,
    systems: dict[str, Encoder],
    searched: EmbeddedCollection,
    folder: Path,
    say: Callable[[str], None],
) -> Report:
    """Search with the teacher and the given encoders, measure, and write runs, JSON and tables into the folder.

    All rows answer the same questions: over English documents those that are judged in the split and asked in X, over
    documents in X those that are judged and asked in English, or in X where none is. The ceiling, the teacher on both
    sides in English, is left out, and that is said, where one of the sides is not there in English.
    """
    collection, name = searched.collection, recipe.search.split
    check_split(collection, recipe.lang, name)
    runs, asked = _search(recipe, teacher, systems, searched, say)
    qrels = judgements_of(asked, collection.qrels[name])
    scores = {system: measure(run, qrels, ALL_MEASURES) for system, run in runs.items()}
    side = sides(collection, recipe.lang, name)
    result = Report(collection.name, name, side.queries, len(collection.docs), scores, side.documents)
    _write_runs(runs, folder)
    found = report.as_dict(result) | {"fingerprint": encoders.fingerprint(systems[report.STUDENT])}
    write_text(folder / "results.json", strict_json(found))
    write_text(folder / "table.md", page(report.table(result), report.sentences(result)))
    say(f"runs, results.json and table.md are in {folder}")
    return result


def rank_unjudged(
    recipe: Recipe, teacher: Towers, systems: dict[str, Encoder], searched: Mapping[str, EmbeddedCollection],
    student: Path | None, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Write the TREC runs of questions that nobody has judged, for each language: there is nothing to measure."""
    for lang, one in searched.items():
        folder = evaluation_folder(recipe, one.collection.name, lang, student)
        runs, asked = _search(recipe.of(lang), teacher, systems, one, say)
        _write_runs(runs, folder)
        say(
            f"{one.collection.name} has no judgements, so there is no table: TREC runs of its {len(asked)} {lang}"
            f" questions are in {folder}"
        )


def _write_runs(runs: Mapping[str, Run], folder: Path) -> None:
    for system, run in runs.items():
        tag = system.replace(", ", "-").replace(" ", "-")
        write_run(run, folder / f"{tag}.trec", f"optical-{tag}")


def _search(
    recipe: Recipe,
    teacher: Towers,
    systems: dict[str, Encoder],
    searched: EmbeddedCollection,
    say: Callable[[str], None],
) -> tuple[dict[str, Run], list[Query]]:
    """The run of each system, and the questions asked: those judged in the split, or all where nothing is judged."""
    collection, name = searched.collection, recipe.search.split
    side = sides(collection, recipe.lang, name)
    queries = queries_of(collection, side.queries, name)
    params, depth = search_params(recipe.search), recipe.search.depth
    lines = dict(_lines(recipe, teacher, systems, searched, queries, say))
    late = is_multi_vector(teacher.queries)
    opened = cache(lambda folder: folder and open_index(folder, params, late=late))  # once for the lines that share it

    def ask(line: Line, queries: list[Query]) -> Run:
        return search(line.encoder, queries, line.documents, line.ids, depth, opened(line.index_folder), params)

    runs = {system: ask(line, line.queries) for system, line in lines.items()}
    student = lines[report.STUDENT]
    if student.index_folder and (factory := factory_of(student.index_folder)) != "Flat":
        share = recall.sampled_recall(
            student.encoder, student.queries, student.documents, opened(student.index_folder), params
        )
        what = "late interaction by lists" if late else f"the index {factory}"
        say(f"{what} finds {100 * share:.1f} % of the exact first {recall.DEPTH} (some questions)")
    if side.documents == ENGLISH and side.queries != ENGLISH:
        dev = dev_queries(collection, recipe.lang, name)
        judgements = judgements_of(dev, collection.qrels["dev"]) if dev else []
        runs |= word_rows(
            recipe, collection, queries, runs[report.STUDENT], Development(dev, judgements, partial(ask, student)), say
        )
    return runs, queries


def compare_with(
    recipe: Recipe, paths: Sequence[Path], say: Callable[[str], None], *, keep: bool = True
) -> ComparedRuns:
    """Compare TREC runs of other systems with the student's own run, the baseline where there is one.

    Of several languages, the first that can be measured is taken.

    Args:
        recipe: Of a finished run, or of none: its language, collection and split say what is judged.
        paths: TREC runs.
        say: For what is odd about the runs.
        keep: The recipe is of a run: its own results are compared, and the table is kept beside them.

    Raises:
        DataError: A file that is no run, or a run of other queries or documents.
    """
    if keep:
        check_evaluate(recipe.folder, COMPARED)
        check_read(recipe, "evaluation")
    recipe = first_judged(recipe, say)
    collection, name = run_collections(recipe)[recipe.lang], recipe.search.split
    check_split(collection, recipe.lang, name)
    queries = queries_of(collection, sides(collection, recipe.lang, name).queries, name)
    folder = evaluation_folder(recipe, collection.name, recipe.lang, None)
    own = folder / f"{report.STUDENT}.trec"
    runs = {report.STUDENT: read_run(own)} if keep and own.is_file() else {}
    others = read_runs(paths)
    runs |= {f"{run} (file)" if run in runs else run: found for run, found in others.items()}
    ids = set(ids_of(collection.docs))
    compared = compare_runs(runs, judgements_of(queries, collection.qrels[name]), documents=ids)
    for note in compared.notes():
        say(note)
    if keep:
        with next_generation(recipe, say) as (made, _):
            there = evaluation_folder(made, collection.name, recipe.lang, None)
            write_text(there / "comparison.md", page(table(compared), compared.notes()))
        say(f"the comparison is in {folder / 'comparison.md'}")
    return compared


class Line(NamedTuple):
    """Encoder, queries and vectors that one row of the table is measured with.

    Attributes:
        encoder: Of the queries.
        queries: What it is asked.
        documents: Vectors of the documents.
        ids: Of the documents, or of their passages.
        index_folder: A faiss index of the same vectors, where there is one.
    """

    encoder: Encoder
    queries: list[Query]
    documents: Vectors
    ids: Sequence[str]
    index_folder: Path | None


def _lines(
    recipe: Recipe,
    teacher: Towers,
    systems: Mapping[str, Encoder],
    searched: EmbeddedCollection,
    queries: list[Query],
    say: Callable[[str], None],
) -> Iterator[tuple[str, Line]]:
    """System -> its line, the ceiling first where there is one.

    English documents have been embedded by the teacher for all systems, and each system asks by itself. Documents in X
    are embedded by each system; English questions about them are the teacher's to ask.
    """
    collection, index = searched.collection, index_folder(recipe.folder, recipe.lang)
    hubness = hubness_of(recipe)
    systems = {report.ZERO_SHOT: teacher.queries, **systems}

    def line(encoder: Encoder, lang: str, asked: list[Query], embedder: Encoder, one: EmbeddedCollection) -> Line:
        """Each asks with its own bank in the language of its questions, so an index with penalties is the student's."""
        served = serves(index, embedder, one, hubness.facts(encoder, lang))
        return Line(encoder, asked, hubness.penalised(encoder, lang, one.vectors), one.ids, index if served else None)

    if collection.docs_lang != ENGLISH:
        say(f"no ceiling: {collection.name} has {collection.docs_lang} documents and no English version of them")
        teacher_asks = sides(collection, recipe.lang, recipe.search.split).queries == ENGLISH
        asks = "teacher embeds the queries, the student" if teacher_asks else "student embeds the queries and"
        say(f"the {asks} the {len(collection.docs)} documents")
        for system, encoder in systems.items():
            embedder = teacher.documents if encoder is teacher.queries else encoder
            told = say if system == report.STUDENT else (lambda _: None)  # who is measured, once
            own = embed_documents(recipe, embedder, collection, say=told)
            asking, lang = (teacher.queries, ENGLISH) if teacher_asks else (encoder, recipe.lang)
            yield system, line(asking, lang, queries, embedder, own)
        return
    ids = {query.id for query in queries}
    english = [query for query in collection.queries.get(ENGLISH, []) if query.id in ids]
    if len(english) == len(queries):
        yield report.CEILING, line(teacher.queries, ENGLISH, english, teacher.documents, searched)
    else:
        missing = len(queries) - len(english)
        say(f"no ceiling: {missing} of {len(queries)} {recipe.lang} questions have no English version")
    for system, encoder in systems.items():
        yield system, line(encoder, recipe.lang, queries, teacher.documents, searched)
