"""Documents, queries and judgements: the values that collections are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from optical.errors import DataError
from optical.limits import id_fault

ENGLISH = "en"  # the teacher's language


class Doc(NamedTuple):
    """A document, in the language of its collection.

    Attributes:
        id: Its own.
        title: May be empty.
        text: Without the title.
        extra: Its other fields (url, author, ...) as a JSON object, which no encoder reads; empty where it has none.
    """

    id: str
    title: str
    text: str
    extra: str = ""

    @property
    def metadata(self) -> dict[str, Any]:
        """The other fields by name."""
        return json.loads(self.extra) if self.extra else {}

    @property
    def full(self) -> str:
        """The text that a document encoder reads: title and text, or the text alone where there is no title."""
        return f"{self.title} {self.text}" if self.title else self.text


class Query(NamedTuple):
    """A query; the same id in two languages is the same question."""

    id: str
    text: str


def checked_query(query: Query, place: str) -> Query:
    """The query, if runs and judgements can name it.

    Raises:
        DataError: Its id is none.
    """
    if fault := id_fault(query.id):
        raise DataError(
            f"no query at {place}: an id {fault}, {query.id[:100]!r}; give it one word, here and in the judgements"
        )
    return query


class Qrel(NamedTuple):
    """A judgement; relevance 0 means that somebody looked and found no answer."""

    query_id: str
    doc_id: str
    relevance: int


class Documents(NamedTuple):
    """Documents that can be read one at a time, as often as needed.

    Attributes:
        where: File, folder or name, for messages.
        lang: Code of their language.
        read: Begins at the first document, each with its line, counted from 1, or with its whole place (file:line).
        skipped: Reason -> how many files were left out for it.
    """

    where: str
    lang: str
    read: Callable[[], Iterator[tuple[int | str, Doc]]]
    skipped: Mapping[str, int] = {}

    def at(self, place: int | str) -> str:
        """The place of a document, for messages."""
        return place if isinstance(place, str) else f"{self.where}:{place}"


class CollectionParts(NamedTuple):
    """A collection as it was found, before anything is checked.

    Attributes:
        name: As reports call it.
        where: Folder or id, for messages.
        documents: Not read yet.
        queries: Language -> queries; an empty list for a language that is there and was not asked for.
        qrels: Split -> judgements.
    """

    name: str
    where: str
    documents: Documents
    queries: dict[str, list[Query]]
    qrels: dict[str, list[Qrel]]
