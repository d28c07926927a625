"""Verbs that give a run to others: serve, export. Also the options of servers of documents."""

from __future__ import annotations

import json
import shlex
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from optical.cli.app import Run, Settings, bold, chosen, command, console, found, hint, kept, recipe_of, say, show
from optical.cli.help import HelpAll
from optical.config.recipe import Recipe
from optical.data.document_store import ids_of
from optical.data.feedback import Feedback, check_feedback
from optical.errors import DataError
from optical.pipeline import preflight
from optical.pipeline.run_folder import SEARCHED, read_files

if TYPE_CHECKING:
    from optical.pipeline.answer import Answers

Engine = Literal["own", "qdrant", "pgvector"]
Target = Literal["onnx", "qdrant", "pgvector", "colbert", "router"]
SERVERS = "Qdrant, or PostgreSQL with pgvector"  # help panel of the options that say where it is
EngineOption = Annotated[
    Engine,
    typer.Option("--engine", help="Search the run's own index, Qdrant, or PostgreSQL.", rich_help_panel=SERVERS),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Server: http://host:6333, its key from QDRANT_API_KEY; postgresql://user@host/database, its password "
        "from PGPASSWORD.",
        rich_help_panel=SERVERS,
    ),
]
PathOption = Annotated[
    Path | None, typer.Option("--path", help="Qdrant: folder, instead of a server.", rich_help_panel=SERVERS)
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", help="Collection there, or table: name, schema.name.", show_default="the name of the run",
        rich_help_panel=SERVERS,
    ),
]  # fmt: skip


@command("device", "search.probe", "search.candidates", "search.mapped")
def serve(
    run: Run,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0: any.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    engine: EngineOption = "own",
    url: Url = None,
    path: PathOption = None,
    name: Name = None,
    queue: Annotated[int, typer.Option("--queue", min=0, help="Requests that may wait; one more gets 429.")] = 64,
    feedback: Annotated[
        Path | None,
        typer.Option("--feedback", help="Ask for thumbs up or down, and add questions and judgements to this file."),
    ] = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Serve a page to ask questions in a browser, and JSON at /api/search?q=...&k=5."""
    file = kept(run, *SEARCHED)
    before = read_files(run)
    wanted = recipe_of(file, settings, out=str(run))
    check_place(engine, url, path, name)
    preflight.before_search(wanted)
    if feedback:
        check_feedback(feedback)
    from optical.web import server

    server.check_installed()
    with server.bind(host, port) as own, opened_answers(wanted, engine, url, path, name) as answers:
        from optical.pipeline.inputs import asked_of
        from optical.web.endpoints import create_app
        from optical.web.facts import about

        facts = about(
            wanted, answers.lang, answers.collection, late=answers.late, penalised=answers.penalised, engine=engine
        )
        if read_files(run) != before:
            raise DataError(f"{run} was written anew while it was opened; start the server again")
        langs = asked_of(wanted, answers.lang)
        judge = Feedback(feedback, langs, set(ids_of(answers.collection.docs))).add if feedback else None
        facts["feedback_languages"] = langs if feedback else []
        application = create_app(answers.answer_all, facts, server.names(host), queue, answers.known, judge)
        if not server.is_local(host):
            console.print(
                f"[bold yellow]warning:[/bold yellow] {host} can be reached from other machines, and whoever reaches "
                "it can ask: there is no password and no encryption; put a proxy before it that has both"
            )
        if chosen.json:  # at once: the verb ends by Ctrl-C
            typer.echo(json.dumps({"address": server.address(own)}))
        if feedback:
            console.print(f"questions that are judged are kept, with the judgement, in {bold(feedback)}")
        console.print(f"answering at {bold(server.address(own))} until Ctrl-C")
        server.serve(application, own)


@command("device", "search.depth")
def export(
    run: Run,
    to: Annotated[
        Target,
        typer.Option(
            "--to",
            help="The student as onnx or as a colbert folder; with the teacher for the documents, as a router; the "
            "documents to qdrant or, in PostgreSQL, to pgvector.",
        ),
    ] = "onnx",
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder of the export.", show_default="RUN/onnx, RUN/colbert, RUN/router"),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="onnx: also a graph with int8 weights.")] = True,
    url: Url = None,
    path: PathOption = None,
    name: Name = None,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, help="Qdrant: parts on a server.", rich_help_panel=SERVERS)
    ] = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", min=1, help="Qdrant: copies of each part.", rich_help_panel=SERVERS)
    ] = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Export the student as ONNX (no torch), for ColBERT libraries or as a Router, or the documents to a server.

    ONNX comes with a table of what each file costs and loses.
    """
    wanted = recipe_of(kept(run), settings, out=str(run))
    if to not in ("qdrant", "pgvector") and (url or path or name or shards or replicas):
        raise typer.BadParameter("these options are for --to qdrant", param_hint="--url, --path, --name, ...")
    if to == "pgvector" and (path or shards or replicas):
        raise typer.BadParameter("these options are for --to qdrant", param_hint="--path, --shards, --replicas")
    preflight.before_export(wanted, Path(out) if out else wanted.folder / to, to)
    if to == "qdrant":
        export_to_qdrant(wanted, url, path, name, shards, replicas, settings)
    elif to == "pgvector":
        export_to_pgvector(wanted, url, name, settings)
    elif to == "colbert":
        export_to_colbert(wanted, out)
    elif to == "router":
        export_to_router(wanted, out)
    else:
        _export_onnx(wanted, out, int8)


def _export_onnx(recipe: Recipe, out: str | None, int8: bool) -> None:
    from optical.pipeline import export as pipeline_export

    result = pipeline_export.export_onnx(recipe, Path(out) if out else None, int8=int8, say=say)
    show(pipeline_export.table(result), pipeline_export.sentences(result))
    found(export=str(result.folder))
    hint(f"\nThe export is in {bold(result.folder)}. Next, in Python, without torch:")
    hint("  from optical.models.onnx_encoder import OnnxEncoder")
    hint(escape(f"  OnnxEncoder.load({str(result.folder)!r}).encode(['your question'])"))


def check_place(engine: Engine, url: str | None, path: Path | None, name: str | None) -> None:
    """Refuse options of a server where it has none."""
    if engine == "own" and (url or path or name):
        raise typer.BadParameter("only --engine qdrant or pgvector has a place", param_hint="--url, --path, --name")
    if engine == "pgvector" and path:
        raise typer.BadParameter("only --engine qdrant has a folder", param_hint="--path")


def opened_answers(
    recipe: Recipe, engine: Engine, url: str | None, path: Path | None, name: str | None
) -> AbstractContextManager[Answers]:
    """Open the run's own index, or its documents in Qdrant or PostgreSQL, to answer questions."""
    from optical.pipeline import answer, pgvector, qdrant

    if engine == "own":
        place = None
    elif engine == "qdrant":
        place = qdrant.place_of(recipe, url, path, name)
    else:
        place = pgvector.table_of(recipe, url, name)
    return answer.opened(recipe, place, say)


def export_to_qdrant(
    recipe: Recipe, url: str | None, path: Path | None, name: str | None, shards: int | None, replicas: int | None,
    settings: list[str] | None,
) -> None:  # fmt: skip
    """Write the documents of a run to a Qdrant server or folder and print how to search there."""
    from optical.pipeline import qdrant

    place = qdrant.place_of(recipe, url, path, name)
    done = qdrant.export_qdrant(recipe, place, shards=shards, replicas=replicas, say=say)
    left = f", {done.left_out} without a token left out" if done.left_out else ""
    console.print(f"{done.points} {done.unit} are in {bold(place)}, {done.written} of them new{left}. Next:")
    found(place=str(place), documents=done.points, written=done.written, left_out=done.left_out)
    _print_next(recipe, "qdrant", f"--url {url}" if url else f"--path {path}", name, settings)


def export_to_pgvector(recipe: Recipe, url: str | None, name: str | None, settings: list[str] | None) -> None:
    """Write the documents of a run to a table of PostgreSQL and print how to search there."""
    from optical.pipeline import pgvector

    done = pgvector.export_pgvector(recipe, pgvector.table_of(recipe, url, name), say)
    console.print(
        f"{done.documents} {done.unit} are in {bold(done.table)}: {done.written} written, {done.deleted} deleted. Next:"
    )
    found(place=str(done.table), documents=done.documents, written=done.written, deleted=done.deleted)
    _print_next(recipe, "pgvector", f"--url {shlex.quote(done.table.address)}", name, settings)


def _print_next(recipe: Recipe, engine: Engine, where: str, name: str | None, settings: list[str] | None) -> None:
    """Print the commands that search on a server what was just written there."""
    named = (f" --name {shlex.quote(name)}" if name else "") + "".join(
        f" --set {shlex.quote(one)}" for one in settings or []
    )
    folder = shlex.quote(str(recipe.folder))
    for line in (f"search {folder} 'your question'", f"serve {folder}"):
        hint(escape(f"  optical {line} --engine {engine} {where}{named}"))


def export_to_colbert(recipe: Recipe, out: str | None) -> None:
    """Write the student of a late-interaction run as one folder that three ColBERT libraries load."""
    from optical.pipeline import export as pipeline_export

    folder = pipeline_export.export_colbert(recipe, Path(out) if out else None, say)
    found(export=str(folder))
    console.print(f"The student is in {bold(folder)}, for sentence-transformers, PyLate and Stanford's ColBERT.")


def export_to_router(recipe: Recipe, out: str | None) -> None:
    """Write the student and the teacher's encoder of documents as one folder."""
    from optical.pipeline import export as pipeline_export

    folder = pipeline_export.export_router(recipe, Path(out) if out else None, say)
    found(export=str(folder))
    console.print(f"Student and teacher are in {bold(folder)}: its encode_query is the student's, its")
    console.print("encode_document the teacher's. It can be --teacher of other languages.", highlight=False)
