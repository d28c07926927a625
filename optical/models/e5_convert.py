"""Write multilingual-e5-small, as its package has it, as an ordinary sentence-transformers folder.

The network is a BERT with positions from 0, mean pooling and vectors of unit length; the tokenizer is XLM-R's unigram
model with the package's own table of characters. Matrices are float16 on disk and loaded as float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from optical.models.charsmap import normalizer_of
from optical.models.e5_package import Package, Pieces
from optical.models.save import NOTE

PROMPTS = {"query": "query: ", "document": "passage: "}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_IN_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_MODULES = (
    ("", "sentence_transformers.base.modules.transformer.Transformer"),
    ("1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling"),
    ("2_Normalize", "sentence_transformers.base.modules.normalize.Normalize"),
)


def write_encoder_folder(package: Package, folder: Path, note: str) -> None:
    """Write the files of an encoder into an empty folder.

    Args:
        package: What the package's file holds.
        folder: Where to.
        note: What the card of every model made from this one is to say of its weights.
    """
    from safetensors.numpy import save_file

    weights = dict(_weights(package))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", {**_config(package), NOTE: note})
    tokenizer_of(package.pieces).save(str(folder / "tokenizer.json"))
    texts = package.pieces.texts
    special = {f"{name}_token": texts[getattr(package.pieces, name)] for name in ("bos", "eos", "pad", "unk")}
    _write(
        folder / "tokenizer_config.json",
        {
            **special,
            "cls_token": special["bos_token"],
            "sep_token": special["eos_token"],
            "mask_token": "<mask>",
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": package.sizes.positions,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    modules = [{"idx": k, "name": str(k), "path": path, "type": kind} for k, (path, kind) in enumerate(_MODULES)]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": package.sizes.positions, "do_lower_case": False})
    pooling = {"embedding_dimension": package.sizes.hidden, "pooling_mode": "mean", "include_prompt": True}
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "2_Normalize" / "config.json", {})
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": PROMPTS,
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    _write(folder / "config_sentence_transformers.json", settings)


def tokenizer_of(pieces: Pieces) -> Tokenizer:
    """The unigram tokenizer: the table, runs of spaces become one, a space in front, ``<s> ... </s>``."""
    vocabulary: Any = list(zip(pieces.texts, pieces.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(vocabulary, pieces.unk, byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizer_of(pieces.table), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    bos, eos = pieces.texts[pieces.bos], pieces.texts[pieces.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, pieces.bos), (eos, pieces.eos)],
    )
    special: Any = [pieces.texts[k] for k in sorted({pieces.bos, pieces.pad, pieces.eos, pieces.unk})]
    tokenizer.add_special_tokens([*special, AddedToken("<mask>", lstrip=True, special=True)])
    return tokenizer


def _config(package: Package) -> dict[str, Any]:
    sizes = package.sizes
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.intermediate,
        "vocab_size": sizes.rows,
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": sizes.types,
        "layer_norm_eps": float(f"{sizes.epsilon:.6g}"),  # 1e-12 was rounded to float32
        "hidden_act": "gelu",
        "pad_token_id": package.pieces.pad,
        "dtype": "float32",
    }


def _weights(package: Package) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors by BERT's names; the pooler, which mean pooling does not use, is zero so that each loading is equal."""
    for name, full in _EMBEDDINGS.items():
        value = package.tensors[name]
        yield full, value.astype(np.float16) if value.ndim == 2 else value
    for layer in range(package.sizes.layers):
        for name, full in _IN_LAYER.items():
            for end, whole in (("w", "weight"), ("b", "bias")):
                yield f"encoder.layer.{layer}.{full}.{whole}", package.tensors[f"l{layer}.{name}.{end}"]
    hidden = package.sizes.hidden
    yield "pooler.dense.weight", np.zeros((hidden, hidden), np.float16)
    yield "pooler.dense.bias", np.zeros(hidden, np.float32)


def _write(path: Path, value: dict | list) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
