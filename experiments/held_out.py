"""Held-out sentence pairs as a collection: what a grid is measured on when no judgement may be read.

The passages are those of all collections together. For a sentence of X, the passage that the teacher ranks first for
its English side is relevant and no other is, so average precision is the reciprocal rank, and the teacher on English
has 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optical.data.bitext import Pair, split
from optical.data.collection import Collection
from optical.data.records import ENGLISH, Qrel, Query
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import Vectors
from optical.models.encoders import Encoder, encode_queries

MOST = 300  # pairs of a kind; of few pairs a third


def draw(pairs: Sequence[Pair], seed: int = 1) -> list[Pair]:
    """The pairs of a kind that are measured, by a hash of the pair; another seed than the choice of checkpoints has."""
    return split(pairs, min(MOST, len(pairs) // 3), seed)[1] if pairs else []


def as_collections(
    teacher: Encoder, kinds: dict[str, list[Pair]], lang: str, embedded: Sequence[EmbeddedCollection]
) -> dict[str, EmbeddedCollection]:
    """Kind of pairs -> its queries in X and in English, judged by the teacher, over the passages of all collections.

    Args:
        teacher: A single-vector encoder.
        kinds: Held-out pairs by kind; a kind without any is left out.
        lang: Code of X.
        embedded: Collections with the teacher's vectors.
    """
    documents = np.concatenate([np.asarray(part.vectors.sentences) for part in embedded])
    ids = [f"{part.collection.name}-{i}" for part in embedded for i in part.ids]
    vectors = Vectors(np.zeros((0, 1), np.float16), np.zeros(len(ids) + 1, np.int64), documents, Path())
    found = {}
    for kind, pairs in kinds.items():
        if not pairs:
            continue
        first = (encode_queries(teacher, [pair.english for pair in pairs]) @ documents.T).argmax(axis=1)
        queries = {
            lang: [Query(f"{kind}-{k}", pair.foreign) for k, pair in enumerate(pairs)],
            ENGLISH: [Query(f"{kind}-{k}", pair.english) for k, pair in enumerate(pairs)],
        }
        qrels = {"held-out": [Qrel(f"{kind}-{k}", ids[i], 1) for k, i in enumerate(first)]}
        found[kind] = EmbeddedCollection(Collection(kind, [], queries, qrels, "", {}), vectors, ids)
    return found
