"""Long documents as passages, split at sentences, so that an encoder that reads so much at once reads all of a text.

A passage is named by its document and its place there, ``doc#0-1043``: the characters 0 to 1043 of the text. Such names
are of use on disk and between search and answer; what is found is a document, by its best passage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

from optical.data.document_store import Rows, ids_of
from optical.data.records import Doc

PASSAGES = "passages"  # a fact of an index, or of documents on a server, of passages: their tokens at most

TOGETHER = 1024  # documents whose tokens are counted at once
OVERLAP = 0.25  # most of a passage that its last sentence may be to open the next one too

Count = Callable[[Sequence[str]], list[int]]


class PassageIds(list[str]):
    """Ids of passages, row by row, by which search knows that documents are to be answered.

    Attributes:
        limit: Tokens of a passage at most.
    """

    limit: int = 0


class Place(NamedTuple):
    """Where a passage is.

    Attributes:
        doc_id: Of its document.
        start: Of its first character in the document's text.
        end: Behind its last one.
    """

    doc_id: str
    start: int
    end: int


def passage_id(place: Place) -> str:
    """The id of a passage."""
    return f"{place.doc_id}#{place.start}-{place.end}"


def place_of(passage: str) -> Place:
    """Where the passage of an id is."""
    doc_id, _, span = passage.rpartition("#")
    start, _, end = span.partition("-")
    return Place(doc_id, int(start), int(end))


class PassageDocs(Rows[Doc]):
    """Passages as documents of their own, whose texts are read when they are asked for."""

    def __init__(self, ids: PassageIds, docs: Sequence[Doc]) -> None:
        """Take the ids of passages and the documents that they are of."""
        self.ids = ids
        self._docs = docs
        self._rows = {doc_id: row for row, doc_id in enumerate(ids_of(docs))}
        self._last: Doc | None = None

    def __len__(self) -> int:
        """Number of passages."""
        return len(self.ids)

    def row(self, row: int) -> Doc:
        """Read one passage."""
        doc_id, start, end = place_of(self.ids[row])
        last = self._last  # read once: threads share it
        doc = last if last and last.id == doc_id else self._docs[self._rows[doc_id]]
        self._last = doc  # passages of a document follow each other
        return doc._replace(id=self.ids[row], text=doc.text[start:end])


def passages(docs: Iterable[Doc], lang: str, count: Count, limit: int) -> Iterator[Doc]:
    """Documents of more than ``limit`` tokens as several of them with the same title, the others whole.

    Args:
        docs: In any number; some are in memory at a time.
        lang: Of the documents: sentences end differently.
        count: Texts -> tokens of each, special ones not counted.
        limit: Most tokens of a passage, its title counted.

    Yields:
        Passages with ids of their own, and of the document's title and other fields.
    """
    stream = iter(docs)
    while some := list(islice(stream, TOGETHER)):
        long = [k for k, doc in enumerate(some) if len(doc.full.encode()) > limit]  # no token has less than a byte
        tokens = dict(zip(long, count([some[k].full for k in long]), strict=True))
        for k, doc in enumerate(some):
            spans = [(0, len(doc.text))]
            if tokens.get(k, 0) > limit:
                titled = count([doc.title])[0] if doc.title else 0
                spans = spans_of(doc.text, lang, count, max(limit - titled, limit // 4, 1))
            for start, end in spans:
                yield doc._replace(id=passage_id(Place(doc.id, start, end)), text=doc.text[start:end])


def spans_of(text: str, lang: str, count: Count, limit: int) -> list[tuple[int, int]]:
    """Split a text at sentences into spans of at most ``limit`` tokens, each opened by the last sentence before it.

    A sentence is not repeated where it takes more than a quarter of a passage. One that is too long itself is split at
    white space, and where it has none, as in Chinese or Thai, between characters.
    """
    pieces = [piece for span in _sentences(text, lang) for piece in _short(text, span, count, limit)]
    tokens = count([text[start:end] for start, end in pieces])
    spans: list[tuple[int, int]] = []
    first = held = 0  # the first piece of the open passage, and its tokens
    for k, size in enumerate(tokens):
        if k > first and held + size > limit:
            spans.append((pieces[first][0], pieces[k - 1][1]))
            repeat = first < k - 1 and tokens[k - 1] <= OVERLAP * limit and tokens[k - 1] + size <= limit
            first = k - 1 if repeat else k
            held = tokens[k - 1] if repeat else 0
        held += size
    return [*spans, (pieces[first][0], len(text))] if pieces else [(0, len(text))]


def _sentences(text: str, lang: str) -> list[tuple[int, int]]:
    from sentencex import segment  # pyright: ignore[reportAttributeAccessIssue] - it has no types

    ends = list(accumulate((len(sentence) for sentence in segment(lang, text)), initial=0))
    # Space between paragraphs belongs to the sentence before it.
    ends = [0, *(end for end in ends[1:-1] if text[end : end + 1].strip()), len(text)]
    return list(pairwise(ends))


def _short(text: str, span: tuple[int, int], count: Count, limit: int) -> list[tuple[int, int]]:
    """A sentence, or its halves, quarters, ... of at most ``limit`` tokens."""
    start, end = span
    if end - start < 2 or count([text[start:end]])[0] <= limit:
        return [span]
    middle = (start + end) // 2
    before = text.rfind(" ", start + 1, middle) + 1
    cut = before if before > start + (end - start) // 4 else middle
    return [*_short(text, (start, cut), count, limit), *_short(text, (cut, end), count, limit)]
