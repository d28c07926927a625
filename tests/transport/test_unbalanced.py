from __future__ import annotations

import math

import pytest
import torch

from optical.transport import unbalanced as solver
from optical.transport.sinkhorn import sinkhorn
from optical.transport.unbalanced import unbalanced
from tests.transport.test_sinkhorn import problem

TIGHT = {"tolerance": 1e-12, "max_steps": 20_000}


def unequal():
    """The usual awkward problem, with totals that differ, and one side without any mass."""
    C, a, b = problem()
    a, b = 0.7 * a, 1.2 * b
    b[4, 3] = 1.0
    return C, a, b


@pytest.mark.parametrize("epsilon", [0.5, 0.05, 0.01])
def test_the_plan_meets_the_conditions_of_the_optimum(epsilon):
    # Where P > 0: C + epsilon log(P / ab) + slack log(row sum / a) + slack log(column sum / b) = 0.
    C, a, b = unequal()
    plan = unbalanced(C, a, b, epsilon, 0.3, **TIGHT)
    P = plan.coupling
    rows, columns = torch.log(P.sum(-1) / a)[:, :, None], torch.log(P.sum(-2) / b)[:, None, :]
    slope = C + epsilon * torch.log(P / (a[:, :, None] * b[:, None, :])) + 0.3 * (rows + columns)
    real = ((a > 0)[:, :, None] & (b > 0)[:, None, :]) & (P > 1e-200)
    assert real.sum() > 500
    assert slope[real].abs().max() < 1e-8
    assert (plan.error < 1e-11).all()


def test_masked_mass_is_exactly_zero_and_padding_has_no_effect():
    C, a, b = unequal()
    padded = (a == 0)[:, :, None] | (b == 0)[:, None, :]
    plan = unbalanced(C, a, b)
    assert (plan.coupling[padded] == 0).all()
    assert (plan.coupling[4] == 0).all()
    assert plan.error[4] == 0
    for garbage in (-1e3, 1e3):
        other = unbalanced(torch.where(padded, garbage, C), a, b)
        torch.testing.assert_close(other.coupling, plan.coupling)
        torch.testing.assert_close(other.error, plan.error)


def test_a_padded_batch_equals_its_rows_one_by_one():
    C, a, b = unequal()
    together = unbalanced(C, a, b)  # at a loose tolerance: each problem stops for itself
    for k in range(4):
        rows, columns = a[k] > 0, b[k] > 0
        alone = unbalanced(C[k][rows][:, columns][None], a[k][rows][None], b[k][columns][None])
        torch.testing.assert_close(together.coupling[k][rows][:, columns], alone.coupling[0], rtol=1e-6, atol=1e-12)
        assert together.steps[k] == alone.steps[0]


def test_the_order_of_tokens_and_of_the_sides_only_orders_the_plan():
    C, a, b = unequal()
    rows, columns = torch.randperm(17), torch.randperm(29)
    P = unbalanced(C, a, b, **TIGHT).coupling
    permuted = unbalanced(C[:, rows][:, :, columns], a[:, rows], b[:, columns], **TIGHT).coupling
    torch.testing.assert_close(permuted, P[:, rows][:, :, columns], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(unbalanced(C.mT, b, a, **TIGHT).coupling.mT, P, rtol=1e-6, atol=1e-12)


def test_scaling_cost_epsilon_and_slack_together_changes_nothing():
    C, a, b = unequal()
    P = unbalanced(C, a, b, 0.1, 0.4, **TIGHT).coupling
    torch.testing.assert_close(unbalanced(3 * C, a, b, 0.3, 1.2, **TIGHT).coupling, P)


def test_one_token_on_each_side_closed_form():
    # min p C + epsilon KL(p | 1) + 2 slack KL(p | 1): log p = -C / (epsilon + 2 slack).
    C = torch.full((1, 1, 1), 0.8, dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    for epsilon, slack in ((0.05, 0.5), (0.5, 0.1)):
        P = unbalanced(C, one, one, epsilon, slack, **TIGHT).coupling
        assert abs(float(P) - math.exp(-0.8 / (epsilon + 2 * slack))) < 1e-9


def test_a_large_slack_is_balanced_transport_and_takes_no_longer():
    C, a, b = problem()
    balanced = sinkhorn(C, a, b, 0.1, tolerance=1e-9, max_steps=20_000).coupling
    plan = unbalanced(C, a, b, 0.1, 1e6, tolerance=1e-9, max_steps=2000)
    assert (plan.error < 1e-9).all()
    torch.testing.assert_close(plan.coupling, balanced, rtol=1e-4, atol=1e-8)


def test_shifting_the_potentials_saves_most_of_the_iterations_at_a_large_slack(monkeypatch):
    C, a, b = unequal()
    quick = unbalanced(C, a, b, 0.1, 10.0, tolerance=1e-8, max_steps=5000)
    monkeypatch.setattr(solver, "_shift", lambda *_: 0.0)
    slow = unbalanced(C, a, b, 0.1, 10.0, tolerance=1e-8, max_steps=5000)
    torch.testing.assert_close(quick.coupling, slow.coupling, rtol=1e-5, atol=1e-9)
    assert quick.steps[:4].sum() < slow.steps[:4].sum() / 2


def test_a_small_slack_leaves_mass_that_has_nowhere_cheap_to_go():
    C = torch.tensor([[[0.0, 1.5], [1.5, 1.5]]], dtype=torch.float64)  # the second tokens have no counterpart
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    P = unbalanced(C, half, half, 0.02, 0.1, **TIGHT).coupling[0]
    assert P[0, 0] > 0.45
    assert P.sum() - P[0, 0] < 0.01


def test_a_schedule_ends_in_the_plan_of_its_last_value():
    C, a, b = unequal()
    plan = unbalanced(C, a, b, (0.5, 0.1, 0.03), 0.4, **TIGHT)
    single = unbalanced(C, a, b, 0.03, 0.4, **TIGHT)
    torch.testing.assert_close(plan.coupling, single.coupling, rtol=1e-6, atol=1e-12)
    twice = unbalanced(C, a, b, (0.03, 0.03), 0.4, **TIGHT)
    assert (twice.steps[:4] == single.steps[:4] + 10).all()  # one look at potentials that are there already


def test_not_converging_is_said():
    C, a, b = unequal()
    plan = unbalanced(C, a, b, 0.02, 5.0, tolerance=1e-12, max_steps=3)
    assert (plan.steps[:4] == 3).all()
    assert plan.error[0] > 1e-3


def test_float32_agrees_with_float64_and_half_is_cast_up():
    C, a, b = unequal()
    exactly = unbalanced(C, a, b, 0.02, **TIGHT).coupling
    P = unbalanced(C.float(), a.float(), b.float(), 0.02, tolerance=1e-6, max_steps=5000).coupling
    torch.testing.assert_close(P.double(), exactly, rtol=1e-3, atol=1e-5)
    assert unbalanced(C.half(), a.float(), b.float()).coupling.dtype == torch.float32


def test_arguments_stay_as_they_were_and_bad_ones_are_refused():
    C, a, b = unequal()
    before = C.clone(), a.clone(), b.clone()
    unbalanced(C, a, b)
    assert all(torch.equal(old, new) for old, new in zip(before, (C, a, b), strict=True))
    for slack in (0.0, -1.0, float("nan")):
        with pytest.raises(
            ValueError, match=r"slack must be positive and finite, in units of the cost; received .*; try 0\.5"
        ):
            unbalanced(C, a, b, slack=slack)
    with pytest.raises(ValueError, match="epsilon"):
        unbalanced(C, a, b, 0.0)
    with pytest.raises(ValueError, match="masses"):
        unbalanced(C, b, a)
