"""Prompts: queries and documents get their own, everywhere the same, and a model without any is as it was."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sentence_transformers import MultiVectorEncoder, SentenceTransformer

from optical.embeddings.cache import document_vectors, teacher_vectors
from optical.errors import RecipeError
from optical.models.encoders import (
    as_multi_vector,
    encode_batch,
    encode_queries,
    encode_sentences,
    encode_tokens,
    fingerprint,
    token_counts,
)
from optical.models.load import load_encoder
from optical.models.projection import projected
from optical.models.prompts import document_prompt, query_prompt, with_prompts
from tests.conftest import bert

TEXTS = ["the moon", "who built this house ? she cooks rice .", "q"]
IDS = ["d0", "d1", "d2"]
PROMPTS = {"query": "where is ", "document": "the river "}


@pytest.fixture
def prompted(teacher):
    return with_prompts(teacher, PROMPTS)


def test_queries_and_documents_get_their_own_prompts(prompted, teacher, tmp_path):
    plain = encode_sentences(teacher, TEXTS)
    asked = encode_sentences(teacher, ["where is " + text for text in TEXTS])
    told = encode_sentences(teacher, ["the river " + text for text in TEXTS])
    assert min(np.abs(asked - told).max(), np.abs(asked - plain).max(), np.abs(told - plain).max()) > 0.05
    for found in (encode_queries(prompted, TEXTS), teacher_vectors(prompted, TEXTS, tmp_path).sentences):
        np.testing.assert_allclose(found, asked, atol=1e-6)
    documents = document_vectors(prompted, IDS, TEXTS, tmp_path).sentences
    for found in (encode_sentences(prompted, TEXTS, query=False), documents):
        np.testing.assert_allclose(found, told, atol=1e-6)


def test_it_agrees_with_plain_sentence_transformers_after_saving(prompted, tmp_path):
    prompted.save(str(tmp_path / "saved"))
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.encode_query(TEXTS), encode_queries(prompted, TEXTS), atol=1e-6)
    documents = encode_sentences(prompted, TEXTS, query=False)
    np.testing.assert_allclose(again.encode_document(TEXTS), documents, atol=1e-6)
    assert fingerprint(load_encoder(tmp_path / "saved", "cpu")) == fingerprint(prompted)


def test_late_interaction_has_the_prompts_of_its_encoder(prompted, teacher, tmp_path):
    for late in (as_multi_vector(prompted), projected(prompted, TEXTS, 8)):
        assert (query_prompt(late), document_prompt(late)) == tuple(PROMPTS.values())
    late, plain = as_multi_vector(prompted), as_multi_vector(teacher)
    for query, prompt in ((True, "where is "), (False, "the river ")):
        found = encode_tokens(late, TEXTS, query=query)
        for row, expected in zip(found, encode_tokens(plain, [prompt + t for t in TEXTS], query=query), strict=True):
            np.testing.assert_allclose(row, expected, atol=1e-5)
    learnt = teacher_vectors(late, TEXTS, tmp_path)
    assert [len(learnt.of(k)) for k in range(3)] == [len(row) for row in encode_tokens(late, TEXTS, query=True)]


def test_the_model_given_is_not_changed_and_one_without_prompts_is_as_it_was(teacher, tmp_path):
    before, first = dict(teacher.prompts), fingerprint(teacher)
    folder = teacher_vectors(teacher, TEXTS, tmp_path).folder
    other = with_prompts(teacher, PROMPTS)
    assert (teacher.prompts, fingerprint(teacher)) == (before, first)
    none = with_prompts(other, {"query": "", "document": ""})
    assert fingerprint(none) == first
    assert teacher_vectors(none, TEXTS, tmp_path).folder == folder
    np.testing.assert_array_equal(encode_queries(none, TEXTS), teacher.encode(TEXTS, normalize_embeddings=True))
    assert with_prompts(teacher, {}) is teacher


def test_cached_vectors_and_fingerprints_are_of_their_prompts(teacher, tmp_path):
    query, document = with_prompts(teacher, {"query": "a "}), with_prompts(teacher, {"document": "a "})
    both = [teacher, query, document]
    assert len({fingerprint(encoder) for encoder in both}) == 3
    by_documents = [fingerprint(encoder, "document") for encoder in both]
    assert by_documents[0] == by_documents[1] != by_documents[2]
    folders = [document_vectors(encoder, IDS, TEXTS, tmp_path).folder for encoder in both]
    assert folders[0] == folders[1] != folders[2]
    assert len({teacher_vectors(encoder, TEXTS, tmp_path).folder for encoder in both[:2]}) == 2


@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_a_document_prompt_of_any_name_is_found(name, tmp_path):
    made = bert(tmp_path / "bert")
    made.prompts = {"query": "where is ", name: "the river "}
    made.save(str(tmp_path / "saved"))
    found = with_prompts(load_encoder(tmp_path / "saved", "cpu"), {})
    assert (query_prompt(found), document_prompt(found)) == ("where is ", "the river ")
    assert document_prompt(with_prompts(found, {"document": ""})) == ""
    assert document_prompt(with_prompts(with_prompts(found, {"document": ""}), {})) == "", "its old name came back"
    assert query_prompt(with_prompts(found, {"query": "a "})) == "a "
    assert document_prompt(with_prompts(found, {"query": "a "})) == "the river "


def test_a_pooling_that_leaves_the_prompt_out_leaves_it_out_of_the_tokens_too(teacher):
    counts = {}
    for pooled in (True, False):
        encoder = with_prompts(teacher, PROMPTS)
        encoder.set_pooling_include_prompt(pooled)
        features = encoder.preprocess(TEXTS, prompt=query_prompt(encoder))
        encoded = encode_batch(encoder, features)
        np.testing.assert_allclose(encoded.sentence.detach(), encode_queries(encoder, TEXTS), atol=1e-5)
        counts[pooled] = encoded.tokens.mask.sum(dim=1)
        vectors, mask = encoded.tokens.vectors.detach(), encoded.tokens.mask[..., None]
        mean = (vectors * mask).sum(dim=1) / mask.sum(dim=1)
        mean = mean / mean.norm(dim=1, keepdim=True)
        np.testing.assert_allclose(mean, encode_queries(encoder, TEXTS), atol=1e-5)
    assert (counts[True] - counts[False]).tolist() == [3, 3, 3]  # [CLS] where is


def test_a_prompt_is_counted_among_the_tokens_of_a_query(prompted, teacher):
    assert (token_counts(prompted, TEXTS) - token_counts(teacher, TEXTS)).tolist() == [2, 2, 2]


def test_a_prompt_of_another_name_or_without_room_for_a_text_is_refused(teacher):
    with pytest.raises(RecipeError, match="no use for a prompt called 'passage'; a prompt is called query or document"):
        with_prompts(teacher, {"passage": "passage: "})
    long = "where is the market ? " * 20
    with pytest.raises(RecipeError, match=r"the document prompt .* reads 64 of a text: nothing of it would be read"):
        with_prompts(teacher, {"document": long})
    late = as_multi_vector(teacher, query_length=8)
    with pytest.raises(RecipeError, match=r"the query prompt .* 8 tokens long, and .* reads 8 of a text"):
        with_prompts(late, {"query": "i drink water . i drink"})
    assert isinstance(with_prompts(late, {"document": "i drink water . i drink"}), MultiVectorEncoder)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("intfloat/multilingual-e5-small", '{query = "query: ", document = "passage: "}'),
        ("intfloat/multilingual-e5-large-instruct", "Instruct: Given a web search query"),
        ("BAAI/bge-small-en-v1.5", '"Represent this sentence for searching relevant passages: ", document = ""}'),
        ("Alibaba-NLP/gte-Qwen2-1.5B-instruct", "Instruct: Given a web search query"),
        ("Qwen/Qwen3-Embedding-0.6B", "Instruct: Given a web search query"),
        ("BAAI/bge-m3", ""),
        ("all-MiniLM-L6-v2", ""),
        ("thenlper/gte-small", ""),
        ("runs/home5-small", ""),
    ],
)
def test_a_model_that_wants_prompts_and_has_none_is_warned_of_once(teacher, caplog, name, wanted):
    with caplog.at_level(logging.WARNING):
        with_prompts(teacher, {}, name)
        with_prompts(teacher, {"query": ""}, name)  # said to have none
        with_prompts(with_prompts(teacher, PROMPTS), {}, name)
    assert len(caplog.records) == bool(wanted)
    assert wanted in caplog.text
    assert ("teacher_prompts" in caplog.text) == bool(wanted)


def test_prompts_of_other_names_alone_are_warned_of(teacher, caplog):
    teacher.prompts = {**teacher.prompts, "s2p_query": "Instruct: "}
    with caplog.at_level(logging.WARNING):
        with_prompts(teacher, {}, "stella")
    assert "stella has prompts called s2p_query and none called query or document" in caplog.text
