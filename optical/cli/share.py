"""Verbs that share a run with others: push, pull; and mteb, which measures it as others do."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from optical.cli.app import (
    Run,
    RunCollection,
    Settings,
    bold,
    command,
    console,
    found,
    hint,
    kept,
    plain_command,
    recipe_of,
    say,
    show,
)
from optical.cli.help import HelpAll
from optical.pipeline import preflight
from optical.pipeline.run_folder import SEARCHED

Address = Annotated[str, typer.Argument(metavar="USER/NAME", help="Repository of a model hub.")]


@plain_command
def push(
    run: Run,
    address: Address,
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see a new repository; otherwise it is private.")
    ] = False,
    with_index: Annotated[bool, typer.Option("--with-index", help="Send the indexes too.")] = False,
    licence: Annotated[
        str | None,
        typer.Option("--license", metavar="ID", help="Licence in the card, cc-by-4.0.", show_default="other"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be sent, and send nothing.")] = False,
) -> None:
    """Send a run to a model hub: student, card, recipe, manifest, measures. Needs a token: HF_TOKEN.

    Its address then loads the student in sentence-transformers, and `optical pull` the whole run. Sentence pairs,
    documents and folder names of this machine stay here.
    """
    recipe = recipe_of(kept(run, *SEARCHED, "evaluation"), None, out=str(run))
    from optical.pipeline import hub

    hub.check_pushed(recipe, address)
    sent = hub.contents(recipe, address, with_index=with_index, licence=licence)
    if Path(recipe.teacher).is_absolute() or Path(recipe.teacher).is_dir():
        console.print(
            f"[bold yellow]warning:[/bold yellow] the teacher, {escape(recipe.teacher)}, is a folder of this machine "
            "and is not sent: others have no encoder of documents but the student itself"
        )
    found(files=list(sent), sent=not dry_run)
    if dry_run:
        for name in sent:
            console.print(f"  {escape(name)}", highlight=False)
        console.print(f"{hub.described(sent)} would be sent to {escape(address)}; nothing was")
        return
    place = hub.push_run(address, sent, public=public, say=say)
    found(address=place)
    console.print(f"The run is at {bold(place)}. Elsewhere:")
    hint(escape(f"  optical pull {address}\n  SentenceTransformer({address!r})"))


@plain_command
def pull(
    address: Address,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run, a new one.", show_default="runs/NAME")
    ] = None,
) -> None:
    """Fetch a run that `optical push` sent: everything but its documents."""
    from optical.pipeline import hub

    folder = out or Path("runs") / address.rpartition("/")[2]
    recipe = hub.pull_run(address, folder, say)
    found(run=str(folder), student=str(folder / "student"), teacher=recipe.teacher)
    console.print(f"The run is in {bold(folder)}. Next, with your documents:")
    named = shlex.quote(str(folder))
    hint(escape(f"  optical index {named} --docs FOLDER\n  optical search {named} 'a question in {recipe.langs[0]}'"))


@command("device", "search.split")
def mteb(
    run: Run,
    collection: RunCollection = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Measure a run on its collection by MTEB: questions read by the student, English documents by the teacher."""
    wanted = recipe_of(kept(run), settings, out=str(run), collection=collection)
    from optical.pipeline import mteb_run as pipeline_mteb

    pipeline_mteb.check_installed()
    preflight.before_mteb(wanted)
    results = pipeline_mteb.mteb_run(wanted, say)
    found(results=results)
    show(pipeline_mteb.table(results))
