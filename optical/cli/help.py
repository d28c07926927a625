"""Help: the verbs in the order of use, and the options of a recipe below the options of a verb.

``--help`` shows a verb's own options and the recipe's everyday ones, ``--help-all`` every option of a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from optical.cli.output import FLAGS, PANEL
from optical.config.recipe import options

PANELS = {
    "Make a student": ("data", "bitext", "transplant", "distill"),
    "Use it": ("evaluate", "search", "serve", "export"),
    "See it": ("report", "align", "probe", "verify", "rerun"),
    "Share it": ("push", "pull", "mteb"),
    "Documents": ("embed", "index", "cache"),
    "English teacher": ("teach",),
    "Installation": ("doctor",),
}
FULL = ("distill", "evaluate", "embed")  # verbs whose short help has no line left for the options of the output


def panel_of(verb: str) -> str:
    """The panel of the program's help that lists a verb."""
    return next(panel for panel, verbs in PANELS.items() if verb in verbs)


class Verbs(TyperGroup):
    """The group of all verbs; its help lists them in the order of :data:`PANELS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order of use."""
        order = [verb for verbs in PANELS.values() for verb in verbs]
        return sorted(super().list_commands(ctx), key=order.index)


class WithRecipe(TyperCommand):
    """A verb that takes options of a recipe by ``--set``; :func:`with_recipe` makes a subclass for each."""

    model: type[BaseModel]
    everyday: tuple[str, ...]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help and the everyday options."""
        super().format_help(ctx, formatter)
        known = options(self.model)
        _print_panel("Everyday options of a recipe: --set NAME=VALUE", {name: known[name] for name in self.everyday})

    def print_all(self, ctx: Any) -> None:
        """Print the help and every option of a recipe, by section."""
        super().format_help(ctx, ctx.make_formatter())
        if ctx.command.name in FULL:
            _print_panel(PANEL, FLAGS)
        sections: dict[str, dict[str, str]] = {}
        for name, text in options(self.model).items():
            sections.setdefault(name.rpartition(".")[0], {})[name] = text
        for section, rows in sections.items():
            _print_panel(section or "Every option of a recipe: --set NAME=VALUE", rows)


def with_recipe(model: type[BaseModel], everyday: tuple[str, ...]) -> type[WithRecipe]:
    """Make the class of a verb that takes the options of ``model``; ``--help`` shows the ``everyday`` ones."""
    return type("WithTheseOptions", (WithRecipe,), {"model": model, "everyday": everyday})


def _print_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing and isinstance(ctx.command, WithRecipe):
        ctx.command.print_all(ctx)
        raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all", callback=_print_all, is_eager=True, help="Show this message and every option of a recipe."
    ),
]


def _print_panel(title: str, rows: Mapping[str, str]) -> None:
    """Print options and their descriptions in a frame like typer's own."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for name, text in rows.items():
        table.add_row(Text(name, "bold cyan"), Text(text))
    Console(highlight=False).print(Panel(table, title=Text(title), title_align="left", border_style="dim"))
