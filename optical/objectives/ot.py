"""The transport objective: put every token of X where its English counterpart is (OPTICAL, WSDM 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from optical.tokens import Tokens
from optical.transport.cost import cosine_cost, uniform_mass
from optical.transport.sinkhorn import sinkhorn


class Transport(NamedTuple):
    """The value of the objective, and how far its plans can be trusted.

    Attributes:
        loss: Scalar with gradient, between 0 and 2.
        error: Mean marginal error of the plans of the batch, a scalar.
        steps: Mean number of solver iterations, a scalar.
    """

    loss: Float[Tensor, ""]
    error: Float[Tensor, ""]
    steps: Float[Tensor, ""]


def ot(
    x: Tokens,
    y: Tokens,
    epsilon: float | Sequence[float] = 0.05,
    *,
    tolerance: float = 1e-2,
    max_steps: int = 100,
) -> Transport:
    """Mean over the batch of ``<P, C>``, with P the Sinkhorn plan of ``C_ij = 1 - cos(x_i, y_j)`` under uniform masses.

    The number returned is the transport cost of the plan, not the regularised value. P is a constant of the gradient,
    so the gradient is that of ``OT_epsilon`` (Danskin), not of ``<P*(C), C>``: the plan says which tokens belong
    together, the gradient pulls them together. It flows into both x and y; a teacher's y should carry none.

    Args:
        x: Student tokens of the X sentences, ``(b, n, d)``; need not be unit vectors.
        y: Teacher tokens of the English sentences, ``(b, m, d)``.
        epsilon: Entropy, in units of the cost; at 0.1 the plan is near the product coupling, 0.02 near the exact one.
        tolerance: Marginal error at which a plan is good enough. A training signal needs no more than 1e-2.
        max_steps: Most Sinkhorn iterations for each epsilon.

    A sentence without real tokens contributes 0. Reference: Huang, Yu and Allan, "Improving cross-lingual information
    retrieval on low-resource languages via optimal transport distillation", WSDM 2023.
    """
    C = cosine_cost(x.vectors, y.vectors)  # (b, n, m)
    both = x.mask.any(-1, keepdim=True) & y.mask.any(-1, keepdim=True)  # (b, 1)
    a, b = uniform_mass(x.mask & both, C.dtype), uniform_mass(y.mask & both, C.dtype)
    plan = sinkhorn(C, a, b, epsilon, tolerance=tolerance, max_steps=max_steps)
    loss = (plan.coupling * C).sum(dim=(1, 2)).mean()
    return Transport(loss, plan.error.mean(), plan.steps.to(C.dtype).mean())
