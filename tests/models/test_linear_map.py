"""The linear map between two encoders: fitted, put into a student, and which encoders have no place for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Pooling

from optical.errors import DataError
from optical.models.encoders import as_multi_vector, encode_batch, encode_queries
from optical.models.linear_map import (
    LEAST,
    LinearMap,
    body_for,
    fit_linear_map,
    mapped,
    pooled_queries,
    pooled_tokens,
)
from optical.models.prompts import query_prompt
from tests.chain import PAIRS, unigram
from tests.conftest import bert

ENGLISH = [english for english, _ in PAIRS]


def drawn_map(d: int, e: int) -> LinearMap:
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(e, d)), random.normal(size=e)
    return LinearMap(weight.astype(np.float32), bias.astype(np.float32), 0.0, 0.0, 0, 0)


def test_a_linear_map_is_found_again_and_noise_asks_for_a_ridge():
    random = np.random.default_rng(1)
    weight, bias = random.normal(size=(5, 3)), 10 * random.normal(size=5)
    x = random.normal(size=(200, 3))
    exact = fit_linear_map(x, x @ weight.T + bias)
    np.testing.assert_allclose(exact.weight, weight, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(exact.bias, bias, rtol=1e-3)
    assert exact.cosine == pytest.approx(1.0, abs=1e-6)
    assert (exact.fitted, exact.held_out) == (200, 20)
    x = random.normal(size=(60, 50))
    y = x @ random.normal(size=(4, 50)).T + 5 * random.normal(size=(60, 4))
    noisy = fit_linear_map(x, y)
    assert noisy.ridge > exact.ridge
    assert noisy.cosine < 0.9


def test_constant_directions_and_few_rows_give_a_map_and_fewer_are_refused():
    x = np.random.default_rng(2).normal(size=(LEAST, 20))
    x[:, 3] = 1.0
    assert np.isfinite(fit_linear_map(x, x[:, :7]).weight).all()
    with pytest.raises(DataError, match=f"{LEAST - 1} different English sentences are too few"):
        fit_linear_map(x[1:], x[1:])


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken", "weightedmean"])
def test_the_student_maps_tokens_and_sentences_alike(tmp_path, teacher, mode):
    body = unigram(tmp_path / "body", dim=24)
    body = SentenceTransformer(modules=[body[0], Pooling(24, mode)], prompts={"query": "where is "}, device="cpu")
    linear = drawn_map(24, 32)
    student = mapped(body_for(body, teacher).encoder, teacher, linear)
    expected = pooled_queries(body, ENGLISH) @ linear.weight.T + linear.bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encode_queries(student, ENGLISH), expected, atol=1e-5)
    features = body.preprocess(ENGLISH, prompt=query_prompt(body))
    with torch.no_grad():
        own, found = encode_batch(body, dict(features)).tokens, encode_batch(student, dict(features)).tokens
    np.testing.assert_allclose(
        found.vectors[found.mask].numpy(), own.vectors[own.mask].numpy() @ linear.weight.T + linear.bias, atol=1e-4
    )
    student.save(str(tmp_path / "student"))
    again = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(again.encode_query(ENGLISH), expected, atol=1e-5)
    assert again.prompts["query"] == "where is "


def test_what_follows_the_teachers_pooling_is_the_students_too(tmp_path, teacher):
    """A teacher as LaBSE is: its sentence vectors are not its tokens' mean."""
    longer = SentenceTransformer(modules=[teacher[0], teacher[1], Dense(32, 48), teacher[2]], device="cpu")
    body = unigram(tmp_path / "body", dim=24)
    student = mapped(body, longer, drawn_map(24, 32))
    assert encode_queries(student, ["maji"]).shape == (1, 48)
    assert student[3].linear.weight is not longer[2].linear.weight
    with torch.no_grad():
        tokens = encode_batch(longer, longer.preprocess(ENGLISH[:1])).tokens.vectors[0].numpy()
    pooled = pooled_tokens(longer, tokens)
    assert pooled.shape == (32,)
    np.testing.assert_allclose(pooled, pooled_queries(longer, ENGLISH[:1])[0], atol=1e-5)


def test_a_late_interaction_teacher_reads_the_body_token_by_token(tmp_path, teacher):
    late, body = as_multi_vector(teacher, 12), bert(tmp_path / "body", dim=16)
    student = mapped(body_for(body, late).encoder, late, drawn_map(16, 32))
    (tokens,) = encode_queries(student, ["milk"])
    assert tokens.shape == (12, 32)
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1.0, atol=1e-5)
    with torch.no_grad():  # [MASK] counts in MaxSim, so it counts in what the map is fitted to
        raw = student[0](student.preprocess(["milk"], prompt="", task="query"))["token_embeddings"][0]
    np.testing.assert_allclose(pooled_queries(student, ["milk"])[0], raw.mean(dim=0).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (as_multi_vector, "is one of late interaction, and the teacher has one vector a text"),
        (lambda own: SentenceTransformer(modules=[own[0], Pooling(32, "max")]), "pools its tokens by max"),
        (lambda own: SentenceTransformer(modules=[own[0], Pooling(32, ("cls", "mean"))]), "pools its tokens by"),
        (lambda own: SentenceTransformer(modules=[own[0]]), "does not pool token vectors in one place"),
    ],
)
def test_encoders_that_a_map_does_not_lead_through_are_refused(tmp_path, teacher, make, message):
    with pytest.raises(DataError, match=message):
        body_for(make(bert(tmp_path / "body")), teacher)


def test_teachers_that_a_map_does_not_lead_to_are_refused(tmp_path, teacher):
    several = SentenceTransformer(modules=[teacher[0], Pooling(32, ("cls", "mean"))], device="cpu")
    with pytest.raises(DataError, match="the teacher pools its tokens by"):
        body_for(bert(tmp_path / "body"), several)
