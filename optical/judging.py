"""Systems measured on a collection: a report, TREC runs and per-query values in the folder of the run.

Takes a recipe and encoders, searches for each of them and measures. Knows no training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from optical import encoders, report
from optical.development import Searched, about
from optical.encoders import Encoder
from optical.evaluate import measure
from optical.indexing import embed_each, index_folder, load_teacher, serves
from optical.inputs import Say, check_split, judged, run_collections
from optical.manifest import strict_json, write_text
from optical.recipe import Recipe
from optical.report import Report
from optical.run import write_run
from optical.search import search
from optical.text.collection import Query, queries_of


def single(recipe: Recipe) -> Recipe:
    """The recipe, when it has one language.

    Raises:
        ValueError: It has several.
    """
    if len(recipe.langs) > 1:
        raise ValueError(f"one language gives one report, received {recipe.lang!r}; call the function for languages")
    return recipe


def evaluate(recipe: Recipe, student: Path | None = None, say: Say = lambda _: None) -> Report:
    """Measure the student of a finished run of one language, or another one of the same teacher.

    Raises:
        ValueError: The recipe has several languages.
    """
    return evaluate_languages(single(recipe), student, say)[recipe.lang]


def evaluate_languages(recipe: Recipe, student: Path | None = None, say: Say = lambda _: None) -> dict[str, Report]:
    """Measure the student of a finished run, or another one of the same teacher, on the recipe's collections.

    The results of another student go to a folder with its name, so that those of the run's own stay.
    """
    teacher, collections = load_teacher(recipe), judged(recipe, run_collections(recipe), say)
    systems: dict[str, Encoder] = {}
    if student is None and (recipe.folder / "transplant").is_dir():
        systems[report.TRANSPLANT] = encoders.load(recipe.folder / "transplant", recipe.device)
    systems[report.STUDENT] = encoders.load(student or recipe.folder / "student", recipe.device)
    return compare_languages(recipe, teacher, systems, embed_each(recipe, teacher, collections), student, say)


def evaluation_folder(recipe: Recipe, name: str, lang: str, student: Path | None) -> Path:
    """Where results are kept; ``lang`` is in the name where the recipe has several."""
    parts = [name.strip("/").replace("/", "-").replace(":", "-"), recipe.search.split]
    parts += [lang] if len(recipe.langs) > 1 else []
    return recipe.folder / "evaluation" / "-".join([*parts, *([student.resolve().name] if student else [])])


def compare_languages(
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
    index = index_folder(recipe)
    index = index if serves(index, teacher, searched) else None
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
