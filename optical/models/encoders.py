"""Teacher and student as sentence-transformers models: loading them, and turning text into tokens or vectors.

An encoder is a ``SentenceTransformer`` (one vector a text) or a ``MultiVectorEncoder`` (one vector a token, for late
interaction). Loading, saving, devices and pooling are sentence-transformers' work.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from optical.errors import DataError
from optical.models import prompts
from optical.models.tokens import Tokens, pool

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

Encoder: TypeAlias = "SentenceTransformer | MultiVectorEncoder"
DevScore: TypeAlias = Callable[["Encoder"], float]


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


def with_same_weights(encoder: Encoder) -> Encoder:
    """A copy of the encoder, tokenizer and all, that shares its weights."""
    return copy.deepcopy(encoder, {id(weight): weight for weight in encoder.parameters()})


def transformer(encoder: Encoder) -> Any:
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
                f"queries cannot be expanded to {query_length} tokens by this encoder, whose mask token is {mask} and "
                f"whose limit is {limit} tokens; lower query_length, or leave it out"
            )
        module = transformer(multi)
        if module.query_length is not None:
            module.query_length = query_length  # a cap of the model's own, which would contradict the new one
        module.query_expansion = {"strategy": "fixed", "attend": False, "length": query_length}
    return multi


def query_width(encoder: Encoder) -> int | None:
    """Number of tokens of every query of a late-interaction model; None where it differs from query to query."""
    expansion = getattr(transformer(encoder), "query_expansion", None)
    return expansion["length"] if expansion and expansion["strategy"] == "fixed" else None


def _token_by_token(encoder: Encoder) -> MultiVectorEncoder:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    if isinstance(encoder, MultiVectorEncoder):
        return copy.deepcopy(encoder)
    # The library keeps None for no prompt, and its annotation does not say so.
    own: Any = {**(encoder.prompts or {}), "query": prompts.query_prompt(encoder)}
    return MultiVectorEncoder(
        modules=[copy.deepcopy(encoder[0]), MultiVectorMask(), Normalize("token_embeddings")],
        prompts=own,
        device=str(encoder.device),
    )


def encode_batch(encoder: Encoder, features: dict[str, Any], **options: Any) -> Encoded:
    """Run an encoder over a tokenized batch, with gradient where it is enabled; ``options`` go to its forward.

    A late-interaction model reads the batch as queries, unless ``task`` says otherwise: [MASK] expansion is real then,
    and no punctuation is left out, in training as in search.

    The tokens of a prompt are tokens like any other, as [CLS] is: they have rows in the token matrix and mass in a
    plan, on both sides, since the sentence vector is pooled from them too. In a model whose pooling leaves the prompt
    out (``include_prompt = false``), the token matrix leaves it out as well. The sentence vector is that of
    ``encode_query`` either way.

    In a causal model (a decoder, as Qwen3-Embedding) a token has read only what stands left of it. Its token matrix is
    defined as that of any other: all real tokens, with the prompt and with the end of text that the tokenizer adds.
    With last-token pooling the sentence vector is made of the last row of the matrix alone; the mean of the rows is
    not the sentence vector. An objective between tokens compares what was read up to each token; the first rows are
    those of the prompt, which both sides share.
    """
    # Training in parallel or compiled wraps the model, which hides its class.
    inner = getattr(encoder, "module", getattr(encoder, "_orig_mod", encoder))
    if is_multi_vector(inner):
        options = {"task": "query", **options}
    device = next(encoder.parameters()).device
    output = encoder({k: v.to(device) if isinstance(v, Tensor) else v for k, v in features.items()}, **options)
    tokens = Tokens(output["token_embeddings"], output["attention_mask"].bool())
    if "prompt_length" in features and not prompts.pools_prompt(inner):
        tokens = _without_prompt(tokens, int(torch.as_tensor(features["prompt_length"]).flatten()[0]))
    sentence = output.get("sentence_embedding")
    if sentence is None:
        sentence = torch.nn.functional.normalize(pool(tokens), dim=-1)
    return Encoded(tokens, sentence)


def _without_prompt(tokens: Tokens, length: int) -> Tokens:
    """Mask the first ``length`` real tokens of each row, which are the prompt and what the tokenizer puts before it."""
    return Tokens(tokens.vectors, tokens.mask & (tokens.mask.cumsum(dim=1) > length))


def encode_sentences(
    encoder: Encoder, texts: Sequence[str], *, query: bool = True, batch_size: int = 64, progress: bool = False
) -> np.ndarray:
    """Unit sentence vectors ``(len(texts), e)``, float32, in the order of the texts, of queries or of documents."""
    if is_multi_vector(encoder):
        raise ValueError("a late-interaction model has no sentence vectors; received one; use encode_tokens")
    side = encoder.encode_query if query else encoder.encode_document
    return side(
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
    """Vectors of queries, with the model's query prompt: sentence vectors ``(n, e)``, or a list of n token matrices.

    All are unit vectors, float32, in the order of the texts.
    """
    return encode_tokens(encoder, texts, query=True) if is_multi_vector(encoder) else encode_sentences(encoder, texts)


def token_counts(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Tokens of each text as a query, with special ones, prompt and [MASK], up to the encoder's limit.

    Returns:
        Counts, ``(len(texts),)``.
    """
    width = query_width(encoder)
    if width is not None:
        return np.full(len(texts), width, dtype=np.int64)
    counts: list[int] = []
    prompt = prompts.query_prompt(encoder)
    for k in range(0, len(texts), 1000):
        prompted = [prompt + text for text in texts[k : k + 1000]]
        ids = encoder.tokenizer(prompted, truncation=True, max_length=encoder.max_seq_length)
        counts += map(len, ids["input_ids"])
    return np.array(counts, dtype=np.int64)


def fingerprint(encoder: Encoder, side: Literal["query", "document"] | None = None) -> str:
    """Sixteen hexadecimal digits that change with weights, pooling, tokenizer, length limit, prompts or class.

    Args:
        encoder: Of either class.
        side: Leave out what changes vectors of the other side only, its prompt and the expansion of queries, so that
            texts are encoded once.
    """
    digest = hashlib.sha256(type(encoder).__name__.encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    digest.update(f"{_tokenization(encoder.tokenizer)} {encoder.max_seq_length}".encode())
    pooled = [mode for module in encoder.modules() if (mode := getattr(module, "pooling_mode", "mean")) != "mean"]
    if pooled:  # of the mean, fingerprints are as they were before the pooling was part of them
        digest.update(str(pooled).encode())
    expansion = getattr(transformer(encoder), "query_expansion", None)
    if expansion and side != "document":
        digest.update(json.dumps(expansion, sort_keys=True).encode())
    digest.update(prompts.described(encoder, side).encode())
    words = getattr(transformer(encoder), "query_words", None)  # of a student that composes
    if words is not None:
        seen = words.seen if words.seen.names else words.seen[:-1]  # as it was before there were names
        digest.update(json.dumps(seen).encode())
    return digest.hexdigest()[:16]


def _tokenization(tokenizer: Any) -> str:
    """Describe what turns text into ids, without the padding and truncation that the last call left behind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return repr(sorted(tokenizer.get_vocab().items()))
    return json.dumps({**json.loads(backend.to_str()), "padding": None, "truncation": None}, sort_keys=True)
