"""A linear map from the token vectors of one encoder into those of another, fitted to sentences that both encode.

The map is a ``Dense`` module of sentence-transformers on token vectors, before pooling: tokens and sentence vectors
come out in the other encoder's space, and a saved folder loads without this package.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from optical.errors import DataError
from optical.models.encoders import Encoder, as_multi_vector, is_multi_vector, query_width, transformer
from optical.models.prompts import query_prompt
from optical.models.tokens import Tokens, pool

if TYPE_CHECKING:
    from sentence_transformers.sentence_transformer.modules import Pooling

LEAST = 10  # sentences that a map is fitted to
HELD_OUT = 0.1  # share of them that the ridge is chosen on
RIDGES = tuple(10.0 ** (k / 2) for k in range(-8, 3))  # tried; as shares of the mean variance of a direction
_COMMUTING = ("cls", "lasttoken", "mean", "weightedmean")  # poolings for which pool(W t + b) = W pool(t) + b


class Body(NamedTuple):
    """Another encoder than the teacher, of the teacher's class, that a student starts from; it is not changed."""

    encoder: Encoder


class LinearMap(NamedTuple):
    """``W x + b``, and how well it fits.

    Attributes:
        weight: W, ``(e, d)``.
        bias: b, ``(e,)``.
        ridge: Chosen of ``RIDGES``.
        cosine: Mean cosine of ``W x + b`` and y over the held-out sentences, of a map fitted to the others.
        fitted: Sentences that the map is fitted to, the held-out ones included.
        held_out: Sentences that the ridge was chosen on.
    """

    weight: Float[np.ndarray, "e d"]
    bias: Float[np.ndarray, " e"]
    ridge: float
    cosine: float
    fitted: int
    held_out: int


def fit_linear_map(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"], *, seed: int = 0) -> LinearMap:
    """Fit ``min sum_i |W x_i + b - y_i|^2 + r |W|^2`` by ridge regression, r chosen on held-out rows by mean cosine.

    Args:
        x: Vectors to map.
        y: Where they should lie.
        seed: Which rows are held out.

    Raises:
        DataError: Fewer than ``LEAST`` rows.
    """
    if len(x) < LEAST:
        raise DataError(
            f"{len(x)} different English sentences are too few to fit a student of another encoder to the teacher; "
            f"give more bitext, {LEAST} at the very least and some thousands better, or leave student out"
        )
    x, y = x.astype(np.float64), y.astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(x))
    held_out, rest = np.split(order, [max(1, int(HELD_OUT * len(x)))])
    tried = _ridge_maps(x[rest], y[rest], RIDGES)
    cosines = [_mean_cosine(x[held_out] @ w.T + b, y[held_out]) for w, b in tried]
    best = int(np.argmax(cosines))
    ((weight, bias),) = _ridge_maps(x, y, RIDGES[best : best + 1])
    return LinearMap(
        weight.astype(np.float32), bias.astype(np.float32), RIDGES[best], cosines[best], len(x), len(held_out)
    )


def _ridge_maps(x: np.ndarray, y: np.ndarray, ridges: Sequence[float]) -> list[tuple[np.ndarray, np.ndarray]]:
    """W and b for each ridge, from one eigendecomposition of the covariance of x."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    centred = x - mean_x
    values, vectors = np.linalg.eigh(centred.T @ centred)  # (d,), (d, d)
    values = np.maximum(values, 0.0)
    crossed = (y - mean_y).T @ centred @ vectors  # (e, d)
    scale = max(float(values.mean()), 1e-12)
    maps = [(crossed / (values + ridge * scale)) @ vectors.T for ridge in ridges]
    return [(weight, mean_y - weight @ mean_x) for weight in maps]


def _mean_cosine(x: np.ndarray, y: np.ndarray) -> float:
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(((x * y).sum(axis=1) / np.maximum(norms, 1e-12)).mean())


def pooled_queries(encoder: Encoder, texts: Sequence[str], *, batch_size: int = 64) -> Float[np.ndarray, "n d"]:
    """Token vectors of queries, pooled as the encoder does, before anything that follows in it; in order of the texts.

    What stands between the transformer and the pooling is left out, as in :func:`mapped`; a late-interaction model
    pools by the mean.
    """
    order = np.argsort([-len(text) for text in texts], kind="stable")
    found: list[np.ndarray] = [np.zeros(0)] * len(texts)
    encoder.eval()
    with torch.no_grad():
        for k in range(0, len(order), batch_size):
            rows = order[k : k + batch_size]
            features = encoder.preprocess([texts[i] for i in rows], prompt=query_prompt(encoder), task="query")
            features = {n: v.to(encoder.device) if isinstance(v, Tensor) else v for n, v in features.items()}
            pooled = _pooled(encoder, transformer(encoder)(features))
            for i, vector in zip(rows, pooled.float().cpu().numpy(), strict=True):
                found[i] = vector
    return np.stack(found)


def pooled_tokens(encoder: Encoder, tokens: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The token vectors of one text, pooled as the encoder does, before anything that follows in it."""
    vectors = torch.from_numpy(np.asarray(tokens, dtype=np.float32))[None]
    mask = torch.ones(vectors.shape[:2], dtype=torch.int64)
    return _pooled(encoder, {"token_embeddings": vectors, "attention_mask": mask})[0].numpy()


def _pooled(encoder: Encoder, features: dict[str, Any]) -> Tensor:
    if is_multi_vector(encoder):
        return pool(Tokens(features["token_embeddings"], _scored(features)))
    return _pooling(encoder)(features)["sentence_embedding"]


def _scored(features: dict[str, Any]) -> Tensor:
    """Tokens of a late-interaction query that count in MaxSim: the real ones, and [MASK] that it is expanded by."""
    mask = features["attention_mask"].bool()
    return mask | features["query_expansion_positions"].bool() if "query_expansion_positions" in features else mask


def mapped(body: Encoder, teacher: Encoder, linear: LinearMap) -> Encoder:
    """The transformer of one encoder, the map, and what turns token vectors into the teacher's vectors.

    Of the body are its transformer with the tokenizer, its prompts and its way of pooling; of the teacher what follows
    the pooling. Weights of the transformer are shared with ``body``; those of the teacher are copied.
    """
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling

    dense = Dense(
        linear.weight.shape[1], linear.weight.shape[0], activation_function=None,
        init_weight=torch.from_numpy(linear.weight), init_bias=torch.from_numpy(linear.bias),
        module_input_name="token_embeddings",
    )  # fmt: skip
    prompts: Any = dict(body.prompts)  # the library keeps None for no prompt, and its annotation does not say so
    own: dict[str, Any] = {"prompts": prompts, "device": str(body.device)}
    if is_multi_vector(body):
        rest = [module for module in list(body)[1:] if not isinstance(module, Dense)]
        return MultiVectorEncoder(modules=[transformer(body), dense, *rest], **own)
    pooling: Any = _pooling(body)  # its mode is one of the library's, and its annotation says text
    pooled = Pooling(len(linear.bias), pooling.pooling_mode, pooling.include_prompt)
    modules = list(teacher)
    rest = [copy.deepcopy(module) for module in modules[modules.index(_pooling(teacher)) + 1 :]]
    own |= {"similarity_fn_name": teacher.similarity_fn_name, "truncate_dim": teacher.truncate_dim}
    return SentenceTransformer(modules=[transformer(body), dense, pooled, *rest], **own)


def body_for(encoder: Encoder, teacher: Encoder) -> Body:
    """An encoder as the body of a teacher's student: for a late-interaction teacher token by token, queries as long.

    Raises:
        DataError: The encoder compares tokens and the teacher sentence vectors, or one of the two pools token vectors
            in a way that a linear map of tokens does not lead through.
    """
    if not hasattr(transformer(encoder), "auto_model"):
        raise DataError(
            f"the encoder named by student begins with a {type(transformer(encoder)).__name__}, not with a "
            "transformer; name an encoder of token vectors"
        )
    if is_multi_vector(teacher):
        return Body(as_multi_vector(encoder, query_width(teacher)))
    if is_multi_vector(encoder):
        raise DataError(
            "the encoder named by student is one of late interaction, and the teacher has one vector a text; name a "
            "single-vector encoder, or set late_interaction = true"
        )
    if (mode := _pooling(encoder).pooling_mode) not in _COMMUTING:
        raise DataError(
            f"the encoder named by student pools its tokens by {mode}, which no linear map of tokens leads through; "
            f"name one that pools by {', '.join(_COMMUTING)}"
        )
    pooling = _pooling(teacher)
    if pooling.pooling_output_dimension != pooling.embedding_dimension:
        raise DataError(
            f"the teacher pools its tokens by {pooling.pooling_mode}, several vectors in one, where a student of "
            "another encoder has no place; leave student out, or take another teacher"
        )
    return Body(encoder)


def _pooling(encoder: Encoder) -> Pooling:
    from sentence_transformers.sentence_transformer.modules import Pooling

    found = [module for module in encoder if isinstance(module, Pooling)]
    if len(found) != 1:
        raise DataError(
            f"an encoder of {', '.join(type(module).__name__ for module in encoder)} does not pool token vectors in "
            "one place, so no student can be made of another encoder; leave student out, or name encoders that do"
        )
    return found[0]
