"""Shared fixtures: tiny encoders built from config, so that no test needs a download."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest
import torch

ENGLISH = (
    "i drink water . the children read books . where is the market ? the farmer plants maize . she cooks rice . "
    "the cow gives milk . who built this house ? the teacher writes a letter . rain falls in april . we sell fish . "
    "the river is long . the doctor helps the sick . a dog guards the door . they sing songs . the moon shines ."
)


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def word_pieces(text: str = ENGLISH) -> list[str]:
    """A WordPiece vocabulary: special tokens, letters alone and inside words, and the words of a text."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789'.,?!-"
    words = sorted({w for w in text.split() if len(w) > 1})
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters[:36]), *words]


def bert(folder, *, dim: int = 32, layers: int = 2, text: str = ENGLISH, positions: int = 64):
    """A random two-layer BERT with its own lower-casing tokenizer, as a SentenceTransformer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = word_pieces(text)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=positions)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=dim, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=2 * dim, max_position_embeddings=positions, initializer_range=0.3,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformer = Transformer(str(folder))
    return SentenceTransformer(modules=[transformer, Pooling(dim), Normalize()], device="cpu")


@pytest.fixture
def with_bfloat16(monkeypatch):
    """A processor that says it has bfloat16: a tiny model is quick enough in it on any."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)


@pytest.fixture
def teacher(tmp_path):
    """A tiny single-vector encoder."""
    return bert(tmp_path / "bert")


@pytest.fixture
def student(tmp_path):
    """Another start than the teacher's, so that there is something to learn."""
    model = bert(tmp_path / "student")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model
