"""The command line: parses, calls, prints. No logic lives here."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from optical import __version__
from optical.errors import DataError, OpticalError
from optical.recipe import Recipe, load_options, load_recipe, options
from optical.syllabus import Teaching

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Teach a retriever a new query language from parallel sentences alone.",
)
console = Console()


def _epilog(listed: dict[str, str]) -> str:
    """Every option with its description, below the help of a command that takes them."""
    rows = "\n\n".join(f"[cyan]{escape(name)}[/cyan]  {escape(text)}" for name, text in listed.items())
    return f"[bold]Options of a recipe[/bold] (TOML, or --set name=value):\n\n{rows}"


EPILOG = _epilog(options())

RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", "-r", help="TOML recipe; what is not in it has its default.")
]
Lang = Annotated[
    str | None, typer.Option("--lang", "-l", help="Language of the queries: sw, so, tl, mr, ...; several as sw,so")
]
Teacher = Annotated[str | None, typer.Option("--teacher", help="Folder or hub id of an English encoder.")]
BitextOption = Annotated[
    str | None, typer.Option("--bitext", help="File, folder or Moses pair 'a.en,a.sw' of sentence pairs.")
]
CollectionOption = Annotated[
    str | None, typer.Option("--collection", help="Folder with documents, queries and judgements, or irds:<id>.")
]
Out = Annotated[str | None, typer.Option("--out", "-o", help="Folder of the run.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="NAME=VALUE", help="Change one option; may be repeated.")
]
Run = Annotated[Path, typer.Argument(help="Folder of a run, as `optical distill` leaves it.")]


@app.command(epilog=EPILOG)
def distill(
    recipe: RecipeFile = None, lang: Lang = None, teacher: Teacher = None, bitext: BitextOption = None,
    collection: CollectionOption = None, out: Out = None, settings: Settings = None,
) -> None:  # fmt: skip
    """The whole chain: transplant, distillation, index, runs, measures.

    Interrupted with Ctrl-C, the same command goes on from the last checkpoint.
    """
    from optical import chain, report

    chosen = _recipe(recipe, settings, lang=lang, teacher=teacher, bitext=bitext, collection=collection, out=out)
    reports = chain.distil_languages(chosen, _say)
    _show(reports, report)
    if not reports:
        console.print("no collection was given, so nothing was measured: add --collection")
    folder = chosen.folder
    console.print(f"\nThe run is in [bold]{folder}[/bold]; the student is in [bold]{folder / 'student'}[/bold]. Next:")
    console.print(
        f"  optical search {folder} 'your question'\n  optical evaluate {folder} --collection FOLDER", highlight=False
    )


@app.command(epilog=EPILOG)
def transplant(
    recipe: RecipeFile = None, lang: Lang = None, teacher: Teacher = None, bitext: BitextOption = None, out: Out = None,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Give the teacher the words of a language, nothing trained: a student in under a minute."""
    from optical import chain, inputs

    chosen = _recipe(recipe, settings, lang=lang, teacher=teacher, bitext=bitext, out=out)
    pairs = inputs.read_inputs(chosen, _say).pairs
    grown = chain.make_transplant(chosen, chain.load_teacher(chosen), pairs, _say)
    for name, value in grown.report().items():
        console.print(f"  {name}: {value}", highlight=False)
    console.print(f"the student is in [bold]{chosen.folder / 'transplant'}[/bold]")


@app.command(epilog=_epilog(options(Teaching)))
def teach(
    recipe: RecipeFile = None, teacher: Teacher = None, collection: CollectionOption = None, out: Out = None,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Teach English first: an encoder from the queries and judgements of a collection, with hard negatives.

    Interrupted with Ctrl-C, the same command goes on from the last checkpoint.
    """
    from optical import course

    named = {"teacher": teacher, "collection": collection, "out": out}
    chosen = load_options(Teaching, recipe, _overrides(settings, named))
    for outcome in course.teach(chosen, _say):
        console.print(course.as_table(outcome))
        for sentence in course.as_sentences(outcome):
            console.print(sentence)
    folder = chosen.folder / "teacher"
    console.print(f"\nThe encoder is in [bold]{folder}[/bold]. Next, a student of it:")
    console.print(f"  optical distill --lang LANG --teacher {folder}", highlight=False)


@app.command()
def embed(
    recipe: RecipeFile = None, lang: Lang = None, teacher: Teacher = None, collection: CollectionOption = None,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Embed the documents of a collection by the teacher, once; later runs read the result."""
    from optical import chain

    chosen = _recipe(recipe, settings, lang=lang, teacher=teacher, collection=collection)
    for searched in chain.embed_collections(chosen):
        console.print(f"{len(searched.ids)} documents are in [bold]{searched.vectors.folder}[/bold]")


@app.command()
def index(run: Run, collection: CollectionOption = None, settings: Settings = None) -> None:
    """Build the faiss index of a run, for another collection or with another factory."""
    from optical import chain

    folders = chain.index_run(_recipe(_kept(run), settings, collection=collection, out=str(run)))
    for folder in folders:
        console.print(f"the index is in [bold]{folder}[/bold]")
    if not folders:
        console.print("late interaction is searched exactly, without an index")


@app.command()
def search(
    run: Run,
    query: Annotated[str, typer.Argument(help="A question in the language of the run.")],
    depth: Annotated[int, typer.Option("--depth", "-k", min=1, help="How many passages.")] = 5,
    settings: Settings = None,
) -> None:
    """Answer a question from the terminal: titles, snippets, scores."""
    from optical import chain

    for place, (doc, score) in enumerate(
        chain.answer(_recipe(_kept(run), settings, out=str(run)), query, depth, _say), start=1
    ):
        title = escape(doc.title or doc.text[:60])
        console.print(f"[bold]{place}. {title}[/bold]  [dim]{escape(doc.id)}[/dim]  {score:.4f}", highlight=False)
        console.print(f"   {escape(doc.text[:300])}{'...' if len(doc.text) > 300 else ''}", highlight=False)


@app.command()
def evaluate(
    run: Run,
    student: Annotated[Path | None, typer.Option("--student", help="Another student than the run's.")] = None,
    collection: CollectionOption = None,
    split: Annotated[str | None, typer.Option("--split", help="Which judgements: dev, test, ...")] = None,
    perturb: Annotated[
        list[str] | None,
        typer.Option("--perturb", help="Instead, on queries with typos, diacritics, case, codeswitch or drop; repeat."),
    ] = None,
    rate: Annotated[
        list[float] | None, typer.Option("--rate", help="Share of words perturbed; may be repeated. Default .1, .2.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How often each perturbation is drawn.")] = 3,
    settings: Settings = None,
) -> None:
    """Measure a saved student: the table, TREC runs, and a JSON of measures with per-query values."""
    from optical import chain, report

    chosen = _recipe(_kept(run), settings, collection=collection, out=str(run), **{"search.split": split})
    if rate and not perturb:
        raise typer.BadParameter("a rate needs a kind of perturbation, as in --perturb typos", param_hint="--rate")
    if perturb:
        from optical import stress

        for one in stress.stress_run(chosen, perturb, rate or stress.RATES, seeds=seeds, student=student, say=_say):
            console.print(stress.as_table(one))
        return
    _show(chain.evaluate_languages(chosen, student, _say), report)


@app.command()
def export(
    run: Run,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder of the export; default RUN/onnx.")] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Also a graph with int8 weights.")] = True,
    settings: Settings = None,
) -> None:
    """The student as ONNX, to be used without torch: files, and a table of what they cost and lose."""
    from optical import delivery

    chosen = _recipe(_kept(run), settings, out=str(run))
    result = delivery.export_run(chosen, Path(out) if out else None, int8=int8, say=_say)
    console.print(delivery.as_table(result))
    for sentence in delivery.as_sentences(result):
        console.print(sentence)
    console.print(f"\nThe export is in [bold]{result.folder}[/bold]. Next, in Python, without torch:")
    console.print("  from optical.serving import OnnxEncoder", highlight=False)
    console.print(
        f"  OnnxEncoder.load({str(result.folder)!r}).encode(['your question'])", highlight=False, markup=False
    )


@app.command()
def data(
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language code as the hub has it.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows of each set.")] = 100_000,
    out: Out = None,
) -> None:
    """Fetch public bitext of a language, or of several, from the hub (needs a network)."""
    from optical.inputs import DOWNLOADS
    from optical.text.fetch import fetch_bitext

    langs = _recipe(None, None, lang=lang).langs
    for one in langs:
        folder = DOWNLOADS / one if out is None else Path(out) / one if len(langs) > 1 else Path(out)
        for file in fetch_bitext(one, folder, limit=limit):
            console.print(f"wrote [bold]{file}[/bold]")


def main() -> None:
    """Entry point: errors that a user can mend are printed as one message, everything else shows its trace."""
    _quiet()
    try:
        app()
    except OpticalError as error:
        _stop(str(error))
    except SystemExit as stop:
        if stop.code == 130:  # what typer makes of Ctrl-C, without a word
            _stop("stopped", 130)
        raise
    except Exception as error:  # noqa: BLE001 - each library reports a full disk by a class of its own, some by Exception
        fault = _write_fault(error)
        if fault is None:
            raise
        _stop(f"{fault}; what was there is untouched; free some space, or name another folder with --out")


def _write_fault(error: Exception) -> str | None:
    """What could not be written and why; None for every other error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}"
    # safetensors and tokenizers quote the system, numpy counts items, torch names its writer.
    match = re.search(
        r"No space left on device|quota exceeded|\d+ requested and \d+ written|inline_container", str(error)
    )
    return f"a file cannot be written, the disk seems to be full ({str(error)[:100]})" if match else None


def _stop(message: str, code: int = 1) -> None:
    Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(code)


def _recipe(path: Path | None, settings: list[str] | None, **named: Any) -> Recipe:  # noqa: ANN401 - values of options
    """The recipe with the options of the command line in it; --set wins over named options."""
    return load_recipe(path, _overrides(settings, named))


def _overrides(settings: list[str] | None, named: dict[str, Any]) -> dict[str, Any]:
    overrides = {name: value for name, value in named.items() if value is not None}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"{setting!r} is not NAME=VALUE, as in training.steps=100", param_hint="--set")
        overrides[name.strip()] = value.strip()
    return overrides


def _kept(run: Path) -> Path:
    """The recipe that a run keeps."""
    if not (run / "recipe.toml").is_file():
        raise DataError(
            f"{run}: no recipe.toml, so this is not a finished run; name a folder that `optical distill` left"
        )
    return run / "recipe.toml"


def _show(reports: dict[str, Any], report: Any) -> None:
    """The table and the tests of each language, and a summary of several; ``report`` is the room, loaded by now."""
    for one in reports.values():
        console.print(report.as_table(one))
        for sentence in report.as_sentences(one):
            console.print(sentence)
    if len(reports) > 1:
        console.print(report.summary_as_table(reports))


def _say(message: str) -> None:
    console.print(f"[dim]{escape(message)}[/dim]", highlight=False)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"optical {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


def _quiet() -> None:
    """The libraries' own bars and notices say nothing that a user of this program can use."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


if __name__ == "__main__":
    main()
