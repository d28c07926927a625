"""Vectors of n texts as learning and search take them, memory-mapped, and how some of them become a padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from optical.embeddings.shards import Rows, Shards
from optical.models.encoders import Encoded
from optical.models.reading import Reading
from optical.models.tokens import Tokens


class Vectors(NamedTuple):
    """Vectors of n texts, memory-mapped.

    Attributes:
        tokens: Token vectors of all texts one after another, ``(t, d)``, float16 unless another precision was chosen.
        start: Text i has the rows ``start[i]`` to ``start[i + 1]``, ``(n + 1,)``.
        sentences: One unit vector a text, ``(n, e)``, float32 unless another precision was chosen.
        folder: Where they are stored.
        reading: How much of the texts the encoder has read; None where it was not counted.
    """

    tokens: Float[np.ndarray, "t d"] | Rows
    start: Int[np.ndarray, " n_plus_1"]
    sentences: Float[np.ndarray, "n e"] | Rows
    folder: Path
    reading: Reading | None = None

    def batch(self, rows: Sequence[int]) -> Encoded:
        """The given texts as one padded batch, float32."""
        return Encoded(padded([self.of(i) for i in rows]), torch.from_numpy(np.asarray(self.sentences[list(rows)])))

    def of(self, i: int) -> Float[np.ndarray, "n_i d"]:
        """Token vectors of text i."""
        return self.tokens[self.start[i] : self.start[i + 1]]


def no_vectors(count: int) -> Vectors:
    """The value for texts that are not embedded yet: no tokens, and sentence vectors of dimension 0."""
    none = np.zeros((0, 1), np.float16)
    return Vectors(none, np.zeros(count + 1, np.int64), np.zeros((count, 0), np.float32), Path())


def sharded_vectors(shards: Shards) -> Vectors:
    """The vectors of shards; start positions are read into memory, vectors when they are asked for."""
    found, count, kept = shards.vectors(), shards.manifest["count"], shards.manifest.get("reading")
    read = None if kept is None else Reading(**kept)
    if shards.manifest["kind"] == "tokens":
        return Vectors(found, shards.start(), np.zeros((count, 0), dtype=np.float32), shards.folder, read)
    return Vectors(np.zeros((0, 1), dtype=np.float16), np.zeros(count + 1, dtype=np.int64), found, shards.folder, read)


def padded(rows: Sequence[Float[np.ndarray, "n_i d"]]) -> Tokens:
    """Token matrices of different lengths as one batch, float32; padding is masked."""
    width = max((len(row) for row in rows), default=0)
    vectors = torch.zeros(len(rows), width, rows[0].shape[1] if len(rows) else 0)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for k, row in enumerate(rows):
        vectors[k, : len(row)] = torch.from_numpy(row.astype(np.float32))
        mask[k, : len(row)] = True
    return Tokens(vectors, mask)
