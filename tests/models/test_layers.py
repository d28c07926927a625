"""Fewer layers: which ones, in every layout of network, and that the copy is a model like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from optical.errors import DataError
from optical.models.encoders import as_multi_vector
from optical.models.layers import evenly, keep_layers
from tests.conftest import bert

TEXTS = ["the children read books .", "where is the market ?", "milk"]
SIZES = {"num_hidden_layers": 5, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
SIZES |= {"vocab_size": 200, "max_position_embeddings": 80, "pad_token_id": 0, "initializer_range": 0.5}
DISTILBERT = {"n_layers": 5, "dim": 16, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 80}
T5 = {"num_layers": 5, "d_model": 16, "num_heads": 2, "d_kv": 8, "d_ff": 24, "vocab_size": 200}
# Architecture -> its configuration, where its layers are, and which three of five stay.
LAYOUTS = {
    "Bert": (SIZES, "encoder.layer", [0, 2, 4]),
    "XLMRoberta": (SIZES | {"pad_token_id": 1}, "encoder.layer", [0, 2, 4]),
    "MPNet": (SIZES | {"pad_token_id": 1}, "encoder.layer", [0, 2, 4]),
    "DistilBert": (DISTILBERT | {"vocab_size": 200}, "transformer.layer", [0, 2, 4]),
    # The first layer has what others lack: the table of relative positions in T5; in ModernBERT it lacks a norm.
    "ModernBert": (SIZES | {"local_attention": 2}, "layers", [0, 2, 4]),
    "T5": (T5, "encoder.block", [0, 2, 4]),
}


def encoder(name: str, options: dict, folder) -> SentenceTransformer:
    """An encoder of five layers of any architecture, with BERT's words."""
    bert(folder / "words").tokenizer.save_pretrained(folder)
    config = getattr(transformers, f"{name}Config")(**options)
    torch.manual_seed(2)
    network = getattr(transformers, f"{name}EncoderModel" if name == "T5" else f"{name}Model")(config)
    network.eval().save_pretrained(folder)
    return SentenceTransformer(modules=[Transformer(str(folder)), Pooling(16)], device="cpu")


@pytest.mark.parametrize("name", LAYOUTS)
def test_evenly_taken_layers_stay_and_load_again(name, tmp_path):
    options, place, kept = LAYOUTS[name]
    full = encoder(name, options, tmp_path / "full")
    layers = full[0].auto_model.get_submodule(place)
    with torch.no_grad():
        for k, layer in enumerate(layers):
            for p in layer.parameters():
                p.add_(0.01 * k)  # biases and norms too
    before = full.encode(TEXTS)
    few = keep_layers(full, 3)
    ours = few[0].auto_model.get_submodule(place)
    for old, new in zip(kept, ours, strict=True):
        torch.testing.assert_close(new.state_dict(), layers[old].state_dict(), rtol=0, atol=0)
    few.save(str(tmp_path / "few"))
    again = SentenceTransformer(str(tmp_path / "few"), device="cpu")
    assert again[0].auto_model.config.num_hidden_layers == len(again[0].auto_model.get_submodule(place)) == 3
    np.testing.assert_allclose(again.encode(TEXTS), few.encode(TEXTS), rtol=0, atol=1e-6)
    # The full one is as it was, and shares no weight.
    assert len(layers) == full[0].auto_model.config.num_hidden_layers == 5
    with torch.no_grad():
        for p in few.parameters():
            p.zero_()
    np.testing.assert_array_equal(full.encode(TEXTS), before)


def test_the_result_is_that_of_running_the_layers_one_after_another(teacher, tmp_path):
    full = bert(tmp_path / "four", layers=4)
    network = full[0].auto_model
    features = full.preprocess(TEXTS[:1])
    hidden = network.embeddings(features["input_ids"])
    for k in (0, 3):
        hidden = network.encoder.layer[k](hidden)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    mean = torch.nn.functional.normalize(hidden.mean(1), dim=-1).detach().numpy()
    np.testing.assert_allclose(keep_layers(full, 2).encode(TEXTS[:1]), mean, rtol=1e-5, atol=1e-6)


def test_all_layers_are_the_encoder_itself(tmp_path):
    full = bert(tmp_path, layers=3)
    np.testing.assert_array_equal(keep_layers(full, 3).encode(TEXTS), full.encode(TEXTS))


def test_each_list_of_one_entry_a_layer_follows(tmp_path):
    full = encoder("ModernBert", {**SIZES, "global_attn_every_n_layers": 2}, tmp_path)
    config = full[0].auto_model.config
    kinds = [layer.attention_type for layer in full[0].auto_model.layers]
    assert config.layer_types == kinds
    assert len(set(kinds)) == 2
    few = keep_layers(full, 4)[0].auto_model
    assert few.config.layer_types == [layer.attention_type for layer in few.layers] == [kinds[k] for k in (0, 1, 3, 4)]
    assert [layer.attn.layer_idx for layer in few.layers] == [0, 1, 2, 3]
    assert len(config.layer_types) == 5


def test_late_interaction_models_lose_layers_too(tmp_path):
    full = as_multi_vector(bert(tmp_path / "bert", layers=4))
    few = keep_layers(full, 2)
    assert isinstance(few, MultiVectorEncoder)
    few.save(str(tmp_path / "few"))
    again = MultiVectorEncoder(str(tmp_path / "few"), device="cpu")
    assert len(again[0].auto_model.encoder.layer) == 2
    for ours, theirs in zip(again.encode_query(TEXTS), few.encode_query(TEXTS), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_layers_left_out_are_not_copied(tmp_path, monkeypatch):
    full = bert(tmp_path, layers=4)
    dropped = {id(p) for k in (1, 2) for p in full[0].auto_model.encoder.layer[k].parameters()}
    copied = set()
    plain = torch.nn.Parameter.__deepcopy__

    def watched(parameter, memo):
        copied.add(id(parameter))
        return plain(parameter, memo)

    monkeypatch.setattr(torch.nn.Parameter, "__deepcopy__", watched)
    keep_layers(full, 2)
    assert copied
    assert not dropped & copied


def test_the_copy_trains(tmp_path):
    few = keep_layers(bert(tmp_path, layers=3), 2)
    few(few.preprocess(TEXTS))["sentence_embedding"][:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in few[0].auto_model.encoder.layer[0].output.parameters())


@pytest.mark.parametrize(
    ("total", "count", "kept"),
    [(6, 3, [0, 2, 5]), (6, 4, [0, 2, 3, 5]), (12, 6, [0, 2, 4, 7, 9, 11]), (5, 1, [0]), (7, 7, [*range(7)])],
)
def test_layers_are_evenly_taken(total, count, kept):
    assert evenly(total, count) == kept


@pytest.mark.parametrize("total", [1, 2, 7, 12, 22])
def test_any_number_of_layers_is_distinct_in_order_and_has_both_ends(total):
    for count in range(1, total + 1):
        kept = evenly(total, count)
        assert len(set(kept)) == count
        assert kept == sorted(kept)
        assert kept[0] == 0
        assert kept[-1] == total - 1 or count == 1
        gaps = np.diff(kept)
        assert count == 1 or gaps.max() - gaps.min() <= 1


def test_what_cannot_be_done_is_said(teacher, tmp_path):
    with pytest.raises(DataError, match="has 2 layers, the student cannot have 3"):
        keep_layers(teacher, 3)
    with pytest.raises(ValueError, match="received 0"):
        keep_layers(teacher, 0)
    shared = encoder("Albert", SIZES | {"embedding_size": 16}, tmp_path / "albert")  # one layer, five times over
    with pytest.raises(DataError, match="AlbertModel are not found: 0 of"):
        keep_layers(shared, 2)
    two_lists = bert(tmp_path / "two")
    two_lists[0].auto_model.other = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    with pytest.raises(DataError, match="2 of its lists"):
        keep_layers(two_lists, 1)
    mixed = bert(tmp_path / "mixed", layers=3)
    mixed[0].auto_model.encoder.layer[2].extra = torch.nn.Linear(2, 2)
    with pytest.raises(DataError, match="not alike"):
        keep_layers(mixed, 2)


def test_a_list_inside_a_layer_is_not_the_list_of_layers(tmp_path):
    nested = bert(tmp_path)
    for layer in nested[0].auto_model.encoder.layer:
        layer.experts = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    assert len(keep_layers(nested, 1)[0].auto_model.encoder.layer) == 1
