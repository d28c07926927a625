"""Which words of X get a row, and which are left to the teacher's pieces."""

from __future__ import annotations

import pytest

from optical.vocabulary.choose_words import choose_words, count_words


def test_words_repeated_in_the_translation_are_left_to_the_teacher():
    words = choose_words(["Maji ya Nairobi", "maji baridi"], ["Water of Nairobi", "cold water"])
    assert set(words.forms) == {"maji", "ya", "baridi"}
    assert words.counts["maji"] == 2
    assert words.forms["maji"] == ["Maji", "maji"]


def test_only_the_sentence_beside_counts():
    """An X word that English has too, elsewhere and with another meaning, is a word of X."""
    foreign, english = ["kila pia", "kila mbili", "kila"], ["one kila", "two pia pia", "pia kila"]
    words = choose_words(foreign, english).forms
    assert "pia" in words
    assert "kila" not in words  # beside two of three


def test_english_that_says_it_more_often_counts_no_more_than_x_does():
    assert "kila" in choose_words(["kila", "kila moja", "kila tatu"], ["kila kila kila", "one", "three"]).forms


def test_half_repeated_is_left_to_the_teacher():
    assert "kila" not in choose_words(["kila", "kila"], ["kila", "every"]).forms


def test_sides_of_different_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        choose_words(["maji"], [])


def test_rare_words_go_first_and_ties_are_alphabetical():
    foreign, english = ["b b b a a c c d"], [""]
    assert list(choose_words(foreign, english, max_words=2).forms) == ["b", "a"]
    assert list(choose_words(foreign, english, min_count=3).forms) == ["b"]


def test_words_are_told_that_stand_at_the_start_or_after_a_sign():
    words = choose_words(["Maji (ya) mto-mto 'ng'ombe", '"Nani ni?'], ["", ""])
    assert words.inside == {"ya", "mto", "ng'ombe", "Nani"}
    assert words.first == {"Maji"}


def test_counts_without_some_sentences_are_those_of_the_others():
    foreign = ["Maji (ya) Kila kila mto-mto", "kila maji na Nairobi", "(maji) Nairobi", "kila kila kila"]
    english = ["water of every kila", "Nairobi and water", "nairobi", "kila kila"]
    some = count_words(foreign[1:3], english[1:3])
    rest = count_words([foreign[0], foreign[3]], [english[0], english[3]])
    assert count_words(foreign, english).without(some) == rest
    # A word that X writes in two ways is repeated as often as the translation has it, for each of them.
    assert count_words(["Kila kila kila"], ["kila"]).repeated == {"kila": 2}
