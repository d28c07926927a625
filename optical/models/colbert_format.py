"""Save a late-interaction encoder so that sentence-transformers, PyLate and Stanford's ColBERT load it.

The folder has the weights under the names of a Stanford checkpoint, and beside them the files that PyLate looks for.
sentence-transformers and PyLate give the encoder's own vectors. Stanford's code inserts a marker into every text and
pads every query with [MASK], whatever the folder says, so an encoder trained without either has other vectors there.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from optical.errors import DataError
from optical.files import check_replaceable, written_whole
from optical.models import encoders
from optical.models.encoders import Encoder, encode_tokens, transformer
from optical.models.load import load_encoder
from optical.models.prompts import document_prompt, query_prompt

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

MARK = "artifact.metadata"  # a file that only such folders have
ALLOWED = 1e-5  # largest difference of a token vector's component after loading again
PROBES = ("Where is the market?", "ng'ombe, 3.5 kg!", "The cow gives milk. " * 20)
_PYLATE_TRANSFORMER, _PYLATE_DENSE = "sentence_transformers.models.Transformer", "pylate.models.Dense.Dense"


def save_combined(encoder: Encoder, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Write the folder whole, and check it by loading it again; an earlier one stays until then.

    Both formats demand a projection, so an encoder without one gets an identity matrix.

    Args:
        encoder: A late-interaction encoder; not changed.
        folder: Where it goes: missing, empty, or a folder that an earlier call wrote.
        say: Called with each line of progress.

    Raises:
        DataError: The format has no place for a part of the encoder, the loaded vectors differ from its own, or
            ``folder`` holds something else.
    """
    multi, weight = _parts(encoder)
    check_replaceable(folder)
    if weight is None:
        size = transformer(multi).get_embedding_dimension()
        weight = torch.eye(size)
        say(f"the student has no projection: an identity matrix of {size} x {size} stands in for it")
    with written_whole(folder, sealed=True) as unfinished:
        _write(multi, weight, unfinished)
        lost = _difference(multi, unfinished)
        if not lost <= ALLOWED:
            raise DataError(
                f"{folder}: token vectors differ by {lost:.2g} after loading again, at most {ALLOWED} is allowed, so "
                "nothing was written; use the student's own folder"
            )
    say(f"loaded again by sentence-transformers: token vectors differ by {lost:.1g} at most")


def _parts(encoder: Encoder) -> tuple[MultiVectorEncoder, Tensor | None]:
    """The encoder and the matrix of its projection, None without one.

    Raises:
        DataError: It has a part that the format has no place for.
    """
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    if not encoders.is_multi_vector(encoder):
        raise DataError(
            "this student has one vector a sentence, which is no ColBERT; its own folder loads in "
            "sentence-transformers everywhere; for tokens, distill with late_interaction=true"
        )
    dense = [module for module in encoder if isinstance(module, Dense)]
    others = [m for m in list(encoder)[1:] if not isinstance(m, (Dense, MultiVectorMask, Normalize))]
    faults = [f"a module {type(module).__name__}" for module in others]
    faults += ["several projections"] if len(dense) > 1 else []
    faults += ["a projection with a bias"] if any(d.linear.bias is not None for d in dense) else []
    faults += ["an activation" for d in dense if not isinstance(d.activation_function, torch.nn.Identity)]
    expansion = transformer(encoder).query_expansion
    faults += ["queries expanded to no fixed length"] if expansion and expansion["strategy"] != "fixed" else []
    if faults:
        raise DataError(f"the format has no place for {faults[0]}; use the student's own folder, which has")
    weight = dense[0].linear.weight.detach().cpu() if dense else None
    return encoder, weight  # pyright: ignore[reportReturnType] - is_multi_vector said that it is one


def _write(multi: MultiVectorEncoder, weight: Tensor, folder: Path) -> None:
    from safetensors.torch import save_file

    body = transformer(multi).auto_model
    prefix = body.base_model_prefix  # bert, roberta, ...: transformers and Stanford's code look for it
    weights = {f"{prefix}.{name}": value.detach().cpu().clone() for name, value in body.state_dict().items()}
    projection = {"linear.weight": weight.clone().contiguous()}
    body.config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _json(folder / "config.json", {**config, "architectures": ["HF_ColBERT"]})
    save_file({**weights, **projection}, folder / "model.safetensors", metadata={"format": "pt"})
    multi.tokenizer.save_pretrained(folder)
    own = _settings(multi)
    _json(folder / MARK, _stanford(multi, own, weight))
    _json(folder / "config_sentence_transformers.json", _pylate(own))
    _json(folder / "sentence_bert_config.json", {"max_seq_length": multi.max_seq_length, "do_lower_case": False})
    _json(
        folder / "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": _PYLATE_TRANSFORMER},
            {"idx": 1, "name": "1", "path": "1_Dense", "type": _PYLATE_DENSE},
        ],
    )
    (folder / "1_Dense").mkdir()
    save_file(projection, folder / "1_Dense" / "model.safetensors", metadata={"format": "pt"})
    _json(
        folder / "1_Dense" / "config.json",
        {
            "in_features": weight.shape[1],
            "out_features": weight.shape[0],
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
            "use_residual": False,
        },
    )


def _settings(multi: MultiVectorEncoder) -> dict[str, Any]:
    """The settings of both formats under PyLate's names; all are written, since the libraries' defaults differ."""
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    module = transformer(multi)
    expansion, limit = module.query_expansion, multi.max_seq_length
    prompts = {"query": query_prompt(multi), "document": document_prompt(multi)}
    prefixes = {task: _marker(multi, prompts[task]) for task in ("query", "document")}
    return {
        # A prompt that is one token of the vocabulary is a marker there; any other stays text.
        "prompts": {task: "" if prefixes[task] else prompts[task] for task in ("query", "document")},
        "query_prefix": prefixes["query"],
        "document_prefix": prefixes["document"],
        "query_length": expansion["length"] if expansion else module.query_length or limit,
        "document_length": module.document_length or limit,
        "do_query_expansion": bool(expansion),
        "attend_to_expansion_tokens": bool(expansion and expansion["attend"]),
        "skiplist_words": [w for m in multi if isinstance(m, MultiVectorMask) for w in m.skiplist_words],
    }


def _marker(multi: MultiVectorEncoder, prompt: str) -> str:
    """The prompt as one token of the vocabulary; empty for one that is none."""
    token = prompt.strip()
    return (
        token if token and multi.tokenizer.tokenize(token) == [token] and token in multi.tokenizer.get_vocab() else ""
    )


def _pylate(own: dict[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version

    packages = {name.replace("-", "_"): version(name) for name in ("sentence-transformers", "transformers", "torch")}
    head = {"__version__": {**packages, "pytorch": packages.pop("torch")}, "model_type": "ColBERT"}
    return {**head, "default_prompt_name": None, "similarity_fn_name": "MaxSim", **own}


def _stanford(multi: MultiVectorEncoder, own: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    """Settings of Stanford's code, which needs markers: an encoder without them gets unused tokens or [CLS]."""
    vocabulary = multi.tokenizer.get_vocab()
    query, document = (
        own[f"{task}_prefix"] or (unused if unused in vocabulary else multi.tokenizer.cls_token)
        for task, unused in (("query", "[unused0]"), ("document", "[unused1]"))
    )
    return {
        "dim": weight.shape[0],
        "query_maxlen": own["query_length"],
        "doc_maxlen": own["document_length"],
        "query_token_id": query,
        "doc_token_id": document,
        "query_token": "[Q]",
        "doc_token": "[D]",
        "attend_to_mask_tokens": own["attend_to_expansion_tokens"],
        "mask_punctuation": set(string.punctuation) <= set(own["skiplist_words"]),
        "similarity": "cosine",
    }


def _difference(multi: MultiVectorEncoder, folder: Path) -> float:
    """Largest difference of a component of a token vector after loading again; infinite where tokens differ."""
    again = load_encoder(folder, "cpu")
    worst = 0.0
    for query in (True, False):
        for own, other in zip(*(encode_tokens(e, PROBES, query=query) for e in (multi, again)), strict=True):
            worst = max(worst, float(np.abs(own - other).max())) if own.shape == other.shape else float("inf")
    return worst


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
