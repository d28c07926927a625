"""Exact transport plans, by POT's network simplex.

Cubic, one problem after another, on the CPU: for tests, ablations and pictures, not for training.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from optical.transport.plan import Plan, check_problem, marginal_error


def exact(C: Float[Tensor, "b n m"], a: Float[Tensor, "b n"], b: Float[Tensor, "b m"]) -> Plan:
    """Solve ``P = argmin <P, C>`` with row sums a and column sums b, one problem a row, to machine precision.

    With uniform masses and n = m the plan is an assignment. Zero masses take no part. Arguments and errors are those of
    :func:`optical.transport.sinkhorn.sinkhorn`; ``steps`` is 0, since the simplex does not report its pivots.
    """
    import ot

    C, a, b = (t.detach().to(torch.promote_types(t.dtype, torch.float32)) for t in (C, a, b))
    check_problem(C, a, b)
    P = torch.zeros_like(C)
    for k in range(len(C)):
        rows, columns = a[k] > 0, b[k] > 0
        if not rows.any():
            continue
        mass_a, mass_b = a[k][rows].double().cpu().numpy(), b[k][columns].double().cpu().numpy()
        cost = C[k][rows][:, columns].double().cpu().numpy()
        # The simplex wants totals that agree to the last bit; float32 masses agree to 1e-7.
        solution = ot.emd(mass_a, mass_b * (mass_a.sum() / mass_b.sum()), cost)
        P[k][rows.nonzero(), columns.nonzero().T] = torch.as_tensor(solution, dtype=C.dtype, device=C.device)
    return Plan(P, marginal_error(P, a, b), torch.zeros(len(C), dtype=torch.int64, device=C.device))
