"""Embedding rows of new words: mixed from the English pieces that they are aligned with, or drawn at random."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.sparse import csr_matrix

from optical.vocabulary.subwords import WordParts
from optical.vocabulary.translation_table import TranslationTable, order_of, per_id, sorted_table


def mix_rows(
    table: TranslationTable,
    vectors: Float[np.ndarray, "v d"],
    size: int,
    *,
    top: int = 8,
    empty: Bool[np.ndarray, " v"] | None = None,
) -> tuple[Float[np.ndarray, "s d"], Int[np.ndarray, " s"]]:
    """Embedding of each X id: the weighted mean of the vectors of its ``top`` likeliest English pieces.

    Args:
        table: From a word alignment.
        vectors: Embeddings of the English pieces, row by English id.
        size: How many X ids there are.
        top: Pieces mixed for each word.
        empty: English pieces that mean nothing, such as commas: mixed only where there is nothing else.

    Returns:
        Rows ``(size, d)``, zero where an id was never aligned, and how many pieces each row mixes.
    """
    if empty is not None:
        table = table._replace(probability=np.where(empty[table.english], 1e-6, 1) * table.probability)
        table = TranslationTable(*(values[order_of(table)] for values in table))
    start = np.searchsorted(table.foreign, np.arange(size))
    kept = (np.arange(len(table.foreign)) - start[table.foreign]) < top if len(table.foreign) else slice(0)
    f, e, weight = table.foreign[kept], table.english[kept], table.weight[kept]
    mass = np.bincount(f, weights=weight, minlength=size)
    mixing = csr_matrix((weight / np.maximum(mass[f], 1e-30), (f, e)), shape=(size, len(vectors)))
    return (mixing @ vectors).astype(vectors.dtype), np.bincount(f, minlength=size)


def random_rows(vectors: Float[np.ndarray, "v d"], size: int, seed: int) -> Float[np.ndarray, "s d"]:
    """Random rows ``(size, d)``: normal, each dimension with the mean and standard deviation it has in ``vectors``."""
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((size, vectors.shape[1]), dtype=np.float32)
    return (vectors.mean(axis=0) + drawn * vectors.std(axis=0)).astype(vectors.dtype)


def pool_parts(table: TranslationTable, parts: WordParts) -> TranslationTable:
    """A translation table of word parts: the expected counts of all words that share a part, added up."""
    sides = [np.flatnonzero(parts.of[table.foreign, side] >= 0) for side in (0, 1)]
    part = np.concatenate([parts.of[table.foreign[at], side] for side, at in enumerate(sides)])
    at = np.concatenate(sides)
    width = int(table.english.max()) + 1 if len(at) else 1
    distinct, entry = np.unique(part * width + table.english[at], return_inverse=True)
    counts = np.bincount(entry, weights=table.counts[at], minlength=len(distinct)).astype(np.float32)
    return sorted_table(distinct // width, distinct % width, counts, per_id(counts, distinct // width))


def lean_on(
    parts: WordParts, rows: Float[np.ndarray, "s d"], part_rows: Float[np.ndarray, "p d"],
    part_mixed: Shaped[np.ndarray, " p"], counts: Shaped[np.ndarray, " s"], lean: float,
) -> Float[np.ndarray, "s d"]:  # fmt: skip
    """Rows drawn towards those of their parts: ``(c row + lean part) / (c + lean)``.

    Args:
        parts: Halves of the X ids.
        rows: Row of each X id, ``(s, d)``.
        part_rows: Row of each part, ``(p, d)``.
        part_mixed: How many pieces each part's row mixes; a part with none is not leaned on.
        counts: Occurrences c of each X id.
        lean: Occurrences that the parts are worth.
    """
    borrowed, weight = np.zeros_like(rows), np.zeros(len(rows), dtype=rows.dtype)
    for side in (0, 1):
        at = np.flatnonzero(parts.of[:, side] >= 0)
        at = at[part_mixed[parts.of[at, side]] > 0]
        share = parts.share[at, side]
        borrowed[at] += share[:, None] * part_rows[parts.of[at, side]]
        weight[at] += share
    own = counts.astype(rows.dtype)
    return ((own[:, None] * rows + lean * borrowed) / np.maximum(own + lean * weight, 1e-9)[:, None]).astype(rows.dtype)
