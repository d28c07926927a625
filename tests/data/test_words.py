"""Words: which strings count as one, and which words or texts count as the same."""

from __future__ import annotations

import unicodedata

import pytest

from optical.data.words import cut, fold, fold_text, in_case_of, is_latin, replace_words, split_words, tidy


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


def test_folding_a_text_keeps_marks_that_are_letters():
    assert fold_text("Ng’ombe, NG'OMBE\u200b!") == fold_text("ng'ombe ng'ombe") == "ngombe ngombe"
    assert fold_text("कि") != fold_text("की")
    assert fold_text("ọ́") != fold_text("o")
    assert fold_text(unicodedata.normalize("NFD", "Ẹ̀KỌ́")) == fold_text("ẹ̀kọ́")
    assert fold_text("… ¿?! — \u200b") == ""


def test_every_white_space_is_one_space():
    assert tidy("\ta\u2028b\r\nc ") == "a b c"


def test_folding_joins_case_and_composition():
    assert fold("É") == fold("e\u0301") == "é"
    assert fold("STRASSE") == fold("straße")


def test_latin_means_every_letter():
    assert is_latin("Ọjọ́")
    assert is_latin("ng'ombe")
    assert not is_latin("मोदी")
    assert not is_latin("Xабв")


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("short  text\nhere", 20, "short text here"),
        ("young males leave the family, then live alone", 32, "young males leave the family..."),
        ("young males leave the families", 27, "young males leave the..."),
        ("象群由最年长的雌象带领并记住远处的水源", 12, "象群由最年长的雌象..."),
    ],
)
def test_texts_are_cut_after_a_word_where_there_are_words(text, most, shown):
    assert cut(text, most) == shown
    assert len(shown) <= most
