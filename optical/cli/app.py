"""Code that all verbs share: the program, common options, reading the recipe, printing results and errors."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import BaseModel
from rich.markup import escape

from optical.cli.help import FULL, Verbs, panel_of, with_recipe
from optical.cli.output import Plain, bold, chosen, console, found, hint, messages, reset, say, with_output
from optical.config.recipe import Recipe, load_recipe
from optical.config.threads import choose_threads, use_threads, watch
from optical.errors import OpticalError
from optical.pipeline.run_folder import kept
from optical.version import __version__

if TYPE_CHECKING:
    from optical.evaluation.report import Report
    from optical.evaluation.tables import Table
    from optical.progress import Clock

Verb = TypeVar("Verb", bound=Callable[..., None])

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Teach a retriever a new query language from parallel sentences alone.",
    epilog="Every verb takes --json, --quiet and -v. Exit codes: 0 done, 1 an error that the message says how to mend, "
    "2 wrong usage, 130 stopped by Ctrl-C, 143 by SIGTERM.",
)
__all__ = ["app", "bold", "chosen", "console", "found", "hint", "kept", "say"]  # what verbs print by is taken from here

RECIPE = "Recipe"  # help panel of --recipe and --set
Lang = Annotated[
    str | None,
    typer.Option(
        "--lang", "-l", help="Language of the queries, as sw, or several, as sw,so. Required, here or in the recipe."
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        help="Folder or hub id of an English encoder, or two (DPR): QUERIES,DOCUMENTS.",
        show_default=str(Recipe.model_fields["teacher"].default),
    ),
]
StudentOption = Annotated[
    str | None,
    typer.Option(
        "--student",
        help="Folder or hub id of another encoder, which reads LANG, to start from.",
        show_default="the teacher",
    ),
]
BitextOption = Annotated[
    str | None,
    typer.Option(
        "--bitext",
        help="Sentence pairs: file, folder, Moses pair, or several: a.tsv,b@0.5 draws b half as often.",
        show_default="data/bitext/LANG, then the sample",
    ),
]
LexiconOption = Annotated[
    str | None,
    typer.Option(
        "--lexicon",
        help="Dictionary of English and LANG, for words that the sentence pairs lack: English<TAB>LANG, FreeDict's "
        ".index or .dict.dz, or a folder.",
    ),
]
CollectionOption = Annotated[
    str | None,
    typer.Option(
        "--collection",
        help="Folder with documents, queries and judgements, or irds:<id>.",
        show_default="the sample's, where there is one",
    ),
]
DocsOption = Annotated[
    str | None, typer.Option("--docs", help="Instead: documents alone, file or folder.")
]  # fmt: skip
WordsOption = Annotated[
    str | None,
    typer.Option("--words", help="More words in LANG: a list, .dic or folder."),
]
WordsFromCollection = Annotated[
    bool | None,
    typer.Option(
        "--words-from-collection", help="The words of documents in LANG.", hidden=True
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate time, disk, memory; write nothing.")]
Out = Annotated[str | None, typer.Option("--out", "-o", help="Folder of the run.", show_default="runs/LANG")]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe", "-r", help="TOML file; an option that is not in it has its default.", rich_help_panel=RECIPE
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="NAME=VALUE", help="Change one option of the recipe; repeatable.", rich_help_panel=RECIPE
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, as `optical distill` leaves it.")]
RunCollection = Annotated[
    str | None,
    typer.Option(
        "--collection", help="Another folder of documents, queries and judgements, or irds:<id>.",
        show_default="the run's",
    ),
]  # fmt: skip


def searched(collection: str | None, docs: str | None) -> str | None:
    """The path that is searched: of --collection or --docs, which differ in what their names promise."""
    if collection and docs:
        raise typer.BadParameter(
            f"{docs!r} would be searched instead of the --collection {collection!r}; give one of them",
            param_hint="--docs",
        )
    return collection or docs


def command(*everyday: str, model: type[BaseModel] = Recipe) -> Callable[[Verb], Verb]:
    """Register a verb that takes options of a recipe.

    Args:
        everyday: Recipe options that ``--help`` shows; ``--help-all`` shows all.
        model: The recipe of this verb.
    """

    def register(verb: Verb) -> Verb:
        name = verb.__name__
        shown = with_output(verb, hidden=name in FULL)
        app.command(name, cls=with_recipe(model, everyday), rich_help_panel=panel_of(name))(shown)
        return verb

    return register


def plain_command(verb: Verb) -> Verb:
    """Register a verb without a recipe."""
    name = verb.__name__
    app.command(name, rich_help_panel=panel_of(name))(with_output(verb, hidden=False))
    return verb


def main() -> None:
    """Run the program; an error that the user can mend is printed as one message, any other shows its trace."""
    reset()
    watch()
    _quiet()
    if (
        signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    ):  # so that what is unfinished is cleared away, as after Ctrl-C
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    catch_cut_files()
    try:
        app(prog_name="optical")
    except OpticalError as error:
        _stop(str(error), error.exit_code)
    except SystemExit as stop:
        if stop.code in (130, 143):  # typer ends with 130 after Ctrl-C and prints nothing
            _stop("stopped", stop.code)
        raise
    except Exception as error:
        fault = _write_fault(error)
        if fault is None:
            raise
        _stop(f"{fault}; what was there is untouched; free some space, or name another folder with --out")


def _write_fault(error: Exception) -> str | None:
    """Describe a file that could not be written; None for any other error."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
    if isinstance(error, OSError) and error.errno in full:
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}"
    # safetensors and tokenizers quote the system's message, numpy counts items, torch names its writer; last SQLite's.
    told = r"No space left|quota exceeded|File too large|\d+ requested and \d+ written|inline_container|disk is full"
    match = re.search(told, str(error))
    return f"a file cannot be written, the disk seems to be full ({str(error)[:100]})" if match else None


def _stop(message: str, code: int = 1) -> None:
    messages.print(f"[bold red]error:[/bold red] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(code)


def recipe_of(
    path: Path | None,
    settings: list[str] | None,
    threads_before: Callable[[Path], int | None] = lambda _: None,
    **named: Any,
) -> Recipe:
    """Read the recipe and apply the options of the command line, threads at once; --set wins over named options.

    ``threads_before`` tells by its folder how many threads the run had before, which goes on or is made again.
    """
    recipe = load_recipe(path, overrides_of(settings, named))
    take_threads(recipe.threads, threads_before(recipe.home))
    return recipe


def take_threads(told: int | None = None, before: int | None = None) -> None:
    """Give all libraries their threads, before the heavy ones are imported, and say where these are not all cores.

    Args:
        told: By the recipe.
        before: Of a job that goes on.
    """
    threads = choose_threads(told, before)
    use_threads(threads.number)
    if threads.sentence and threads.sentence != chosen.threads:
        say(threads.sentence)
    chosen.threads = threads.sentence


def overrides_of(settings: list[str] | None, named: dict[str, Any]) -> dict[str, Any]:
    """Collect options given by name and by --set: dotted name -> value."""
    overrides = {name: value for name, value in named.items() if value is not None}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"{setting!r} is not NAME=VALUE, as in training.steps=100", param_hint="--set")
        overrides[name.strip()] = value.lstrip()  # a prompt ends in a space
    return overrides


def show(table: Table, sentences: Sequence[str] = ()) -> None:
    """Print a table of results and the sentences about its tests."""
    from optical.evaluation.tables import terminal

    chosen.result.setdefault("tables", []).append(table._asdict())
    console.print(terminal(table))
    for sentence in sentences:
        console.print(sentence, markup=False)


def show_reports(reports: Mapping[str, Report]) -> None:
    """Print the table and the tests of each language, and a summary of several."""
    from optical.evaluation import report

    found(reports={lang: report.as_dict(one) for lang, one in reports.items()})
    for one in reports.values():
        show(report.table(one), report.sentences(one))
    if len(reports) > 1:
        show(report.summary_table(reports))


def show_seconds(clock: Clock) -> None:
    """Print where seconds went, stage by stage; small ones as one."""
    from optical.evaluation.tables import Table, terminal

    found(**clock.facts())
    wall, processor = sum(clock.seconds.values()), sum(clock.processor.values())
    large = [name for name, used in clock.seconds.items() if max(used, clock.processor[name]) >= 0.02 * wall]
    rows = [[name, f"{clock.seconds[name]:.1f}", f"{clock.processor[name]:.1f}"] for name in large]
    rest = [sum(value for name, value in one.items() if name not in large) for one in (clock.seconds, clock.processor)]
    rows += [["all else", *(f"{value:.1f}" for value in rest)], ["all", f"{wall:.1f}", f"{processor:.1f}"]]
    if not chosen.quiet:
        console.print(terminal(Table("where seconds went", ["stage", "clock", "processor"], rows, framed=False)))


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
    """Options of the program itself."""


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _say_cut(_: int) -> None:
    os.write(2, b"error: a file was cut while it was read; run `optical verify RUN`, `optical cache verify`\n")
    os._exit(1)


def catch_cut_files() -> None:
    """Say why the program ends when a file that it has mapped is cut, which the system answers with SIGBUS.

    No handler of Python's own would do: it runs after the read, which never ends.
    """
    if hasattr(signal, "SIGBUS"):
        ctypes.CDLL(None).signal(int(signal.SIGBUS), _say_cut)


def _quiet() -> None:
    """Silence progress bars and notices of libraries, which mean nothing to a user of this program."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    shown = logging.StreamHandler()
    shown.setFormatter(Plain("%(message)s"))
    logging.basicConfig(handlers=[shown], level=logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
