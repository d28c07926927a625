"""The mode that a teacher's tokenizer calls for."""

from __future__ import annotations

import pytest

from optical.data.bitext import Pair
from optical.vocabulary import choose_mode as module
from optical.vocabulary.choose_mode import choose_mode

X = [Pair("the child drinks milk", f"mtoto {w} maziwa") for w in ("anakunywa", "alikunywa", "atakunywa")]


@pytest.fixture(autouse=True)
def small_vocabularies_count(request, monkeypatch):
    """Take the tiny vocabularies of the tests for multilingual ones."""
    if "small" not in request.node.name:
        monkeypatch.setattr(module, "MULTILINGUAL", 0)


def test_a_small_vocabulary_is_kept_whole(bert):
    choice = choose_mode(bert.tokenizer, [Pair("the child drinks zq", "the dog of nairobi zq")])
    assert choice.mode == "extend"
    assert f"has {len(bert.tokenizer)} pieces" in choice.reason


def test_many_tokens_a_word_are_english_only(bert):
    choice = choose_mode(bert.tokenizer, X)
    assert choice.mode == "extend"
    # m-t-o-t-o, a-n-a-k-u-n-y-w-a, m-a-z-i-w-a
    assert "0.00 % are unknown, and a word takes 6.67, one of English 1.00" in choice.reason


def test_every_kind_of_tokenizer_is_measured(teacher):
    """WordPiece, Unigram and byte-level: the English of one, and a language that falls into letters."""
    assert choose_mode(teacher.tokenizer, X).mode == "extend"
    assert choose_mode(teacher.tokenizer, [Pair("the child drinks milk", "who wrote of the dog")]).mode == "trim+extend"


def test_few_tokens_a_word_are_read(bert):
    choice = choose_mode(bert.tokenizer, [Pair("the child drinks zq", "the dog of nairobi zq")])
    assert choice.mode == "trim+extend"
    assert "reads X" in choice.reason


def test_half_more_tokens_than_english_are_too_many(bert):
    assert choose_mode(bert.tokenizer, [Pair("the dog", "zq the")]).mode == "trim+extend"  # 1.5
    assert choose_mode(bert.tokenizer, [Pair("the dog", "zqx the dog")]).mode == "extend"  # 1.67


def test_unknown_tokens_are_not_read(bert):
    """One token a word, and that the unknown one."""
    choice = choose_mode(bert.tokenizer, [Pair("the child", "日本 水")])
    assert choice.mode == "extend"
    assert "100.00 % are unknown" in choice.reason


def test_no_word_of_x_is_not_read(bert):
    assert choose_mode(bert.tokenizer, [Pair("the child", "1986")]).mode == "extend"


def test_of_many_pairs_the_held_out_ones_are_measured(bert):
    """5 of 100."""
    assert (
        "on 10 words of X"
        in choose_mode(bert.tokenizer, [Pair(f"the {n}", f"maji zuri {n}") for n in range(100)]).reason
    )
