"""Embedding rows of new words: mixed from the English pieces that they are aligned with, or drawn at random."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.sparse import csr_matrix, diags_array

from optical.vocabulary.subwords import WordParts
from optical.vocabulary.translation_table import TranslationTable, order_of, per_id, sorted_table


def mixing_weights(
    table: TranslationTable, size: int, width: int, *, top: int = 8, empty: Bool[np.ndarray, " v"] | None = None
) -> csr_matrix:
    """Weights ``(size, width)`` of each X id's ``top`` likeliest English pieces; they sum to 1 where it was aligned.

    Args:
        table: From a word alignment.
        size: How many X ids there are.
        width: How many English ids there are.
        top: Pieces mixed for each word.
        empty: English pieces that mean nothing, such as commas: mixed only where there is nothing else.
    """
    if empty is not None:
        nothing = empty[table.english]
        sides = [np.flatnonzero(side) for side in (nothing, ~nothing)]
        table = _rows(table, np.sort(np.concatenate([side[_first(table.foreign[side], top)] for side in sides])))
        table = table._replace(probability=np.where(empty[table.english], np.float32(1e-6), 1) * table.probability)
        table = _rows(table, order_of(table))
    table = _rows(table, _first(table.foreign, top))
    f, e, weight = table.foreign, table.english, table.weight
    mass = np.maximum(np.bincount(f, weights=weight, minlength=size), 1e-30)
    return csr_matrix(((weight / mass[f]).astype(np.float32), (f, e)), shape=(size, width))


def _first(f: Int[np.ndarray, " k"], top: int) -> Bool[np.ndarray, " k"]:
    """Which entries, sorted by X id, are among the ``top`` first of their X id."""
    new = np.flatnonzero(np.append(len(f) > 0, f[1:] != f[:-1])[: len(f)])
    place = np.arange(len(f), dtype=np.int32)
    place -= np.repeat(new.astype(np.int32), np.diff(new, append=len(f)))
    return place < top


def _rows(table: TranslationTable, at: Shaped[np.ndarray, " r"]) -> TranslationTable:
    """Some entries, by number or by a mask."""
    return TranslationTable(*(values[at] for values in table))


def mix_rows(
    table: TranslationTable, vectors: Float[np.ndarray, "v d"], size: int, *, top: int = 8
) -> tuple[Float[np.ndarray, "s d"], Int[np.ndarray, " s"]]:
    """Embedding of each X id: the weighted mean of the vectors of its ``top`` likeliest English pieces.

    Args:
        table: From a word alignment.
        vectors: Embeddings of the English pieces, row by English id.
        size: How many X ids there are.
        top: Pieces mixed for each word.

    Returns:
        Rows ``(size, d)``, zero where an id was never aligned, and how many pieces each row mixes.
    """
    weights = mixing_weights(table, size, len(vectors), top=top)
    return (weights @ vectors).astype(vectors.dtype), np.diff(weights.indptr)


def random_rows(vectors: Float[np.ndarray, "v d"], size: int, seed: int) -> Float[np.ndarray, "s d"]:
    """Random rows ``(size, d)``: normal, each dimension with the mean and standard deviation it has in ``vectors``."""
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((size, vectors.shape[1]), dtype=np.float32)
    return (vectors.mean(axis=0) + drawn * vectors.std(axis=0)).astype(vectors.dtype)


def pool_parts(table: TranslationTable, parts: WordParts) -> TranslationTable:
    """A translation table of word parts: the expected counts of all words that share a part, added up."""
    ends = np.searchsorted(table.foreign, np.arange(len(parts.of) + 1))
    width = 1 + int(table.english.max(initial=0))
    counts = csr_matrix((table.counts, table.english, ends), shape=(len(parts.of), width))
    word, side = np.nonzero(parts.of >= 0)
    sharing = csr_matrix((np.ones(len(word)), (parts.of[word, side], word)), shape=(len(parts.names), len(parts.of)))
    pooled = csr_matrix(sharing @ counts)
    pooled.sort_indices()
    part = np.repeat(np.arange(len(parts.names)), np.diff(pooled.indptr))
    return sorted_table(part, pooled.indices, pooled.data.astype(np.float32), per_id(pooled.data, part))


def lean_on(
    parts: WordParts, weights: csr_matrix, of_parts: csr_matrix, counts: Shaped[np.ndarray, " s"], lean: float
) -> csr_matrix:
    """Weights of rows that are drawn towards those of their parts: ``(c row + lean part) / (c + lean)``.

    Args:
        parts: Halves of the X ids.
        weights: English pieces that the row of each X id mixes, ``(s, v)``.
        of_parts: English pieces that the row of each part mixes, ``(p, v)``; a part with none is not leaned on.
        counts: Occurrences c of each X id.
        lean: Occurrences that the parts are worth.
    """
    word, side = np.nonzero(parts.of >= 0)
    part, share = parts.of[word, side], lean * parts.share[word, side]
    some = np.diff(of_parts.indptr)[part] > 0
    leaning = csr_matrix((share[some], (word[some], part[some])), shape=(len(parts.of), len(parts.names)))
    whole = np.maximum(counts + np.asarray(leaning.sum(axis=1)).ravel(), 1e-9)
    drawn = diags_array(counts.astype(np.float32)) @ weights + leaning @ of_parts
    return csr_matrix(diags_array((1 / whole).astype(np.float32)) @ drawn)
