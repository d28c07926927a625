"""A decoder as an encoder (Qwen3-Embedding): padded on either side, alone or among others, the vectors are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optical.embeddings.cache import teacher_vectors
from optical.embeddings.encode import encoded_batches
from optical.models.encoders import (
    as_multi_vector,
    encode_batch,
    encode_queries,
    encode_sentences,
    encode_tokens,
    fingerprint,
    token_counts,
)
from optical.models.layers import keep_layers
from optical.models.load import load_encoder
from optical.models.prompts import query_prompt
from tests.chain import decoder

TEXTS = ["the moon", "who built this house ? she cooks rice .", "", "i drink water .", "the moon"]


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Two that differ in the side of the padding only."""
    folder = tmp_path_factory.mktemp("causal")
    made = {side: decoder(folder / side, side=side) for side in ("left", "right")}
    for side, encoder in made.items():
        encoder.save(str(folder / f"{side}-saved"))
        made[side] = load_encoder(folder / f"{side}-saved", "cpu")
        assert made[side].tokenizer.padding_side == side
    return made


def queries(encoder) -> dict:
    return encoder.preprocess(TEXTS, prompt=query_prompt(encoder), task="query")


def test_sentence_vectors_are_those_of_each_text_alone(sides):
    alone = np.concatenate([encode_queries(sides["right"], [text]) for text in TEXTS])
    for encoder in sides.values():
        np.testing.assert_allclose(encode_queries(encoder, TEXTS), alone, atol=1e-6)
    assert not np.allclose(alone[0], alone[1], atol=0.01)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_sentence_vector_is_the_last_row_of_the_token_matrix(sides, side, tmp_path):
    """In a batch, and in the teacher's vectors on disk; the mean is another vector."""
    encoder = sides[side]
    encoded = encode_batch(encoder, queries(encoder))
    assert encoded.tokens.mask.sum(dim=1).tolist() == token_counts(encoder, TEXTS).tolist()
    kept = teacher_vectors(encoder, TEXTS, tmp_path, batch_size=3)
    for i, (vectors, mask) in enumerate(zip(*encoded.tokens, strict=True)):
        rows = torch.nn.functional.normalize(vectors[mask], dim=-1)
        torch.testing.assert_close(rows[-1], encoded.sentence[i])
        assert torch.cosine_similarity(rows.mean(dim=0), encoded.sentence[i], dim=0) < 0.99
        np.testing.assert_allclose(kept.of(i), vectors[mask].detach(), atol=5e-3, rtol=1e-2)  # float16
    np.testing.assert_allclose(kept.sentences, encoded.sentence.detach(), atol=1e-6)


def test_a_token_has_read_what_stands_left_of_it(sides):
    ids, vectors = [], []
    for text in ("i drink water .", "i drink milk ."):
        features = sides["left"].preprocess([text])
        ids.append(features["input_ids"][0].tolist())
        vectors.append(encode_batch(sides["left"], features).tokens.vectors[0])
    same = next(k for k, (one, other) in enumerate(zip(*ids, strict=False)) if one != other)
    assert same > 1
    torch.testing.assert_close(vectors[0][:same], vectors[1][:same])
    assert not torch.allclose(vectors[0][-1], vectors[1][-1], atol=0.01)


def test_a_text_that_is_cut_keeps_the_end_of_text(sides, monkeypatch):
    """Its vector is the sentence's, so it must not be what is cut."""
    for encoder in sides.values():
        end = encoder.preprocess(["the moon"])["input_ids"][0, -1]
        monkeypatch.setattr(encoder, "max_seq_length", 8)
        ids = encoder.preprocess(["the moon " * 9])["input_ids"][0]
        assert len(ids) == 8
        assert ids[-1] == end


def test_the_padded_side_changes_no_token_matrix(sides):
    left, right = (encode_batch(sides[side], queries(sides[side])).tokens for side in ("left", "right"))
    assert left.mask[:, -1].all()
    assert right.mask[:, 0].all()
    for i in range(len(TEXTS)):
        torch.testing.assert_close(left.vectors[i][left.mask[i]], right.vectors[i][right.mask[i]])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_prompt_that_is_not_pooled_is_left_out(sides, side, monkeypatch):
    encoder = sides[side]
    features = queries(encoder)
    whole = encode_batch(encoder, features)
    monkeypatch.setattr(encoder[1], "include_prompt", False)
    found = encode_batch(encoder, queries(encoder))
    prompt = features["prompt_length"]
    assert (whole.tokens.mask.sum(dim=1) - found.tokens.mask.sum(dim=1)).tolist() == [prompt] * len(TEXTS)
    for i in range(len(TEXTS)):
        rows = whole.tokens.vectors[i][whole.tokens.mask[i]]
        torch.testing.assert_close(found.tokens.vectors[i][found.tokens.mask[i]], rows[prompt:])
    torch.testing.assert_close(found.sentence, whole.sentence)


@pytest.mark.parametrize("side", ["left", "right"])
def test_documents_in_batches_of_one_length(sides, side):
    documents = [text * (k % 3 + 1) for k, text in enumerate(TEXTS * 3)]
    found = np.zeros((len(documents), 32), dtype=np.float32)
    for rows, vectors, *_ in encoded_batches(sides[side], documents, batch_tokens=24):
        found[rows] = vectors
    np.testing.assert_allclose(found, encode_sentences(sides["right"], documents, query=False), atol=1e-6)


def test_tokens_for_late_interaction(sides):
    left, right = (encode_tokens(as_multi_vector(sides[side]), TEXTS, query=True) for side in ("left", "right"))
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_fewer_layers_save_and_load(sides, tmp_path):
    small = keep_layers(sides["left"], 2)
    small.save(str(tmp_path / "small"))
    again = load_encoder(tmp_path / "small", "cpu")
    config = again[0].auto_model.config
    assert config.num_hidden_layers == len(config.layer_types) == 2
    assert fingerprint(again) == fingerprint(small)
    np.testing.assert_allclose(encode_queries(again, TEXTS), encode_queries(small, TEXTS), atol=1e-6)
