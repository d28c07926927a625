"""Alignment error by hand, links from matrices, and files of links."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from optical.errors import DataError
from optical.evaluation.alignment_error import Gold, alignment_error, greedy, mutual, read_gold, touching

LINKS = st.frozensets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)
SURE = LINKS.filter(bool)


def gold(sure, possible=()):
    return Gold(frozenset(sure), frozenset(sure) | frozenset(possible))


def test_a_pair_by_hand():
    # Of three links one is sure, one more is possible; of two sure ones, one is found.
    error = alignment_error([frozenset({(0, 0), (2, 1), (2, 2)})], [gold({(0, 0), (1, 1)}, {(2, 1)})])
    assert error.precision == pytest.approx(2 / 3)
    assert error.recall == pytest.approx(1 / 2)
    assert error.f1 == pytest.approx(4 / 7)
    assert error.aer == pytest.approx(1 - (1 + 2) / (3 + 2))


def test_pairs_are_counted_together_and_each_by_itself():
    found = [frozenset({(0, 0)}), frozenset({(0, 1), (1, 0)}), frozenset()]
    error = alignment_error(found, [gold({(0, 0)}), gold({(0, 0), (1, 1), (2, 2)}), gold(())])
    assert error.aer == pytest.approx(1 - 2 / (3 + 4))
    np.testing.assert_allclose(error.by_pair, [0, 1, 0])
    low, high = error.interval()
    assert 0 <= low < error.aer < high <= 1
    assert alignment_error(found[:1], [gold({(0, 0)})]).interval() == (0, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(SURE, LINKS), min_size=1, max_size=4), st.data())
def test_all_sure_links_and_some_possible_ones_are_no_error(pairs, data):
    right = [gold(*one) for one in pairs]
    found = [one.sure | frozenset(x for x in one.possible if data.draw(st.booleans())) for one in right]
    error = alignment_error(found, right)
    assert error.aer == 0
    assert error.f1 == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(LINKS, SURE, LINKS), min_size=1, max_size=4))
def test_without_possible_links_the_error_is_what_f1_lacks_and_more_possible_ones_never_raise_it(pairs):
    found, sure = [one for one, _, _ in pairs], [gold(one) for _, one, _ in pairs]
    strict = alignment_error(found, sure)
    assert 0 <= strict.aer <= 1
    assert strict.aer == pytest.approx(1 - strict.f1)
    loose = alignment_error(found, [gold(one, more) for _, one, more in pairs])
    assert loose.aer <= strict.aer
    assert loose.recall == strict.recall


def test_nothing_to_find_is_refused():
    with pytest.raises(DataError, match="no sure link"):
        alignment_error([frozenset()], [gold((), {(0, 0)})])


def test_each_the_others_best():
    weight = np.array([[0.9, 0.8, 0.0], [0.7, 0.1, 0.2]])
    assert mutual(weight) == {(0, 0)}  # the second row's best is taken by the first, and nobody's best is column 2
    assert mutual(np.where(weight > 0.5, weight, -np.inf)) == {(0, 0)}
    assert mutual(np.full((2, 2), -np.inf)) == mutual(np.zeros((0, 3))) == greedy(np.zeros((0, 3))) == frozenset()


def test_greedy_takes_the_most_alike_pair_first_and_each_word_once():
    weight = np.array([[0.9, 0.8, 0.0], [0.85, 0.1, 0.2]])
    assert greedy(weight) == {(0, 0), (1, 2)}
    assert greedy(np.array([[-np.inf, 0.5], [-np.inf, 0.4]])) == {(0, 1)}


@settings(max_examples=30, deadline=None)
@given(arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-1, 1), unique=True))
def test_mutual_links_are_greedy_ones_too_and_no_word_has_two(weight):
    found, best = greedy(weight), mutual(weight)
    assert len(found) == min(weight.shape) == len({i for i, _ in found}) == len({j for _, j in found})
    assert best <= found
    assert best


def test_links_of_words_that_no_sure_link_has_are_left_out():
    assert touching(frozenset({(0, 0), (0, 1), (2, 1), (3, 3)}), frozenset({(0, 1)})) == {(0, 0), (0, 1), (2, 1)}


def test_a_file_of_links(tmp_path):
    path = tmp_path / "links.gz"
    path.write_bytes(gzip.compress(b"0-0 1?2\n\n0p0 1-1\n"))
    first, second, third = read_gold(path, [(2, 3), (1, 1), (2, 2)])
    assert first == gold({(0, 0)}, {(1, 2)})
    assert second == gold(())
    assert third == gold({(1, 1)}, {(0, 0)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0-0\n0:0\n", "'0:0' is no link, at .*:2"),
        ("0-0\n0-1\n", r"'0-1' links a word that is not there: 1 English words and 1 others.*:2"),
        ("0-0\n", "1 lines of links for 2 sentence pairs"),
        ("0-0\n0-0\n0-0\n", "more lines of links than the 2 sentence pairs, at .*:3"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_place(tmp_path, text, said):
    path = tmp_path / "links"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_gold(path, [(1, 1), (1, 1)])
