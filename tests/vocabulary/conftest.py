"""Tiny teachers of the three kinds that matter, made from configuration: no network, no checkpoint."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENGLISH = [
    "the",
    "water",
    "milk",
    "child",
    "children",
    "drink",
    "drinks",
    "wrote",
    "who",
    "is",
    "how",
    "many",
    "born",
    "in",
    "of",
    "cat",
    "dog",
    "house",
    "nairobi",
    "kenya",
]


def wordpiece(lowercase: bool, folder) -> BertTokenizerFast:
    letters = LETTERS if lowercase else LETTERS + LETTERS.upper()
    pieces = (
        SPECIAL
        + list(letters + "'.,?!-0123456789")
        + ["##" + c for c in letters + "0123456789"]
        + ENGLISH
        + ["##ing", "nai"]
    )
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    return BertTokenizerFast.from_pretrained(folder, do_lower_case=lowercase, model_max_length=64)


def unigram() -> PreTrainedTokenizerFast:
    pieces = [(t, 0.0) for t in ("<s>", "<pad>", "</s>", "<unk>")] + [("▁", -3.0)]
    pieces += [(c, -6.0) for c in LETTERS + LETTERS.upper() + "'.,?!-0123456789क"] + [("▁" + w, -5.0) for w in ENGLISH]
    backend = Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=64,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def encoder(tokenizer, folder, model) -> SentenceTransformer:
    tokenizer.save_pretrained(folder)
    model.eval().save_pretrained(folder)
    transformer = Transformer(str(folder))
    return SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension())], device="cpu")


SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 80,
}


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> SentenceTransformer:
    """An uncased BERT."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = wordpiece(True, folder)
    torch.manual_seed(0)
    return encoder(tokenizer, folder, BertModel(BertConfig(vocab_size=len(tokenizer), **SHAPE)))


@pytest.fixture(scope="session")
def mbert(tmp_path_factory) -> SentenceTransformer:
    """A cased BERT, as mBERT is."""
    folder = tmp_path_factory.mktemp("mbert")
    tokenizer = wordpiece(False, folder)
    torch.manual_seed(1)
    return encoder(tokenizer, folder, BertModel(BertConfig(vocab_size=len(tokenizer), **SHAPE)))


@pytest.fixture(scope="session")
def xlmr(tmp_path_factory) -> SentenceTransformer:
    """A Unigram model with a metaspace, as XLM-R is."""
    folder = tmp_path_factory.mktemp("xlmr")
    tokenizer = unigram()
    torch.manual_seed(2)
    return encoder(
        tokenizer, folder, XLMRobertaModel(XLMRobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, **SHAPE))
    )


@pytest.fixture(params=["bert", "mbert", "xlmr"])
def teacher(request) -> SentenceTransformer:
    """Each kind in turn."""
    return request.getfixturevalue(request.param)
