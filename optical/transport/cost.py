"""Costs between token vectors, and masses of tokens: the input of every solver."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def cosine_cost(x: Float[Tensor, "b n d"], y: Float[Tensor, "b m d"]) -> Float[Tensor, "b n m"]:
    """Cost of moving token ``i`` of x onto token ``j`` of y: ``C_ij = 1 - cos(x_i, y_j)``, between 0 and 2.

    The vectors are normalised here, each by its own length (not the rows of the similarity matrix). A zero vector
    costs 1 to everything. Half precision is cast up to float32, because the solver divides costs by an epsilon of
    a few hundredths; float64 stays, and autocast has no say. Differentiable in both arguments (OPTICAL, section 3).
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    x = torch.nn.functional.normalize(x.to(dtype), dim=-1)
    y = torch.nn.functional.normalize(y.to(dtype), dim=-1)
    with torch.autocast(x.device.type, enabled=False):
        return 1.0 - x @ y.transpose(-1, -2)


def uniform_mass(mask: Bool[Tensor, "b n"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "b n"]:
    """Mass ``1 / (number of real tokens)`` on each real token and exactly 0 on padding; an empty row is all zeros."""
    weight = mask.to(dtype)
    return weight / weight.sum(dim=-1, keepdim=True).clamp(min=1.0)


def norm_mass(vectors: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Mass in proportion to the length of a token's vector: encoders give words without content short ones.

    Exactly 0 on padding, whatever it holds; sum 1 in each row with a real token. A row whose real vectors are all zero
    has uniform masses. A constant for the gradient: a student could otherwise lower its cost by shrinking the tokens
    that it gets wrong. The idea is that of word rotator's distance (Yokoi et al., EMNLP 2020).
    """
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    length = torch.linalg.vector_norm(vectors.detach().to(dtype), dim=-1)
    return weighted_mass(length, mask)


def weighted_mass(weights: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Mass in proportion to given weights, such as the rarity (idf) of the tokens.

    Exactly 0 on padding, whatever it holds; sum 1 in each row with a real token. A row whose real weights are all 0 has
    uniform masses. Carries no gradient.

    Raises:
        ValueError: Shapes that differ; a weight on a real token that is negative or not finite.
    """
    if weights.shape != mask.shape:
        raise ValueError(
            f"weights and mask must have one shape (b, n); received {tuple(weights.shape)} and {tuple(mask.shape)}; "
            "give one weight for each token, padding too"
        )
    weights = weights.detach().to(torch.promote_types(weights.dtype, torch.float32)).masked_fill(~mask, 0.0)
    if not (weights.isfinite() & (weights >= 0)).all():
        raise ValueError(
            f"weights must be finite and not negative on real tokens; received {weights.min():.4g} to "
            f"{weights.max():.4g}; idf should be log((1 + N) / (1 + n)) or another that stays above 0"
        )
    top = weights.amax(-1, keepdim=True)
    weights = torch.where(top > 0, weights / top, 0.0)  # so that the sum does not overflow
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp(min=1.0), uniform_mass(mask, weights.dtype))
