"""Batched, masked Sinkhorn: many small transport problems at once.

The iterations carry no gradient: a plan is a constant for the objective, whose gradient in the cost is then the
envelope (Danskin) gradient of the regularised optimum.

The iterations run on the kernel ``K = exp(-C / epsilon)``: two batched products and two divisions, no exponential. A
problem whose scalings grow wide is centred: its potentials are taken out of C, so that every row and column of K has
a 1. One that still overflows is solved in the log domain, without the others. At every check each problem also jumps
ahead along its slowest mode (Aitken); a jump that raised the error is taken back. ``python -m benchmarks solver``
measures the times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from optical.transport.plan import (
    Plan,
    Stop,
    check_problem,
    checked_schedule,
    checked_stop,
    logsumexp,
    marginal_error,
    reduced_costs,
)

NEGLIGIBLE = 1e-12  # mass by which an entry of P may be wrong because its kernel is below the smallest number
FARTHEST = 0.98  # largest ratio of successive changes believed: a jump goes at most 49 iterations ahead
WIDEST = 10.0  # largest change of a log scaling in one jump; keeps a wrong jump from overflowing


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

    Sinkhorn's alternate scaling (Cuturi 2013, algorithm 1) on a stabilised kernel (Schmitzer 2019, section 3.1), with
    Aitken extrapolation; in the log domain (Peyre & Cuturi 2019, section 4.4) where the kernel overflows. Rows and
    columns of zero mass take no part, so a padded problem has the plan of the unpadded one, and no problem changes the
    plan of another. After the last step a plan meets its column sums to rounding; what is left of the row sums is
    ``Plan.error``. Not converging is data, not an exception.

    Args:
        C: Costs, finite. Half precision is cast up to float32; float64 stays.
        a: Row masses, >= 0, on the device of C. Zero means padding.
        b: Column masses, >= 0, with the same total as a in each row (checked to 1e-3). Both all zero: the plan is zero.
        epsilon: Strength of the entropy, > 0, in units of the cost. A sequence is a schedule: the problem is solved at
            each value in turn, from the potentials of the one before; the last one decides the plan (annealing).
        tolerance: A problem stops when its marginal error falls below this. Each stage of a schedule stops by it.
        max_steps: Most iterations per stage, >= 1.
        check_every: Iterations between two looks at the error, >= 1.

    Returns:
        The plan, detached.

    Raises:
        ValueError: Shapes that do not fit; masses that are negative, not finite, or differ in their totals; an epsilon
            that is not positive and finite; fewer than one step.
    """
    P, _, steps, a, b = _scheduled(C, a, b, epsilon, checked_stop(tolerance, max_steps, check_every))
    return Plan(P, marginal_error(P, a, b), steps)


def column_potentials(
    C: Float[Tensor, "b n m"],
    a: Float[Tensor, "b n"],
    b: Float[Tensor, "b m"],
    epsilon: float | Sequence[float] = 0.05,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 200,
) -> Float[Tensor, "b m"]:
    r"""Dual potentials g of the columns: the plan is ``a_i b_j exp((f_i + g_j - C_ij) / epsilon)``.

    They are in units of the cost. Those of the rows follow, of rows that were not in the problem too, by the soft
    c-transform :math:`f_i = -\epsilon \log \sum_j b_j \exp((g_j - C_{ij}) / \epsilon)` (Peyre & Cuturi
    2019, section 4.4).

    Args:
        C: As for :func:`sinkhorn`.
        a: As for :func:`sinkhorn`.
        b: As for :func:`sinkhorn`.
        epsilon: As for :func:`sinkhorn`.
        tolerance: As for :func:`sinkhorn`.
        max_steps: As for :func:`sinkhorn`.

    Returns:
        Potentials, detached, up to one constant a problem; of no meaning where b is 0.

    Raises:
        ValueError: As :func:`sinkhorn`.
    """
    return _scheduled(C, a, b, epsilon, checked_stop(tolerance, max_steps, 10))[1][:, 0]


def _scheduled(
    C: Tensor, a: Tensor, b: Tensor, epsilon: float | Sequence[float], stop: Stop
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Plans, column potentials and iterations of checked problems, one epsilon after the other; the masses as cast."""
    schedule = checked_schedule(epsilon)
    dtype = torch.promote_types(C.dtype, torch.float32)
    C, a, b = (t.detach().to(dtype) for t in (C, a, b))
    check_problem(C, a, b)
    P, g = C, None
    steps = torch.zeros(len(C), dtype=torch.int64, device=C.device)
    with torch.autocast(C.device.type, enabled=False):  # its products would be in half precision
        for value in schedule:
            P, g, taken = _solve(C, a[:, None, :], b[:, None, :], g, value, stop)
            steps += taken
    return P, g, steps, a, b  # pyright: ignore[reportReturnType] - a schedule is not empty


class _Live(NamedTuple):
    """The problems still being solved, each with a plan ``diag(z) K diag(w)``; the masses are in z and w."""

    place: Int[Tensor, " k"]  # in the batch
    a: Float[Tensor, "k 1 n"]
    b: Float[Tensor, "k 1 m"]
    K: Float[Tensor, "k n m"]
    z: Float[Tensor, "k 1 n"]
    w: Float[Tensor, "k 1 m"]
    error: Float[Tensor, " k"]  # infinite where it is not known

    def keep(self, chosen: Tensor) -> _Live:
        """The problems where ``chosen``, (k,), is True."""
        rows = chosen.nonzero()[:, 0]
        return _Live(*(t.index_select(0, rows) for t in self))

    def narrow(self) -> Tensor:
        """Where the floor of K adds a negligible mass to P, (k,); False too where a scaling overflowed."""
        span = self.z.amax((1, 2)) * self.w.amax((1, 2))
        return span <= NEGLIGIBLE / torch.finfo(span.dtype).tiny


def _solve(
    C: Tensor, a: Tensor, b: Tensor, g: Tensor | None, epsilon: float, stop: Stop
) -> tuple[Tensor, Tensor, Tensor]:
    """Plans, column potentials and iterations at one epsilon. A problem leaves when it ends; no other waits for it."""
    K, g = _kernel(C, a, b, g, epsilon)
    Z, W = torch.zeros_like(a), torch.zeros_like(b)
    live = _Live(torch.arange(len(C), device=C.device), a, b, K, a, b, torch.full_like(a[:, 0, 0], torch.inf))
    steps = torch.full_like(live.place, min(stop.check_every, stop.max_steps))  # of a problem without mass
    two_sided = ((a > 0).any(-1) & (b > 0).any(-1))[:, 0]
    if not two_sided.all():
        live = live.keep(two_sided)
    start, done, hopeless = live.w, 0, []
    while done < stop.max_steps and len(live.place):
        count = min(stop.check_every, stop.max_steps - done)
        now, old, older = _iterate(live, start, count)
        done += count
        fine = (now.error <= live.error) & now.narrow()
        gone = fine & (now.error <= stop.tolerance)
        n_fine, n_gone = torch.stack((fine.sum(), gone.sum())).tolist()  # the only wait for the device
        start = now.w
        if n_fine < len(fine):
            now, g, lost = _mend(live, now, C, g, epsilon)
            K = K.index_copy(0, now.place, now.K)
            hopeless.append(now.place[lost])
            gone = gone | lost
            n_gone = int(gone.sum())
        if n_gone or done >= stop.max_steps:  # what goes on is written too, and again when it ends
            Z, W = Z.index_copy(0, now.place, now.z), W.index_copy(0, now.place, now.w)
            steps = steps.index_fill(0, now.place, done)
        if n_gone == len(gone):
            break
        start = torch.where(fine[:, None, None], start * _jump(start, old, older, now.b), now.w)
        live = now
        if n_gone:
            live, start = now.keep(~gone), start[~gone]
    P, g = Z.mT * K * W, g + epsilon * _log_ratio(W, b)
    if hopeless and len(rows := torch.cat(hopeless)):
        P[rows], g[rows], steps[rows] = _log_domain(C[rows], a[rows], b[rows], epsilon, stop)
    return P, g, steps


def _iterate(live: _Live, w: Tensor, count: int) -> tuple[_Live, Tensor, Tensor]:
    """The problems after some iterations from the scaling w, and their scalings one and two iterations earlier."""
    K, a, b = live.K, live.a, live.b
    s, z, old, older = torch.bmm(w, K.mT), a, w, w
    for _ in range(count):
        older, old = old, w
        z = a / s
        w = b / torch.bmm(z, K)
        s = torch.bmm(w, K.mT)  # for the next division, and for the error
    return live._replace(z=z, w=w, error=(z * s - a).abs().sum((1, 2))), old, older


def _jump(w: Tensor, old: Tensor, older: Tensor, b: Tensor) -> Tensor:
    """Aitken's extrapolation of three iterates: changes that shrink by r each time still add up to r / (1 - r) more."""
    change, before = _log_ratio(w, old), _log_ratio(old, older)
    weighted = b * before
    r = (weighted * change).sum(-1) / ((weighted * before).sum(-1) + torch.finfo(b.dtype).tiny)
    r = r.clamp(0, FARTHEST)[:, :, None]
    return (r / (1 - r) * change).clamp(-WIDEST, WIDEST).exp()


def _mend(live: _Live, now: _Live, C: Tensor, g: Tensor, epsilon: float) -> tuple[_Live, Tensor, Tensor]:
    """Take back the jumps that raised the error, centre the kernels of wide problems; tell which still overflow.

    A problem that goes back does without a jump once, and its next error is accepted whatever it is: at a small epsilon
    the error may rest for long while the potentials move. Centring takes the potentials of the plan out of the cost,
    and leaves the plan as it was.
    """
    back = (~(now.error <= live.error) & live.error.isfinite())[:, None, None]
    now = now._replace(
        z=torch.where(back, live.z, now.z),
        w=torch.where(back, live.w, now.w),
        error=torch.where(back[:, 0, 0], torch.inf, now.error),
    )
    lost = ~now.narrow()
    rows = lost.nonzero()[:, 0]
    if len(rows):
        wide = now.keep(lost)
        old = g[wide.place]
        new = old + epsilon * _log_ratio(wide.w, wide.b)
        overflowed = ~new.isfinite().all(-1, keepdim=True)
        new = torch.where(overflowed, old, new)
        K, centred = _kernel(C[wide.place], wide.a, wide.b, new, epsilon)
        w = wide.b * ((new - centred) / epsilon).exp()
        z = wide.a / torch.bmm(w, K.mT)
        wide = wide._replace(K=K, z=z, w=w, error=torch.full_like(wide.error, torch.inf))
        g = g.index_copy(0, wide.place, centred)
        now = _Live(*(t.index_copy(0, rows, part) for t, part in zip(now, wide, strict=True)))
        lost = lost.index_copy(0, rows, overflowed[:, 0, 0] | ~wide.narrow())
    return now, g, lost


def _kernel(C: Tensor, a: Tensor, b: Tensor, g: Tensor | None, epsilon: float) -> tuple[Tensor, Tensor]:
    """Kernel of the reduced costs and their column potentials; a 1 in each row and column, padding too, none above.

    Without potentials to start from, only the least cost of each problem is taken out: c-transforms cost as much as ten
    iterations, and few problems need them. Entries have a floor, the smallest normal number, so that no product is 0.
    ``exp2`` is twice as fast as ``exp``.
    """
    if g is None:
        away = (torch.where(mass > 0, 0.0, torch.inf) for mass in (a.mT, b))
        least = sum(away, C).amin((1, 2), keepdim=True)
        R, g = C - torch.where(least.isinf(), 0.0, least), torch.zeros_like(b)
    else:
        R, g = reduced_costs(C, a, b, g)
    floor = math.log2(torch.finfo(C.dtype).tiny)
    return R.mul_(-math.log2(math.e) / epsilon).clamp_(floor, 0).exp2_(), g


def _log_domain(C: Tensor, a: Tensor, b: Tensor, epsilon: float, stop: Stop) -> tuple[Tensor, Tensor, Tensor]:
    """The same as ``_solve``, in the log domain: slow, but nothing overflows."""
    R, g = reduced_costs(C, a, b, torch.zeros_like(b))
    K, log_a, log_b = -R / epsilon, a.mT.log(), b.log()  # a zero mass is -inf, and stays -inf through every update
    u, v = torch.zeros_like(log_a), torch.zeros_like(log_b)
    steps = torch.zeros(len(C), dtype=torch.int64, device=C.device)
    active, done = torch.arange(len(C), device=C.device), 0
    while done < stop.max_steps and len(active):
        k, la, lb, uk, vk = (t[active] for t in (K, log_a, log_b, u, v))
        count = min(stop.check_every, stop.max_steps - done)
        for _ in range(count):
            uk = -logsumexp(k + (vk + lb), -1)
            vk = -logsumexp(k + (uk + la), -2)
        done += count
        u[active], v[active], steps[active] = uk, vk, done
        row = torch.exp(la + uk + logsumexp(k + (vk + lb), -1))
        active = active[(row - a.mT[active]).abs().sum((1, 2)) > stop.tolerance]
    return torch.exp(K + (u + log_a) + (v + log_b)), g + epsilon * v, steps


def _log_ratio(x: Tensor, y: Tensor) -> Tensor:
    """``log(x / y)``, and 0 where y is 0, as it is on padding."""
    return torch.where(y > 0, x / y, 1.0).log()
