"""Rows of new words, against those worked out by hand."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.rows import lean_on, mix_rows, mixing_weights, pool_parts
from optical.vocabulary.subwords import WordParts
from optical.vocabulary.translation_table import TranslationTable
from tests.vocabulary.test_align_ibm1 import no_parts


def test_parts_pool_the_counts_of_their_words():
    table = TranslationTable(
        np.array([0, 0, 1]), np.array([3, 4, 3]), np.array([2.0, 1, 4]), np.array([2 / 3, 1 / 3, 1]), np.ones(3)
    )
    parts = WordParts(["a", "##b"], np.array([1, 2]), np.array([[0, 1], [-1, 1]]), np.ones((2, 2)))
    pooled = pool_parts(table, parts)
    counts = dict(
        zip(zip(pooled.foreign.tolist(), pooled.english.tolist(), strict=True), pooled.counts.tolist(), strict=True)
    )
    assert counts == {(0, 3): 2, (0, 4): 1, (1, 3): 6, (1, 4): 1}
    np.testing.assert_allclose(pooled.probability[pooled.foreign == 1], [6 / 7, 1 / 7], rtol=1e-6)


def test_pooling_nothing_gives_nothing():
    assert len(pool_parts(align_ibm1([[1]], [[2]]), no_parts(3)).foreign) == 0


def test_rows_are_the_weighted_mean_of_the_likeliest_pieces():
    vectors = np.array([[1.0, 0], [0, 1], [5, 5], [9, 9]])
    # Two entries for id 1 (the third is cut off by top=2), one for id 3, none for 0 and 2.
    table = TranslationTable(
        np.array([1, 1, 1, 3]), np.array([0, 1, 2, 3]), np.ones(4), np.array([0.5, 0.3, 0.2, 1.0]), np.ones(4)
    )  # fmt: skip
    rows, mixed = mix_rows(table, vectors, 5, top=2)
    np.testing.assert_allclose(rows[1], [0.5 / 0.8, 0.3 / 0.8])
    np.testing.assert_allclose(rows[3], [9, 9])
    np.testing.assert_array_equal(mixed, [0, 2, 0, 1, 0])
    assert not rows[[0, 2, 4]].any()


def test_rows_lean_on_their_parts_by_their_counts():
    of = np.array([[0, 1], [-1, -1], [0, 2]])
    parts = WordParts(
        ["a", "##b", "##c"], np.array([2, 1, 1]), of, np.array([[0.25, 0.75], [0, 0], [0.5, 0.5]], dtype=np.float32)
    )
    weights = csr_matrix(np.array([[4.0, 0], [7, 0], [8, 0]]))
    of_parts = csr_matrix(np.array([[0, 1.0], [8, 0], [0, 0]]))
    leaned = lean_on(parts, weights, of_parts, np.array([3, 3, 1]), 2.0).toarray()
    # Row 0: (3 * 4 + 2 * (.25 * 0 + .75 * 8)) / (3 + 2); row 2: its suffix has no meaning, the prefix counts half of 2.
    np.testing.assert_allclose(leaned, [[24 / 5, 0.5 / 5], [7.0, 0], [8 / 2, 1 / 2]], rtol=1e-6)


def test_pieces_that_mean_nothing_are_mixed_only_where_there_is_nothing_else():
    table = TranslationTable(
        np.array([0, 0, 1]), np.array([2, 1, 2]), np.ones(3), np.array([0.9, 0.1, 1.0]), np.ones(3)
    )  # fmt: skip
    weights = mixing_weights(table, 2, 3, top=1, empty=np.array([False, False, True])).toarray()
    np.testing.assert_allclose(weights, [[0, 1, 0], [0, 0, 1]])
