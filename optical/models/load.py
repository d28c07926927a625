"""Load an encoder: a folder, a hub id, or a teacher that a package carries."""

from __future__ import annotations

import json
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from optical.errors import DataError, RecipeError
from optical.marker import check_sealed
from optical.models.composing import compose_unseen
from optical.models.dpr import is_dpr, load_dpr
from optical.models.encoders import Encoder, encode_batch, is_multi_vector, with_same_weights
from optical.models.hub import only_cached
from optical.models.onnx_encoder import CHANGED
from optical.models.packaged_teachers import check_model_name, packaged_teacher
from optical.models.query_words import read_seen_words
from optical.models.towers import Towers, names_of, split_routes
from optical.progress import quiet_libraries

_SAME = 0.999  # cosine of two vectors of one text
# What libraries raise where a configuration or weights are not what they wrote.
_UNREADABLE = (
    OSError, ValueError, LookupError, ArithmeticError, RuntimeError, AttributeError, TypeError, AssertionError
)  # fmt: skip
MOST_LAYERS = 1_000
_NOT_ENCODERS = (
    "ForSequenceClassification",
    "ForCausalLM",
    "LMHeadModel",
    "ForQuestionAnswering",
    "ForTokenClassification",
)


def load_encoder(model: str | Path | Encoder, device: str | None = None) -> Encoder:
    """Load an encoder: a folder, a hub id, or the name of a packaged teacher; one that is loaded stays as it is.

    The packaged ones are ``"all-MiniLM-L6-v2"`` and ``"multilingual-e5-small"``
    (:mod:`optical.models.packaged_teachers`).

    Single-vector models become a ``SentenceTransformer``; late-interaction ones (sentence-transformers, PyLate or
    Stanford ColBERT folders) a ``MultiVectorEncoder``. A plain transformers checkpoint gets mean pooling, DPR's [CLS].

    Raises:
        DataError: No such model, one that is no encoder of text or has an encoder for each side, or an export that is
            not as it was written.
        RecipeError: The device is not here.
    """
    towers = load_towers(model, device)
    if towers.apart:
        raise DataError(
            f"{' and '.join(names_of(model))} have one encoder for queries and another for documents, and here one has "
            "to read both; name a single encoder without routes"
        )
    return towers.queries


def load_student(folder: str | Path, device: str | None = None) -> Encoder:
    """Load the folder of a student, which composes the rows of unseen words if it was saved so.

    Raises:
        DataError: See :func:`load_encoder`; a damaged list of seen words.
    """
    encoder = load_encoder(folder, device)
    seen = read_seen_words(Path(folder))
    if seen is not None:
        compose_unseen(encoder, seen)
    return encoder


def load_towers(teacher: Any, device: str | None = None) -> Towers:
    """Load what reads the queries and what reads the documents: one encoder, a ``Router``, or a pair.

    Args:
        teacher: What :func:`load_encoder` loads, a sentence-transformers model with routes for queries and documents, a
            loaded encoder of either kind, or two of these: ``"query_model,document_model"``, or a tuple. Of two, the
            query side of the first is taken and the document side of the second.
        device: Of what is loaded; None for what torch finds.

    Raises:
        DataError: See :func:`load_encoder`; a third name, or a model with routes that lacks one for a side.
    """
    names = names_of(teacher)
    given = teacher if isinstance(teacher, tuple | list) else names if isinstance(teacher, str) else [teacher]
    sides = [
        _load(os.fspath(part), device) if isinstance(part, str | os.PathLike) else _given(part, name)
        for part, name in zip(given, names, strict=True)
    ]
    return Towers(sides[0].queries, sides[-1].documents)


@quiet_libraries()
def _load(model: str, device: str | None) -> Towers:
    from huggingface_hub.errors import StrictDataclassError
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    _check_device(device)
    name = str(packaged_teacher(model) or model)
    check_model_name(name)
    check_sealed(Path(name), CHANGED)
    alone = not Path(name).is_dir() and only_cached(name)
    config = _read_config(name, "config.json", alone)
    own = _read_config(name, "config_sentence_transformers.json", alone)
    _check_sizes(Path(name), config)
    _refuse_other_models(name, config, own)
    late = own.get("model_type") in ("MultiVectorEncoder", "ColBERT") or "HF_ColBERT" in _architectures(config)
    try:
        if is_dpr(config) and not own:
            encoder = load_dpr(name, config, device)
        else:
            encoder = (MultiVectorEncoder if late else SentenceTransformer)(name, device=device, local_files_only=alone)
        towers = split_routes(encoder, name)
        for one in towers if towers.apart else towers[:1]:
            _check_vectors(one, name)
    except UnpicklingError as error:
        raise DataError(
            f"{name} cannot be used as a text encoder: its weights hold more than numbers, which may be a program; ask "
            "for safetensors"
        ) from error
    except (*_UNREADABLE, StrictDataclassError) as error:
        if "trust_remote_code" in str(error):
            raise DataError(
                f"{name} comes with code of its own (trust_remote_code), which is never run here; name a model whose "
                "class is part of transformers and sentence-transformers"
            ) from error
        raise DataError(
            f"{name} cannot be used as a text encoder ({type(error).__name__}: {str(error)[:200]}); name a folder or "
            "hub id that sentence-transformers loads"
        ) from error
    return towers


def _check_device(device: str | None) -> None:
    """Refuse a device that torch does not know, or does not find here.

    Raises:
        RecipeError: It says which are there.
    """
    if device is None:
        return
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = ", ".join(["cpu", *(f"cuda:{k}" for k in range(there))])
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise RecipeError(f"device = {device!r} is no device of torch; here are {found}") from error
    if wanted.type == "cuda" and (wanted.index or 0) >= there:
        built = "" if torch.version.cuda or torch.version.hip else f" (torch {torch.__version__} is built without CUDA)"
        raise RecipeError(
            f"device = {device!r} is asked for, and torch finds no such GPU here{built}; here are {found}: leave the "
            "option out to take the best of them"
        )


def _given(encoder: Encoder, name: str) -> Towers:
    """The encoders of both sides of a loaded one, which stays as it is."""
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    if not isinstance(encoder, SentenceTransformer | MultiVectorEncoder):
        raise DataError(
            f"an encoder of the class {type(encoder).__name__} cannot be used; give a folder or hub id, or a loaded "
            "SentenceTransformer or MultiVectorEncoder (of a plain transformers model: its folder)"
        )
    towers = split_routes(encoder, name)
    queries = _padded(towers.queries)
    return Towers(queries, _padded(towers.documents) if towers.apart else queries)


def _padded(encoder: Encoder) -> Encoder:
    """The encoder; where padding changes its vectors, a copy with the same weights that pads on the right."""
    if not _padding_counts(encoder):
        return encoder
    copied = with_same_weights(encoder)
    copied.tokenizer.padding_side = "right"
    return copied


def _check_vectors(encoder: Encoder, name: str) -> None:
    with torch.no_grad():
        alone = encode_batch(encoder, encoder.preprocess(["a"])).sentence[0]
    if not is_multi_vector(encoder) and not any(hasattr(module, "pooling_mode") for module in encoder.modules()):
        raise DataError(
            f"{name} makes no vector of a text: its modules.json has no module that pools tokens; add one, or save the "
            "model again"
        )
    if not torch.isfinite(alone).all():
        raise DataError(f"{name} gives vectors that are not finite; its weights are damaged: fetch or train it again")
    if _padding_counts(encoder):
        encoder.tokenizer.padding_side = "right"


@torch.no_grad()
def _padding_counts(encoder: Encoder) -> bool:
    """Whether padding, which is on the left, changes the vector of "a".

    Decoders are often padded on the left. One with learned positions (GPT-2) counts them from the first column, padding
    or not, so its vectors would depend on the longest text of a batch.
    """
    if encoder.tokenizer.padding_side != "left":
        return False
    texts = ["a", "a b c d e f g"]
    alone, beside = (encode_batch(encoder, encoder.preprocess(texts[:n])).sentence[0] for n in (1, 2))
    return bool(torch.cosine_similarity(alone, beside, dim=0) < _SAME)


def _read_config(name: str, file: str, only_cached: bool = False) -> dict[str, Any]:
    """A configuration file of a folder or hub model; empty where there is none or no network."""
    from transformers.utils.hub import cached_file

    folder = Path(name)
    if folder.is_dir():
        path = folder / file
    else:
        quiet = {
            f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")
        }
        found = cached_file(name, file, local_files_only=only_cached, **quiet)
        path = Path(found) if found else folder / file
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if not isinstance(config, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); the model is damaged: fetch or save it again") from error
    return config


def _check_sizes(folder: Path, config: dict[str, Any]) -> None:
    """Refuse a configuration whose layers would be made until the memory is full."""
    inner = {file: _read_config(str(file.parent), file.name) for file in folder.glob("*/config.json")}
    for file, read in {folder / "config.json": config, **inner}.items():
        for key, value in read.items():
            if "layer" in key and isinstance(value, int) and value > MOST_LAYERS:
                raise DataError(
                    f"{file}: {key} is {value if value < 10**9 else 'a number beyond all bounds'}, and {MOST_LAYERS:,} "
                    "are allowed; the model is damaged: fetch or save it again"
                )


def _architectures(config: dict[str, Any]) -> list[str]:
    named = config.get("architectures")
    return [one for one in named if isinstance(one, str)] if isinstance(named, list) else []


def _refuse_other_models(name: str, config: dict[str, Any], own: dict[str, Any]) -> None:
    if Path(name).is_dir() and not config and not (Path(name) / "modules.json").exists():
        raise DataError(
            f"{name}: no config.json and no modules.json, so this folder holds no model; name the folder of a saved "
            "encoder"
        )
    other = [a for a in _architectures(config) if a.endswith(_NOT_ENCODERS)]
    if other and not own:
        raise DataError(
            f"{name} is a {other[0]}, not an encoder: its tokens were never trained to be compared; name a "
            "sentence-transformers or ColBERT model"
        )
