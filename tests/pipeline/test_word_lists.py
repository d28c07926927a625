"""Word lists of a run: where they come from, and what is refused before any work."""

from __future__ import annotations

import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.records import Doc
from optical.errors import DataError, RecipeError
from optical.pipeline.word_lists import read_word_lists

PAIRS = {"sw": [Pair("the water", "maji ya mto"), Pair("a child", "mtoto")]}


def read(collections=None, said=None, langs="sw", pairs=PAIRS, **options):
    recipe = load_recipe(None, {"lang": langs, **{f"vocabulary.{name}": value for name, value in options.items()}})
    return read_word_lists(recipe, pairs, collections or {}, (said if said is not None else []).append)


def collection(lang):
    return Collection("sw/docs", [Doc("d1", "Maji", "watoto wa maji")], {}, {}, "c0ffee", {}, lang)


def test_without_lists_there_are_no_words():
    assert read() == ({}, {})


def test_a_list_of_each_language_and_the_words_of_documents(tmp_path):
    for lang, word in (("sw", "majini"), ("so", "biyaha")):
        (tmp_path / f"{lang}.txt").write_text(f"{word}\n", encoding="utf-8")
    pairs = {**PAIRS, "so": [Pair("water", "biyo")]}
    found = read(langs="sw,so", pairs=pairs, words=str(tmp_path / "{lang}.txt"))
    assert found.counts == {"majini": 1, "biyaha": 1}
    assert len(found.sources) == 2
    found = read({"sw": collection("sw")}, words=str(tmp_path / "sw.txt"), words_from_collection=True)
    assert found.counts == {"majini": 1, "maji": 2, "watoto": 1, "wa": 1}
    assert found.sources["sw/docs"] == "c0ffee"


def test_what_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "ru.txt").write_text("вода\nмир\n", encoding="utf-8")
    with pytest.raises(DataError, match="another script"):
        read(words=str(tmp_path / "ru.txt"))
    with pytest.raises(DataError, match="sw/docs has en documents"):
        read({"sw": collection("en")}, words_from_collection=True)
    with pytest.raises(DataError, match="there is none"):
        read(words_from_collection=True)
    with pytest.raises(RecipeError, match='compose = "off"'):
        read(words=str(tmp_path / "ru.txt"), compose="off")
