"""Teachers whose tokenizers have no room for the words of X: one message, exit 1, nothing written, no document read."""

from __future__ import annotations

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, ByT5Tokenizer, PreTrainedTokenizerFast

SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TOKENS = ["[UNK]", "[PAD]", "the", "farmer", "plants", "maize", "▁", "a", "e"]


def characters():
    """A tokenizer of bytes that has no fast version, as CANINE's of characters has none."""
    made = ByT5Tokenizer(model_max_length=64)
    return BertModel(BertConfig(vocab_size=len(made), **SHAPE)), made


def tokenizer(model, split):
    backend = Tokenizer(model)
    backend.pre_tokenizer = split
    made = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", model_max_length=64)
    return BertModel(BertConfig(vocab_size=len(made), **SHAPE)), made


def whole_words():
    """Nothing but words, of which none can go."""
    ids = {token: i for i, token in enumerate(TOKENS)}
    return tokenizer(models.WordLevel(ids, unk_token="[UNK]"), pre_tokenizers.Whitespace())


def across_spaces():
    """Unigram pieces that may hold several words."""
    return tokenizer(models.Unigram([(token, -1.0) for token in TOKENS], unk_id=0), None)


@pytest.mark.parametrize(
    ("make", "mode", "message"),
    [
        (characters, "extend", "is not a fast tokenizer, so it has no room for words"),
        (characters, "off", "is not a fast tokenizer"),
        (whole_words, "trim", "of the kind WordLevel"),
        (across_spaces, "extend", "no words can be added to the encoder's tokenizer"),
    ],
)
def test_is_refused_before_any_work(command, data, tmp_path, make, mode, message):
    model, own = make()
    for part in (model, own):
        part.save_pretrained(tmp_path / "made")
    modules = [Transformer(str(tmp_path / "made")), Pooling(16)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "teacher"))
    code, _, err = command(
        "distill", "--lang", "sw", "--teacher", tmp_path / "teacher", "--bitext", data / "bitext.tsv",
        "--collection", data / "collection", "--out", tmp_path / "run", "--set", f"cache={tmp_path / 'cache'}",
        "--set", f"vocabulary.mode={mode}", "--set", "training.batch_size=6",
    )  # fmt: skip
    assert code == 1
    assert "error: " in err
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"made", "teacher"}
