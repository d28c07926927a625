"""Readers of bitext files: one generator for each format, from a file to numbered rows of English and foreign text.

A reader takes a path and a language code and yields every :class:`Row` of the file, good or bad. A row that cannot be
understood carries its ``fault`` instead of text; a file that cannot be read raises :class:`~optical.errors.DataError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from optical.data.lines import CHUNK, json_object, lines, open_bytes
from optical.data.records import ENGLISH
from optical.errors import DataError
from optical.limits import DEEPEST, LONGEST_UNIT

WRONG_COLUMNS = "wrong number of columns"
BAD_JSON = "bad JSON"

_ENGLISH_KEYS = (ENGLISH, "english", "source")
_FOREIGN_KEYS = ("foreign", "target", "non_english")
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_TMX_CODES = frozenset({"bpt", "ept", "ph", "it", "ut"})  # TMX 1.4: their content is markup of the source document
_PO_STRING = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)\s*)?"(.*)"$')
_PO_ESCAPE = re.compile(r"\\(.)")
_PO_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


class Row(NamedTuple):
    """One entry of a bitext file, before any cleaning.

    Attributes:
        line: Where it starts, counted from 1.
        english: The English side as the file has it; empty when there is a fault.
        foreign: The other side as the file has it; empty when there is a fault.
        fault: Why the entry cannot be understood; empty when it can.
    """

    line: int
    english: str
    foreign: str
    fault: str = ""


class Moses(NamedTuple):
    """Two files that are aligned line by line."""

    english: Path
    foreign: Path


Reader = Callable[[Path, str], Iterator[Row]]


def columns(path: Path, lang: str) -> Iterator[Row]:
    """Rows of a file with two columns, ``English<TAB>X``; quotes are characters like any other."""
    for number, text in lines(path):
        cells = text.split("\t") if text.strip() else ("", "")
        if len(cells) == 2:
            yield Row(number, cells[0], cells[1])
        else:
            yield Row(number, "", "", WRONG_COLUMNS)


def json_lines(path: Path, lang: str) -> Iterator[Row]:
    """Rows of a file with one JSON object a line: two named strings, or ``{"translation": {"en": .., "<lang>": ..}}``.

    The English key is ``en``, ``english`` or ``source``; the other is the language code, ``foreign``, ``target`` or
    ``non_english``.
    """
    for number, text in lines(path):
        if not text.strip():
            yield Row(number, "", "")
            continue
        try:
            record = json_object(text)
        except ValueError:
            yield Row(number, "", "", BAD_JSON)
            continue
        inner = record.get("translation")
        record = inner if isinstance(inner, dict) else record
        yield _row(number, _string(record, _ENGLISH_KEYS), _string(record, (lang, *_FOREIGN_KEYS)), lang)


def tmx(path: Path, lang: str) -> Iterator[Row]:
    """Rows of a translation memory, streamed: memory does not grow with the file.

    Languages match on the primary subtag, so that ``en-US`` is English and ``sw-KE`` is Swahili; of several variants
    the first one counts. The text inside ``bpt``, ``ept``, ``ph``, ``it`` and ``ut`` is formatting and is left out, the
    text inside ``hi`` stays. The encoding is the one that the XML declares.
    """
    started = inside = 0
    parents: list[Element] = []
    for number, event, element in _xml_events(path):
        if event == "start":
            parents.append(element)
            if len(parents) > DEEPEST:
                raise DataError(f"broken XML (elements nested more than {DEEPEST} deep) at {path}:{number}; mend it")
            if _name(element) == "tu":
                started, inside = number, inside or len(parents)
            continue
        parents.pop()
        if _name(element) == "tu":
            sides = _segments(element)
            yield _row(started, sides.get(ENGLISH), sides.get(_primary(lang)), lang)
        inside = 0 if len(parents) < inside else inside
        if parents and not inside:
            parents[-1].remove(element)  # the tree would otherwise keep everything until the end of the file


def po(path: Path, lang: str) -> Iterator[Row]:
    """Rows of a gettext catalogue: ``msgid`` is English, ``msgstr`` is not; a plural entry gives two rows.

    Fuzzy and untranslated entries are faults, so that they are counted; obsolete entries are comments, and contexts and
    the header are no text.
    """
    for line, fields, fuzzy in _po_entries(path):
        if "fault" in fields:
            yield Row(line, "", "", fields["fault"])
            continue
        singular = fields.get("msgid", "")
        if not singular:
            continue
        translated = fields.get("msgstr") or fields.get("msgstr[0]")
        if fuzzy or not translated:
            yield Row(line, "", "", "fuzzy" if fuzzy else "not translated")
            continue
        yield Row(line, singular, translated)
        if fields.get("msgid_plural") and fields.get("msgstr[1]"):
            yield Row(line, fields["msgid_plural"], fields["msgstr[1]"])


READERS: dict[str, Reader] = {".tsv": columns, ".txt": columns, ".jsonl": json_lines, ".tmx": tmx, ".po": po}
NAME_LANGUAGES = frozenset({".jsonl", ".tmx"})  # formats that say which language a text is in


def format_of(path: Path) -> str | None:
    """The key of the reader for a file, by its name without ``.gz``; None when there is none."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in READERS else None


def moses(files: Moses) -> Iterator[Row]:
    """Rows of two aligned files.

    Raises:
        DataError: When one file has more lines than the other: no pair after the first missing line could be trusted.
    """
    count = [0, 0]
    for number, (english, foreign) in enumerate(zip_longest(lines(files.english), lines(files.foreign)), start=1):
        count = [number if english else count[0], number if foreign else count[1]]
        if english and foreign:
            yield Row(number, english[1], foreign[1])
    if count[0] != count[1]:
        raise DataError(
            f"Moses files of different length: {files.english}:{count[0]} and {files.foreign}:{count[1]} are the last"
            f" lines ({count[0]:,} and {count[1]:,} lines); align them again, so that line n of one translates line n"
            " of the other"
        )


def _row(line: int, english: str | None, foreign: str | None, lang: str) -> Row:
    """A row of a format that names its languages: a fault when one of them is not there."""
    if english is None or foreign is None:
        return Row(line, "", "", f"no pair for {ENGLISH}/{lang}")
    return Row(line, english, foreign)


def _string(record: dict, keys: tuple[str, ...]) -> str | None:
    """The first string under one of the keys."""
    return next((record[key] for key in keys if isinstance(record.get(key), str)), None)


def _xml_events(path: Path) -> Iterator[tuple[int, str, Element]]:
    """Start and end of every element, with the line that has been reached."""
    parser = XMLPullParser(("start", "end"))
    number, without = 1, 0  # the line, and bytes since a unit ended
    try:
        with open_bytes(path) as stream:
            # A TMX file may be a single line, so a line is read in parts; in larger ones while nothing ends, since the
            # parser begins a tag or a text again with each.
            while chunk := stream.readline(max(CHUNK, without)):
                parser.feed(chunk)
                without += len(chunk)
                for event, element in cast(Iterator[tuple[str, Element]], parser.read_events()):
                    without = 0 if event == "end" and _name(element) in ("tu", "header") else without
                    yield number, event, element
                if without > LONGEST_UNIT:
                    raise DataError(
                        f"broken XML (no unit ends in {LONGEST_UNIT // 2**20} MiB) at {path}:{number}; a unit is as"
                        " long as a sentence or a paragraph"
                    )
                number += chunk.endswith(b"\n")
        parser.close()
    except (LookupError, ValueError) as error:
        raise DataError(
            f"broken XML (an encoding that the parser lacks: {str(error)[:100]}) at {path}:1; save the file as UTF-8,"
            ' and say so in its first line: <?xml version="1.0" encoding="UTF-8"?>'
        ) from error
    except ParseError as error:
        line, column = error.position
        raise DataError(
            f"broken XML ({str(error).split(':')[0]}, column {column + 1}) at {path}:{line}; repair or export the file"
            " again; a byte in another encoding than the declared one is a frequent cause"
        ) from error


def _segments(unit: Element) -> dict[str, str]:
    """Primary language subtag -> text, of one translation unit."""
    sides: dict[str, str] = {}
    for variant in unit:
        tag = _primary(variant.get(_XML_LANG) or variant.get("lang") or "")
        segment = next((child for child in variant if _name(child) == "seg"), None)
        if _name(variant) == "tuv" and tag and segment is not None:
            sides.setdefault(tag, "".join(_running_text(segment)))
    return sides


def _running_text(element: Element) -> Iterator[str]:
    """The text of a segment without the formatting that its inline elements quote."""
    yield element.text or ""
    for child in element:
        if _name(child) not in _TMX_CODES:
            yield from _running_text(child)
        yield child.tail or ""


def _name(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _primary(tag: str) -> str:
    """``sw-KE``, ``sw_KE`` and ``SW`` are all ``sw``."""
    return tag.replace("_", "-").partition("-")[0].lower()


def _po_entries(path: Path) -> Iterator[tuple[int, dict[str, str], bool]]:
    """(line, keyword -> string, fuzzy) of each entry; a line that is no PO is an entry with only a ``fault``."""
    start, key, fuzzy = 0, "", False
    fields: dict[str, str] = {}
    for number, text in lines(path):
        text = text.strip()
        match = _PO_STRING.match(text)
        keyword = match[1] if match else None
        comment = text.startswith("#")
        broken = bool(text) and not comment and not (match and (keyword or key))
        # Entries need no blank line between them: a comment, a context or an id after a translation begins the next.
        ended = comment or broken or keyword in ("msgctxt", "msgid")
        if ended and any(name.startswith("msgstr") for name in fields):
            yield start, fields, fuzzy
            key, fuzzy, fields = "", False, {}
        if broken:
            yield number, {"fault": "bad PO line"}, False
            key, fuzzy, fields = "", False, {}  # what follows may belong to the broken line, and is no pair without it
        elif text.startswith("#~"):
            fuzzy = False  # the flag belonged to an entry that is obsolete
        elif comment:
            fuzzy = fuzzy or (text.startswith("#,") and "fuzzy" in text)
        elif match:
            start = number if keyword == "msgid" else start
            key = keyword or key
            fields[key] = fields.get(key, "") + _PO_ESCAPE.sub(lambda m: _PO_ESCAPED.get(m[1], m[1]), match[2])
    if fields:
        yield start, fields, fuzzy
