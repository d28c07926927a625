"""The loss under the uniform plan, every token of X to every English token: what transport has to beat (ablation)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from optical.models.tokens import Tokens, pool, unit
from optical.training.losses import checks


def product(x: Tokens, y: Tokens) -> Float[Tensor, ""]:
    """Mean over the batch of ``<a b', C>``, the cost ``C_ij = 1 - cos(x_i, y_j)`` under the uniform plan.

    With uniform masses it has a closed form, ``1 - mean_i(x_i) . mean_j(y_j)`` of unit vectors, and no plan is needed:
    it draws all tokens of a sentence to one centre and cannot tell which belongs to which. It is the limit of
    :func:`optical.training.losses.ot.ot` for a large epsilon. Between 0 and 2; 0 only where all tokens of both sides
    are one vector, so two equal sets of different tokens do not cost 0. Differentiable in both arguments.

    Args:
        x: Student tokens of the X sentences, ``(b, n, d)``; need not be unit vectors.
        y: Teacher tokens of the English sentences, ``(b, m, d)``.

    Raises:
        ValueError: What :func:`optical.training.losses.checks.tokens` refuses.
    """
    x, y = checks.tokens(x, y)
    return 1.0 - (pool(unit(x)) * pool(unit(y))).sum(-1).mean()
