"""Rows composed for unseen words: who is alike, what is mixed, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from optical.data.spellings import Spellings
from optical.vocabulary.unseen import ComposedRows

SEEN = ["watoto", "mtoto", "kitabu", "vitabu", "maji", "kusoma", "anasoma", "ya", "मुलगा", "मुलांना", "पुस्तक"]


def rows_of(words, size=4):
    return np.random.default_rng(0).standard_normal((len(words), size)).astype(np.float32)


def test_likeness_is_the_cosine_of_an_independent_implementation():
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 6), lowercase=False)
    seen = vectorizer.fit_transform(SEEN)
    new = ["watotoni", "vitabuni", "मुलगी"]
    for k, word in enumerate(new):
        # Scikit-learn leaves n-grams that no seen word has out of the length of a new word; we count them.
        grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 6), lowercase=False).build_analyzer()(word)
        unknown = sum(gram not in vectorizer.vocabulary_ for gram in grams)
        known = sum(vectorizer.idf_[vectorizer.vocabulary_[g]] ** 2 for g in grams if g in vectorizer.vocabulary_)
        shorter = np.sqrt(known / (known + unknown * (1 + np.log(1 + len(SEEN))) ** 2))
        expected = (seen @ vectorizer.transform([word]).T).toarray().ravel() * shorter
        alike = Spellings(SEEN, neighbours=3, least_likeness=0.01).alike(new)
        order = np.argsort(-expected, kind="stable")[: np.count_nonzero(alike.weight[k])]
        np.testing.assert_array_equal(alike.at[k, : len(order)], order)
        np.testing.assert_allclose(alike.likeness[k], expected.max(), rtol=1e-5)
        np.testing.assert_allclose(
            alike.weight[k, : len(order)], expected[order] ** 2 / (expected[order] ** 2).sum(), rtol=1e-5
        )


def test_a_row_is_the_weighted_mean_of_its_neighbours_rows():
    rows = rows_of(SEEN)
    words = ComposedRows(SEEN, rows, neighbours=2, least_likeness=0.1)
    composed, likeness = words.compose(["vitabuni", "qqq", "mtoto"])
    alike = words.spellings.alike(["vitabuni"])
    assert [SEEN[i] for i in alike.at[0]] == ["vitabu", "kitabu"]
    np.testing.assert_allclose(composed[0], alike.weight[0] @ rows[alike.at[0]], rtol=1e-6)
    assert likeness[1] == 0
    assert not composed[1].any()
    assert likeness[2] == pytest.approx(1, abs=1e-6)


def test_a_seen_word_is_its_own_row_alone():
    """A tokenizer with case reads "Kitabu" as unseen where bitext has "kitabu"; its neighbours took most of its row."""
    rows = rows_of(SEEN)
    composed, likeness = ComposedRows(SEEN, rows, neighbours=3, least_likeness=0.1).compose(["kitabu", "vitabuni"])
    np.testing.assert_array_equal(composed[0], rows[SEEN.index("kitabu")])
    assert likeness[0] == 1
    assert Spellings(SEEN, others=["kitabu"]).alike(["kitabu"]).likeness[0] == 1, "even where English has it too"


def test_a_word_that_lacks_its_marks_is_all_that_it_can_be():
    seen, counts = ["ọmọ", "ọ̀mọ́", "omi", "मुला", "मुली"], [3, 1, 9, 1, 1]
    alike = Spellings(seen, counts, neighbours=3).alike(["omo", "òmọ", "omì", "मल"])
    np.testing.assert_array_equal(alike.at[:3, :2], [[0, 1], [0, 1], [2, 0]])
    np.testing.assert_allclose(alike.weight[:3], [[0.75, 0.25, 0], [0.75, 0.25, 0], [1, 0, 0]])
    assert alike.likeness.tolist() == [1, 1, 1, 0], "vowel signs of Devanagari are no marks to leave out"
    assert Spellings(seen, counts, neighbours=1).alike(["omo"]).weight.tolist() == [[1]]
    assert Spellings(seen, counts).alike(["ọmọ"], apart=True).likeness == 0


def test_a_seen_word_is_composed_of_others_when_it_is_left_out():
    alike = Spellings(SEEN, neighbours=3, least_likeness=0.1).alike(["watoto", "maji"], apart=True)
    assert "watoto" not in [SEEN[i] for i in alike.at[0][alike.weight[0] > 0]]
    assert alike.at[0, 0] == SEEN.index("mtoto")
    assert alike.likeness[1] == 0  # nothing else resembles it


def test_a_word_more_alike_to_one_of_another_language_resembles_none():
    words = Spellings(SEEN, least_likeness=0.1, others=["vitabun", "majan"])
    alike = words.alike(["vitabuni", "vitabu", "majana", "majin"])
    assert (alike.likeness > 0).tolist() == [False, True, False, True]
    assert alike.at.max() < len(SEEN)


def test_rare_words_are_no_neighbours():
    counts = [1 if word == "vitabu" else 2 for word in SEEN]
    alike = Spellings(SEEN, counts, least_likeness=0.1, least_count=2).alike(["vitabuni"])
    assert [SEEN[i] for i in alike.at[0][alike.weight[0] > 0]] == ["kitabu"]


@pytest.mark.parametrize("new", [[], [""], ["a"], ["🦁"], ["\ud800"]])
def test_words_that_resemble_nothing(new):
    rows, likeness = ComposedRows(SEEN, rows_of(SEEN)).compose(new)
    assert rows.shape == (len(new), 4)
    assert not rows.any()
    assert not likeness.any()


def test_without_seen_words_nothing_is_composed():
    rows, likeness = ComposedRows([], np.zeros((0, 4), np.float32)).compose(["maji"])
    assert rows.tolist() == [[0, 0, 0, 0]]
    assert likeness.tolist() == [0]


def test_words_are_independent_of_what_is_composed_with_them():
    rng = np.random.default_rng(1)
    seen = sorted({"".join(rng.choice(list("abikmtu"), rng.integers(2, 9))) for _ in range(300)})
    new = ["".join(rng.choice(list("abikmtu"), rng.integers(2, 9))) for _ in range(40)]
    words = ComposedRows(seen, rows_of(seen))
    together, likeness = words.compose(new)
    for k, word in enumerate(new):
        alone, alike = words.compose([word])
        np.testing.assert_array_equal(together[k], alone[0])
        assert likeness[k] == alike[0]


def test_bad_arguments_are_told():
    with pytest.raises(ValueError, match="2 words and 1 counts"):
        Spellings(["a", "b"], [1])
    with pytest.raises(ValueError, match="2 words and 1 rows"):
        ComposedRows(["a", "b"], np.zeros((1, 3)))
    with pytest.raises(ValueError, match="least_likeness"):
        Spellings(["a"], least_likeness=0)
