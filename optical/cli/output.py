"""Choose between tables for people and JSON for programs: --json, --quiet and -v, which every verb takes."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.segment import Segment

from optical.errors import visible
from optical.files import strict_json


class Screen(Console):
    """A console on which foreign text is text: escape sequences do nothing, and :100: is no emoji.

    Markup is this program's own; whatever else may hold brackets goes through :func:`bold` or ``escape``.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        """On standard output or standard error."""
        super().__init__(stderr=stderr, emoji=False)

    def render_str(self, text: str, **options: Any) -> Any:
        """A text with markup, its control characters spelled out."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """Whatever is printed, in pieces; none but the console's own has control characters."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(visible(piece.text), piece.style)


class Plain(logging.Formatter):
    """Messages of logs, which may quote files, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The message."""
        return visible(super().format(record))


console = Screen()  # results
messages = Screen(stderr=True)  # progress of --json, and errors


def bold(value: Any) -> str:
    """A value, such as a path, as markup that shows it in bold, whatever it holds."""
    return f"[bold]{escape(str(value))}[/bold]"


class Output:
    """The choices of this call.

    Attributes:
        json: One JSON value on standard output, and progress on standard error.
        quiet: No progress, no hints, no bars.
        result: Of this call, for --json.
        threads: What was said of them.
        verbose: Progress with its time, and notices of this program's and its libraries' own logs.
        begun: When the program began, in seconds.
    """

    def __init__(self) -> None:
        self.json = self.quiet = self.verbose = False
        self.result: dict[str, Any] = {}
        self.threads = ""
        self.begun = time.perf_counter()


chosen = Output()
_CONTROLS = re.compile("[\x7f-\x9f]")  # that JSON leaves as they are, and terminals obey
PANEL = "Output"
FLAGS = {
    "--json": "One JSON value; progress on standard error.",
    "--quiet": "The result alone: no progress, no bars.",
    "--verbose": "Times, and what libraries log.",
}


def reset() -> None:
    """Begin a call with the defaults."""
    chosen.__init__()
    console.quiet = False


def say(message: str) -> None:
    """Print progress, dimmed; with ``-v`` after the seconds since the start."""
    if chosen.quiet:
        return
    at = f"{time.perf_counter() - chosen.begun:7.1f} s  " if chosen.verbose else ""
    (messages if chosen.json else console).print(f"[dim]{at}{escape(message)}[/dim]", highlight=False)


def hint(message: str) -> None:
    """Print what to do next, which only people want."""
    if not chosen.quiet:
        console.print(message, highlight=False, soft_wrap=True)


def found(**facts: Any) -> None:
    """Add to the result that --json prints when the verb ends."""
    chosen.result |= facts


def with_output(verb: Callable[..., None], *, hidden: bool) -> Callable[..., None]:
    """Give a verb the options --json, --quiet and -v, which are taken before it runs.

    Args:
        verb: Its own parameters stay as they are.
        hidden: Leave them out of its help, where that is full.
    """
    panel: dict[str, Any] = {"rich_help_panel": PANEL, "hidden": hidden}
    names = {"json": ["--json"], "quiet": ["--quiet", "-q"], "verbose": ["--verbose", "-v"]}
    flags = {name: typer.Option(*given, help=FLAGS[given[0]], **panel) for name, given in names.items()}

    @functools.wraps(verb)
    def with_flags(json: bool, quiet: bool, verbose: bool, **own: Any) -> None:
        _choose(json, quiet, verbose)
        try:
            verb(**own)
        except typer.Exit:  # with a result and another code than 0
            _print_json()
            raise
        _print_json()

    own = inspect.signature(verb, eval_str=True)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, flag])
        for name, flag in flags.items()
    ]
    parameters = [*own.parameters.values(), *more]
    with_flags.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
    with_flags.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    del with_flags.__wrapped__
    return with_flags


def _print_json() -> None:
    if chosen.json and chosen.result:
        typer.echo(_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", strict_json(chosen.result)))


def _choose(json: bool, quiet: bool, verbose: bool) -> None:
    if quiet and verbose:
        raise typer.BadParameter("they contradict each other", param_hint="--quiet, --verbose")
    chosen.json, chosen.quiet, chosen.verbose = json, quiet, verbose
    console.quiet = json
    if quiet:
        os.environ["TQDM_DISABLE"] = "1"  # read when a bar opens, by this package, and by tqdm when it is imported
        logging.getLogger().setLevel(logging.ERROR)
    elif verbose:
        logging.getLogger("optical").setLevel(logging.INFO)
        for name in ("transformers", "sentence_transformers", "datasets"):
            logging.getLogger(name).setLevel(logging.INFO)
