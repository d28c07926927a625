"""Documents, queries and judgements: the values that collections are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

ENGLISH = "en"  # the teacher's language


class Doc(NamedTuple):
    """A document, in the language of its collection."""

    id: str
    title: str
    text: str

    @property
    def full(self) -> str:
        """The text that a document encoder reads: title and text, or the text alone where there is no title."""
        return f"{self.title} {self.text}" if self.title else self.text


class Query(NamedTuple):
    """A query; the same id in two languages is the same question."""

    id: str
    text: str


class Qrel(NamedTuple):
    """A judgement; relevance 0 means that somebody looked and found no answer."""

    query_id: str
    doc_id: str
    relevance: int


class Documents(NamedTuple):
    """Documents that can be read one at a time, as often as needed.

    Attributes:
        where: File or name, for messages.
        lang: Code of their language.
        read: Begins at the first document, each with its line or place, counted from 1.
    """

    where: str
    lang: str
    read: Callable[[], Iterator[tuple[int, Doc]]]


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
