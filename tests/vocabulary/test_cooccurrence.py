"""Which tokens co-occur, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from optical.vocabulary import cooccurrence
from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.cooccurrence import co_occurrences


def test_every_pair_of_ids_is_there_with_the_sentences_that_have_it():
    met = co_occurrences([[5, 7, 5], [5]], [[1, 2, 2], [1]], 100)
    pairs = list(zip(met.f.tolist(), met.e.tolist(), strict=True))
    assert pairs == [(1, 5), (1, 7), (2, 5), (2, 7)]
    # Columns are 5 in the first sentence, 5 in the second, 7 in the first.
    assert met.english.toarray().tolist() == [[1, 1, 0], [0, 0, 1], [2, 0, 0], [0, 0, 2]]
    assert met.weight.tolist() == [2, 1, 1]
    assert met.foreign.tolist() == [0, 2, 0, 1, 1]


def test_each_english_token_is_shared_out_by_the_values_of_its_pairs():
    met = co_occurrences([[5, 7, 5], [5]], [[1, 2, 2], [1]], 100)
    # A token 5 of the first sentence is 1 part id 1 and 2 times 3 parts id 2; there are two of it.
    np.testing.assert_allclose(met.counts(np.array([1.0, 3, 3, 1])), [2 / 7 + 1, 3 / 5, 12 / 7, 2 / 5])


def test_empty_sides_and_long_pairs_are_left_out():
    assert len(align_ibm1([[], [1]], [[2], []]).foreign) == 0
    table = align_ibm1([[1], [2] * 5], [[3], [4]], max_length=4)
    assert set(table.foreign) == {3}


def test_memory_is_bounded_by_leaving_out_the_longest_pairs(monkeypatch):
    monkeypatch.setattr(cooccurrence, "MAX_ENTRIES", 5)
    table = align_ibm1([[1, 2, 3, 4], [5], [6, 7]], [[1, 2], [3], [4, 5]])
    assert set(table.foreign) == {3, 4, 5}


def test_sides_of_different_length_are_refused():
    with pytest.raises(ValueError, match="1 English and 2 X"):
        align_ibm1([[1]], [[1], [2]])


def test_ids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="too many ids"):
        align_ibm1([[1 << 40]], [[1 << 30]])
