"""Verbs that show a run: align, report, verify, rerun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optical.cli.app import (
    Run,
    Settings,
    bold,
    chosen,
    command,
    console,
    found,
    kept,
    plain_command,
    recipe_of,
    say,
    show,
)
from optical.cli.help import HelpAll
from optical.generation import settle
from optical.pipeline.run_folder import REPORTED
from optical.pipeline.verify import threads_noted, verify_run

if TYPE_CHECKING:
    from rich.table import Table

    from optical.config.recipe import Recipe
    from optical.pipeline.align import WordPlan

SHOWN = 0.005  # share of a word's mass below which a cell stays empty
ERROR = "Alignment error"  # help panel of what --measure takes
UNNAMED = "x"  # the language of bitext that --lang does not name
LOW, HIGH = (136, 136, 136), (255, 140, 0)  # behind black figures, on a light terminal and on a dark one


@command("device", "objective.epsilon", "objective.centre")
def align(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Folder of a run, as `optical distill` leaves it; with --measure also any encoder."
        ),
    ],
    foreign: Annotated[str | None, typer.Argument(metavar="X", help="A sentence in a language of the run.")] = None,
    english: Annotated[str | None, typer.Argument(metavar="ENGLISH", help="Its English translation.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also a picture: plan.svg, plan.png or plan.pdf.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Instead: alignment error over held-out sentence pairs, by several links."),
    ] = False,
    bitext: Annotated[
        str | None,
        typer.Option("--bitext", help="Sentence pairs to measure on.", show_default="the run's", rich_help_panel=ERROR),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold",
            help="Right links of the lines of --bitext: i-j sure, i?j possible, the English word first, from 0.",
            show_default="silver links, by word alignment",
            rich_help_panel=ERROR,
        ),
    ] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", "-l", help="Language of X in --bitext.", rich_help_panel=ERROR)
    ] = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Show which English words the words of a sentence are moved to: the transport plan, before and after training.

    By the run's own objective options. A row is where the mass of a word of X goes, in %. Or --measure how well the
    token vectors align words: AER, precision, recall, F1.
    """
    if measure:
        if foreign is not None or out is not None:
            raise typer.BadParameter(
                f"sentence pairs are measured, and {foreign or out} would not be used; leave it out"
            )
        _measure(run, bitext, gold, lang, settings)
        return
    unused = next((name for name, one in (("--bitext", bitext), ("--gold", gold), ("--lang", lang)) if one), None)
    if unused:
        raise typer.BadParameter("only --measure uses it; give that too, or leave it out", param_hint=unused)
    if foreign is None or english is None:
        raise typer.BadParameter('give two sentences, as "Ninakunywa maji" "I drink water", or --measure')
    _show_plans(recipe_of(kept(Path(run), "transplant"), settings, out=run), foreign, english, out)


def _measure(run: str, bitext: str | None, gold: Path | None, lang: str | None, settings: list[str] | None) -> None:
    """Print the alignment errors of a run or of an encoder."""
    if (Path(run) / "recipe.toml").is_file():
        wanted = recipe_of(kept(Path(run), "transplant"), settings, out=run, lang=lang)
        from optical.pipeline import alignment_error

        measured = alignment_error.measure_run(wanted, bitext, gold, say)
    else:
        if bitext is None:
            raise typer.BadParameter(
                f"an encoder has no bitext of its own, and {run} is no run; give some", param_hint="--bitext"
            )
        wanted = recipe_of(None, settings, teacher=run, lang=lang or UNNAMED, bitext=bitext)
        from optical.pipeline import alignment_error

        measured = alignment_error.measure_encoder(wanted, gold, say)
    found(alignment=alignment_error.as_dict(measured))
    show(alignment_error.table(measured), alignment_error.sentences(measured))


def _show_plans(recipe: Recipe, foreign: str, english: str, out: Path | None) -> None:
    """Print the plans of a run between two sentences."""
    from optical.pipeline import align as pipeline_align

    if out is not None:
        pipeline_align.check_picture(out)
    plans = pipeline_align.align_run(recipe, foreign, english, say)
    found(
        plans={
            name: {"foreign": one.foreign, "english": one.english, "mass": one.mass.tolist(), "cost": one.cost}
            for name, one in plans.items()
        }
    )
    for name, plan in plans.items():
        console.print(f"\n{bold(name)}: cost {plan.cost:.3f}, {100 * plan.mass.sum():.0f} % of the mass moved")
        for part in heat_map(plan, console.width):
            console.print(part)
    first, *others = plans.values()
    if any(first.cost == other.cost for other in others):
        console.print("both are the same: the run has kept its start, since no checkpoint was better")
    if out is not None:
        pipeline_align.draw(plans, out, say)
        found(picture=str(out))
        console.print(f"the picture is in {bold(out)}", soft_wrap=True)


@command("collection")
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folder of a run, as `optical distill` leaves it; several are compared."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file.", show_default="report.html in RUN; comparison.html in the first of several"
        ),
    ] = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Write one page that shows a run, or compares several: bars, curves, questions won and lost, plans, bitext.

    Self-contained HTML: nothing is loaded from elsewhere.
    """
    wanted = [recipe_of(kept(run, *REPORTED), settings, out=str(run)) for run in dict.fromkeys(runs)]
    from optical.pipeline.html_report import report_runs

    path = report_runs(wanted, out, say)
    found(report=str(path))
    console.print(f"the page is in {bold(path)}", soft_wrap=True)


@plain_command
def verify(run: Run) -> None:
    """Compare every file of a run with the checksum that was noted when it was written."""
    settle(run)
    files, damages = verify_run(run)
    found(files=files, damages=[{**one._asdict(), "path": str(one.path)} for one in damages])
    for damage in damages:
        console.print(str(damage), markup=False, highlight=False, soft_wrap=True)
    console.print(f"{files - len(damages)} of {files} files of {run} are as they were written", highlight=False)
    if damages:
        raise typer.Exit(1)


@plain_command
def rerun(run: Run) -> None:
    """Make a run again by its own recipe in a temporary folder, and tell whether it has the same bits."""
    wanted = recipe_of(kept(run), None, threads_noted, out=str(run))
    from optical.pipeline import rerun as pipeline_rerun

    outcome = pipeline_rerun.rerun(wanted, say, progress=not chosen.quiet)
    found(
        same=outcome.same, different=outcome.different, circumstances=outcome.circumstances,
        figures=[[*key, *both] for key, both in outcome.figures.items()],
    )  # fmt: skip
    for name, (before, now) in outcome.circumstances.items():
        console.print(f"{name}: {before} then, {now} now", markup=False, highlight=False, soft_wrap=True)
    if not outcome.different:
        console.print(f"the same bits: {len(outcome.same)} files")
        return
    console.print(f"{len(outcome.different)} of {len(outcome.different) + len(outcome.same)} files differ:")
    for name in outcome.different:
        console.print(f"  {name}", markup=False, highlight=False)
    show(pipeline_rerun.table(outcome))
    raise typer.Exit(1)


def heat_map(plan: WordPlan, width: int) -> Iterator[Table]:
    """Draw a plan as tables that fit a terminal, some English words each."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    shares = plan.shares()
    for columns in _blocks([max(3, cell_len(word)) for word in plan.english], width - max(map(cell_len, plan.foreign))):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
        table.add_column("", no_wrap=True)
        for j in columns:
            table.add_column(Text(plan.english[j]), justify="right", no_wrap=True)
        for word, row in zip(plan.foreign, shares, strict=True):
            cells = (Text(f"{100 * row[j]:3.0f}", _colour(row[j])) if row[j] >= SHOWN else "" for j in columns)
            table.add_row(Text(word), *cells)
        yield table


def _blocks(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns in groups that fit, one at least in each."""
    block: list[int] = []
    for j in range(len(widths)):
        if block and sum(widths[k] + 1 for k in (*block, j)) > room:
            yield block
            block = []
        block.append(j)
    yield block


def _colour(share: float) -> str:
    mixed = (round(low + share * (high - low)) for low, high in zip(LOW, HIGH, strict=True))
    return f"black on rgb({','.join(map(str, mixed))})"
