"""The converted folder: plain sentence-transformers loads it, and its vectors and ids are those computed by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from safetensors import safe_open
from sentence_transformers import SentenceTransformer

from optical.models.e5_convert import write_encoder_folder
from optical.models.e5_package import read_package
from tests.models.e5_file import HEADS, LAYERS, PIECES, TABLE, splitter, write_e5

TEXTS = ["watoto", "query: maji  ya watoto?", "ng'ombe é\u0301 ①\u0301 ﬁ", "drink\xa0the\twater", "\x01 ☃☃ maji ☃ x "]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The folder, and what was written into the package's file."""
    folder = tmp_path_factory.mktemp("e5")
    written = write_e5(folder / "e5.bin")
    (folder / "model").mkdir()
    write_encoder_folder(read_package(folder / "e5.bin"), folder / "model", "Four bits.")
    return folder / "model", written


def layer_norm(x, written, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return x * written[f"{name}.w"] + written[f"{name}.b"]


def vector(ids, w):
    """Post-norm BERT in float64: positions from 0, GELU by erf, mean over all tokens, unit length."""
    x = w["emb.word"][ids] + w["emb.pos"].reshape(-1, 32)[: len(ids)] + w["emb.type"][:32]
    x = layer_norm(x, w, "emb.ln")
    for k in range(LAYERS):
        q, key, v = (
            (x @ w[f"l{k}.{n}.w"].T + w[f"l{k}.{n}.b"]).reshape(len(ids), HEADS, -1).swapaxes(0, 1) for n in "qkv"
        )
        weights = np.exp(q @ key.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        heads = (weights / weights.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), -1)
        x = layer_norm(x + heads @ w[f"l{k}.ao.w"].T + w[f"l{k}.ao.b"], w, f"l{k}.aln")
        inner = x @ w[f"l{k}.fi.w"].T + w[f"l{k}.fi.b"]
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = layer_norm(x + inner @ w[f"l{k}.fo.w"].T + w[f"l{k}.fo.b"], w, f"l{k}.oln")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_ids_are_those_of_a_viterbi_by_hand(converted):
    folder, written = converted
    tokenizer, split = SentenceTransformer(str(folder), device="cpu").tokenizer, splitter(PIECES, written.scores, TABLE)
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == split(text), text
    assert tokenizer.decode(tokenizer("maji watoto")["input_ids"], skip_special_tokens=True) == "maji watoto"


def test_vectors_are_those_of_a_bert_by_hand(converted):
    folder, written = converted
    encoder = SentenceTransformer(str(folder), device="cpu")
    split = splitter(PIECES, written.scores, TABLE)
    expected = [vector(split(text), written.tensors) for text in TEXTS]
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=2e-3)  # matrices rounded to float16


def test_prompts_are_in_the_folder_and_none_is_used_unasked(converted):
    encoder = SentenceTransformer(str(converted[0]), device="cpu")
    assert encoder.prompts == {"query": "query: ", "document": "passage: "}
    assert encoder.default_prompt_name is None
    np.testing.assert_allclose(encoder.encode_query("maji"), encoder.encode("query: maji"), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_document("maji"), encoder.encode("passage: maji"), atol=1e-6)


def test_matrices_are_float16_on_disk_and_float32_once_loaded(converted):
    with safe_open(converted[0] / "model.safetensors", "np") as file:
        kinds = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 - not a dict
    assert kinds["embeddings.word_embeddings.weight"] == kinds["encoder.layer.1.output.dense.weight"] == np.float16
    encoder = SentenceTransformer(str(converted[0]), device="cpu")
    assert {str(p.dtype) for p in encoder.parameters()} == {"torch.float32"}
    assert encoder.max_seq_length == 48


def test_loading_twice_gives_the_same_weights(converted):
    from optical.models.encoders import fingerprint

    one, two = (SentenceTransformer(str(converted[0]), device="cpu") for _ in range(2))
    assert fingerprint(one) == fingerprint(two)
    assert json.loads((converted[0] / "config.json").read_text())["optical_weights_note"] == "Four bits."
