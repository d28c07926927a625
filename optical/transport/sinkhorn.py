"""Batched, masked, log-domain Sinkhorn: many small transport problems at once.

Takes costs ``(b, n, m)`` and masses, gives a :class:`Plan`. Knows tensors only. The iterations carry no gradient: a
plan is a constant for the objective, whose gradient in the cost is then the envelope (Danskin) gradient of the
regularised optimum (DESIGN: "The mathematics").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Plan(NamedTuple):
    """A transport plan and how far it can be trusted.

    Attributes:
        coupling: ``P``, ``(b, n, m)``; exactly 0 in the rows and columns of zero mass. Carries no gradient.
        error: Marginal error of each problem, ``sum_i |P 1 - a|_i + sum_j |P' 1 - b|_j``, ``(b,)``. A balanced problem
            of total mass 1 has an error between 0 and 2.
        steps: Iterations each problem took, ``(b,)``.
    """

    coupling: Float[Tensor, "b n m"]
    error: Float[Tensor, " b"]
    steps: Int[Tensor, " b"]


def sinkhorn(
    C: Float[Tensor, "b n m"],
    a: Float[Tensor, "b n"],
    b: Float[Tensor, "b m"],
    epsilon: float | Sequence[float] = 0.05,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 200,
    check_every: int = 10,
) -> Plan:
    """Solve ``P = argmin <P, C> - epsilon H(P)`` over plans with row sums a and column sums b, one problem a row.

    Sinkhorn's alternate scaling (Cuturi 2013, algorithm 1) in the log domain (Peyre & Cuturi 2019, section 4.4), so
    that a small epsilon cannot underflow. Rows and columns of zero mass take no part, so a padded problem has the plan
    of the unpadded one. After the last step the plan meets the column sums to rounding; what is left of the row sums is
    ``Plan.error``. Not converging is data, not an exception.

    Args:
        C: Costs, finite. Half precision is cast up to float32 at this door; float64 stays.
        a: Row masses, >= 0, on the device of C. Zero means padding.
        b: Column masses, >= 0, with the same total as a in each row (checked to 1e-3). Both all zero: the plan is zero.
        epsilon: Strength of the entropy, > 0, in units of the cost. A sequence is a schedule: the problem is solved at
            each value in turn, from the potentials of the one before; the last one decides the plan (annealing).
        tolerance: A problem stops when its marginal error falls below this. Each stage of a schedule stops by it.
        max_steps: Most iterations per stage.
        check_every: Iterations between two looks at the error.

    Returns:
        The plan, detached.

    Raises:
        ValueError: Shapes that do not fit, an epsilon that is not positive, masses whose totals differ.
    """
    schedule = _checked_schedule(epsilon)
    dtype = torch.promote_types(C.dtype, torch.float32)
    C, a, b = (t.detach().to(dtype) for t in (C, a, b))
    _check_problem(C, a, b)
    log_a, log_b = a.log(), b.log()  # zero mass is -inf, and stays -inf through every update
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    steps = torch.zeros(len(C), dtype=torch.int64, device=C.device)
    for value in schedule:
        f, g, taken = _solve(C, log_a, log_b, a, f, g, value, tolerance, max_steps, check_every)
        steps += taken
    P = _coupling(C, f, g, log_a, log_b, schedule[-1])
    error = (P.sum(-1) - a).abs().sum(-1) + (P.sum(-2) - b).abs().sum(-1)
    return Plan(P, error, steps)


def _solve(C, log_a, log_b, a, f, g, epsilon, tolerance, max_steps, check_every):
    """Iterate one epsilon to its tolerance; finished problems leave the batch, so a hard one costs only itself."""
    f, g = f.clone(), g.clone()
    steps = torch.zeros(len(C), dtype=torch.int64, device=C.device)
    active = torch.arange(len(C), device=C.device)
    K, la, lb, mass, fa, ga = -C / epsilon, log_a, log_b, a, f / epsilon, g / epsilon
    done = 0
    while done < max_steps and len(active):
        count = min(check_every, max_steps - done)
        for _ in range(count):
            fa = -_logsumexp(K + (ga + lb)[:, None, :], -1)
            ga = -_logsumexp(K + (fa + la)[:, :, None], -2)
        done += count
        f[active], g[active], steps[active] = fa * epsilon, ga * epsilon, done
        row = torch.exp(la + fa + _logsumexp(K + (ga + lb)[:, None, :], -1))
        going = (row - mass).abs().sum(-1) > tolerance
        if not going.all():
            active = active[going]
            K, la, lb, mass, fa, ga = (t[going] for t in (K, la, lb, mass, fa, ga))
    return f, g, steps


def _logsumexp(z: Tensor, dim: int) -> Tensor:
    """``log sum exp`` where a slice of only ``-inf`` (nothing to move) gives 0, so that potentials stay finite."""
    value = torch.logsumexp(z, dim)
    return torch.where(torch.isfinite(value), value, 0.0)


def _coupling(C, f, g, log_a, log_b, epsilon):
    return torch.exp((f[:, :, None] + g[:, None, :] - C) / epsilon + log_a[:, :, None] + log_b[:, None, :])


def _checked_schedule(epsilon: float | Sequence[float]) -> tuple[float, ...]:
    schedule = tuple(epsilon) if isinstance(epsilon, Sequence) else (epsilon,)
    if not schedule or min(schedule) <= 0:
        raise ValueError(f"epsilon must be positive, in units of the cost; received {epsilon!r}; try 0.05")
    return schedule


def _check_problem(C: Tensor, a: Tensor, b: Tensor) -> None:
    if C.ndim != 3 or a.shape != C.shape[:2] or b.shape != (C.shape[0], C.shape[2]):
        raise ValueError(
            f"costs (b, n, m) need masses (b, n) and (b, m); received C {tuple(C.shape)}, a {tuple(a.shape)}, "
            f"b {tuple(b.shape)}; give one row of masses for each problem"
        )
    gap = (a.sum(-1) - b.sum(-1)).abs()
    if len(gap) and gap.max() > 1e-3:
        row = int(gap.argmax())
        raise ValueError(
            f"a balanced plan needs equal total masses; problem {row} has {a[row].sum():.4f} against "
            f"{b[row].sum():.4f}; normalise both, and give an empty side an empty partner"
        )
