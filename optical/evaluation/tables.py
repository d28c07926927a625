"""Tables of results: one type, one writer of Markdown, one of HTML, one for the terminal."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from optical.errors import visible

if TYPE_CHECKING:
    import rich.table


_TAG = re.compile(r"<(?=[A-Za-z/!?])")


class Table(NamedTuple):
    """A table whose cells are text already.

    Attributes:
        title: What the table shows; empty for a table without a title.
        head: Headings of the columns.
        rows: Rows, each with as many cells as there are headings.
        left: How many of the first columns hold names; they are aligned left, all others right.
        bold: Which rows the terminal shows in bold, counted from 0.
        framed: Whether the terminal draws lines between the columns; a table of many columns needs the room.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    bold: Collection[int] = ()
    framed: bool = True

    def _repr_html_(self) -> str:
        return html(self)


def markdown(table: Table) -> str:
    """The table alone, without its title and without a newline at the end."""
    rule = ["---" if k < table.left else "---:" for k in range(len(table.head))]
    rows = [[as_markdown(cell) for cell in cells] for cells in (table.head, *table.rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (rows[0], rule, *rows[1:]))


def as_markdown(text: str) -> str:
    """A text for one line of Markdown, or a cell of a table there: it opens no column, no line and no tag of HTML."""
    return _TAG.sub("&lt;", visible(" ".join(text.splitlines())).replace("|", "\\|"))


def page(table: Table, sentences: Sequence[str] = ()) -> str:
    """Title, table and sentences as the text of a Markdown file, a paragraph each."""
    title = [table.title] if table.title else []
    return "\n\n".join([*title, markdown(table), *sentences]) + "\n"


def html(table: Table, shades: Sequence[Sequence[float]] = ()) -> str:
    """The table for a notebook, in its colours, light or dark; whatever the cells hold is text there.

    Args:
        table: Its title becomes the caption.
        shades: Row by row, how strongly each of the last cells is tinted, 0 to 1.
    """
    from html import escape

    def cell(k: int, text: str, tag: str = "td", shade: float = 0.0) -> str:
        tint = f";background:rgba(90,150,220,{shade:.2f})" if shade else ""
        side = "left" if k < table.left else "right"
        return f'<{tag} style="text-align:{side};vertical-align:top{tint}">{escape(text)}</{tag}>'

    lines = ["<table>"]
    if table.title:
        lines.append(f'<caption style="text-align:left">{escape(table.title)}</caption>')
    lines.append("<tr>" + "".join(cell(k, text, "th") for k, text in enumerate(table.head)) + "</tr>")
    for number, cells in enumerate(table.rows):
        tints = [0.0] * len(cells)
        if shades:
            tints[len(cells) - len(shades[number]) :] = shades[number]
        tag = "th" if number in table.bold else "td"
        row = (cell(k, text, tag, tint) for k, (text, tint) in enumerate(zip(cells, tints, strict=True)))
        lines.append(f"<tr>{''.join(row)}</tr>")
    return "\n".join([*lines, "</table>"])


def terminal(table: Table) -> rich.table.Table:
    """The table for a terminal: in a narrow one names and headings are wrapped, and no figure is cut."""
    from rich import box
    from rich.table import Table as Rendered
    from rich.text import Text

    compact = {} if table.framed else {"box": box.SIMPLE_HEAD, "pad_edge": False, "padding": (0, 0)}
    rendered = Rendered(title=Text(visible(table.title)) if table.title else None, title_justify="left", **compact)
    for k, heading in enumerate(table.head):
        named = k < table.left
        cells = [cells[k] for cells in table.rows]
        unbroken = [*heading.split(), *(word for cell in cells for word in cell.split()), *([] if named else cells)]
        width = max(map(len, unbroken), default=1)
        rendered.add_column(
            Text(visible(heading)), justify="left" if named else "right", min_width=width, overflow="fold"
        )
    for k, cells in enumerate(table.rows):
        rendered.add_row(*(Text(visible(cell)) for cell in cells), style="bold" if k in table.bold else "")
    return rendered
