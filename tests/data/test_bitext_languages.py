"""Sides of bitext are told apart by their words, and described."""

import sys

import pytest

from optical.data.bitext import read_bitext
from optical.data.bitext_languages import describe, english_share, swapped


@pytest.fixture(scope="module")
def sample():
    return read_bitext("data/sample/sw/bitext", "sw").pairs


def test_swapped_columns_are_told_from_right_ones(sample):
    assert not swapped(sample)
    assert swapped([(foreign, english) for english, foreign in sample])
    assert swapped([(foreign, english) for english, foreign in sample[:20]])
    assert not swapped([])


def test_words_alone_are_not_called_swapped():
    assert not swapped([("Maji", "Water"), ("Moto", "Fire")])


def test_the_share_of_english_function_words():
    assert english_share(["The cow IS here.", "Maji!"]) == 2 / 5
    assert english_share([]) == 0


def test_scripts_by_their_letters():
    side = describe(["पानी", "cold 12"])
    assert list(side.scripts) == ["Devanagari", "Latin"]
    assert side.scripts == pytest.approx({"Devanagari": 0.5, "Latin": 0.5})


def test_languages_are_named_by_the_detector_and_by_nobody_without_it(sample, monkeypatch):
    pytest.importorskip("pycld2")
    english, foreign = zip(*sample[:200], strict=True)
    assert next(iter(describe(english).languages)) == "en"
    assert next(iter(describe([*foreign, "a control \x07 character, no character \ufffe"]).languages)) == "sw"
    monkeypatch.setitem(sys.modules, "pycld2", None)
    assert describe(english).languages is None
