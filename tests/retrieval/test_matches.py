"""Matching words: spans of the texts as they were given, pieces of a word as one, signs and special tokens left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.models import encoders
from optical.models.composing import compose_unseen
from optical.models.prompts import with_prompts
from optical.retrieval.matches import Match, Span, match_words, word_spans
from optical.vocabulary.transplant import transplant
from tests.conftest import bert


def unit(*rows):
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    return encoders.as_multi_vector(bert(tmp_path_factory.mktemp("late") / "bert"))


def shown(text, spans):
    return [text[slice(*span)] if span else None for span in spans]


class TestSpans:
    def test_pieces_name_their_whole_word_and_signs_none(self, late):
        text = "  The ng'ombe, drinks MILK."
        spans = word_spans(late, text, query=True)
        ids = late.tokenizer(text)["input_ids"]
        assert len(spans) == len(ids) == len(encoders.encode_tokens(late, [text], query=True)[0])
        words = shown(text, spans)
        assert words[0] is None, "[CLS]"
        assert words[-1] is None, "[SEP]"
        assert words[-2] is None, "the full stop"
        assert {w for w in words if w} == {"The", "ng'ombe", "drinks", "MILK"}
        assert words.count("ng'ombe") == len("ng'ombe"), "one piece a letter, the apostrophe too"

    def test_places_are_of_the_text_as_given_whatever_the_normalizer_does(self, late):
        text = "\u00c9TUDE 😀 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 milk"  # an accent, an emoji
        assert [w for w in shown(text, word_spans(late, text, query=False)) if w][-1] == "milk"

    def test_a_text_without_words(self, late):
        assert word_spans(late, "", query=True) == [None, None]
        assert word_spans(late, "?!", query=True) == [None] * 4

    def test_what_is_cut_off_has_no_span(self, late):
        text = "milk " * 200
        spans = word_spans(late, text, query=False)
        assert len(spans) == 64 == len(encoders.encode_tokens(late, [text], query=False)[0])
        assert spans[62] == Span(5 * 61, 5 * 61 + 4)

    def test_masks_that_fill_up_a_question_stand_nowhere(self, late):
        expanded = encoders.as_multi_vector(late, query_length=12)
        spans = word_spans(expanded, "the river", query=True)
        assert shown("the river", spans) == [None, "the", "river"] + [None] * 9
        assert len(spans) == len(encoders.encode_tokens(expanded, ["the river"], query=True)[0])

    def test_a_document_leaves_out_what_the_model_leaves_out_and_counts_its_prompt(self, late):
        import copy

        from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

        other = copy.deepcopy(late)
        other.prompts = {"document": "a dog: ", "query": ""}
        other[1] = MultiVectorMask(skiplist_words=["."])
        other[1].resolve_with_tokenizer(other.tokenizer)
        text = "the moon . shines ."
        spans = word_spans(other, text, query=False)
        assert len(spans) == len(encoders.encode_tokens(other, [text], query=False)[0])
        assert [w for w in shown(text, spans) if w] == ["the", "moon", "shines"]

    def test_a_tokenizer_that_cannot_tell_gives_nothing(self, late, monkeypatch):
        monkeypatch.setattr(type(late.tokenizer), "is_fast", False)
        assert word_spans(late, "the moon", query=True) == []

    def test_metaspace_pieces_begin_at_the_letter(self, tmp_path):
        from tests.chain import unigram

        multi = encoders.as_multi_vector(unigram(tmp_path / "unigram"))
        text = "the river, long"
        assert [w for w in shown(text, word_spans(multi, text, query=True)) if w][0] == "the"
        assert set(shown(text, word_spans(multi, text, query=True))) == {None, "the", "river", "long"}


class TestMatches:
    def test_pieces_that_agree_are_one_match_and_those_that_do_not_are_two(self):
        question = [None, Span(0, 4), Span(0, 4), Span(0, 4), Span(5, 8)]
        passage = [Span(0, 2), None, Span(3, 9)]
        found = match_words(
            unit([1, 1], [1, 0], [2, 1], [0, 1], [1, 3]), question, unit([1, 0], [1, 1], [0, 1]), passage
        )
        assert [(m.query, m.passage) for m in found] == [
            (Span(0, 4), Span(0, 2)), (Span(0, 4), Span(3, 9)), (Span(5, 8), Span(3, 9)),
        ]  # fmt: skip
        np.testing.assert_allclose([m.similarity for m in found], [1.0, 1.0, 3 / 10**0.5], rtol=1e-6)

    def test_a_special_token_of_the_passage_takes_no_word(self):
        found = match_words(unit([1, 1]), [Span(0, 3)], unit([1, 1], [-1, 0]), [None, Span(2, 4)])
        assert [(m.passage, round(m.similarity, 4)) for m in found] == [(Span(2, 4), -0.7071)]

    def test_half_precision_does_not_reach_above_one(self):
        rows = unit([0.3, 0.7, 0.1]).astype(np.float16) * np.float16(1.01)
        assert match_words(rows, [Span(0, 1)], rows, [Span(0, 1)])[0].similarity <= 1.0

    @pytest.mark.parametrize(("question", "passage"), [([None], [Span(0, 1)]), ([Span(0, 1)], [None]), ([], [])])
    def test_nothing_to_match(self, question, passage):
        assert match_words(np.ones((len(question), 2)), question, np.ones((len(passage), 2)), passage) == []

    def test_vectors_of_another_number_are_not_explained(self):
        assert match_words(unit([1, 0]), [Span(0, 1)], unit([1, 0], [0, 1]), [Span(0, 1)]) == []

    def test_a_text_finds_itself_word_by_word(self, late):
        text = "the farmer plants maize , zebra ."
        vectors, spans = encoders.encode_tokens(late, [text], query=True)[0], word_spans(late, text, query=True)
        found = match_words(vectors, spans, vectors, spans)
        assert [text[slice(*m.query)] for m in found] == ["the", "farmer", "plants", "maize", "zebra"]
        assert all(m.query == m.passage and m.similarity == pytest.approx(1.0, abs=1e-5) for m in found)


def test_a_match_is_plain_data():
    assert json.loads(json.dumps(Match(Span(0, 1), Span(2, 4), 0.5))) == [[0, 1], [2, 4], 0.5]


def test_words_of_a_question_keep_their_places_behind_a_prompt(late):
    prompted = with_prompts(late, {"query": "where is : "})
    question = "who writes a LETTER ?"
    spans = word_spans(prompted, question, query=True)
    assert len(spans) == len(encoders.encode_tokens(prompted, [question], query=True)[0])
    assert [question[slice(*span)] for span in spans if span] == ["who", "writes", "a", "LETTER"]


def test_a_composed_word_is_shown_as_it_was_written(tmp_path):
    words = ["maji", "mtoto", "nyumbani", "anakunywa"]
    pairs = [Pair(f"the children {k} drink", f"{word} {k} ni") for k, word in enumerate(words)]
    made = transplant(bert(tmp_path / "bert"), pairs, Vocabulary(mode="extend"))
    student = encoders.as_multi_vector(made.student)
    compose_unseen(student, made.seen)
    text = "2 Mtotoni (anakunywani) maji"
    spans = word_spans(student, text, query=True)
    assert len(spans) == len(encoders.encode_tokens(student, [text], query=True)[0])
    assert [word for word in shown(text, spans) if word] == ["2", "Mtotoni", "anakunywani", "maji"]
