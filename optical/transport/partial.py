"""Partial transport: only the cheapest share of the mass moves, so that words without a counterpart can stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from optical.transport.plan import Plan, check_masses, checked_schedule
from optical.transport.sinkhorn import sinkhorn

APART = 40.0  # epsilons that moving mass from dummy to dummy costs: exp(-40) is nothing


def partial(
    C: Float[Tensor, "b n m"],
    a: Float[Tensor, "b n"],
    b: Float[Tensor, "b m"],
    epsilon: float | Sequence[float] = 0.05,
    share: float = 0.8,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 200,
) -> Plan:
    """Solve ``min <P, C>`` with row sums at most a, column sums at most b and ``share`` of the mass moved, smoothed.

    A dummy row and a dummy column that cost nothing take what is not moved, and the problem is a balanced one for
    :func:`~optical.transport.sinkhorn.sinkhorn` (Chapel, Alaya and Gasso, NeurIPS 2020). The entropy is
    that of the balanced problem, ``-epsilon (H(P) + H(a - P 1) + H(b - P' 1))``: what stays is smoothed too, unlike in
    the entropic problem of Benamou et al. (2015), which POT solves. Both become partial transport as epsilon falls.

    Args:
        C: Costs, finite. Half precision is cast up to float32; float64 stays.
        a: Row masses, >= 0. Zero means padding.
        b: Column masses, >= 0; totals may differ.
        epsilon: Strength of the entropy, > 0, in units of the cost; a sequence is a schedule.
        share: Mass moved, of the lesser of the two totals, above 0 and at most 1; 1 with equal totals is balanced.
        tolerance: A problem stops when the marginal error of the balanced problem falls below this.
        max_steps: Most iterations for each epsilon.

    Returns:
        The plan without the dummies, detached. ``error`` and ``steps`` are those of the balanced problem.

    Raises:
        ValueError: Shapes that do not fit; masses that are negative or not finite; an epsilon that is not positive and
            finite; a share outside its range; fewer than one step.
    """
    schedule = checked_schedule(epsilon)
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, of the mass; received {share}; try 0.8")
    C, a, b = (t.detach().to(torch.promote_types(C.dtype, torch.float32)) for t in (C, a, b))
    check_masses(C, a, b)
    total_a, total_b = a.sum(-1, keepdim=True), b.sum(-1, keepdim=True)  # (b, 1)
    moved = share * torch.minimum(total_a, total_b)
    wide_a = torch.cat((a, (total_b - moved).clamp(min=0.0)), 1)  # (b, n + 1)
    wide_b = torch.cat((b, (total_a - moved).clamp(min=0.0)), 1)
    least = C.amin((1, 2)).clamp(max=0.0)  # padding may hold less, which does no harm
    wide = torch.nn.functional.pad(C, (0, 1, 0, 1))  # (b, n + 1, m + 1)
    wide[:, -1, -1] = APART * max(schedule) - least
    plan = sinkhorn(wide, wide_a, wide_b, schedule, tolerance=tolerance, max_steps=max_steps)
    return Plan(plan.coupling[:, :-1, :-1], plan.error, plan.steps)
