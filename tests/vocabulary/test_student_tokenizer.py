from __future__ import annotations

import pytest

from optical.config.vocabulary import Vocabulary
from optical.vocabulary.student_tokenizer import TokenizerMaker
from tests.vocabulary.conftest import unigram


@pytest.mark.parametrize(("mode", "apart"), [("trim", False), ("trim+extend", True)])
def test_words_and_pieces_are_counted_as_the_student_reads_them(mode, apart):
    """Added words have their space, so "x,the" is read as "x, the", and the pieces of that have to be kept."""
    base = unigram()
    maker = TokenizerMaker(base, Vocabulary(mode=mode), [], [], prefixes=False)
    joined, spaced = (maker.counts(["x"], [text]) for text in ("x,the (maji", "x, the ( maji"))
    after_space = base.convert_tokens_to_ids("▁the")
    assert joined.pieces[after_space] == apart
    assert (joined == spaced) == apart
    assert not joined.words.inside
