"""The solver against POT and scipy: other people's programs, at their own stopping thresholds."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from optical.transport.exact import exact
from optical.transport.sinkhorn import sinkhorn
from tests.transport.test_sinkhorn import TIGHT, problem


@pytest.mark.parametrize("epsilon", [0.5, 0.1, 0.05])
def test_plans_are_those_of_ot_sinkhorn(epsilon):
    C, a, b = problem()
    P = sinkhorn(C, a, b, epsilon, **TIGHT).coupling
    for k in range(4):
        rows, columns = (a[k] > 0).numpy(), (b[k] > 0).numpy()
        reference = ot.sinkhorn(
            a[k].numpy()[rows], b[k].numpy()[columns], C[k].numpy()[rows][:, columns], epsilon,
            method="sinkhorn_log", numItermax=20_000, stopThr=1e-10,
        )  # fmt: skip
        np.testing.assert_allclose(P[k].numpy()[rows][:, columns], reference, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("epsilon", [0.1, 0.05, 0.02])
def test_float32_plans_are_those_of_pot_in_float64(epsilon):
    C, a, b = (t[:4] for t in problem())  # costs up to 2, so exp(-C / 0.02) is below the smallest float32
    reference = ot.solve_batch(C, epsilon, a, b, max_iter=20_000, tol=1e-10, method="log_sinkhorn", grad="detach").plan
    plan = sinkhorn(C.float(), a.float(), b.float(), epsilon, tolerance=3e-6, max_steps=20_000)
    assert (plan.error <= 4e-6).all()
    torch.testing.assert_close(plan.coupling.double(), reference, rtol=1e-2, atol=1e-5)


def test_plans_are_those_of_pots_batch_solver():
    C, a, b = (t[:4] for t in problem())
    reference = ot.solve_batch(C, 0.1, a, b, max_iter=20_000, tol=1e-10, method="log_sinkhorn", grad="detach").plan
    torch.testing.assert_close(sinkhorn(C, a, b, 0.1, **TIGHT).coupling, reference, rtol=1e-5, atol=1e-9)


def test_a_small_epsilon_comes_close_to_the_exact_cost_from_above():
    C, a, b = (t[:4] for t in problem())
    best = (exact(C, a, b).coupling * C).sum((1, 2))
    cost = (sinkhorn(C, a, b, (0.1, 0.01, 0.002), **TIGHT).coupling * C).sum((1, 2))
    assert (cost >= best - 1e-9).all()
    assert (cost <= 1.02 * best + 1e-6).all()


def test_a_small_epsilon_finds_the_optimal_assignment():
    C = torch.rand(8, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mass = torch.full((8, 20), 1 / 20, dtype=torch.float64)
    P = sinkhorn(C, mass, mass, (0.1, 0.01, 0.001), tolerance=1e-6, max_steps=20_000).coupling
    for k in range(8):
        rows, columns = linear_sum_assignment(C[k].numpy())
        best = C[k].numpy()[rows, columns].mean()
        assert abs(float((P[k] * C[k]).sum()) - best) < 5e-3
