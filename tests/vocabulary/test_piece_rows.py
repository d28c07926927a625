"""Rows of pieces fitted to the words that fall into them."""

import numpy as np

from optical.vocabulary.piece_rows import RIDGE, fit_pieces

FIXED, FREE, WORDS = np.arange(0, 4), np.arange(4, 12), np.arange(12, 30)


def problem(seed=0):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((30, 5)).astype(np.float32)
    falls = [list(random.choice(10, random.integers(1, 4), replace=False)) for _ in WORDS]  # 10 and 11: in no word
    return rows, falls, random.random(len(FREE)) < 0.5


def dense(rows, falls, known):
    """The normal equations, solved whole; and the start."""
    shares = np.zeros((len(falls), len(rows)))
    for word, pieces in enumerate(falls):
        shares[word, pieces] = 1 / len(pieces)
    start = rows[FREE].astype(float)
    for k, piece in enumerate(FREE):
        words = [WORDS[n] for n, pieces in enumerate(falls) if piece in pieces]
        if words and not known[k]:
            start[k] = rows[words].mean(axis=0)
    parts, others = shares[:, FREE], shares.copy()
    others[:, FREE] = 0
    right = parts.T @ (rows[WORDS] - others @ rows) + RIDGE * start
    return np.linalg.solve(parts.T @ parts + RIDGE * np.eye(len(FREE)), right), start


def test_the_rows_solve_the_least_squares_problem():
    rows, falls, known = problem()
    expected, start = dense(rows, falls, known)
    found = fit_pieces(rows, falls, WORDS, FREE, known)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - start).max() > 0.1


def test_a_piece_of_no_word_keeps_its_row():
    rows, falls, known = problem()
    found = fit_pieces(rows, falls, WORDS, FREE, known)
    np.testing.assert_array_equal(found[-2:], rows[[10, 11]])


def test_words_that_are_whole_move_nothing():
    rows, _, known = problem()
    falls = [[int(FIXED[0])] for _ in WORDS]
    np.testing.assert_array_equal(fit_pieces(rows, falls, WORDS, FREE, known), rows[FREE])
