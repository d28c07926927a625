"""Fewer tokens a document: similar ones are replaced by their mean, by sentence-transformers' hierarchical pooling."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from optical.embeddings.shards import Matrix


def pooled(
    tokens: Matrix, start: Int[np.ndarray, " n_plus_1"], factor: float, place: Path
) -> tuple[Float[np.ndarray, "s d"], Int[np.ndarray, " n_plus_1"]]:
    """Keep the first token of each document, [CLS], and about one ``factor``-th of the others.

    Ward's clustering by cosine within each document (Clavie, Chaffin & Adams 2024), one to two milliseconds a passage;
    each cluster becomes the unit vector of its mean. Memory holds one document; the result is in an unnamed file, which
    is deleted with the array.

    Args:
        tokens: Unit vectors, finite.
        start: Document i has the rows ``start[i]`` to ``start[i + 1]``.
        factor: At least 1.
        place: A folder with room for the result, 2 d bytes a token.

    Returns:
        The pooled tokens, float16 and memory-mapped, and the row at which each document begins.

    Raises:
        OSError: The disk is full.
    """
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    pooling = HierarchicalTokenPooling(factor)
    lengths = np.zeros(len(start) - 1, dtype=np.int64)
    with tempfile.TemporaryFile(dir=place) as file:
        for row, (a, b) in enumerate(zip(start[:-1], start[1:], strict=True)):
            if a < b:
                kept = pooling.pool_one(torch.from_numpy(np.array(tokens[a:b], dtype=np.float32))).numpy()
                lengths[row] = len(kept)
                file.write(kept.astype("<f2").tobytes())
        file.flush()
        begins = np.concatenate([[0], np.cumsum(lengths)])
        shape = (int(begins[-1]), tokens.shape[1])
        rows = np.memmap(file, "<f2", "r", shape=shape) if shape[0] else np.zeros(shape, "<f2")
    return rows, begins
