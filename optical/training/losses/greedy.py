"""The greedy loss: one-to-one alignment, most similar pair first (DR.DECR, NAACL 2022)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from optical.models.tokens import Tokens
from optical.training.losses import checks
from optical.transport.cost import cosine_cost


def greedy(x: Tokens, y: Tokens) -> Float[Tensor, ""]:
    """Mean over the batch of the mean of ``1 - cos(x_i, y_j)`` over greedily aligned pairs of tokens.

    Of the tokens that are still free, the most similar pair is aligned, again and again, until the shorter side is used
    up: ``min(n, m)`` pairs, each token in one at most. The tokens left over on the longer side are not trained, which
    transport does not allow itself. The alignment is a constant of the gradient. An early pair may take a token that
    several later ones need: :func:`optical.training.losses.assignment.assignment` has the best pairs. Between 0 and 2;
    0 for equal sets in any order. Pairs of exactly one similarity are taken in the order of the tokens.

    Args:
        x: Student tokens of the X sentences, ``(b, n, d)``; need not be unit vectors.
        y: Teacher tokens of the English sentences, ``(b, m, d)``.

    Raises:
        ValueError: What :func:`optical.training.losses.checks.tokens` refuses.

    Reference: Li et al., "Learning cross-lingual IR from an English retriever", NAACL 2022. Their public code aligns so
    and takes a squared or absolute distance of the aligned vectors; of unit vectors the squared one is twice ours.
    """
    x, y = checks.tokens(x, y)
    C = cosine_cost(x.vectors, y.vectors)  # (b, n, m)
    chosen = _align(C.detach(), x.mask[:, :, None] & y.mask[:, None, :])
    return ((C * chosen).sum((1, 2)) / chosen.sum((1, 2))).mean()


def _align(C: Float[Tensor, "b n m"], free: Bool[Tensor, "b n m"]) -> Bool[Tensor, "b n m"]:
    """Which pairs are aligned; all sentences take their next pair at once."""
    b, n, m = C.shape
    left = C.masked_fill(~free, torch.inf)
    chosen = torch.zeros_like(free)
    rows, columns = torch.arange(n, device=C.device), torch.arange(m, device=C.device)
    for _ in range(min(n, m)):
        cost, pair = left.flatten(1).min(-1)  # (b,)
        at_row = rows == (pair // m)[:, None]  # (b, n)
        at_column = columns == (pair % m)[:, None]  # (b, m)
        chosen |= at_row[:, :, None] & at_column[:, None, :] & cost.isfinite()[:, None, None]
        left = left.masked_fill(at_row[:, :, None] | at_column[:, None, :], torch.inf)
    return chosen
