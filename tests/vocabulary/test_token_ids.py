"""Ids of many texts are those of reading each by itself."""

from __future__ import annotations

import pytest

from optical.vocabulary import token_ids as module
from optical.vocabulary.token_ids import model_ids, token_ids
from optical.vocabulary.tokenizer import extend
from tests.vocabulary.test_tokenizer import HARD, words


def read(tokenizer, texts):
    return [ids.tolist() for ids in token_ids(tokenizer, texts)]


@pytest.mark.parametrize("more", [[], ["the [SEP] cat", "cat[SEP]"]], ids=["parts", "texts with the mark"])
@pytest.mark.parametrize("teacher", ["bert", "xlmr"])
def test_texts_are_read_in_parts_and_stay_in_order(teacher, more, request, monkeypatch):
    base = request.getfixturevalue(teacher).tokenizer
    texts = [*HARD, "maji\u00a0ya maji\tya", *more, "maji " * 100]
    for tokenizer in (base, extend(base, words(), romanise="नरेंद्रमोदी", prefixes=True).tokenizer):
        whole = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        assert read(tokenizer, texts) == whole
        for name, value in (("MANY", 1), ("CHUNK", 3), ("TOGETHER", 2)):
            monkeypatch.setattr(module, name, value)
        assert read(tokenizer, texts) == whole


def test_an_added_token_with_a_space_is_found(bert, monkeypatch):
    monkeypatch.setattr(module, "MANY", 1)
    tokenizer = module.backend_of(bert.tokenizer)
    tokenizer.add_tokens(["the cat"])
    whole = tokenizer.encode("of the cat", add_special_tokens=False).ids

    class Given:
        backend_tokenizer, sep_token = tokenizer, "[SEP]"

    assert read(Given, ["of the cat"]) == [whole]
    assert len(whole) == 2


def test_ids_are_whole_whatever_the_length_limit(bert):
    bert.tokenizer(["the"], truncation=True, padding="max_length", max_length=8)
    assert [len(ids) for ids in read(bert.tokenizer, ["the cat " * 100, "the"])] == [200, 1]


def test_words_are_cut_as_by_the_whole_tokenizer(bert):
    backend, asked = module.backend_of(bert.tokenizer), ["maji", "Maji", "ng'ombe", "日本", "ọjọ", "", "x" * 200, "the"]
    assert model_ids(backend, asked) == [backend.encode(word, add_special_tokens=False).ids for word in asked]
