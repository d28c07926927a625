"""Which words are chosen: what counts as a word, what is left to the teacher."""

from __future__ import annotations

import pytest

from optical.data.words import choose_words, fold, in_case_of, is_latin, replace_words, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ng'ombe watatu, 3 na nusu!", ["Ng'ombe", "watatu", "na", "nusu"]),
        ("ng’ombe ngʼombe", ["ng'ombe", "ng'ombe"]),
        ("'ndiyo' alisema", ["ndiyo", "alisema"]),
        ("COVID-19 half-time", ["COVID", "half", "time"]),
        ("Ọjọ́ ìbí", ["Ọjọ́", "ìbí"]),
        ("नरेंद्र मोदी।", ["नरेंद्र", "मोदी"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_with_marks_and_inner_apostrophes(text, words):
    assert split_words(text) == words


def test_another_word_takes_the_case_of_the_one_it_replaces():
    assert [in_case_of(w, "water") for w in ("maji", "Maji", "MAJI", "M")] == ["water", "Water", "WATER", "Water"]
    assert in_case_of("kenya", "Kenya") == "Kenya"


def test_words_are_replaced_and_nothing_else():
    seen = []

    def upper(word):
        seen.append(word)
        return word.upper() if "o" in word else None

    text = " Ng’ombe  wako, 3 na COVID-19... ng’ambo?\n"
    assert replace_words(text, upper) == " NG'OMBE  WAKO, 3 na COVID-19... NG'AMBO?\n"
    assert seen == split_words(text)
    assert replace_words(text, lambda _: None) == text
    assert replace_words("moja mbili", lambda _: "") == " "


def test_folding_joins_case_and_composition():
    assert fold("É") == fold("e\u0301") == "é"
    assert fold("STRASSE") == fold("straße")


def test_latin_means_every_letter():
    assert is_latin("Ọjọ́")
    assert is_latin("ng'ombe")
    assert not is_latin("मोदी")
    assert not is_latin("Xабв")


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
