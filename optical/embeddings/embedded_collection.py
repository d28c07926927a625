"""A collection together with the vectors of its documents: what is searched."""

from __future__ import annotations

from typing import NamedTuple

from optical.data.collection import Collection
from optical.data.document_store import ids_of
from optical.embeddings.vectors import Vectors, no_vectors


class EmbeddedCollection(NamedTuple):
    """A collection with vectors of its documents: the teacher's where they are English.

    Attributes:
        collection: Its documents, queries and judgements.
        vectors: Row by row, those of ``ids``; no tokens and no dimensions where the documents are not embedded yet.
        ids: Of the documents.
    """

    collection: Collection
    vectors: Vectors
    ids: list[str]


def unembedded(collection: Collection) -> EmbeddedCollection:
    """Documents in X, before there is a student to embed them."""
    return EmbeddedCollection(collection, no_vectors(len(collection.docs)), ids_of(collection.docs))
