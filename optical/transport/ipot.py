"""Proximal-point transport (IPOT): each step starts from the plan of the step before, and the last are nearly exact.

Clones of OPTICAL train with it; it is here so that the two solvers can be compared.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from optical.transport.plan import Plan, check_problem, logsumexp, marginal_error, reduced_costs


def ipot(
    C: Float[Tensor, "b n m"],
    a: Float[Tensor, "b n"],
    b: Float[Tensor, "b m"],
    beta: float = 1.0,
    *,
    inner: int = 1,
    max_steps: int = 100,
) -> Plan:
    """Iterate ``P <- argmin <P, C> + beta KL(P || P of before)``, row sums a and column sums b, from ``P = a b'``.

    After T steps the plan has the form ``diag exp(-T C / beta) diag``: with many inner iterations it is Sinkhorn's at
    ``epsilon = beta / T``, with few it is near it. So T decides how sharp the plan is, and nothing stops early. It is
    Algorithm 1 of Xie et al. (UAI 2019) in the log domain, where neither a small beta nor a long run underflows and
    zero masses give no NaN. Their scaling b, kept between steps, is here the straight line through the last two column
    potentials. They start from ``P = 1 1'`` and ``b = 1 / m``, which is the same where masses are uniform.

    Args:
        C: Costs, finite. Half precision is cast up to float32; float64 stays.
        a: Row masses, >= 0. Zero means padding.
        b: Column masses, >= 0, with the same total as a in each row. Both all zero: the plan is zero.
        beta: Size of a proximal step, > 0, in units of the cost. Public clones of OPTICAL take .5 and 2.
        inner: Sinkhorn iterations of a step, >= 1 (their L).
        max_steps: Proximal steps, >= 1 (their T).

    Returns:
        The plan, detached; ``error`` is the marginal error, ``steps`` is ``inner * max_steps`` for every problem.

    Raises:
        ValueError: Shapes that do not fit; masses that are negative, not finite, or differ in their totals; a beta,
            inner or max_steps that is not positive.
    """
    for name, value, remedy in (("beta", beta, 1.0), ("inner", inner, 1), ("max_steps", max_steps, 100)):
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"{name} must be one positive number, and finite; received {value!r}; try {remedy}")
    C, a, b = (t.detach().to(torch.promote_types(C.dtype, torch.float32)) for t in (C, a, b))
    check_problem(C, a, b)
    R, g = reduced_costs(C, a[:, None, :], b[:, None, :], torch.zeros_like(b)[:, None, :])  # (b, n, m), (b, 1, m)
    log_a, log_b = a.log()[:, :, None], b.log()[:, None, :]  # -inf on padding, and stays so through every update
    K, u = -R / beta, torch.zeros_like(log_a)
    v, before = torch.zeros_like(g), g / beta
    for t in range(1, max_steps + 1):
        v, before = 2 * v - before, v
        for _ in range(inner):
            u = -logsumexp(t * K + (v + log_b), -1)
            v = -logsumexp(t * K + (u + log_a), -2)
    P = torch.exp(max_steps * K + (u + log_a) + (v + log_b))
    steps = torch.full((len(C),), inner * max_steps, device=C.device)
    return Plan(P, marginal_error(P, a, b), steps)
