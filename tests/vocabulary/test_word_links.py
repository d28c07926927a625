"""Probabilities of links from a bitext small enough to see what each word must mean."""

from __future__ import annotations

import numpy as np

from optical.data.bitext import Pair
from optical.vocabulary.word_links import Posteriors, learn_aligner
from tests.vocabulary.test_lexicon import NOUNS, bitext

SENTENCE = Pair("I sell the River", "ninauza mto")


def test_both_directions_find_the_noun_and_the_verb():
    found = learn_aligner(bitext()).posteriors(SENTENCE)
    assert found.english.shape == found.foreign.shape == (4, 2)
    assert found.foreign[:, 1].argmax() == 3, "mto means river"
    assert found.foreign[:, 0].argmax() == 1, "ninauza means sell"
    np.testing.assert_allclose(found.english.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found.foreign.sum(axis=0), 1, rtol=1e-6)
    assert found.both[3, 1] == np.sqrt(found.english[3, 1] * found.foreign[3, 1])


def test_a_sure_link_is_of_words_that_are_known_and_in_one_link_each():
    aligner = learn_aligner([*bitext(), *bitext()])
    sure = {word: aligner.posteriors(Pair(f"sell {thing}", f"ninauza {word}")).sure for word, thing in NOUNS.items()}
    assert all(one.tolist() == [[True, False], [False, True]] for one in sure.values())
    few = learn_aligner(bitext()).posteriors(Pair("see moon", "ninaona mwezi"))
    assert few.sure.tolist() == [[True, False], [False, False]], "mwezi is there once"


def test_a_link_that_one_direction_alone_believes_is_not_sure():
    seen = np.ones((1, 2), dtype=bool)
    english, foreign = np.array([[0.9, 0.1]]), np.array([[0.3, 0.8]])
    assert not Posteriors(english, foreign, seen).sure.any()
    assert Posteriors(english, np.array([[0.6, 0.8]]), seen).sure.tolist() == [[True, False]]


def test_a_word_that_was_never_seen_has_no_link():
    found = learn_aligner(bitext()).posteriors(Pair("the zebra", "punda mto"))
    assert not found.english[1].any()
    assert not found.foreign[:, 0].any()
    assert np.isneginf(found.both[1]).all()
    assert learn_aligner(bitext()).posteriors(Pair("12", "mto")).both.shape == (0, 1)
    assert not learn_aligner([]).posteriors(SENTENCE).sure.any()
