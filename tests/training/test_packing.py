"""A packed batch gives what a padded one gives, losses and gradients; encoders that cannot be packed stay padded."""

from __future__ import annotations

import pytest
import torch

from optical.models.encoders import as_multi_vector, encode_batch, transformer
from optical.training import packing
from optical.training.packing import packed
from optical.training.trainer import switch_off_dropout
from tests.chain import cased, decoder, unigram
from tests.conftest import bert

TEXTS = ["i drink water .", "the cow gives milk and the teacher writes a letter .", "fish", "she cooks rice ."]


def single(folder, make):
    encoder = make(folder)
    switch_off_dropout(encoder)
    return encoder.train()


def gradients(encoder, features):
    """The vectors of real tokens, the sentence vectors, and the gradients of a loss on both."""
    encoder.zero_grad()
    found = encode_batch(encoder, dict(features))
    tokens = found.tokens.vectors[found.tokens.mask]
    (tokens.pow(3).sum() + found.sentence.pow(2).sum() + found.sentence[:, 0].sum()).backward()
    own = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    # The bias of the keys changes no attention: its gradient is 0 but for rounding.
    return tokens.detach(), found.sentence.detach(), {k: g for k, g in own.items() if not k.endswith("key.bias")}


@pytest.mark.parametrize(("make", "first"), [(bert, 0), (cased, 0), (unigram, 2)])
def test_a_packed_batch_is_the_padded_one_with_its_gradients(tmp_path, monkeypatch, make, first):
    encoder = single(tmp_path / "made", make).double()
    features = encoder.preprocess(TEXTS)
    wanted = gradients(encoder, features)
    worked, own = [], packing._attention
    monkeypatch.setattr(packing, "_attention", lambda *a, **b: worked.append(a[1].shape[2]) or own(*a, **b))
    with packed(encoder):
        found = gradients(encoder, features)
        assert transformer(encoder).auto_model.forward.first == first
    assert set(worked) == {int(features["attention_mask"].sum())}
    assert found[2].keys() == wanted[2].keys()
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


def test_embeddings_instead_of_ids_are_packed_too(tmp_path):
    encoder = single(tmp_path / "made", bert)
    features = encoder.preprocess(TEXTS)
    model, mask = transformer(encoder).auto_model, features["attention_mask"]
    embedded = model.get_input_embeddings()(features["input_ids"])
    wanted = model(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
    with packed(encoder):
        found = model(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found[mask.bool()], wanted[mask.bool()], rtol=1e-4, atol=1e-5)
    assert found[~mask.bool()].eq(0).all()


def test_dropout_is_that_of_the_encoder(tmp_path):
    encoder = bert(tmp_path / "made").train()
    features = encoder.preprocess(TEXTS)
    with packed(encoder):
        ones = [encode_batch(encoder, dict(features)).sentence for _ in range(2)]
    assert not torch.equal(*ones)


def never(*_, **__):
    raise AssertionError("packed")


@pytest.mark.parametrize(
    "make", [decoder, lambda folder: as_multi_vector(bert(folder))], ids=["causal", "several vectors"]
)
def test_others_stay_padded(tmp_path, make):
    encoder = single(tmp_path / "made", make)
    features = encoder.preprocess(TEXTS)
    wanted = encode_batch(encoder, dict(features)).tokens.vectors
    with packed(encoder):
        found = encode_batch(encoder, dict(features)).tokens.vectors
        assert getattr(transformer(encoder).auto_model.forward, "first", None) is None
    torch.testing.assert_close(found, wanted)


def test_nothing_is_packed_without_padding_nor_outside_of_training_nor_afterwards(tmp_path, monkeypatch):
    encoder = single(tmp_path / "made", bert)
    model, before = transformer(encoder).auto_model, transformer(encoder).auto_model.config._attn_implementation
    monkeypatch.setattr(packing._Packing, "_packed", never)
    with packed(encoder):
        encode_batch(encoder, encoder.preprocess(TEXTS[:1] * 2))
        encode_batch(encoder.eval(), encoder.preprocess(TEXTS))
    encode_batch(encoder.train(), encoder.preprocess(TEXTS))
    assert "forward" not in vars(model)
    assert model.config._attn_implementation == before


def test_a_failure_leaves_the_attention_as_it_was(tmp_path, monkeypatch):
    encoder = single(tmp_path / "made", bert)
    model = transformer(encoder).auto_model
    before = model.config._attn_implementation

    def wrong(*_, **__):
        raise RuntimeError("no such attention")

    monkeypatch.setattr(packing, "_attention", wrong)
    with packed(encoder):
        found = encode_batch(encoder, encoder.preprocess(TEXTS)).sentence
    assert model.config._attn_implementation == before
    assert found.isfinite().all()
