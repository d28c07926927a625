"""Rows of an extended tokenizer: the teacher's own, and new ones mixed from aligned English pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix, vstack

from optical.data.dictionary import Entry
from optical.vocabulary.dictionary_prior import prior_of
from optical.vocabulary.piece_rows import fit_pieces
from optical.vocabulary.rows import lean_on, mixing_weights, pool_parts, random_rows
from optical.vocabulary.subwords import letters, parts_of
from optical.vocabulary.token_ids import token_ids
from optical.vocabulary.tokenizer import Extension
from optical.vocabulary.translation_table import Hints, TranslationTable, with_prior
from optical.vocabulary.word_boundaries import piece_texts

# X gets the row of a piece of the teacher that it uses at least so often, and more than so many times as often as
# English does: chosen on held-out pairs of five languages (experiments/LOG.md, 2026-11-29).
LEAST_USES = 3
MORE_THAN_ENGLISH = 2.0


class Mixing(NamedTuple):
    """Options of making the rows of new words, and what a dictionary says of them.

    ``align`` is None where rows are drawn at random; ``weight`` is that of
    :class:`optical.vocabulary.translation_table.Prior`.
    """

    align: Callable[..., TranslationTable] | None
    top: int
    lean: float
    seed: int
    entries: Sequence[Entry] = ()
    weight: float = 1.0


class ExtendedRows(NamedTuple):
    """The embedding matrix of an extended tokenizer.

    Attributes:
        rows: One for each id, and those that the teacher's matrix has to spare.
        aligned: Rows that were mixed from aligned English pieces.
        overwritten: Of these, rows of the teacher's own pieces.
    """

    rows: Float[np.ndarray, "s d"]
    aligned: int
    overwritten: int


def extended_rows(
    base: Any,
    extension: Extension,
    old: Float[np.ndarray, "v d"],
    english: list[str],
    foreign: list[str],
    mixing: Mixing,
) -> ExtendedRows:
    """Rows for the words and pieces of an extension, behind those of its base.

    Args:
        base: The tokenizer that was extended.
        extension: See :func:`optical.vocabulary.tokenizer.extend`.
        old: Embeddings of the base's tokens; rows after the last token's are to spare.
        english: English sides of the bitext.
        foreign: X sides, in the same order.
        mixing: How new rows are made.
    """
    size, own = len(extension.tokenizer), min(len(base), len(old))
    one = np.arange(size)
    for ids in extension.ids.values():
        one[ids] = ids[0]  # all written forms of a word count together
    new = np.empty((max(size, len(old)), old.shape[1]), dtype=old.dtype)
    new[:own] = old[:own]
    # A word that no pair short enough explains starts in the middle of the vocabulary, where it means nothing.
    new[own:size] = old[:own].mean(axis=0)
    new[size:] = old[size:]
    if mixing.align is None:
        fresh = np.arange(own, size)
        new[fresh] = random_rows(old, size, mixing.seed)[one[fresh]]
        return ExtendedRows(new, 0, 0)
    ids, weights = _mixed(base, extension, len(old), english, foreign, one, mixing)
    new[ids] = weights @ old
    _fit_pieces(new, extension, frozenset(ids))
    return ExtendedRows(new, len(ids), sum(i < own for i in ids))


def _mixed(base, extension, width, english, foreign, one, mixing) -> tuple[list[int], csr_matrix]:
    """Ids of the aligned words and pieces, and the English pieces that the row of each mixes."""
    tokenizer, size = extension.tokenizer, len(one)
    first = {word: ids[0] for word, ids in extension.ids.items()}
    parts = parts_of([(first[w], spelled) for w, spelled in extension.spelling.items() if spelled], size)
    prior = prior_of(mixing.entries, first, base, mixing.weight) if mixing.entries else None
    hints = Hints(parts, _letters(base, tokenizer, extension, first), lean=mixing.lean, prior=prior)
    foreign_ids = [one[ids] for ids in token_ids(tokenizer, foreign)]
    english_ids = token_ids(base, english)
    table = mixing.align(english_ids, foreign_ids, hints=hints)
    table = table if prior is None else with_prior(table, prior)
    empty = _punctuation(base)
    weights = mixing_weights(table, size, width, top=mixing.top, empty=empty)
    of_parts = mixing_weights(pool_parts(table, parts), len(parts.names), width, top=mixing.top, empty=empty)
    counts = np.bincount(np.concatenate(foreign_ids), minlength=size)
    worth = counts if prior is None else counts + prior.occurrences(size)
    leaned = lean_on(parts, weights, of_parts, worth, mixing.lean)
    mixed, part_mixed = np.diff(weights.indptr), np.diff(of_parts.indptr)
    index = {name: k for k, name in enumerate(parts.names)}
    of_pieces = {
        i: size + index[piece] for piece, i in extension.pieces.items() if piece in index and part_mixed[index[piece]]
    }
    # Words after pieces: a beginning that is a word too ("kwa") means what the word means.
    of_words = {i: ids[0] for ids in extension.ids.values() if mixed[ids[0]] for i in ids}
    english_counts = np.bincount(np.fromiter(chain.from_iterable(english_ids), dtype=np.int64), minlength=size)
    kept = kept_rows(counts[one], english_counts, min(len(base), width))
    made = of_pieces | {i: k for i, k in of_words.items() if not kept[i]}
    return list(made), vstack([leaned, of_parts]).tocsr()[list(made.values())]


def _fit_pieces(rows: Float[np.ndarray, "s d"], extension: Extension, mixed: frozenset[int]) -> None:
    """Fit the rows of the extension's pieces to those of its words, in place."""
    free = np.array(list(extension.pieces.values()), dtype=np.int64)
    if not len(free):
        return
    model = extension.tokenizer.backend_tokenizer.model
    of = {word: ids[0] for word, ids in extension.ids.items() if ids[0] in mixed and extension.spelling[word]}
    falls = [[piece.id for piece in model.tokenize(extension.spelling[word])] for word in of]
    known = np.array([i in mixed for i in free])
    rows[free] = fit_pieces(rows, falls, np.array(list(of.values()), dtype=np.int64), free, known)


def kept_rows(foreign: Int[np.ndarray, " s"], english: Int[np.ndarray, " s"], rows: int) -> Bool[np.ndarray, " s"]:
    """The ids whose rows stay the teacher's: its own pieces, unless X clearly uses them more than English does.

    A word of X that is a piece of the teacher too ("me", "sold") has one row for both languages. X gets it where the
    word occurs at least ``LEAST_USES`` times on the X side, and more than ``MORE_THAN_ENGLISH`` times as often as the
    piece on the English side.

    Args:
        foreign: Occurrences of each id on the X side.
        english: Occurrences on the English side, as a piece of longer words too.
        rows: Rows of the teacher; ids from there on are new.
    """
    of_x = (foreign >= LEAST_USES) & (foreign > MORE_THAN_ENGLISH * english)
    return (np.arange(len(foreign)) < rows) & ~of_x


def _letters(base, tokenizer, extension, first):
    """Character pairs of the X ids and of the teacher's pieces that begin a word."""
    special = set(base.all_special_tokens)
    ours, theirs = (
        [
            "" if token in special or token.startswith("##") else text
            for token, text in zip(*_tokens_and_texts(tok), strict=True)
        ]
        for tok in (tokenizer, base)
    )
    for word, i in first.items():
        ours[i] = extension.spelling[word]
    return letters(ours), letters(theirs)


def _punctuation(base) -> np.ndarray:
    """Which of the tokenizer's ids have neither a letter nor a digit."""
    return np.array([not any(c.isalnum() for c in text) for text in _tokens_and_texts(base)[1]])


def _tokens_and_texts(tokenizer: Any) -> tuple[list[str], list[str]]:
    """The tokens of all ids, and what they spell."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return tokens, piece_texts(tokenizer.backend_tokenizer, tokens)
