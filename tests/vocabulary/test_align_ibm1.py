"""Alignment against known translations and a slow reference; mixed rows against the hand."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from optical.vocabulary import cooccurrence
from optical.vocabulary.align_ibm1 import Hints, Lexicon, align, lean_on, mix_rows, pool
from optical.vocabulary.subwords import Parts, letters


def slow_model_1(english, foreign, steps):
    """Model 1 in dictionaries, written from the equations."""
    seen = defaultdict(set)
    for es, fs in zip(english, foreign, strict=True):
        for f in fs:
            seen[f].update(es)
    t = {(f, e): 1 / len(es) for f, es in seen.items() for e in es}
    for _ in range(steps):
        counts = defaultdict(float)
        for es, fs in zip(english, foreign, strict=True):
            for e in es:
                total = sum(t[f, e] for f in fs)
                for f in fs:
                    counts[f, e] += t[f, e] / total
        mass = defaultdict(float)
        for (f, _), c in counts.items():
            mass[f] += c
        t = {(f, e): c / mass[f] for (f, e), c in counts.items()}
    return t


def random_bitext(sentences=40, seed=0):
    rng = np.random.default_rng(seed)
    sides = [[rng.integers(low, low + 12, rng.integers(0, 7)).tolist() for _ in range(sentences)] for low in (3, 0)]
    return [*sides[0], [3, 3, 4]], [*sides[1], [7, 7]]


def no_parts(size):
    return Parts([], np.zeros(0, dtype=np.int64), np.full((size, 2), -1), np.zeros((size, 2), dtype=np.float32))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_probabilities_agree_with_the_slow_reference(steps):
    english, foreign = random_bitext()
    table = align(english, foreign, steps=steps)
    expected = slow_model_1(english, foreign, steps)
    found = dict(zip(zip(table.foreign.tolist(), table.english.tolist(), strict=True), table.probability, strict=True))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[k] for k in expected], list(expected.values()), rtol=1e-4, atol=1e-7)


def test_both_directions_sum_to_one_and_entries_are_sorted():
    table = align(*random_bitext())
    for ids, values in ((table.foreign, table.probability), (table.english, table.reverse)):
        sums = np.bincount(ids, weights=values)
        np.testing.assert_allclose(sums[np.unique(ids)], 1, rtol=1e-5)
    assert (np.diff(table.foreign) >= 0).all()
    same = np.diff(table.foreign) == 0
    assert (np.diff(table.weight)[same] <= 1e-6).all()


def test_known_translations_are_found():
    english, foreign = [[1, 9], [1, 2], [2, 9], [3, 9], [3, 1]], [[11], [11, 12], [12], [13], [13, 11]]
    table = align(english, foreign, steps=10)
    best = {f: table.english[table.foreign == f][0] for f in (11, 12, 13)}
    assert best == {11: 1, 12: 2, 13: 3}


def test_empty_sides_and_long_pairs_are_left_out():
    assert len(align([[], [1]], [[2], []]).foreign) == 0
    table = align([[1], [2] * 5], [[3], [4]], max_length=4)
    assert set(table.foreign) == {3}


def test_memory_is_bounded_by_leaving_out_the_longest_pairs(monkeypatch):
    monkeypatch.setattr(cooccurrence, "MAX_ENTRIES", 5)
    table = align([[1, 2, 3, 4], [5], [6, 7]], [[1, 2], [3], [4, 5]])
    assert set(table.foreign) == {3, 4, 5}


def test_no_warning_for_ids_that_do_not_occur(recwarn):
    align([[5]], [[900]])
    assert not recwarn.list


def test_sides_of_different_length_are_refused():
    with pytest.raises(ValueError, match="1 English and 2 X"):
        align([[1]], [[1], [2]])


def test_ids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="too many ids"):
        align([[1 << 40]], [[1 << 30]])


def test_words_that_look_alike_align_at_once():
    """Seen once, "viktoria" could be any of the three English words."""
    spelled = letters(["", "viktoria", "mwaka"]), letters(["lake", "victoria", "year"])
    plain = align([[0, 1, 2]], [[1, 2]])
    hinted = align([[0, 1, 2]], [[1, 2]], hints=Hints(no_parts(3), spelled))
    assert np.ptp(plain.probability) < 1e-6
    assert hinted.english[hinted.foreign == 1][0] == 1
    assert hinted.probability[hinted.foreign == 1][0] > 0.5


def test_rare_words_lean_on_the_parts_they_share():
    """Word 2 is seen once, with English 5 and 6; its stem is that of word 1, which means 5."""
    english, foreign = [[5, 7], [5, 8], [5, 9], [5, 6]], [[1, 3], [1, 4], [1, 0], [2]]
    of = np.full((5, 2), -1)
    of[1], of[2] = (0, 2), (1, 2)
    parts = Parts(
        ["ana", "ali", "##zungumza"], np.array([9, 9, 2]), of, np.where(of >= 0, [0.1, 0.9], 0).astype(np.float32)
    )
    nothing = np.zeros((10, 12), dtype=np.uint64)
    plain = align(english, foreign)
    hinted = align(english, foreign, hints=Hints(parts, (nothing, nothing)))
    probability = [float(t.probability[(t.foreign == 2) & (t.english == 5)][0]) for t in (plain, hinted)]
    assert probability[0] == pytest.approx(0.5)
    assert probability[1] > 0.55


def test_parts_pool_the_counts_of_their_words():
    table = Lexicon(
        np.array([0, 0, 1]), np.array([3, 4, 3]), np.array([2.0, 1, 4]), np.array([2 / 3, 1 / 3, 1]), np.ones(3)
    )
    parts = Parts(["a", "##b"], np.array([1, 2]), np.array([[0, 1], [-1, 1]]), np.ones((2, 2)))
    pooled = pool(table, parts)
    counts = dict(
        zip(zip(pooled.foreign.tolist(), pooled.english.tolist(), strict=True), pooled.count.tolist(), strict=True)
    )
    assert counts == {(0, 3): 2, (0, 4): 1, (1, 3): 6, (1, 4): 1}
    np.testing.assert_allclose(pooled.probability[pooled.foreign == 1], [6 / 7, 1 / 7], rtol=1e-6)


def test_pooling_nothing_gives_nothing():
    assert len(pool(align([[1]], [[2]]), no_parts(3)).foreign) == 0


def test_rows_are_the_weighted_mean_of_the_likeliest_pieces():
    vectors = np.array([[1.0, 0], [0, 1], [5, 5], [9, 9]])
    # Two entries for id 1 (the third is cut off by top=2), one for id 3, none for 0 and 2.
    table = Lexicon(
        np.array([1, 1, 1, 3]), np.array([0, 1, 2, 3]), np.ones(4), np.array([0.5, 0.3, 0.2, 1.0]), np.ones(4)
    )  # fmt: skip
    rows, mixed = mix_rows(table, vectors, 5, top=2)
    np.testing.assert_allclose(rows[1], [0.5 / 0.8, 0.3 / 0.8])
    np.testing.assert_allclose(rows[3], [9, 9])
    np.testing.assert_array_equal(mixed, [0, 2, 0, 1, 0])
    assert not rows[[0, 2, 4]].any()


def test_rows_lean_on_their_parts_by_their_counts():
    of = np.array([[0, 1], [-1, -1], [0, 2]])
    parts = Parts(
        ["a", "##b", "##c"], np.array([2, 1, 1]), of, np.array([[0.25, 0.75], [0, 0], [0.5, 0.5]], dtype=np.float32)
    )
    rows, part_rows = np.array([[4.0], [7.0], [8.0]]), np.array([[0.0], [8.0], [100.0]])
    leaned = lean_on(parts, rows, part_rows, np.array([1, 1, 0]), np.array([3, 3, 1]), 2.0)
    # Row 0: (3 * 4 + 2 * (.25 * 0 + .75 * 8)) / (3 + 2); row 2: its suffix has no meaning, the prefix counts half of 2.
    np.testing.assert_allclose(leaned, [[24 / 5], [7.0], [8 / 2]])
