"""Rows of the parts of words: fitted so that a word which falls into them reads as its own row would.

A sentence vector is nearly a mean over tokens, so the mean of a word's pieces stands for its row. The pieces that seen
words *would* fall into are fitted to those words' rows by least squares; unseen words then fall into the same pieces.
After Zhao, Mudgal and Liang (2018, "Generalizing Word Embeddings using Bag of Subwords"), for one segmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

RIDGE = 2.5  # words of two pieces weigh 1/4 each: ten of them outweigh the start; chosen on held-out pairs (LOG)
STEPS = 60  # of conjugate gradients, at most
TOLERANCE = 1e-3


def fit_pieces(
    rows: Float[np.ndarray, "s d"],
    falls: Sequence[Sequence[int]],
    of: Int[np.ndarray, " w"],
    free: Int[np.ndarray, " p"],
    known: Bool[np.ndarray, " p"],
) -> Float[np.ndarray, "p d"]:
    """Rows of pieces, so that the mean of the pieces of each word comes near the word's row.

    Minimises ``sum_w |mean of the pieces of w - row of w|^2 + RIDGE sum_p |row of p - start of p|^2``. A piece without
    a row starts from the mean of the words that it is part of.

    Args:
        rows: Of every id.
        falls: Ids of the pieces that each word falls into without its own token.
        of: Id of each word.
        free: Ids of the pieces whose rows are fitted; the rows of others stay.
        known: Which of them have a row to start from.
    """
    lengths = np.array([len(pieces) for pieces in falls], dtype=np.int64)
    word, piece = np.repeat(np.arange(len(falls)), lengths), np.fromiter((i for some in falls for i in some), np.int64)
    share = (1 / np.maximum(lengths, 1)).astype(np.float32)[word]
    place = np.full(len(rows), -1)
    place[free] = np.arange(len(free))
    mine = place[piece] >= 0
    fixed = csr_matrix((share[~mine], (word[~mine], piece[~mine])), shape=(len(falls), len(rows)))
    parts = csr_matrix((share[mine], (word[mine], place[piece[mine]])), shape=(len(falls), len(free)))
    some = np.flatnonzero(np.diff(parts.indptr))  # words with a piece to fit
    fixed, parts, target = fixed[some], parts[some], rows[of[some]]
    member = (parts > 0).astype(np.float32).T.tocsr()
    inside = np.asarray(member.sum(axis=1)).ravel()
    start = np.where(known[:, None], rows[free], (member @ target) / np.maximum(inside, 1)[:, None])
    start[~known & (inside == 0)] = rows[free][~known & (inside == 0)]
    left = target - fixed @ rows - parts @ start
    return (start + _ridge(parts, left)).astype(rows.dtype)


def _ridge(parts: csr_matrix, left: Float[np.ndarray, "w d"]) -> Float[np.ndarray, "p d"]:
    """The z that minimises ``|parts z - left|^2 + RIDGE |z|^2``, by conjugate gradients scaled by the diagonal."""
    back = parts.T.tocsr()
    scale = 1 / (np.asarray(back.multiply(back).sum(axis=1)) + RIDGE)
    residual = back @ left
    found, step = np.zeros_like(residual), scale * residual
    size = first = (residual * step).sum(axis=0)
    for _ in range(STEPS):
        if (size <= TOLERANCE**2 * first).all():
            break
        moved = back @ (parts @ step) + RIDGE * step
        far = size / np.maximum((step * moved).sum(axis=0), 1e-30)
        found, residual = found + far * step, residual - far * moved
        scaled = scale * residual
        now = (residual * scaled).sum(axis=0)
        step, size = scaled + now / np.maximum(size, 1e-30) * step, now
    return found
