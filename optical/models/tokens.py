"""Token vectors of a batch of sentences, and the two ways to use them: pooled, or compared one by one (MaxSim).

A sentence is a matrix with one row a token; a batch is padded, and the mask says which rows are real.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Tokens(NamedTuple):
    """Token vectors of a batch of sentences, padded.

    Attributes:
        vectors: Token vectors, ``(b, n, d)``.
        mask: True where the token is real, ``(b, n)``. What ``vectors`` holds elsewhere has no effect anywhere.
    """

    vectors: Float[Tensor, "b n d"]
    mask: Bool[Tensor, "b n"]


def unit(tokens: Tokens) -> Tokens:
    """Token vectors scaled to length 1, so that a dot product is a cosine; padding becomes exactly 0."""
    vectors = torch.nn.functional.normalize(tokens.vectors, dim=-1)
    return Tokens(vectors.masked_fill(~tokens.mask[..., None], 0.0), tokens.mask)


def pool(tokens: Tokens) -> Float[Tensor, "b d"]:
    """Mean of the real tokens of each row; a row without any gives the zero vector, not NaN."""
    weight = tokens.mask[..., None].to(tokens.vectors.dtype)  # (b, n, 1)
    total = tokens.vectors.masked_fill(~tokens.mask[..., None], 0.0).sum(dim=1)
    return total / weight.sum(dim=1).clamp(min=1.0)


def maxsim(queries: Tokens, documents: Tokens) -> Float[Tensor, "q d"]:
    """Late-interaction score: every query token takes its best document token, and the best are added up.

    ``S(q, d) = sum_i max_j q_i . d_j`` over real tokens (Khattab & Zaharia 2020, equation 3). A masked document token
    can never win, not even against negative similarities, and a masked query token adds exactly 0. A document without
    any real token scores ``-inf`` against every query.

    Args:
        queries: ``(q, n, k)`` token matrices.
        documents: ``(d, m, k)`` token matrices.

    Returns:
        Scores, ``(q, d)``.
    """
    similarity = torch.einsum("qnk,dmk->qdnm", queries.vectors, documents.vectors)  # (q, d, n, m)
    similarity = similarity.masked_fill(~documents.mask[None, :, None, :], float("-inf"))
    best = similarity.amax(dim=-1)  # (q, d, n)
    scores = best.masked_fill(~queries.mask[:, None, :], 0.0).sum(dim=-1)
    return scores.masked_fill(~documents.mask.any(dim=-1)[None, :], float("-inf"))
