"""Documents as files: tables, workbooks, pages, PDF, folders; and small files that grow large."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optical.data.word_list import read_word_list
from tests.hostile.case import Case, Reads, Refused, written
from tests.hostile.formats import ENGLISH_DOCS, FORMATS, collection, documents, pairs

DEEP = 100_000


def _one(name: str, data: bytes | str) -> Callable[[Path], Callable[[], Any]]:
    return lambda folder: lambda file=written(folder / "docs" / name, data): documents(file.parent)


def _first(name: str, data: bytes | str) -> Callable[[Path], Callable[[], Any]]:
    """The beginning of the text of the first document."""
    return lambda folder: lambda file=written(folder / "docs" / name, data): documents(file.parent)[0][2][:8]


TABLES = {
    "a quote that stays open": 'id,text\nd1,"A river.\nd2,A lake.\n',
    "a quote that stays open for 20 MB": 'id,text\nd1,"' + "A river.\n" * 2_300_000,
    "a cell of 20 MB": "id,text\nd1," + "a" * 20_000_000,
    "2,000,000 columns": "id,text" + ",a" * 2_000_000 + "\n",
    "2,000,000 cells": "id,text\nd1" + ",a" * 2_000_000 + "\n",
    "no text": "id,name\nd1,x\n",
    "text twice": "id,text,text\nd1,A river.,A lake.\n",
    "id twice": "id,id,text\nd1,d2,A lake.\n",
    "a row too short": "id,text\nd1\n",
    "a row too long": "id,text\nd1,A,B\n",
    "a header alone": "id,text\n",
    "an id twice": "id,text\nd1,A river.\nd1,A lake.\n",
    "one quote": 'id,text\n"\n',
    "quotes inside": 'id,text\nd1,"A"b\n',
}


def _workbook(sheet: str, **others: bytes | str) -> bytes:
    """A workbook of one sheet, whose rows are given as XML."""
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override '
        'PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.'
        'main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-'
        'officedocument.spreadsheetml.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{relations}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="a" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1" '
        f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": sheet
        if sheet.startswith("<?")
        else f'<worksheet xmlns="{main}">{sheet}</worksheet>',
        **others,
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, part in parts.items():
            packed.writestr(name, part)
    return data.getvalue()


def _row(number: int, *cells: str) -> str:
    inside = "".join(
        f'<c r="{chr(65 + k)}{number}" t="inlineStr"><is><t>{cell}</t></is></c>' for k, cell in enumerate(cells)
    )
    return f'<row r="{number}">{inside}</row>'


def _sheet(*rows: str, before: str = "") -> str:
    return f"{before}<sheetData>{_row(1, 'id', 'text')}{''.join(rows)}</sheetData>"


RIVER = _row(2, "d1", "A river.")
GROWN = "<worksheet>" + " " * 300_000_000 + "</worksheet>"
BAD_BOOKS: dict[str, Callable[[], bytes]] = {
    "noise": lambda: bytes(range(256)) * 20,
    "a zip of something else": lambda: _zip({"a.txt": "a"}),
    "cut": lambda: _workbook(_sheet(RIVER))[:-40],
    "a sheet that is no XML": lambda: _workbook("<?xml version='1.0'?><worksheet><a></worksheet>"),
    "300 MB of blanks": lambda: _workbook("<?xml version='1.0'?>" + GROWN),
    "an entity many times": lambda: _workbook(
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "' + "a" * 50_000 + '">]><worksheet xmlns="http://schemas.openxml'
        'formats.org/spreadsheetml/2006/main">' + _sheet(_row(2, "d1", "&a;" * 50_000)) + "</worksheet>"
    ),
    "100,000 deep": lambda: _workbook(_sheet("<a>" * DEEP + "</a>" * DEEP)),
    "a text that is nowhere": lambda: _workbook(_sheet('<row r="2"><c r="A2" t="s"><v>99</v></c></row>')),
    "no number": lambda: _workbook(_sheet('<row r="2"><c r="A2"><v>one</v></c><c r="B2"><v>two</v></c></row>')),
    "a row of 5,000 digits": lambda: _workbook(_sheet(f'<row r="{"9" * 5_000}"><c><v>1</v></c></row>')),
    "a column of 5,000 letters": lambda: _workbook(_sheet(f'<row r="2"><c r="{"Z" * 5_000}2"><v>1</v></c></row>')),
    "no sheet": lambda: _workbook(_sheet(RIVER), **{"xl/workbook.xml": "<workbook><sheets/></workbook>"}),
    "no text": lambda: _workbook("<sheetData>" + _row(1, "id", "name") + "</sheetData>"),
    "an old workbook": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(5_000),
}
GOOD_BOOKS = {
    "a sheet": _sheet(RIVER),
    "a size that is not its own": _sheet(RIVER, before='<dimension ref="A1:XFD1048576"/>'),
    "a cell far below": _sheet(RIVER, '<row r="1048576"><c r="A1048576"/></row>'),
    "a cell far to the right": _sheet(RIVER, '<row r="3"><c r="XFD3"/></row>'),
    "a cell in the last corner": _sheet(RIVER, '<row r="1048576"><c r="XFD1048576"/></row>'),
    "10,000 cells far to the right": _sheet(RIVER, *(f'<row r="{k}"><c r="XFD{k}"/></row>' for k in range(3, 10_003))),
}


def _zip(parts: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, part in parts.items():
            packed.writestr(name, part)
    return data.getvalue()


def pdf(content: bytes, *, filters: str = "", kids: str = "[3 0 R]", count: str = "1", more: bytes = b"") -> bytes:
    """A PDF of one page."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids {kids} /Count {count} >>".encode(),
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 9 9] /Resources << /Font << /F 5 0 R >> >> >>",
        f"<< /Length {len(content)} {filters} >>\nstream\n".encode() + content + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    data, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n".encode() + one + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = f"xref\n0 {len(objects) + 1}\n".encode() + b"0000000000 65535 f \n" + table
    return data + more + head + b"trailer << /Root 1 0 R /Size 6 >>\nstartxref\n%d\n%%%%EOF\n" % (len(data) + len(more))


SHOWN = b"BT /F 1 Tf (A river.) Tj ET"
BAD_PDF: dict[str, Callable[[], bytes]] = {
    "noise": lambda: b"%PDF-1.4\n" + bytes(range(256)) * 20,
    "nothing": lambda: b"",
    "no PDF": lambda: b"A river.",
    "cut": lambda: pdf(SHOWN)[:60],
    "pages in a circle": lambda: pdf(SHOWN, kids="[2 0 R 3 0 R]"),
    "brackets 100,000 deep": lambda: pdf(b"[" * DEEP + b" " + SHOWN),
    "1 GB when unpacked": lambda: pdf(_deflated(1_000), filters="/Filter /FlateDecode"),
    "unpacked twice": lambda: pdf(zlib.compress(_deflated(1_000)), filters="/Filter [/FlateDecode /FlateDecode]"),
}
READ_PDF: dict[str, Callable[[], bytes]] = {
    "a page": lambda: pdf(SHOWN),
    "the same page 1,000 times": lambda: pdf(SHOWN, kids="[" + "3 0 R " * 1_000 + "]", count="1000"),
    "a count that is not its own": lambda: pdf(SHOWN, count="999999999"),
}


def _deflated(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(megabytes)) + packer.flush()


def page(body: str, head: str = "") -> str:
    """A web page with a paragraph that is long enough to be its text."""
    said = "<p>A river in Africa, and a long one, which runs from the great lakes to the sea in the north.</p>" * 3
    return f"<html><head><title>Nile</title>{head}</head><body>{body}{said}</body></html>"


BAD_PAGES = {
    "100,000 deep": page("<div>" * DEEP),
    "300 deep": page("<div>" * 300),
    "100,000 bold in bold": page("<b>" * DEEP),
    "100,000 attributes": page("<p " + " ".join(f"a{k}=1" for k in range(DEEP)) + ">x</p>"),
    "100,000 attributes behind a quoted angle": page('<p b=">" ' + " ".join(f"a{k}" for k in range(DEEP)) + ">x</p>"),
    "noise": "\0\x01\x02" * 5_000,
}
PAGES = {
    "plain": page(""),
    "200 deep": page("<div>" * 200),
    "angles": page("<" * DEEP),
    "ampersands": page("&" * DEEP),
    "a comment that stays open behind": page("") + "<!--" + "a" * DEEP,
    "an attribute of 5 MB": page(f'<p title="{"a" * 5_000_000}">x</p>'),
    "an encoding that nobody knows": page("", '<meta charset="klingon">'),
    "a script": page("<script>alert(1)</script>"),
    "a date that is none": page("", '<meta name="date" content="2026-13-45">'),
    "100,000 rows": page("<table>" + "<tr><td>a</td></tr>" * 20_000 + "</table>"),
    "20,000 links": page('<a href="x">y</a>' * 20_000),
}
MARKDOWN = {
    "brackets": "[" * DEEP,
    "brackets closed": "[" * 5_000 + "](x)" * 5_000,
    "stars": "*a " * 30_000,
    "stars alone": "*" * DEEP,
    "backticks": "`" * DEEP + " " + "``" * 1_000,
    "quotes": ">" * DEEP,
    "lists": "- " * DEEP,
    "lists within": "\n".join("  " * k + "- a" for k in range(500)),
    "angles": "<" * DEEP,
    "an HTML block of angles": "<div>\n" + "<" * DEEP + "\n",
    "entities": "&amp" * DEEP,
    "underscores": "_a" * 50_000,
    "links": "![a](" * 20_000,
    "a table": "|a" * 50_000 + "\n" + "|-" * 50_000,
    "dashes that stay open": "---\n" + "a: b\n" * 1_000,
}
FRONT = {
    "aliases that multiply": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 9)}]\n" for k in range(9)),
    "an alias of itself": "a: &a [*a]",
    "lists, 100,000 deep": "a: " + "[" * DEEP,
    "tables, 100,000 deep": "a: " + "{b: " * DEEP,
    "indented 3,000 deep": "\n".join(" " * k + "a:" for k in range(3_000)),
    "a date that is none": "a: 2026-13-45",
    "a number of 5,000 digits": f"a: {'9' * 5_000}",
    "an object of Python": "a: !!python/object/apply:os.system [ls]",
    "a key that is a list": "? [a]\n: b",
    "a tab": "a:\tb\n\tc: d",
    "a byte that YAML lacks": "a: \x07",
    "not closed": 'a: "b',
    "binary that is none": "a: !!binary x",
    "a number that is none": "a: !!int x",
}
FRONT_READ = {
    "a set": "a: !!set {b, c}",
    "a date as a key": "a: {2026-11-30: b}",
    "binary": "a: !!binary aGVsbG8=",
    "infinity": "a: .inf",
    "a list of dates": "a: [2026-11-30]",
    "a title that is a list": "title: [a, b]",
    "a title that is a number": "title: 12",
}


def _files() -> Iterator[Case]:
    for name, text in TABLES.items():
        yield Case("table", name, _one("a.csv", text), Refused(r"a\.csv|no document"))
    for name, book in BAD_BOOKS.items():
        yield Case(
            "workbook",
            name,
            lambda f, b=book: _one("a.xlsx", b())(f),
            Refused("a.xlsx|no document"),
            slow="300 MB" in name,
        )
    for name, sheet in GOOD_BOOKS.items():
        yield Case(
            "workbook",
            name,
            lambda f, s=sheet: _first("a.xlsx", _workbook(s))(f),
            Reads("A river."),
            slow="last corner" in name,
        )
    for name, made in BAD_PDF.items():
        yield Case("PDF", name, lambda f, m=made: _one("a.pdf", m())(f), Refused("a.pdf"), slow="unpacked" in name)
    for name, made in READ_PDF.items():
        yield Case("PDF", name, lambda f, m=made: _first("a.pdf", m())(f), Reads("A river."))
    for name, text in BAD_PAGES.items():
        yield Case("page", name, _one("a.html", text), Refused(r"a\.html|no document"))
    for name, text in PAGES.items():
        yield Case("page", name, _within(_one("a.html", text), "A river in Africa"), Reads(True))
    for name, text in MARKDOWN.items():
        yield Case("Markdown", name, _within(_one("a.md", f"A river.\n\n{text}\n"), "A river."), Reads(True))
    for name, text in FRONT.items():
        yield Case(
            "Markdown", f"front matter, {name}", _one("a.md", f"---\n{text}\n---\nA river.\n"), Refused(r"a\.md")
        )
    for name, text in FRONT_READ.items():
        yield Case(
            "Markdown",
            f"front matter, {name}",
            _within(_one("a.md", f"---\n{text}\n---\nA river.\n"), "A river."),
            Reads(True),
        )


def _within(make: Callable[[Path], Callable[[], Any]], said: str) -> Callable[[Path], Callable[[], Any]]:
    """Whether the first document says something."""

    def made(folder: Path) -> Callable[[], Any]:
        read = make(folder)
        return lambda: said in read()[0][2]

    return made


def _bombs() -> Iterator[Case]:
    """Files of a few megabytes or less that grow to a gigabyte and more."""
    zeros = {"one line": b"\0", "lines": b"\n", "pairs": b"I drink water.\tNinakunywa maji.\n"}
    names = {"bitext": "a.tsv", "bitext .jsonl": "a.jsonl", "bitext .tmx": "a.tmx", "word list": "w.txt"}
    for format_name, file in names.items():
        for name, line in zeros.items():
            must = Refused("grows|is longer than|byte 0|XML")
            yield Case("bomb", f"{format_name}, {name}", _bomb(file, line), must, slow=name != "one line")
    for file in (
        "docs.jsonl",
        "docs.tsv",
        "docs.csv",
        "docs.trec",
        "queries.sw.tsv",
        "queries.sw.jsonl",
        "qrels.tsv",
        "topics.sw.trec",
    ):
        yield Case(
            "bomb", f"collection, {file}", _bomb(file, b"\n"), Refused("grows|nothing"), slow=file != "docs.jsonl"
        )

    def dictionary(folder: Path) -> Callable[[], Any]:
        index = FORMATS["FreeDict index"]
        read = index.make(folder)
        (folder / "freedict-eng-swh.dict").unlink()
        written(folder / "freedict-eng-swh.dict.dz", packed(b"a"))
        return read

    yield Case("bomb", "FreeDict", dictionary, Refused("grows|longer"))


def packed(line: bytes) -> bytes:
    """1.5 GB of a line, in some 1.5 MB."""
    return gzip.compress(line * (1_000_000 // len(line)), 9) * 1_500  # members one after the other are one file


def _bomb(file: str, line: bytes) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        others = {"docs": "docs.jsonl", "queries": "queries.sw.tsv", "topics": "queries.sw.tsv", "qrels": "qrels.tsv"}
        replaced = others.get(file.partition(".")[0])
        bomb = written(folder / f"{file}.gz", packed(line))
        if not replaced:
            return lambda: read_word_list(bomb) if file == "w.txt" else pairs(bomb)
        for name, data in ENGLISH_DOCS.items():
            if name != replaced:
                written(folder / name, data)
        return lambda: collection(folder)

    return made


def _folders() -> Iterator[Case]:
    def put(make: Callable[[Path], None], must: Refused | Reads, name: str) -> Case:
        def made(folder: Path) -> Callable[[], Any]:
            written(folder / "docs" / "river.txt", "A river.")
            make(folder / "docs")
            return lambda: sorted(doc[0] for doc in documents(folder / "docs"))

        return Case("folder", name, made, must)

    river = Reads(["river.txt"])
    yield put(lambda f: os.mkfifo(f / "a.txt"), river, "a FIFO")
    yield put(lambda f: (f / "a.txt").symlink_to("/dev/zero"), river, "/dev/zero")
    yield put(lambda f: (f / "a.txt").symlink_to("gone"), river, "a link to nothing")
    yield put(lambda f: (f / "a").symlink_to(f), river, "a link to itself")
    yield put(lambda f: (f / "a.txt").mkdir(), river, "a folder called a.txt")
    for name, shown in (
        ("a b.txt", "a%20b.txt"),
        ("a\nb.txt", "a%0Ab.txt"),
        ("a\x1b[31m.txt", "a%1B[31m.txt"),
        ("a\u2028b.txt", "a%20b.txt"),
        ("a\udcff.txt", "a%FF.txt"),
        ("a\x9b.txt", "a%C2%9B.txt"),
    ):
        yield put(
            lambda f, n=name: written(f / n, "A lake.") and None,
            Reads(sorted([shown, "river.txt"])),
            f"a file called {name!a}",
        )

    def deep(folder: Path) -> None:
        before = os.getcwd()
        os.chdir(folder)
        for _ in range(300):
            os.mkdir("a")
            os.chdir("a")
        os.chdir(before)

    yield put(deep, river, "300 folders deep")


def document_files() -> Iterator[Case]:
    """All of them."""
    yield from _files()
    yield from _bombs()
    yield from _folders()
