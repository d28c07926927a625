"""The combined folder: the same vectors after loading again, and every file that other libraries look for."""

from __future__ import annotations

import json
import string

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from optical.errors import DataError
from optical.models import colbert_format, encoders
from optical.models.colbert_format import save_combined
from optical.models.load import load_encoder
from tests.conftest import bert

TEXTS = ["the farmer plants maize .", "zebra, milk!", "the river is long . " * 30, ""]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Token vectors that are the transformer's own."""
    return encoders.as_multi_vector(bert(tmp_path_factory.mktemp("plain") / "bert"))


@pytest.fixture(scope="module")
def projected(tmp_path_factory):
    """A ColBERT as others teach it: 32 to 12 dimensions, no punctuation in documents, questions of 10 tokens."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    body = bert(tmp_path_factory.mktemp("projected") / "bert")[0]
    dense = Dense(
        in_features=32, out_features=12, bias=False, activation_function=torch.nn.Identity(),
        module_input_name="token_embeddings",
    )  # fmt: skip
    mask = MultiVectorMask(skiplist_words=list(string.punctuation))
    multi = MultiVectorEncoder(
        modules=[body, dense, mask, Normalize("token_embeddings")],
        prompts={"query": "[MASK] ", "document": "a dog "},
        device="cpu",
    )
    return encoders.as_multi_vector(multi, query_length=10)


@pytest.fixture(params=["plain", "projected"])
def encoder(request):
    return request.getfixturevalue(request.param)


def test_the_vectors_are_the_same_after_loading_again(encoder, tmp_path):
    save_combined(encoder, tmp_path / "colbert")
    again = load_encoder(tmp_path / "colbert", "cpu")
    for query in (True, False):
        before, after = (encoders.encode_tokens(e, TEXTS, query=query) for e in (encoder, again))
        assert [len(rows) for rows in after] == [len(rows) for rows in before]
        np.testing.assert_allclose(np.concatenate(after), np.concatenate(before), atol=1e-6)


def test_stanford_finds_its_keys(encoder, tmp_path):
    save_combined(encoder, tmp_path / "colbert")
    weights = load_file(tmp_path / "colbert" / "model.safetensors")
    own = encoders.transformer(encoder).auto_model.state_dict()
    assert weights.keys() == {f"bert.{name}" for name in own} | {"linear.weight"}
    assert all(torch.equal(weights[f"bert.{name}"], value) for name, value in own.items())
    config = json.loads((tmp_path / "colbert" / "config.json").read_text())
    assert config["architectures"] == ["HF_ColBERT"]
    assert config["hidden_size"] == 32
    assert encoders.transformer(encoder).auto_model.config.architectures != ["HF_ColBERT"], "the encoder stays"


def test_settings_are_written_out(plain, projected, tmp_path):
    told = {}
    for name, encoder in (("plain", plain), ("projected", projected)):
        save_combined(encoder, tmp_path / name)
        files = ("artifact.metadata", "config_sentence_transformers.json", "1_Dense/config.json")
        told[name] = [json.loads((tmp_path / name / file).read_text()) for file in files]
    stanford, pylate, dense = told["plain"]
    assert stanford == {
        "dim": 32, "query_maxlen": 64, "doc_maxlen": 64, "query_token_id": "[CLS]", "doc_token_id": "[CLS]",
        "query_token": "[Q]", "doc_token": "[D]", "attend_to_mask_tokens": False, "mask_punctuation": False,
        "similarity": "cosine",
    }  # fmt: skip
    assert (pylate["query_prefix"], pylate["document_prefix"], pylate["skiplist_words"]) == ("", "", [])
    assert (pylate["model_type"], pylate["similarity_fn_name"]) == ("ColBERT", "MaxSim")
    assert pylate["do_query_expansion"] is False
    assert (dense["in_features"], dense["out_features"]) == (32, 32)
    identity = load_file(tmp_path / "plain" / "1_Dense" / "model.safetensors")
    assert torch.equal(identity["linear.weight"], torch.eye(32))
    stanford, pylate, dense = told["projected"]
    assert (stanford["dim"], stanford["query_maxlen"], stanford["mask_punctuation"]) == (12, 10, True)
    assert (pylate["query_prefix"], stanford["query_token_id"]) == ("[MASK]", "[MASK]")
    assert (pylate["document_prefix"], pylate["prompts"]) == ("", {"query": "", "document": "a dog "})
    assert (pylate["query_length"], pylate["do_query_expansion"]) == (10, True)
    assert (dense["in_features"], dense["out_features"]) == (32, 12)
    modules = json.loads((tmp_path / "projected" / "modules.json").read_text())
    assert [module["type"] for module in modules] == [
        "sentence_transformers.models.Transformer", "pylate.models.Dense.Dense",
    ]  # fmt: skip


def test_what_was_not_there_is_said(plain, projected, tmp_path):
    said = []
    save_combined(plain, tmp_path / "plain", said.append)
    assert said[0] == "the student has no projection: an identity matrix of 32 x 32 stands in for it"
    said.clear()
    save_combined(projected, tmp_path / "projected", said.append)
    assert len(said) == 1


def test_what_the_format_cannot_hold_is_refused(plain, teacher, tmp_path):
    import copy

    from sentence_transformers.base.modules import Dense

    with pytest.raises(DataError, match="one vector a sentence, which is no ColBERT; .*late_interaction=true"):
        save_combined(teacher, tmp_path / "single")
    biased = copy.deepcopy(plain)
    biased.insert(1, Dense(32, 8, bias=True, module_input_name="token_embeddings"))
    with pytest.raises(DataError, match="no place for a projection with a bias; use the student's own folder"):
        save_combined(biased, tmp_path / "biased")
    assert list(tmp_path.iterdir()) == [tmp_path / "bert"]


def test_a_folder_that_comes_back_otherwise_is_not_left(plain, tmp_path, monkeypatch):
    save_combined(plain, tmp_path / "colbert")
    before = (tmp_path / "colbert" / "model.safetensors").read_bytes()
    monkeypatch.setattr(colbert_format, "_difference", lambda *_: float("nan"))
    with pytest.raises(DataError, match="differ by nan after loading again"):
        save_combined(plain, tmp_path / "colbert")
    assert (tmp_path / "colbert" / "model.safetensors").read_bytes() == before


def test_another_folder_is_not_replaced(plain, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataError, match="is in the way: optical did not write it"):
        save_combined(plain, tmp_path / "mine")
