"""The posterior loss: bring the distributions of a sentence's tokens together (Minotaur, 2023), without a plan."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from optical.models.tokens import Tokens, pool, unit
from optical.training.losses import checks
from optical.transport.cost import cosine_cost, uniform_mass

WASSERSTEIN = 0.5  # weights of the two parts in Minotaur
DISCREPANCY = 0.01
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernel, as in its public code


def posterior(x: Tokens, y: Tokens) -> Float[Tensor, ""]:
    """Mean over the batch of ``0.5 W + 0.01 M``, between tokens as Gaussians (W) and as sets (M); unit vectors.

    W is the squared 2-Wasserstein distance of two Gaussians, averaged over all pairs of real tokens:
    ``mean_ij |x_i - y_j|^2 + |sigma_x - sigma_y|^2``. A token is the Gaussian around its vector with one standard
    deviation for its sentence. Minotaur's encoder predicts it; ours is deterministic, so it is that of the sentence's
    real tokens around their mean, for each dimension: 0 for a single token. The average is the product plan, so the
    first term is twice :func:`optical.training.losses.product.product`. M is the squared maximum mean discrepancy of
    the two sets, ``mean k(x_i, x_j) + mean k(y_i, y_j) - 2 mean k(x_i, y_j)``, with inverse multiquadratic kernels
    ``k(u, v) = sum_s 2 s / (2 s + |u - v|^2)``, whose scale s is over the length of the vectors, here 1. It keeps the
    pairs i = j, so that it is never negative and is there for one token. M is 0 for equal sets, W is not.

    Args:
        x: Student tokens of the X sentences, ``(b, n, d)``; need not be unit vectors.
        y: Teacher tokens of the English sentences, ``(b, m, d)``.

    Raises:
        ValueError: What :func:`optical.training.losses.checks.tokens` refuses.

    Reference: Sherborne, Hosking and Lapata, "Optimal transport posterior alignment for cross-lingual semantic
    parsing", TACL 2023 (arXiv 2307.04096). In their public code the cross term of M keeps the last scale only; here it
    has all.
    """
    x, y = checks.tokens(x, y)
    x, y = unit(x), unit(y)
    between = _squared_distance(x, y)  # (b, n, m)
    gaussian = _mean(between, x, y) + (_deviation(x) - _deviation(y)).square().sum(-1)
    discrepancy = (
        _mean(_kernel(_squared_distance(x, x)), x, x)
        + _mean(_kernel(_squared_distance(y, y)), y, y)
        - 2 * _mean(_kernel(between), x, y)
    )
    return (WASSERSTEIN * gaussian + DISCREPANCY * discrepancy).mean()


def _squared_distance(x: Tokens, y: Tokens) -> Float[Tensor, "b n m"]:
    """Of unit vectors; rounding below 0 does no harm to the kernel."""
    return 2 * cosine_cost(x.vectors, y.vectors)


def _kernel(squared: Float[Tensor, "b n m"]) -> Float[Tensor, "b n m"]:
    return torch.stack([2 * s / (2 * s + squared) for s in SCALES]).sum(0)


def _mean(values: Float[Tensor, "b n m"], x: Tokens, y: Tokens) -> Float[Tensor, " b"]:
    """Over all pairs of real tokens."""
    a, b = uniform_mass(x.mask, values.dtype), uniform_mass(y.mask, values.dtype)
    return (values * a[:, :, None] * b[:, None, :]).sum((1, 2))


def _deviation(tokens: Tokens) -> Float[Tensor, "b d"]:
    """Standard deviation of the real tokens around their mean; the norm has gradient 0 where it is 0, not NaN."""
    around = (tokens.vectors - pool(tokens)[:, None]).masked_fill(~tokens.mask[..., None], 0.0)
    return torch.linalg.vector_norm(around, dim=1) / tokens.mask.sum(-1, keepdim=True).to(around.dtype).sqrt()
