"""Loading encoders: folders of either class, and what is no encoder of text."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from transformers import GPT2Config, GPT2Model

from optical.errors import DataError, RecipeError
from optical.models.encoders import (
    as_multi_vector,
    encode_batch,
    encode_sentences,
    encode_tokens,
    is_multi_vector,
)
from optical.models.load import load_encoder
from tests.chain import decoder
from tests.conftest import bert

TEXTS = ["i drink water .", "the moon", "who built this house ? she cooks rice .", "q"]


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

    @pytest.mark.parametrize(("file", "harm"), [
        ("config.json", []), ("config.json", {"architectures": 3}), ("config.json", {"architectures": [3]}),
        ("config.json", {"add_cross_attention": None}), ("config.json", {"dtype": []}),
        ("config_sentence_transformers.json", 3), ("tokenizer_config.json", {"model_max_length": -1}),
    ])  # fmt: skip
    def test_a_config_that_holds_something_else(self, tmp_path, teacher, file, harm):
        teacher.save(str(tmp_path / "model"))
        whole = json.loads((tmp_path / "model" / file).read_text())
        (tmp_path / "model" / file).write_text(json.dumps({**whole, **harm} if isinstance(harm, dict) else harm))
        with contextlib.suppress(DataError):
            load_encoder(tmp_path / "model", "cpu")

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

    @pytest.mark.parametrize("learned", [True, False])
    def test_a_decoder_padded_on_the_left_reads_a_text_as_if_alone(self, tmp_path, learned):
        """With learned positions it does so only when it is padded on the right."""
        model = decoder(tmp_path / "made")
        if learned:
            how = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.3}
            model[0].model = GPT2Model(GPT2Config(vocab_size=len(model.tokenizer), **how))
        model.save(str(tmp_path / "model"))
        for again in (load_encoder(tmp_path / "model", "cpu"), load_encoder(model.eval())):
            assert again.tokenizer.padding_side == ("right" if learned else "left")
            alone = np.concatenate([encode_sentences(again, [text]) for text in TEXTS])
            np.testing.assert_allclose(encode_sentences(again, TEXTS), alone, atol=1e-5)
        assert model.tokenizer.padding_side == "left"  # what is given stays as it is
        assert {p.data_ptr() for p in again.parameters()} == {p.data_ptr() for p in model.parameters()}

    def test_a_plain_transformers_checkpoint_gets_mean_pooling(self, tmp_path):
        bert(tmp_path / "plain")
        (tmp_path / "plain" / "vocab.txt").unlink(missing_ok=True)
        model = load_encoder(tmp_path / "plain", "cpu")
        encoded = encode_batch(model, model.preprocess(TEXTS[:2]))
        mean = torch.stack([v[m].mean(0) for v, m in zip(*encoded.tokens, strict=True)])
        torch.testing.assert_close(encoded.sentence, mean)


@pytest.mark.parametrize(("device", "said"), [("cuda", "no such GPU"), ("cuda:7", "no such GPU"), ("gpu", "no device")])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(teacher, tmp_path, device, said):
    if torch.cuda.device_count() > 7:
        pytest.skip("it is here")
    with pytest.raises(RecipeError, match=f"{said}.*here are cpu"):
        load_encoder(tmp_path / "bert", device)


@pytest.mark.parametrize("inner", [False, True], ids=["at the top", "in a module's folder"])
def test_layers_without_end_are_refused_before_they_are_made(tmp_path, inner):
    bert(tmp_path / "made").save(str(tmp_path / "model"))
    (file,) = (tmp_path / "model").glob("config.json")
    if inner:
        (tmp_path / "model" / "0_Transformer").mkdir()
        file = file.rename(tmp_path / "model" / "0_Transformer" / "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_hidden_layers": 10**30}))
    with pytest.raises(DataError, match=r"config\.json: num_hidden_layers is a number beyond all bounds"):
        load_encoder(tmp_path / "model", "cpu")


def test_a_padding_token_beyond_the_vocabulary_is_said(tmp_path):
    bert(tmp_path / "made").save(str(tmp_path / "model"))
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pad_token_id": 10**9}))
    with pytest.raises(DataError, match="cannot be used as a text encoder"):
        load_encoder(tmp_path / "model", "cpu")


def test_an_encoder_without_pooling_is_refused_when_it_is_loaded_and_not_at_the_first_question(tmp_path):
    bert(tmp_path / "made").save(str(tmp_path / "model"))
    file = tmp_path / "model" / "modules.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:1]))
    with pytest.raises(DataError, match=r"no vector of a text: its modules\.json has no module that pools"):
        load_encoder(tmp_path / "model", "cpu")


class Executes:
    """What runs a command where it is unpickled without care."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_pickle_in_place_of_weights_runs_nothing(tmp_path):
    bert(tmp_path / "made").save(str(tmp_path / "model"))
    (tmp_path / "model" / "model.safetensors").unlink()
    weights = tmp_path / "model" / "pytorch_model.bin"
    torch.save({"x": Executes(tmp_path / "ran")}, weights)
    with pytest.raises(DataError, match="cannot be used as a text encoder"):
        load_encoder(tmp_path / "model", "cpu")
    assert not (tmp_path / "ran").exists()
    torch.load(weights, weights_only=False)
    assert (tmp_path / "ran").exists(), "it would have run"
