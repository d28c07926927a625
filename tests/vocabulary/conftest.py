"""Tiny teachers of the four kinds that matter, made from configuration: no network, no checkpoint."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BERT = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
XLMR = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
XLMR |= {"unk_token": "<unk>"}
SPECIAL = list(BERT.values())
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


def wrapped(backend: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer for transformers, with its special tokens by name; texts are cut after 64 tokens."""
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **special)


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
    pieces += [(c, -6.0) for c in LETTERS + LETTERS.upper() + "'.,?!-()0123456789क"] + [
        ("▁" + w, -5.0) for w in ENGLISH
    ]
    backend = Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return wrapped(backend, **XLMR)


def byte_level(split: str | None = None) -> PreTrainedTokenizerFast:
    """Byte-level pieces as ModernBERT's, or with a regular expression of its own, as Qwen's."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    if split is None:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([f"{w} {w} {w.capitalize()}" for w in ENGLISH] * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return wrapped(backend, **BERT)


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


@pytest.fixture(scope="session")
def modernbert(tmp_path_factory) -> SentenceTransformer:
    """Byte-level byte-pair encoding, and more rows than there are tokens, as ModernBERT has."""
    folder = tmp_path_factory.mktemp("modernbert")
    tokenizer = byte_level()
    torch.manual_seed(3)
    config = ModernBertConfig(
        vocab_size=len(tokenizer) + 60,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
        global_attn_every_n_layers=2,
        local_attention=8,
        reference_compile=False,
        **SHAPE,
    )
    return encoder(tokenizer, folder, ModernBertModel(config))


@pytest.fixture(params=["bert", "mbert", "xlmr", "modernbert"])
def teacher(request) -> SentenceTransformer:
    """Each kind in turn."""
    return request.getfixturevalue(request.param)
