"""Documents in JSON lines, CSV, TSV and Excel: what is read, what is an id, which place is named."""

import datetime

import openpyxl
import pytest

from optical.data.document_tables import excel_docs, json_docs, needed, table_docs
from optical.data.records import Doc
from optical.errors import DataError
from tests.data.conftest import jsonl, write


def excel(path, *rows):
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.save(path)
    return path


def test_json_lines_without_ids_have_their_line_as_id(tmp_path):
    file = write(tmp_path / "a.jsonl", jsonl([{"body": "one", "url": "u"}]) + "\n" + jsonl([{"contents": "two"}]))
    assert list(json_docs(file)) == [(1, Doc("1", "", "one", '{"url": "u"}')), (3, Doc("3", "", "two"))]
    assert [doc.id for _, doc in json_docs(file, "sub/a.jsonl")] == ["sub/a.jsonl:1", "sub/a.jsonl:3"]
    write(file, jsonl([{"id": "x", "text": "one"}, {"text": "two"}]))
    assert [doc.id for _, doc in json_docs(file)] == ["x", ""], "one that others have is missing, and refused later"
    write(file, jsonl([{"id": "x", "text": "one"}, {"Text": {}}]))
    with pytest.raises(DataError, match=rf"^no text in the document at {file}:2; .* may also be called body, contents"):
        list(json_docs(file))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_with_a_header_has_cells_of_several_lines(tmp_path, separator):
    rows = ["\ufeffID,Title,Body,Link", '7,Refunds,"Five days, or\n""six"".",u', "8,,Call us.,", ",,,", "9,,,"]
    file = write(tmp_path / "a.csv.gz", "\r\n".join(rows).replace(",", separator) + "\n")
    first = Doc("7", "Refunds", f'Five days{separator.strip()} or "six".', '{"Link": "u"}')
    assert list(table_docs(file)) == [(2, first), (4, Doc("8", "", "Call us.")), (6, Doc("9", "", ""))]


def test_a_table_without_a_header_is_ids_and_texts_in_tsv_alone(tmp_path):
    file = write(tmp_path / "docs.tsv", "d1\tNile\tA river.\nd2\t\tA lake.\n")
    assert list(table_docs(file)) == [(1, Doc("d1", "Nile", "A river.")), (2, Doc("d2", "", "A lake."))]
    with pytest.raises(DataError, match=rf"^no column is the text: {file}:1 has 'd1', 'Nile', 'A river\.'; name the"):
        list(table_docs(file, "docs.tsv"))
    file = write(tmp_path / "a.csv", "nummer,artikel\n1,x\n")
    with pytest.raises(DataError, match=rf"^no column is the text: {file}:1 has 'nummer', 'artikel'; .* text or body"):
        list(table_docs(file))
    with pytest.raises(DataError, match=r"empty\.csv:1 has nothing;"):
        list(table_docs(write(tmp_path / "empty.csv", "")))


def test_a_cell_may_be_longer_than_the_default_of_python(tmp_path):
    file = write(tmp_path / "a.csv", "text\n" + "word " * 40_000 + "\n")
    assert len(next(table_docs(file))[1].text) == 199_999


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('1,"a\nb"\n2,a,b\n', r"^3 cells where the header has 2: {}:4; put a cell that holds ',' or"),
        ("1\n", r"^1 cells where the header has 2: {}:2;"),
        ('1,x\n2,"a" b\n', r"^quotes that do not close \(.*\): {}:3; a cell that begins"),
        ('1,x\n2,"a\nb\n', r"^quotes that do not close \(.*\): {}:3;"),
    ],
)
def test_a_row_of_a_table_that_cannot_be_read_is_named(tmp_path, lines, says):
    file = write(tmp_path / "a.csv", f"id,text\n{lines}")
    with pytest.raises(DataError, match=says.format(file)):
        list(table_docs(file))


def test_excel(tmp_path):
    day = datetime.datetime(2026, 1, 2)
    file = excel(tmp_path / "a.xlsx", ["Id", "Title", "Text", None, "Day"], [1, "Maize", "grows", "?", day], [None] * 5,
                 [2.0, None, 7, None, None])  # fmt: skip
    maize = Doc("1", "Maize", "grows", '{"Day": "2026-01-02 00:00:00"}')
    assert list(excel_docs(file)) == [(2, maize), (4, Doc("2", "", "7"))]
    file = excel(tmp_path / "b.xlsx", ["text"], ["x"])
    assert list(excel_docs(file, "b.xlsx")) == [(2, Doc("b.xlsx:2", "", "x"))]
    with pytest.raises(DataError, match=r"^no column is the text: .*c\.xlsx:1 has artikel; name the columns"):
        list(excel_docs(excel(tmp_path / "c.xlsx", ["artikel"], ["x"])))
    with pytest.raises(DataError, match=r"c\.xlsx:1 has nothing;"):
        list(excel_docs(excel(tmp_path / "c.xlsx")))
    with pytest.raises(DataError, match=r"^no Excel workbook \(.*\): .*d\.xlsx; save it again"):
        list(excel_docs(write(tmp_path / "d.xlsx", "no zip")))


def test_a_reader_that_is_not_installed_is_named_with_the_extra(tmp_path):
    with pytest.raises(
        DataError, match=r"^a\.pdf is read by no_such_reader, which is not .*pip install 'optical\[docs\]'"
    ):
        needed("no_such_reader", "a.pdf")
