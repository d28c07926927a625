"""Commands that answer others, serve; and what export and search say of places elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from optical.cli.app import Run, Settings, app, console, kept, recipe_of, say
from optical.recipe import Recipe

Engine = Literal["own", "qdrant"]
Target = Literal["onnx", "qdrant", "colbert"]
Url = Annotated[str | None, typer.Option("--url", help="Qdrant: http://host:6333; its key from QDRANT_API_KEY.")]
PathOption = Annotated[Path | None, typer.Option("--path", help="Qdrant: a folder instead of a server.")]
Name = Annotated[str | None, typer.Option("--name", help="Qdrant: the collection; default the name of the run.")]


@app.command()
def serve(
    run: Run,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    settings: Settings = None,
) -> None:
    """A page to ask questions in a browser, and the same as JSON at /api/search?q=...&k=5."""
    chosen = recipe_of(kept(run), settings, out=str(run))
    from optical.web import server

    server.check_installed()
    with server.bind(host, port) as own:
        from optical import answering
        from optical.web.app import create_app
        from optical.web.facts import about

        loaded = answering.load_answers(chosen, say)
        application = create_app(lambda q, k: answering.answer(loaded, q, k), about(loaded), server.names(host))
        if not server.is_local(host):
            console.print(
                f"[bold yellow]warning:[/bold yellow] {host} can be reached from other machines, and whoever reaches "
                "it can ask: there is no password and no encryption; put a proxy before it that has both"
            )
        console.print(f"answering at [bold]{server.address(own)}[/bold] until Ctrl-C")
        server.serve(application, own)


def export_to_qdrant(
    recipe: Recipe, url: str | None, path: Path | None, name: str | None, shards: int | None, replicas: int | None
) -> None:
    """The documents of a run to a server or a folder, and how to search there."""
    from optical import qdrant

    place = qdrant.place_of(recipe, url, path, name)
    done = qdrant.export_run(recipe, place, shards=shards, replicas=replicas, say=say)
    left = f", {done.left_out} without a token left out" if done.left_out else ""
    console.print(f"{done.points} documents are in [bold]{place}[/bold], {done.written} of them new{left}. Next:")
    where = f"--url {url}" if url else f"--path {path}"
    named = f" --name {name}" if name else ""
    console.print(
        f"  optical search {recipe.folder} 'your question' --engine qdrant {where}{named}",
        highlight=False,
        markup=False,
    )


def export_to_colbert(recipe: Recipe, out: str | None) -> None:
    """The student of a late-interaction run as one folder that three libraries load."""
    from optical import colbert

    folder = colbert.export_run(recipe, Path(out) if out else None, say)
    console.print(f"The student is in [bold]{folder}[/bold], for sentence-transformers, PyLate and Stanford's ColBERT.")
