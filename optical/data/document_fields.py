"""Documents from records of any source: which field is the id, the title, the text; the others are kept beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from optical.data.in_memory import records_of
from optical.data.records import Doc
from optical.data.words import tidy
from optical.errors import DataError

IDS = ("_id", "id", "docid")
TEXTS = ("text", "body", "contents", "content", "passage")  # the first that is not empty is the text
TITLE = "title"


def doc_of(record: Mapping[str, Any]) -> Doc | None:
    """A document from named fields, whatever their case; None where none of them is a text.

    The id is empty where the record has none. Fields of another name, and those of ``metadata`` (BEIR), are
    :attr:`Doc.extra`.
    """
    names = {name.strip().casefold(): name for name in record if isinstance(name, str)}
    texts = [names[name] for name in TEXTS if name in names and not isinstance(record[names[name]], dict | list)]
    if not texts:
        return None
    text = next((name for name in texts if written(record[name])), texts[0])
    given = (names[name] for name in IDS if name in names and not isinstance(record[names[name]], dict | list))
    identity = next((name for name in given if written(record[name])), None)
    title = names.get(TITLE)
    others = {name: value for name, value in record.items() if name not in (text, identity, title) and _said(value)}
    if isinstance(nested := others.get("metadata"), Mapping):
        del others["metadata"]
        others |= {name: value for name, value in nested.items() if _said(value)}
    return Doc(
        written(record[identity]) if identity is not None else "",
        tidy(written(record[title])) if title is not None else "",
        tidy(written(record[text])),
        _json(others) if others else "",
    )


def has_id(record: Iterable[Any]) -> bool:
    """Whether one of the names of fields is that of an id."""
    return any(isinstance(name, str) and name.strip().casefold() in IDS for name in record)


def has_text(names: Iterable[Any]) -> bool:
    """Whether one of the names of fields is that of a text."""
    return any(isinstance(name, str) and name.strip().casefold() in TEXTS for name in names)


def numbered(docs: Iterable[tuple[int, Doc, bool]], name: str) -> Iterator[tuple[int, Doc]]:
    """Documents of a table; in one whose first record has no field for an id, the line is the id.

    Args:
        docs: Line, document, and whether its record has a field for an id.
        name: Stands before the line in an id, with a colon; empty for the line alone.
    """
    named = None
    for line, doc, own in docs:
        named = own if named is None else named
        yield line, doc if named else doc._replace(id=f"{name}:{line}" if name else str(line))


def written(value: Any) -> str:
    """A value as a text: nothing for None and NaN, 12 for the 12.0 of a spreadsheet."""
    if not _said(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def texts_of(documents: Any) -> list[str]:
    """The texts of English documents given in Python, as an encoder reads them: title and text.

    Args:
        documents: Texts, mappings of fields, a DataFrame of pandas, or a ``Dataset`` of ``datasets``.

    Raises:
        DataError: Something else, or a record without a text.
    """
    if documents is None:
        return []
    if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Iterable):
        held = f"splits or fields {', '.join(map(str, documents))}" if isinstance(documents, Mapping) else "no sequence"
        raise DataError(
            f"documents: {type(documents).__name__} ({held}); give a list of texts, of mappings with a text, a "
            "DataFrame, one split of a Dataset, or the path of a file or folder"
        )
    found = []
    for number, one in enumerate(records_of(documents)):
        doc = Doc("", "", one) if isinstance(one, str) else doc_of(one) if isinstance(one, Mapping) else None
        if doc is None:
            held = f"only {', '.join(map(str, one))}" if isinstance(one, Mapping) else type(one).__name__
            raise DataError(f"documents[{number}] has no text: {held}; name the field of the text {' or '.join(TEXTS)}")
        found.append(doc.full)
    return found


def _said(value: Any) -> bool:
    """Whether there is a value: not None, NaN, an empty text, nor what pandas writes for a missing one."""
    missing = value is None or (isinstance(value, float) and value != value)
    return (
        not missing
        and type(value).__name__ not in ("NAType", "NaTType")
        and not (isinstance(value, str) and not value.strip())
    )


def _json(fields: Mapping[Any, Any]) -> str:
    """Strict JSON: what JSON does not have is written as its text, NaN and infinity inside become null."""

    def other(value: Any) -> Any:
        return value.tolist() if hasattr(value, "tolist") else str(value)  # arrays and numbers of numpy; dates

    try:
        return json.dumps(fields, ensure_ascii=False, default=other, allow_nan=False)
    except (TypeError, ValueError):
        loose = json.dumps(_named(fields), ensure_ascii=False, default=other)
        return json.dumps(json.loads(loose, parse_constant=lambda _: None), ensure_ascii=False)


def _named(value: Any) -> Any:
    """The value with texts for names, at every level: YAML has dates and numbers there."""
    if isinstance(value, Mapping):
        return {str(name): _named(one) for name, one in value.items()}
    return [_named(one) for one in value] if isinstance(value, list | tuple) else value
