"""Names of English texts: a capital inside sentences, most of the time."""

from __future__ import annotations

from itertools import count

from optical.data import names
from optical.data.names import names_in
from optical.data.words import words_inside


def test_words_that_begin_a_sentence_are_none():
    texts = [
        'Rain falls in Nairobi. Water is dear, Amina says; "Maize grows (Zea mays) here." 3 Farmers met Amina’s son'
    ]
    assert names_in(texts) == {"amina": 2, "farmers": 1, "nairobi": 1}
    assert words_inside("Rain. Dr. Juma said: Go to (Old) Kisumu-Town, Ann") == ["said", "to", "Kisumu", "Ann"]


def test_words_that_are_mostly_small_are_none():
    mixed = [
        "we met a Farmer there",
        "we met a farmer there",
        "the river in March",
        "NATO and nato saw the Old man",
    ]
    assert names_in([*mixed, *["it was in March again"] * 2]) == {"march": 3}
    assert names_in(["we marched in March"] * 4 + ["a long march"]) == {"march": 4}, "four of five"


def test_headlines_and_short_words_are_left_out():
    assert names_in(["The River Is Long Today In Kisumu", "we met Ali and Omar"]) == {"omar": 1}


def test_what_is_kept_and_what_is_read_is_bounded(monkeypatch):
    monkeypatch.setattr(names, "MOST", 2)
    texts = ["we met Omar there", "we met Juma there", "we met Amina and Omar"]
    assert list(names_in(texts).items()) == [("omar", 2), ("amina", 1)]
    monkeypatch.setattr(names, "MOST_READ", 3)
    monkeypatch.setattr(names, "MOST_CHARACTERS", 12)
    assert names_in(f"we met Omar{k} with Juma" for k in count()) == {"omar": 3}
