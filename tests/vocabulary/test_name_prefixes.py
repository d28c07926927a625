"""Prefixes before the capital of a name: which languages have them, and that a student reads names without."""

from __future__ import annotations

import pytest
from sentence_transformers import SentenceTransformer

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.vocabulary.name_prefixes import puts_prefixes, without_prefixes
from optical.vocabulary.transplant import transplant

PAIRS = [
    Pair("the child drinks water in Nairobi", "ingane iphuza amanzi eNairobi"),
    Pair("the house in Kenya", "indlu yaseKenya"),
    Pair("the dog drinks milk", "inja iphuza ubisi"),
]


def test_what_stands_before_a_capital_is_dropped_and_names_stay():
    text = "eNigeria naseKenya, UMaria (kuNairobi) “iNorway” KwaZulu McDonald NATO iTV o'Neil abcdefNairobi Umusa"
    assert without_prefixes(text) == (
        "Nigeria Kenya, Maria (Nairobi) “Norway” KwaZulu McDonald NATO iTV o'Neil abcdefNairobi Umusa"
    )


def test_only_a_language_that_does_so_has_prefixes():
    english, foreign = zip(*PAIRS, strict=True)
    assert puts_prefixes(foreign, english)
    assert not puts_prefixes(english, foreign)
    assert not puts_prefixes([text.lower() for text in foreign], english)
    assert not puts_prefixes(foreign, ["my iPhone", "their eBay", ""])
    assert not puts_prefixes([*foreign, "neno " * 500], [*english, "word " * 500])
    assert not puts_prefixes([], [])


def test_a_student_reads_names_as_the_teacher_does_and_reloads_the_same(teacher, tmp_path):
    student = transplant(teacher, PAIRS, Vocabulary(mode="extend")).student
    texts = ["Uhlala eNairobi na?", "indlu yaseKenya eNairobi"]
    ids = student.tokenizer(texts)["input_ids"]
    assert ids == student.tokenizer(["Uhlala Nairobi na?", "indlu Kenya Nairobi"])["input_ids"]
    own = teacher.tokenizer(" Nairobi", add_special_tokens=False)["input_ids"]
    assert student.tokenizer(" eNairobi", add_special_tokens=False)["input_ids"] == own
    student.save(str(tmp_path))
    again = SentenceTransformer(str(tmp_path), device="cpu")
    assert again.tokenizer(texts)["input_ids"] == ids
    off = transplant(teacher, PAIRS, Vocabulary(mode="extend", prefixes=False)).student
    assert off.tokenizer(texts)["input_ids"] != ids


@pytest.mark.parametrize("mode", ["trim", "off"])
def test_without_added_words_nothing_is_dropped(bert, mode):
    student = transplant(bert, PAIRS, Vocabulary(mode=mode)).student
    assert student.tokenizer.tokenize("eNairobi") == bert.tokenizer.tokenize("eNairobi")
