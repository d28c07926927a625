"""The transport plan that every solver returns, and what the solvers share: their checks and their log-domain steps."""

from __future__ import annotations

import math
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


class Stop(NamedTuple):
    """When an iteration ends.

    Attributes:
        tolerance: Error below which a problem is done.
        max_steps: Most iterations, >= 1.
        check_every: Iterations between two looks at the error, >= 1.
    """

    tolerance: float
    max_steps: int
    check_every: int


def check_problem(C: Tensor, a: Tensor, b: Tensor) -> None:
    """Refuse costs and masses that have no balanced plan.

    Raises:
        ValueError: See :func:`check_masses`; or two sides whose total masses differ by more than 1e-3.
    """
    check_masses(C, a, b)
    gap = (a.sum(-1) - b.sum(-1)).abs()
    if len(gap) and gap.max() > 1e-3:
        row = int(gap.argmax())
        raise ValueError(
            f"a balanced plan needs equal total masses; problem {row} has {a[row].sum():.4f} against "
            f"{b[row].sum():.4f}; normalise both, and give an empty side an empty partner"
        )


def check_masses(C: Tensor, a: Tensor, b: Tensor) -> None:
    """Refuse masses that do not have the shapes that the costs ask for, or are no masses.

    Raises:
        ValueError: Shapes that do not fit; a mass that is negative, NaN or infinite.
    """
    if C.ndim != 3 or a.shape != C.shape[:2] or b.shape != (C.shape[0], C.shape[2]):
        raise ValueError(
            f"costs (b, n, m) need masses (b, n) and (b, m); received C {tuple(C.shape)}, a {tuple(a.shape)}, "
            f"b {tuple(b.shape)}; give one row of masses for each problem"
        )
    both = torch.cat((a, b), -1)
    wrong = ~((both >= 0) & both.isfinite())  # NaN is not >= 0
    if wrong.any():
        row, place = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"masses must be finite and not negative; received {both[row, place]:.4g} in problem {row}; give each "
            "token its share, and 0 to padding"
        )


def checked_schedule(epsilon: float | Sequence[float]) -> tuple[float, ...]:
    """The values of epsilon in turn, one or several.

    Raises:
        ValueError: None at all, or one that is not positive and finite.
    """
    schedule = tuple(epsilon) if isinstance(epsilon, Sequence) else (epsilon,)
    if not schedule or not all(0 < value < math.inf for value in schedule):
        raise ValueError(f"epsilon must be positive and finite, in units of the cost; received {epsilon!r}; try 0.05")
    return schedule


def checked_stop(tolerance: float, max_steps: int, check_every: int) -> Stop:
    """When to end, checked.

    Raises:
        ValueError: A tolerance that is negative or NaN; fewer than one step, in all or between two looks.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, in units of mass; received {tolerance!r}; try 1e-3")
    for name, value, usual in (("max_steps", max_steps, 200), ("check_every", check_every, 10)):
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1; received {value!r}; try {usual}")
    return Stop(tolerance, max_steps, check_every)


def marginal_error(P: Float[Tensor, "b n m"], a: Float[Tensor, "b n"], b: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
    """``sum_i |P 1 - a|_i + sum_j |P' 1 - b|_j`` of each problem."""
    return (P.sum(-1) - a).abs().sum(-1) + (P.sum(-2) - b).abs().sum(-1)


def reduced_costs(C: Tensor, a: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Costs less row and column potentials (hard c-transforms), with their column potentials.

    Nothing is negative among real tokens, and each real row and column has a 0. No mask is needed, which is slow.
    """
    f = (C - torch.where(b > 0, g, -torch.inf)).amin(-1, keepdim=True)  # (b, n, 1)
    R = C - torch.where(f.isinf(), 0.0, f)
    g = (R + torch.where(a > 0, 0.0, torch.inf).mT).amin(-2, keepdim=True)  # (b, 1, m)
    g = torch.where(g.isinf(), 0.0, g)
    return R.sub_(g), g


def logsumexp(z: Tensor, dim: int) -> Tensor:
    """``log sum exp`` where a slice of only ``-inf`` (nothing to move) gives 0, so that potentials stay finite."""
    value = torch.logsumexp(z, dim, keepdim=True)
    return torch.where(torch.isfinite(value), value, 0.0)
