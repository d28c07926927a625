"""DPR's two encoders, as transformers saves them."""

from __future__ import annotations

import pytest
import torch
from transformers import BertTokenizer, DPRConfig, DPRContextEncoder, DPRQuestionEncoder

from optical.models.encoders import encode_sentences
from optical.models.load import load_encoder, load_towers
from optical.vocabulary.token_ids import token_ids
from tests.conftest import word_pieces

TEXTS = ["i drink water .", "the moon"]


def saved_dpr(folder, kind, projection: int = 0):
    """One of the two with random weights, and its tokenizer."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(word_pieces()), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=64)
    config = DPRConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, projection_dim=projection, initializer_range=0.3,
    )  # fmt: skip
    model = kind(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.mark.parametrize("projection", [0, 8])
def test_each_encoder_gives_the_vectors_of_transformers(tmp_path, projection):
    kinds = {"queries": DPRQuestionEncoder, "documents": DPRContextEncoder}
    made = [saved_dpr(tmp_path / name, kind, projection) for name, kind in kinds.items()]
    towers = load_towers(",".join(str(tmp_path / name) for name in kinds), "cpu")
    for (model, tokenizer), encoder in zip(made, towers, strict=True):
        with torch.no_grad():
            expected = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).pooler_output
        torch.testing.assert_close(encoder.encode(TEXTS, convert_to_tensor=True), expected, atol=1e-5, rtol=0)


def test_it_is_saved_as_an_ordinary_model(tmp_path):
    saved_dpr(tmp_path / "dpr", DPRContextEncoder)
    encoder = load_encoder(tmp_path / "dpr", "cpu")
    encoder.save(str(tmp_path / "saved"))
    again = load_encoder(tmp_path / "saved", "cpu")
    assert (encode_sentences(again, TEXTS) == encode_sentences(encoder, TEXTS)).all()
    read = [[ids.tolist() for ids in token_ids(one.tokenizer, TEXTS)] for one in (again, encoder)]
    assert read[0] == read[1]
