"""Verbs that make a student or a teacher: data, transplant, distill, teach."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from optical.cli.app import (
    BitextOption,
    CollectionOption,
    DocsOption,
    DryRun,
    Lang,
    LexiconOption,
    Out,
    RecipeFile,
    Settings,
    StudentOption,
    Teacher,
    WordsFromCollection,
    WordsOption,
    bold,
    chosen,
    command,
    console,
    found,
    hint,
    overrides_of,
    plain_command,
    recipe_of,
    say,
    searched,
    show,
    show_reports,
    show_seconds,
    take_threads,
)
from optical.cli.help import HelpAll
from optical.config.recipe import Recipe, load_recipe
from optical.config.teaching import Teaching
from optical.config.toml import load_options
from optical.pipeline import preflight
from optical.pipeline.run_folder import threads_begun
from optical.progress import Clock


@plain_command
def data(
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language, as sw, or several, as sw,so.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most sentence pairs of each source.")] = 100_000,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder of the files.", show_default="data/bitext/LANG")
    ] = None,
) -> None:
    """Download public sentence pairs of a language; needs a network.

    `optical distill` reads them from the default folder.
    """
    from optical.files import check_place
    from optical.pipeline.inputs import DOWNLOADS

    langs = load_recipe(None, {"lang": lang}).langs
    files = []
    check_place(Path(out) if out else DOWNLOADS)
    from optical.data.bitext_download import fetch_bitext

    for one in langs:
        folder = DOWNLOADS / one if out is None else Path(out) / one if len(langs) > 1 else Path(out)
        for file in fetch_bitext(one, folder, limit=limit):
            console.print(f"wrote {bold(file)}")
            files.append(str(file))
    found(files=files)


@command(
    "late_interaction",
    "layers",
    "device",
    "vocabulary.mode",
    "vocabulary.min_count",
    "vocabulary.max_words",
    "vocabulary.size",
)
def transplant(
    lang: Lang = None, bitext: BitextOption = None, lexicon: LexiconOption = None, words: WordsOption = None,
    words_from_collection: WordsFromCollection = None, teacher: Teacher = None, student: StudentOption = None,
    out: Out = None, recipe: RecipeFile = None, settings: Settings = None, help_all: HelpAll = False,
) -> None:  # fmt: skip
    """Give the teacher the words of a language, without training: a student in under a minute."""
    named = {"teacher": teacher, "student": student, "bitext": bitext, "vocabulary.lexicon": lexicon, "out": out}
    listed = {"vocabulary.words": words, "vocabulary.words_from_collection": words_from_collection or None}
    wanted = recipe_of(recipe, settings, lang=lang, **named, **listed)
    preflight.before_transplant(wanted)
    from optical.pipeline.distill import transplant_run

    report = transplant_run(wanted, say, progress=not chosen.quiet).report()
    for name, value in report.items():
        said = f"  {name}: {'not measured' if value is None else value}"
        console.print(said, highlight=False, markup=False)
    folder = wanted.folder / "transplant"
    console.print(f"the student is in {bold(folder)}")
    found(student=str(folder), **report)


@command(
    "late_interaction",
    "layers",
    "seed",
    "device",
    "vocabulary.mode",
    "training.steps",
    "training.batch_size",
    "search.bm25",
    "search.split",
)
def distill(
    lang: Lang = None, bitext: BitextOption = None, lexicon: LexiconOption = None, words: WordsOption = None,
    words_from_collection: WordsFromCollection = None, collection: CollectionOption = None, docs: DocsOption = None,
    teacher: Teacher = None, student: StudentOption = None, out: Out = None, dry_run: DryRun = False,
    recipe: RecipeFile = None, settings: Settings = None, help_all: HelpAll = False,
) -> None:  # fmt: skip
    """Make a student and measure it: transplant, training, index, search, table.

    After Ctrl-C the same command goes on from the last checkpoint.
    """
    named = {"teacher": teacher, "student": student, "bitext": bitext, "out": out}
    named["collection"] = searched(collection, docs)
    listed = {"vocabulary.words": words, "vocabulary.words_from_collection": words_from_collection or None}
    named["vocabulary.lexicon"] = lexicon
    wanted = recipe_of(recipe, settings, threads_begun, lang=lang, **named, **listed)
    preflight.before_distill(wanted)
    if dry_run:
        _print_estimate(wanted)
        return
    from optical.pipeline.distill import distill_run
    from optical.pipeline.unmeasured import next_steps, not_measured

    with Clock(chosen.begun) as clock:
        reports = distill_run(wanted, say, progress=not chosen.quiet)
    clock("written to disk")
    show_reports(reports)
    show_seconds(clock)
    folder = wanted.folder
    found(run=str(folder), student=str(folder / "student"))
    if not reports:
        found(not_measured=(missing := not_measured(wanted)))
        hint(f"\n{escape(missing)}")
    hint(f"\nThe run is in {bold(folder)}; the student is in {bold(folder / 'student')}.")
    if (page := folder / "report.html").is_file():
        found(report=str(page))
        hint(f"Bars, curves, questions won and lost: {bold(page)}.")
    hint("Next:")
    for line in next_steps(wanted, measured=bool(reports)):
        hint(escape(f"  optical {line}"))


def _print_estimate(recipe: Recipe) -> None:
    """Print what a run would take, by stage, and what it would write."""
    from optical.pipeline.estimate import estimate

    told = estimate(recipe, say)
    found(**told._asdict())
    for stage, seconds in told.seconds.items():
        console.print(f"  {stage:<26}{seconds:>8,.0f} s", highlight=False)
    console.print(f"  {'all':<26}{sum(told.seconds.values()):>8,.0f} s, within a factor of two", highlight=False)
    for name, size in {**{f"disk, {name}": size for name, size in told.disk.items()}, "memory": told.memory}.items():
        console.print(f"  {name:<26}{size / 1e6:>8,.0f} MB", highlight=False)
    for line in (*(f"made: {name}" for name in told.made), *(f"there: {name}" for name in told.there)):
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    hint("nothing was written; the same line without --dry-run begins")


@command(
    "split",
    "test",
    "late_interaction",
    "dimension",
    "seed",
    "device",
    "pairs",
    "negatives",
    "steps",
    "batch_size",
    "learning_rate",
    "precision",
    model=Teaching,
)
def teach(
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            help="Folder with English queries and judgements to learn from, or irds:<id>. Required, here or in the "
            "recipe.",
        ),
    ] = None,
    teacher: Teacher = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder of the run.", show_default=str(Teaching.model_fields["out"].default)),
    ] = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Train an English teacher on the queries and judgements of a collection, with hard negatives.

    After Ctrl-C the same command goes on from the last checkpoint.
    """
    named = {"teacher": teacher, "collection": collection, "out": out}
    wanted = load_options(Teaching, recipe, overrides_of(settings, named))
    take_threads(wanted.threads, threads_begun(wanted.home))
    preflight.before_teach(wanted)
    from optical.pipeline import teach as pipeline_teach

    with Clock(chosen.begun) as clock:
        outcomes = pipeline_teach.teach_run(wanted, say, progress=not chosen.quiet)
    clock("written to disk")
    show_seconds(clock)
    for outcome in outcomes:
        show(pipeline_teach.table(outcome), pipeline_teach.sentences(outcome))
    folder = wanted.folder / "teacher"
    found(teacher=str(folder))
    hint(f"\nThe encoder is in {bold(folder)}. Next, a student of it:")
    hint(escape(f"  optical distill --lang LANG --teacher {shlex.quote(str(folder))}"))
