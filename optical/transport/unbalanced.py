"""Unbalanced transport: mass may stay where it is, at a price, so that words without a counterpart can stay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from optical.transport.plan import Plan, Stop, check_masses, checked_schedule, checked_stop, logsumexp

CHECK_EVERY = 10  # iterations between two looks at the error


def unbalanced(
    C: Float[Tensor, "b n m"],
    a: Float[Tensor, "b n"],
    b: Float[Tensor, "b m"],
    epsilon: float | Sequence[float] = 0.05,
    slack: float = 0.5,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 200,
) -> Plan:
    """Solve ``min <P, C> + epsilon KL(P || a b') + slack (KL(P 1 || a) + KL(P' 1 || b))``, one problem a row.

    ``KL(p || q) = sum p log(p / q) - p + q``. A token whose cheapest counterpart costs much more than ``2 slack`` keeps
    most of its mass. A large slack is balanced transport. The reference of the entropy is ``a b'`` and not the counting
    measure: without marginals to hold it, ``-epsilon H(P)`` alone would create mass. Scaling algorithm of Chizat et al.
    (2018) in the log domain; at every check the constant that can be shifted between the two potentials takes its best
    value (Sejourne et al., 2022), without which a large slack converges slowly.

    Args:
        C: Costs, finite. Half precision is cast up to float32; float64 stays.
        a: Row masses, >= 0. Zero means padding.
        b: Column masses, >= 0; totals may differ.
        epsilon: Strength of the entropy, > 0, in units of the cost; a sequence is a schedule.
        slack: Price of mass that is not moved (rho), > 0, in units of the cost.
        tolerance: A problem stops when its error falls below this.
        max_steps: Most iterations for each epsilon.

    Returns:
        The plan, detached. At the optimum row sums are ``a exp(-f / slack)`` and column sums ``b exp(-g / slack)``,
        with f and g the potentials: ``error`` is by how much the sums miss that, added up, in units of mass; it is the
        marginal error of balanced transport where slack is large. A problem with a side of no mass has a plan of zeros
        and an error of 0.

    Raises:
        ValueError: Shapes that do not fit; masses that are negative or not finite; an epsilon or a slack that is not
            positive and finite; fewer than one step.
    """
    schedule, stop = checked_schedule(epsilon), checked_stop(tolerance, max_steps, CHECK_EVERY)
    if not 0 < slack < math.inf:
        raise ValueError(f"slack must be positive and finite, in units of the cost; received {slack}; try 0.5")
    C, a, b = (t.detach().to(torch.promote_types(C.dtype, torch.float32)) for t in (C, a, b))
    check_masses(C, a, b)
    log_a, log_b = a.log()[:, :, None], b.log()[:, None, :]  # (b, n, 1), (b, 1, m); -inf on padding
    g = torch.zeros_like(log_b)
    steps = torch.zeros(len(C), dtype=torch.int64, device=C.device)
    u, v = torch.zeros_like(log_a), g
    for value in schedule:
        u, v, taken = _solve(-C / value, log_a, log_b, g / value, value / slack, stop)
        g, steps = value * v, steps + taken
    epsilon = schedule[-1]
    P = torch.exp(-C / epsilon + (u + log_a) + (v + log_b))
    rows = (P.sum(-1) - torch.exp(log_a - epsilon / slack * u)[:, :, 0]).abs().sum(-1)
    columns = (P.sum(-2) - torch.exp(log_b - epsilon / slack * v)[:, 0]).abs().sum(-1)
    both = (a > 0).any(-1) & (b > 0).any(-1)
    return Plan(P, torch.where(both, rows + columns, 0.0), steps)


def _solve(
    K: Tensor, log_a: Tensor, log_b: Tensor, v: Tensor, ratio: float, stop: Stop
) -> tuple[Tensor, Tensor, Tensor]:
    """Potentials over epsilon, and iterations; ``ratio`` is epsilon / slack. A problem leaves when it has converged."""
    u, v = torch.zeros_like(log_a), v.clone()
    steps = torch.zeros(len(K), dtype=torch.int64, device=K.device)
    active, done = torch.arange(len(K), device=K.device), 0
    while done < stop.max_steps and len(active):
        k, la, lb, uk, vk = K[active], log_a[active], log_b[active], u[active], v[active]
        if done:
            vk = vk - _shift(uk, vk, la, lb, ratio)
        count = min(stop.check_every, stop.max_steps - done)
        for _ in range(count):
            uk = -logsumexp(k + (vk + lb), -1) / (1 + ratio)
            vk = -logsumexp(k + (uk + la), -2) / (1 + ratio)
        done += count
        u[active], v[active], steps[active] = uk, vk, done
        row = torch.exp(la + uk + logsumexp(k + (vk + lb), -1)) - torch.exp(la - ratio * uk)
        live = lb.isfinite().any((1, 2)) & la.isfinite().any((1, 2))
        active = active[live & (row.abs().sum((1, 2)) > stop.tolerance)]
    return u, v, steps


def _shift(u: Tensor, v: Tensor, log_a: Tensor, log_b: Tensor, ratio: float) -> Tensor:
    """The constant that raises the dual most when u gains and v loses it, ``(k, 1, 1)``."""
    left = torch.logsumexp(log_a - ratio * u, 1, keepdim=True)
    right = torch.logsumexp(log_b - ratio * v, 2, keepdim=True)
    return (left - right) / (2 * ratio)
