from __future__ import annotations

import pytest
import torch

from optical.transport.cost import uniform_mass
from optical.transport.exact import exact
from optical.transport.ipot import ipot
from optical.transport.sinkhorn import sinkhorn
from tests.transport.test_sinkhorn import problem


def as_printed(C, a, b, plan, scale, beta, inner, steps):
    """Algorithm 1 of the paper, line by line, one problem without zero masses."""
    G = torch.exp(-C / beta)
    for _ in range(steps):
        Q = G * plan
        for _ in range(inner):
            left = a / (Q @ scale)
            scale = b / (Q.T @ left)
        plan = left[:, None] * Q * scale
    return plan


@pytest.mark.parametrize(("beta", "inner", "steps"), [(0.5, 5, 30), (2.0, 1, 100), (1.0, 1, 1)])
def test_plans_are_those_of_the_printed_algorithm(beta, inner, steps):
    C, a, b = problem()
    even = uniform_mass(a > 0, a.dtype), uniform_mass(b > 0, b.dtype)
    weighted, uniform = (ipot(C, *masses, beta, inner=inner, max_steps=steps).coupling for masses in ((a, b), even))
    for k in range(4):
        rows, columns = a[k] > 0, b[k] > 0
        cost, left, right = C[k][rows][:, columns], a[k][rows], b[k][columns]
        ones = torch.ones_like(right)
        expected = as_printed(cost, left, right, left[:, None] * right, ones, beta, inner, steps)
        torch.testing.assert_close(weighted[k][rows][:, columns], expected, rtol=1e-6, atol=1e-12)
        left, right = even[0][k][rows], even[1][k][columns]
        expected = as_printed(cost, left, right, torch.ones_like(cost), right, beta, inner, steps)  # their start
        torch.testing.assert_close(uniform[k][rows][:, columns], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("beta", "steps"), [(0.5, 5), (2.0, 20)])
def test_with_many_inner_iterations_it_is_sinkhorn_at_beta_over_steps(beta, steps):
    C, a, b = problem()
    P = ipot(C, a, b, beta, inner=400, max_steps=steps).coupling
    blunt = sinkhorn(C, a, b, beta / steps, tolerance=1e-11, max_steps=50_000).coupling
    torch.testing.assert_close(P, blunt, rtol=1e-5, atol=1e-9)


def test_more_steps_come_nearer_to_the_exact_cost():
    C, a, b = problem()
    best = (exact(C, a, b).coupling * C).sum((1, 2))
    gaps = [(ipot(C, a, b, 0.5, inner=5, max_steps=t).coupling * C).sum((1, 2)) - best for t in (5, 20, 100, 1000)]
    for worse, better in zip(gaps, gaps[1:], strict=False):
        assert (better[:2] < worse[:2]).all()  # one-token sides have one plan only
    assert gaps[-1].max() < 2e-3


def test_marginals_zero_masses_and_what_padding_holds():
    C, a, b = problem()
    plan = ipot(C, a, b, 1.0, inner=5, max_steps=50)
    torch.testing.assert_close(plan.coupling.sum(-2), b, rtol=1e-6, atol=1e-12)
    row = (plan.coupling.sum(-1) - a).abs().sum(-1) + (plan.coupling.sum(-2) - b).abs().sum(-1)
    torch.testing.assert_close(plan.error, row)
    assert 1e-9 < plan.error.max() < 0.1
    padded = (a == 0)[:, :, None] | (b == 0)[:, None, :]
    assert (plan.coupling[padded] == 0).all()
    for garbage in (-1e3, 1e3):
        other = ipot(torch.where(padded, garbage, C), a, b, 1.0, inner=5, max_steps=50).coupling
        torch.testing.assert_close(other, plan.coupling)
    assert (plan.steps == 250).all()
    assert not plan.coupling.requires_grad


def test_the_order_of_tokens_only_orders_the_plan():
    C, a, b = problem()
    rows, columns = torch.randperm(17), torch.randperm(29)
    P = ipot(C, a, b, max_steps=30).coupling
    permuted = ipot(C[:, rows][:, :, columns], a[:, rows], b[:, columns], max_steps=30).coupling
    torch.testing.assert_close(permuted, P[:, rows][:, :, columns])


@pytest.mark.parametrize("beta", [1e-3, 0.01, 1.0])
def test_neither_a_small_beta_nor_a_long_run_underflows(beta):
    C, a, b = problem(torch.float32)
    P = ipot(C, a, b, beta, max_steps=1000).coupling
    assert torch.isfinite(P).all()
    # At an epsilon of 1e-6 potentials over epsilon are so large that float32 holds them to a few thousandths.
    assert (P[:4].sum((1, 2)) - 1).abs().max() < (1e-2 if beta == 1e-3 else 1e-3)


def test_a_large_constant_in_the_costs_changes_nothing():
    C, a, b = problem(torch.float32)
    C = (1024 * C).round() / 1024  # so that adding 1024 is exact
    tall = 1024 + 256 * torch.arange(17.0)[:, None]
    P = ipot(C, a, b, 0.5, max_steps=50).coupling
    torch.testing.assert_close(ipot(C + 1024, a, b, 0.5, max_steps=50).coupling, P, rtol=1e-4, atol=1e-6)
    settled = ipot(C, a, b, 0.5, inner=50, max_steps=50).coupling
    torch.testing.assert_close(
        ipot(C + tall, a, b, 0.5, inner=50, max_steps=50).coupling, settled, rtol=1e-3, atol=1e-5
    )


def test_float32_agrees_with_float64():
    C, a, b = problem()
    P = ipot(C.float(), a.float(), b.float(), 0.1, max_steps=100).coupling
    torch.testing.assert_close(P.double(), ipot(C, a, b, 0.1, max_steps=100).coupling, rtol=2e-3, atol=1e-5)


def test_equal_sets_end_in_the_identity():
    x = torch.nn.functional.normalize(torch.randn(1, 6, 8, dtype=torch.float64), dim=-1)
    mass = uniform_mass(torch.ones(1, 6).bool(), torch.float64)
    P = ipot(1 - x @ x.mT, mass, mass, 0.5, max_steps=200).coupling
    torch.testing.assert_close(P[0], torch.eye(6, dtype=torch.float64) / 6, rtol=0, atol=1e-9)


def test_half_precision_is_cast_up():
    C, a, b = problem(torch.float32)
    plan = ipot(C.bfloat16(), a, b, max_steps=20)
    assert plan.coupling.dtype == torch.float32
    torch.testing.assert_close(plan.coupling, ipot(C.bfloat16().float(), a, b, max_steps=20).coupling)


def test_arguments_stay_as_they_were_and_bad_ones_are_refused():
    C, a, b = problem()
    before = C.clone(), a.clone(), b.clone()
    ipot(C, a, b, max_steps=3)
    assert all(torch.equal(old, new) for old, new in zip(before, (C, a, b), strict=True))
    for bad in ({"beta": 0.0}, {"beta": float("nan")}, {"beta": (0.1, 0.05)}, {"inner": 0}, {"max_steps": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be one positive number, and finite; received"):
            ipot(C, a, b, **bad)
    with pytest.raises(ValueError, match="masses"):
        ipot(C, b, a)
    with pytest.raises(ValueError, match="equal total masses"):
        ipot(C, a, 2 * b)
