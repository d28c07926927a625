"""Tables of translation probabilities: their order and their sums."""

from __future__ import annotations

import numpy as np

from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.translation_table import sorted_table
from tests.vocabulary.test_align_ibm1 import random_bitext


def test_entries_are_sorted_and_the_reverse_is_of_the_same_counts():
    f, e = np.array([1, 0, 1]), np.array([4, 3, 3])
    table = sorted_table(f, e, np.array([1.0, 3, 1]), np.array([0.2, 1, 0.8]))
    assert list(zip(table.foreign, table.english, strict=True)) == [(0, 3), (1, 3), (1, 4)]
    np.testing.assert_allclose(table.reverse, [0.75, 0.25, 1])
    np.testing.assert_allclose(table.weight, [0.75**0.2, 0.8 * 0.25**0.2, 0.2])


def test_both_directions_sum_to_one_and_entries_are_sorted():
    table = align_ibm1(*random_bitext())
    for ids, values in ((table.foreign, table.probability), (table.english, table.reverse)):
        sums = np.bincount(ids, weights=values)
        np.testing.assert_allclose(sums[np.unique(ids)], 1, rtol=1e-5)
    assert (np.diff(table.foreign) >= 0).all()
    same = np.diff(table.foreign) == 0
    assert (np.diff(table.weight)[same] <= 1e-6).all()
