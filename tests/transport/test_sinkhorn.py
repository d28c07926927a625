"""Invariants first, then closed forms; comparisons with other programs are in tests/references."""

from __future__ import annotations

import pytest
import torch

from optical.transport.cost import uniform_mass
from optical.transport.sinkhorn import sinkhorn


def problem(dtype=torch.float64, seed=0):
    """Awkward on purpose: n != m, padded rows, a zero mass inside, a one-token side, an empty pair, unequal masses."""
    random = torch.Generator().manual_seed(seed)
    C = 2 * torch.rand(5, 17, 29, generator=random, dtype=dtype)
    a = torch.rand(5, 17, generator=random, dtype=dtype) + 0.1
    b = torch.rand(5, 29, generator=random, dtype=dtype) + 0.1
    a[0, 5] = 0  # inside, not at the end
    a[1, 9:] = 0
    b[1, 20:] = 0
    a[2, 1:] = 0
    b[3, 1:] = 0
    a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
    a[4], b[4] = 0, 0
    return C, a, b


TIGHT = {"tolerance": 1e-10, "max_steps": 20_000}


@pytest.mark.parametrize("epsilon", [0.5, 0.1, 0.02])
def test_plan_has_the_marginals_it_was_asked_for(epsilon):
    C, a, b = problem()
    plan = sinkhorn(C, a, b, epsilon, **TIGHT)
    torch.testing.assert_close(plan.coupling.sum(-1), a, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(plan.coupling.sum(-2), b, rtol=1e-6, atol=1e-9)
    assert (plan.error <= 1e-9).all()


def test_masked_mass_is_exactly_zero():
    C, a, b = problem()
    P = sinkhorn(C, a, b, 0.05).coupling
    assert (P[(a == 0)[:, :, None].expand_as(P)] == 0).all()
    assert (P[(b == 0)[:, None, :].expand_as(P)] == 0).all()
    assert (P[4] == 0).all()
    assert torch.isfinite(P).all()


def test_a_padded_batch_equals_its_rows_one_by_one():
    C, a, b = problem()
    together = sinkhorn(C, a, b, 0.05, **TIGHT)
    for k in range(4):
        rows, columns = a[k] > 0, b[k] > 0
        alone = sinkhorn(C[k][rows][:, columns][None], a[k][rows][None], b[k][columns][None], 0.05, **TIGHT)
        torch.testing.assert_close(together.coupling[k][rows][:, columns], alone.coupling[0], rtol=1e-6, atol=1e-9)


def test_what_padding_holds_has_no_effect():
    C, a, b = problem()
    garbage = C.clone()
    garbage[(a == 0)[:, :, None].expand_as(C)] = 1e4
    torch.testing.assert_close(sinkhorn(garbage, a, b, 0.05).coupling, sinkhorn(C, a, b, 0.05).coupling)


def test_permuting_tokens_permutes_the_plan():
    C, a, b = problem()
    rows, columns = torch.randperm(17), torch.randperm(29)
    plan = sinkhorn(C, a, b, 0.05, **TIGHT).coupling
    permuted = sinkhorn(C[:, rows][:, :, columns], a[:, rows], b[:, columns], 0.05, **TIGHT).coupling
    torch.testing.assert_close(permuted, plan[:, rows][:, :, columns], rtol=1e-6, atol=1e-9)


def test_exchanging_the_sides_transposes_the_plan():
    C, a, b = problem()
    plan = sinkhorn(C, a, b, 0.05, **TIGHT).coupling
    torch.testing.assert_close(sinkhorn(C.mT, b, a, 0.05, **TIGHT).coupling.mT, plan, rtol=1e-5, atol=1e-9)


def test_scaling_cost_and_epsilon_together_changes_nothing():
    C, a, b = problem()
    torch.testing.assert_close(sinkhorn(3 * C, a, b, 0.3, **TIGHT).coupling, sinkhorn(C, a, b, 0.1, **TIGHT).coupling)


def test_constant_costs_give_the_product_coupling():
    _, a, b = problem()
    P = sinkhorn(torch.full((5, 17, 29), 0.7, dtype=torch.float64), a, b, 0.05).coupling
    torch.testing.assert_close(P, a[:, :, None] * b[:, None, :])


def test_two_by_two_closed_form():
    # With uniform masses and costs [[0, 1], [1, 0]] the diagonal holds 1 / (2 (1 + exp(-1 / epsilon))) each.
    C = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    for epsilon in (1.0, 0.1):
        diagonal = 0.5 / (1 + torch.exp(torch.tensor(-1 / epsilon, dtype=torch.float64)))
        torch.testing.assert_close(sinkhorn(C, half, half, epsilon).coupling[0, 0, 0], diagonal)


def test_small_epsilon_does_not_underflow():
    C, a, b = problem(torch.float32)
    plan = sinkhorn(C, a, b, 1e-3, max_steps=2000)
    assert torch.isfinite(plan.coupling).all()
    assert (plan.coupling[:4].sum((1, 2)) - 1).abs().max() < 1e-4


def test_float32_agrees_with_float64():
    C, a, b = problem()
    P32 = sinkhorn(C.float(), a.float(), b.float(), 0.05, tolerance=1e-6, max_steps=5000).coupling
    torch.testing.assert_close(P32.double(), sinkhorn(C, a, b, 0.05, **TIGHT).coupling, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast_up_at_the_door(dtype):
    C, a, b = problem(torch.float32)
    P = sinkhorn(C.to(dtype), a, b, 0.05).coupling
    assert P.dtype == torch.float32
    torch.testing.assert_close(P, sinkhorn(C.to(dtype).float(), a, b, 0.05).coupling)


def test_not_converging_is_said():
    C, a, b = problem()
    hurried = sinkhorn(C, a, b, 0.02, tolerance=1e-9, max_steps=3)
    assert (hurried.steps == 3).all()
    assert hurried.error[0] > 1e-3
    row = (hurried.coupling.sum(-1) - a).abs().sum(-1) + (hurried.coupling.sum(-2) - b).abs().sum(-1)
    torch.testing.assert_close(hurried.error, row)


def test_easy_problems_stop_before_hard_ones():
    C, a, b = problem()
    C[0] = 0.5
    plan = sinkhorn(C, a, b, 0.02, tolerance=1e-8, max_steps=5000)
    assert plan.steps[0] == 10
    assert plan.steps[1] > 10
    assert (plan.error <= 1e-7).all()


def test_an_annealed_schedule_ends_where_its_last_epsilon_does():
    C, a, b = problem()
    annealed = sinkhorn(C, a, b, (0.5, 0.1, 0.02), **TIGHT)
    torch.testing.assert_close(annealed.coupling, sinkhorn(C, a, b, 0.02, **TIGHT).coupling, rtol=1e-5, atol=1e-8)


def test_a_smaller_epsilon_gives_a_cheaper_plan():
    C, a, b = problem()
    costs = [(sinkhorn(C, a, b, e, **TIGHT).coupling * C).sum() for e in (1.0, 0.1, 0.02)]
    assert costs[0] > costs[1] > costs[2]


def test_plans_carry_no_gradient_and_arguments_are_not_written():
    C, a, b = problem()
    before = C.clone()
    plan = sinkhorn(C.requires_grad_(), a, b, 0.05)
    assert not plan.coupling.requires_grad
    assert torch.equal(C.detach(), before)


def test_an_empty_batch_is_a_batch():
    plan = sinkhorn(torch.zeros(0, 3, 4), torch.zeros(0, 3), torch.zeros(0, 4))
    assert plan.coupling.shape == (0, 3, 4)
    assert plan.steps.shape == (0,)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, (0.1, 0.0), ()])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(ValueError, match=r"epsilon must be positive.*received.*try"):
        sinkhorn(*problem(), epsilon)


def test_shapes_that_do_not_fit_are_refused():
    C, a, b = problem()
    with pytest.raises(ValueError, match=r"masses.*received C \(5, 17, 29\)"):
        sinkhorn(C, b, a)


def test_masses_of_different_total_are_refused():
    C, a, b = problem()
    with pytest.raises(ValueError, match=r"problem 2 has"):
        sinkhorn(C, torch.where(torch.arange(5)[:, None] == 2, 2 * a, a), b)


def test_a_mask_of_one_token_moves_everything_to_it():
    mask = torch.tensor([[True, False, False]])
    P = sinkhorn(torch.rand(1, 3, 2), uniform_mass(mask), torch.full((1, 2), 0.5)).coupling
    torch.testing.assert_close(P[0], torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]]))
