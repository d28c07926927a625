"""Passages of long documents: all of a text, in pieces that are short enough, at sentences where there are any."""

from __future__ import annotations

import pytest
import regex

from optical.data.passages import Place, passage_id, passages, place_of, spans_of
from optical.data.records import Doc


def words(texts) -> list[int]:
    """Tokens of texts as a test counts them: words, or single signs of scripts without spaces."""
    return [len(regex.findall(r"\p{Han}|\p{Thai}|[^\s\p{Han}\p{Thai}]+", text)) for text in texts]


def parts(text: str, limit: int, lang: str = "en") -> list[str]:
    return [text[start:end] for start, end in spans_of(text, lang, words, limit)]


def test_passages_are_whole_sentences_and_open_with_the_last_one_before():
    text = "One two three. Four five six. Go on. Seven eight nine. Ten eleven twelve."
    assert parts(text, 8) == ["One two three. Four five six. Go on. ", "Go on. Seven eight nine. Ten eleven twelve."]
    assert parts(text, 6) == ["One two three. Four five six. ", "Go on. Seven eight nine. ", "Ten eleven twelve."]


def test_abbreviations_and_decimals_end_no_sentence():
    assert parts("Dr. Ali paid 3.5 dollars. He left.", 5) == ["Dr. Ali paid 3.5 dollars. ", "He left."]


@pytest.mark.parametrize(
    ("lang", "text", "first"),
    [
        ("zh", "今天天气很好。我们去公园。", "今天天气很好。"),
        ("hi", "मैं पानी पीता हूँ। वह चावल पकाती है। कुत्ता सोता है।", "मैं पानी पीता हूँ। "),
        ("am", "ሰላም ነው ዛሬ። እንዴት ነህ ዛሬ፧", "ሰላም ነው ዛሬ። "),
        ("xx", "Ninakunywa maji safi. Mbwa analala sana.", "Ninakunywa maji safi. "),
    ],
)
def test_sentences_of_other_languages(lang, text, first):
    assert parts(text, 7 if lang == "zh" else 5, lang)[0] == first


@pytest.mark.parametrize(
    "text", ["สวัสดีครับวันนี้อากาศดีมาก" * 8, "word " * 97, "x" * 50, "a. " * 60, " \n\n ", "", "好" * 41 + "😀"]
)
@pytest.mark.parametrize("limit", [1, 7, 16])
def test_nothing_is_lost_and_nothing_is_too_long(text, limit):
    spans = spans_of(text, "en", words, limit)
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    assert all(one[1] >= other[0] > one[0] for one, other in zip(spans, spans[1:], strict=False))
    assert max(words(text[start:end] for start, end in spans)) <= limit


def test_documents_that_are_short_enough_stay_whole_and_the_title_is_in_each_passage():
    docs = [
        Doc("a#1", "", "Short one."),
        Doc("b", "My title", "One two three. Four five six. Seven eight.", '{"url": "x"}'),
    ]
    found = list(passages(docs, "en", words, 6))
    assert found[0] == Doc("a#1#0-10", "", "Short one.")
    assert [one.text for one in found[1:]] == ["One two three. ", "Four five six. ", "Seven eight."]
    assert {(one.title, one.extra) for one in found[1:]} == {("My title", '{"url": "x"}')}
    for one in found:
        doc_id, start, end = place_of(one.id)
        (doc,) = (doc for doc in docs if doc.id == doc_id)
        assert doc.text[start:end] == one.text


def test_ids_tell_where_a_passage_is():
    assert place_of(passage_id(Place("a#b-c", 3, 14))) == Place("a#b-c", 3, 14)
