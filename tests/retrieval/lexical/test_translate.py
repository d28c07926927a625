"""Queries of X in English: every query has its translation or the reader says which has none."""

from __future__ import annotations

import pytest

from optical.data.records import Query
from optical.errors import DataError
from optical.retrieval.lexical.translate import read_translations, translate_by_lexicon

QUERIES = [Query("q2", "Ng'ombe hula nini?"), Query("q1", "Nani?")]
LEXICON = {"ng'ombe": ["cow", "cattle", "ox"], "hula": ["eats"], "nini": []}


def test_translations_are_those_of_the_queries_in_their_order(tmp_path):
    file = tmp_path / "queries.sw.en.tsv"
    file.write_text("\ufeffq1\tWho?\n\nother\tNot asked\nq2\tWhat do  cows eat?\r\n", encoding="utf-8")
    assert read_translations(file, QUERIES) == [Query("q2", "What do cows eat?"), Query("q1", "Who?")]
    assert read_translations(file, []) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q1\tWho?\n", "1 of 2 queries have no translation, the first is 'q2'; at {}, which has 1; add a line"),
        ("", "2 of 2 queries have no translation, the first is 'q2'; at {}, which has 0; add"),
        ("q1\tWho?\nq2 What?\n", "id<TAB>English text; received 'q2 What?'; at {}:2; write the id"),
        ("q1\tWho?\t1\n", "received 'q1\\tWho?\\t1'; at {}:1; write"),
        ("q1\t \n", "received 'q1\\t '; at {}:1; write"),
        ("q1\tWho?\n\nq1\tWhich?\n", "query 'q1' is translated twice; at {}:3; remove"),
    ],
)
def test_a_file_that_does_not_translate_the_queries_is_refused(tmp_path, content, message):
    file = tmp_path / "t.tsv"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_translations(file, QUERIES)
    assert message.format(file) in str(caught.value)


def test_no_file_is_said(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_translations(tmp_path / "none.tsv", QUERIES)


def test_words_that_the_lexicon_knows_become_english_and_the_rest_stays():
    text = "NG’OMBE 3 hula nini, Bw. Juma?"
    assert translate_by_lexicon(text, LEXICON, 1) == "cow 3 eats nini, Bw. Juma?"
    assert translate_by_lexicon(text, LEXICON) == "cow cattle 3 eats nini, Bw. Juma?"
    assert translate_by_lexicon(text, LEXICON, 9) == "cow cattle ox 3 eats nini, Bw. Juma?"
    assert translate_by_lexicon(text, {}) == text
    assert translate_by_lexicon("", LEXICON) == ""
