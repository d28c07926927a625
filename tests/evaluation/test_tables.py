"""Tables as Markdown and in terminals of any width: every figure is there and whole."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from optical.evaluation.tables import Table, markdown, page, terminal

TABLE = Table(
    "two systems",
    ["system", "queries", "MAP", "won / lost"],
    [["teacher as it is", "sw", "0.3125", "144 / 171"], ["student", "", "0.7500", ""]],
    left=2,
    bold=(1,),
)


def printed(table: Table, width: int, **options) -> str:
    console = Console(width=width, file=io.StringIO(), **options)
    console.print(terminal(table))
    return console.file.getvalue()


def test_markdown_aligns_names_left_and_figures_right():
    assert markdown(TABLE) == (
        "| system | queries | MAP | won / lost |\n| --- | --- | ---: | ---: |\n"
        "| teacher as it is | sw | 0.3125 | 144 / 171 |\n| student |  | 0.7500 |  |"
    )
    assert markdown(Table("", ["a", "b"], [])) == "| a | b |\n| --- | ---: |"


def test_a_page_has_a_paragraph_for_title_table_and_each_sentence():
    assert page(TABLE, ["one.", "two."]) == f"two systems\n\n{markdown(TABLE)}\n\none.\n\ntwo.\n"
    assert page(TABLE._replace(title="")) == markdown(TABLE) + "\n"


@pytest.mark.parametrize(("framed", "least"), [(True, 44), (False, 34)])
def test_a_narrow_terminal_wraps_names_and_cuts_no_figure(framed, least):
    wide, narrow = (printed(TABLE._replace(framed=framed), width) for width in (80, least))
    assert "teacher as it is" in wide
    assert "teacher as it is" not in narrow
    for text in (wide, narrow):
        assert "…" not in text
        assert all(word in text for word in ("teacher", "queries", "student", "0.3125", "0.7500", "144 / 171"))
    assert ("│" in wide) == framed


def test_rows_are_bold_where_the_table_says_so():
    lines = printed(TABLE, 80, force_terminal=True, no_color=True).splitlines()
    bold = [line for line in lines if "\x1b[1m" in line and "0." in line]
    assert len(bold) == 1
    assert "0.7500" in bold[0]


def test_a_table_without_rows_has_its_headings():
    assert "system" in printed(TABLE._replace(rows=[], bold=()), 80)


def test_a_cell_opens_no_column_no_line_and_no_tag():
    table = Table("", ("a|b", "c"), [("x|y\nz <script>alert(1)</script>", "\x1b[31m < .001")])
    assert markdown(table).splitlines() == [
        r"| a\|b | c |",
        "| --- | ---: |",
        r"| x\|y z &lt;script>alert(1)&lt;/script> | \x1b[31m < .001 |",
    ]
