"""Commands that answer others: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from optical.cli.app import Run, Settings, app, console, kept, recipe_of, say


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
