"""Documents in tables: JSON lines, CSV and TSV with a header, Excel; the place of what cannot be read is named."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from optical.data.document_fields import IDS, TEXTS, TITLE, doc_of, has_id, has_text, numbered
from optical.data.lines import cells_of, json_object, lines
from optical.data.records import Doc
from optical.data.words import tidy
from optical.errors import DataError
from optical.limits import FREE, GROWTH, LONGEST, opened

Read = Callable[[Path, str], Iterator[tuple[int, Doc]]]

MOST_COLUMNS = 1_000  # of a table
_OTHER_NAMES = f"the text may also be called {', '.join(TEXTS[1:-1])} or {TEXTS[-1]}"


def json_docs(file: Path, name: str = "") -> Iterator[tuple[int, Doc]]:
    """Documents of JSON lines, each with its line; ``name`` is for ids, see :func:`numbered`."""
    return numbered(_json_docs(file), name)


def table_docs(file: Path, name: str = "") -> Iterator[tuple[int, Doc]]:
    """Documents of a table of cells: with a header that names a text, or ``id<TAB>text``, ``id<TAB>title<TAB>text``."""
    header = _header(file)
    if has_text(header.names):
        return numbered(_csv_docs(file, header), name)
    if ".tsv" in file.suffixes and len(header.names) in (2, 3) and not name:
        return _plain_docs(file)
    raise DataError(
        f"no column is the text: {file}:1 has {', '.join(map(repr, header.names))[:300] or 'nothing'}; name the columns"
        f" in the first line, one of them {' or '.join(TEXTS)}, or take the file out of the documents"
    )


def excel_docs(file: Path, name: str = "") -> Iterator[tuple[int, Doc]]:
    """Documents of the first sheet of a workbook, whose first row names the columns."""
    return numbered(_excel_docs(file), name)


READERS: dict[str, Read] = {".jsonl": json_docs, ".csv": table_docs, ".tsv": table_docs, ".xlsx": excel_docs}


def json_records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered objects of JSON lines."""
    for number, text in lines(file):
        if text.strip():
            try:
                record = json_object(text)
            except ValueError as error:
                raise DataError(f"bad JSON ({error}) at {file}:{number}; write one object on each line") from error
            yield number, record


def _json_docs(file: Path) -> Iterator[tuple[int, Doc, bool]]:
    for number, record in json_records(file):
        if (doc := doc_of(record)) is None:
            raise DataError(
                f'no text in the document at {file}:{number}; write {{"id": .., "title": .., "text": ..}};'
                f" {_OTHER_NAMES}"
            )
        yield number, doc, has_id(record)


class _Header:
    """The first line of a table: its separator and the names of its columns."""

    def __init__(self, line: str) -> None:
        self.separator = max("\t,;", key=line.count)
        self.names = [cell.strip() for cell in next(csv.reader([line], delimiter=self.separator), [])]


def _header(file: Path) -> _Header:
    line = next((text for _, text in lines(file)), "")
    try:
        csv.field_size_limit(LONGEST)
        header = _Header(line)
    except csv.Error as error:
        raise DataError(f"no header ({error}): {file}:1; name the columns in the first line") from error
    _check_names(header.names, file)
    return header


def _check_names(names: Sequence[str], file: Path) -> None:
    """Refuse too many columns, and two that could both be the id, the title or the text."""
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{len(names):,} columns, {MOST_COLUMNS:,} at most: {file}:1; take out those of no use")
    folded = [name.casefold() for name in names]
    if twice := next((name for name in (*IDS, TITLE, *TEXTS) if folded.count(name) > 1), None):
        raise DataError(f"two columns are called {twice}: {file}:1; give one of them another name")


def _csv_docs(file: Path, header: _Header) -> Iterator[tuple[int, Doc, bool]]:
    csv.field_size_limit(LONGEST)  # an article in one cell is longer than the 131,072 characters of the default
    rows = csv.reader((f"{text}\n" for _, text in lines(file)), delimiter=header.separator, strict=True)
    begin, own = 1, has_id(header.names)
    try:
        for row in rows:
            number, begin = begin, rows.line_num + 1  # a cell in quotes may be of several lines
            if number > 1 and any(cell.strip() for cell in row):
                if len(row) != len(header.names):
                    raise DataError(
                        f"{len(row)} cells where the header has {len(header.names)}: {file}:{number}; put a cell that"
                        f" holds {header.separator!r} or a line break into double quotes"
                    )
                doc = doc_of(dict(zip(header.names, row, strict=True)))
                assert doc is not None, "the header names a text"
                yield number, doc, own
    except csv.Error as error:
        raise DataError(
            f"quotes that do not close ({error}): {file}:{begin}; a cell that begins with a double quote ends with one,"
            ' and one inside is written ""'
        ) from error


def _plain_docs(file: Path) -> Iterator[tuple[int, Doc]]:
    for number, cells in cells_of(file, "\t"):
        if len(cells) not in (2, 3):
            raise DataError(
                f"{len(cells)} columns in a document at {file}:{number}; write id<TAB>text or id<TAB>title<TAB>text"
            )
        yield number, Doc(cells[0].strip(), tidy(cells[1]) if len(cells) == 3 else "", tidy(cells[-1]))


def _excel_docs(file: Path) -> Iterator[tuple[int, Doc, bool]]:
    openpyxl = needed("openpyxl", file)
    try:
        _check_growth(file)
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # a size that is stated need not be its own
        names = next(sheet.iter_rows(values_only=True, max_row=1, max_col=MOST_COLUMNS), ())
        names = ["" if cell is None else str(cell).strip() for cell in names]
        while names and not names[-1]:
            names.pop()
        _check_names(names, file)
        rows = enumerate(sheet.iter_rows(min_row=2, values_only=True, max_col=max(1, len(names))), start=2)
        if not has_text(names):
            raise DataError(
                f"no column is the text: {file}:1 has {', '.join(filter(None, names)) or 'nothing'}; name the columns"
                f" in the first row of the first sheet, one of them {' or '.join(TEXTS)}"
            )
        own = has_id(names)
        for number, row in rows:
            if any(cell is not None for cell in row):
                doc = doc_of({name: cell for name, cell in zip(names, row, strict=False) if name})
                assert doc is not None, "the header names a text"
                yield number, doc, own
        workbook.close()
    except DataError:
        raise
    except Exception as error:  # of XML, zip and openpyxl
        raise DataError(
            f"no Excel workbook ({str(error)[:100]}): {file}; save it again as .xlsx, or as .csv"
        ) from error


def _check_growth(file: Path) -> None:
    """Refuse a workbook that unpacks to far more than it is."""
    with opened(file) as stream, zipfile.ZipFile(stream) as packed:
        size = sum(one.file_size for one in packed.infolist())
    if size > max(FREE, GROWTH * file.stat().st_size):
        raise DataError(f"it grows to more than {GROWTH} times its size: {file}; save it again, or as .csv")


def needed(module: str, file: Path) -> Any:
    """Import a reader of the extra ``docs``.

    Raises:
        DataError: It is not installed; the file that needs it is named.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise DataError(
            f"{file} is read by {module}, which is not installed ({error}); install the extra docs:"
            " pip install 'optical[docs]', or in a checkout pip install -e '.[docs]'"
        ) from error
