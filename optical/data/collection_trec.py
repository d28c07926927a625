"""Read topics between ``<top>`` tags and documents between ``<DOC>`` tags, as TREC and CLEF distribute them.

Such files look like XML but are not: tags may stay open (``<title>``), so text belongs to the last known tag.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from optical.data.lines import lines
from optical.data.records import Doc, Query, checked_query
from optical.data.words import tidy
from optical.errors import DataError

_TAG = re.compile(r"<(?P<close>/?)(?P<name>[A-Za-z][\w.-]*+)(?P<rest>[^<>]*+)>")
_LANGUAGE = re.compile(r"[a-z]{2}-")  # CLEF until 2007: <EN-title>
_NUMBER = re.compile(r"""\bnumber\s*=\s*["']([^"']*)["']""")  # TREC's later topics: <topic number="301">
_LABEL = re.compile(r"^(?:Number|Topic|Description|Narrative)\s*:\s*", re.IGNORECASE)  # what NIST begins a field with

_TOPIC = {
    **dict.fromkeys(("num", "number", "identifier"), "id"),
    **dict.fromkeys(("title", "query"), "t"),
    **dict.fromkeys(("desc", "description"), "d"),
    **dict.fromkeys(("narr", "narrative"), "n"),
}
_DOCUMENT = {
    "docno": "id",
    **dict.fromkeys(("title", "headline", "hl", "head", "ttl", "ti"), "title"),
    **dict.fromkeys(("text", "leadpara", "lead", "lead1", "lp", "ld", "tx"), "text"),
}


def topics(file: Path, fields: str = "t") -> Iterator[Query]:
    """Queries of a topics file: ``<top>`` with ``<num>``, ``<title>``, ``<desc>``, ``<narr>``, or CLEF's ``<topic>``.

    Args:
        file: Plain or ``.gz``, in UTF-8.
        fields: What makes the query, in this order: ``t`` title, ``d`` description, ``n`` narrative.

    Raises:
        DataError: No topic, one that does not end, one without a number.
    """
    count = 0
    for number, head, body in _blocks(file, "top|topic"):
        found = {field: _LABEL.sub("", text, count=1) for field, text in _fields(body, _TOPIC).items()}
        attribute = _NUMBER.search(head)
        name = found.get("id") or (attribute[1].strip() if attribute else "")
        if not name:
            raise DataError(f"no number in the topic at {file}:{number}; write <num> and <title> in each <top>")
        count += 1
        text = tidy(" ".join(found.get(field, "") for field in fields))
        yield checked_query(Query(name, text), f"{file}:{number}")
    if not count:
        raise DataError(f"no topic in {file}; write <top> <num> .. <title> .. </top>, or use id<TAB>text in a .tsv")


def documents(file: Path) -> Iterator[tuple[int, Doc]]:
    """Documents of a file of ``<DOC>`` entries, many newspaper editions one after another, with their lines.

    The title is what ``HEADLINE``, ``TITLE``, ``HL``, ``HEAD``, ``TTL`` or ``TI`` say, the text what ``TEXT`` and the
    leads say (``LEADPARA``, ``LEAD``, ``LP``, ``LD``, ``TX``); other parts (dates, bylines, subjects) are left out.

    Raises:
        DataError: A document that does not end. One without ``DOCNO`` has an empty id.
    """
    for number, _, body in _blocks(file, "doc"):
        found = _fields(body, _DOCUMENT)
        yield number, Doc(found.get("id", ""), found.get("title", ""), found.get("text", ""))


def _blocks(file: Path, names: str) -> Iterator[tuple[int, str, str]]:
    """(line, opening tag, content) of every element with one of the names; what is between them is left out."""
    cut = re.compile(rf"(</?(?:{names})(?:\s[^<>]*)?>)", re.IGNORECASE)
    start, head, parts = 0, "", []
    for number, line in lines(file):
        for part in cut.split(line) if "<" in line else (line,):
            edge = cut.fullmatch(part)
            if edge and part.startswith("</") and head:
                yield start, head, "".join(parts)
                head = ""
            elif edge and not part.startswith("</"):
                if head:
                    raise DataError(
                        f"{head} at {file}:{start} is not closed before the next one, at {file}:{number}; close it"
                    )
                start, head, parts = number, part, []
            elif head:
                parts.append(part)
        if head:
            parts.append("\n")
    if head:
        raise DataError(
            f"{head} at {file}:{start} is not closed before the file ends; fetch the file again, or close it"
        )


def _fields(body: str, known: Mapping[str, str]) -> dict[str, str]:
    """Field -> its text, tidy and without tags; sections of the same field one after another."""
    texts: dict[str, list[str]] = {}
    current, end = "", 0
    for match in _TAG.finditer(body):
        texts.setdefault(current, []).append(body[end : match.start()])
        end = match.end()
        field = known.get(_LANGUAGE.sub("", match["name"].lower(), count=1))
        if field and match["close"]:
            current = ""
        elif field:
            current = field
            texts.setdefault(current, []).append("\n")
    texts.setdefault(current, []).append(body[end:])
    return {field: tidy(html.unescape(" ".join(some))) for field, some in texts.items() if field}
