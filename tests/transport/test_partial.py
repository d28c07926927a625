from __future__ import annotations

import pytest
import torch

from optical.transport.partial import partial
from optical.transport.sinkhorn import sinkhorn
from tests.transport.test_sinkhorn import problem

TIGHT = {"tolerance": 1e-10, "max_steps": 20_000}


def test_the_share_is_moved_and_no_token_gives_more_than_it_has():
    C, a, b = problem()
    for share in (0.1, 0.5, 0.95):
        plan = partial(C, a, b, 0.05, share, **TIGHT)
        P = plan.coupling
        assert (plan.error < 1e-9).all()
        torch.testing.assert_close(P[:4].sum((1, 2)), torch.full((4,), share, dtype=P.dtype), rtol=1e-6, atol=1e-9)
        assert (P.sum(-1) <= a + 1e-9).all()
        assert (P.sum(-2) <= b + 1e-9).all()
        assert P.shape == C.shape


def test_totals_may_differ_and_the_share_is_of_the_lesser():
    C, a, b = problem()
    for left, right in ((0.5, 3), (3, 0.5)):
        P = partial(C, left * a, right * b, 0.05, 0.8, **TIGHT).coupling
        torch.testing.assert_close(P[:4].sum((1, 2)), torch.full((4,), 0.4, dtype=P.dtype), rtol=1e-6, atol=1e-9)


def test_masked_mass_is_exactly_zero_and_padding_has_no_effect():
    C, a, b = problem()
    padded = (a == 0)[:, :, None] | (b == 0)[:, None, :]
    plan = partial(C, a, b)
    assert (plan.coupling[padded] == 0).all()
    assert (plan.coupling[4] == 0).all()
    for garbage in (-1e3, 1e3):
        torch.testing.assert_close(partial(torch.where(padded, garbage, C), a, b).coupling, plan.coupling)


def test_a_padded_batch_equals_its_rows_one_by_one():
    C, a, b = problem()
    together = partial(C, a, b, **TIGHT)
    for k in range(4):
        rows, columns = a[k] > 0, b[k] > 0
        alone = partial(C[k][rows][:, columns][None], a[k][rows][None], b[k][columns][None], **TIGHT)
        torch.testing.assert_close(together.coupling[k][rows][:, columns], alone.coupling[0], rtol=1e-6, atol=1e-9)


def test_the_order_of_tokens_and_of_the_sides_only_orders_the_plan():
    C, a, b = problem()
    rows, columns = torch.randperm(17), torch.randperm(29)
    P = partial(C, a, b, **TIGHT).coupling
    permuted = partial(C[:, rows][:, :, columns], a[:, rows], b[:, columns], **TIGHT).coupling
    torch.testing.assert_close(permuted, P[:, rows][:, :, columns], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(partial(C.mT, b, a, **TIGHT).coupling.mT, P, rtol=1e-5, atol=1e-9)


def test_the_whole_share_is_balanced_transport():
    C, a, b = problem()
    torch.testing.assert_close(partial(C, a, b, 0.1, 1.0, **TIGHT).coupling, sinkhorn(C, a, b, 0.1, **TIGHT).coupling)


def test_the_cheapest_is_moved_first():
    C = torch.tensor([[[0.0, 1.5], [1.5, 1.0]]], dtype=torch.float64)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    P = partial(C, half, half, 0.01, 0.5, tolerance=1e-5, max_steps=5000).coupling[0]
    assert P[0, 0] > 0.499
    P = partial(C, half, half, 0.01, 0.75, tolerance=1e-5, max_steps=5000).coupling[0]
    torch.testing.assert_close(P, torch.tensor([[0.5, 0.0], [0.0, 0.25]], dtype=P.dtype), rtol=0, atol=1e-3)


@pytest.mark.parametrize("offset", [-10.0, 100.0])
def test_costs_may_have_any_sign_and_a_constant_changes_nothing_but_the_cost(offset):
    # The mass moved is fixed, so what each unit of it costs more decides nothing.
    C, a, b = problem()
    P = partial(C, a, b, 0.1, **TIGHT).coupling
    torch.testing.assert_close(partial(C + offset, a, b, 0.1, **TIGHT).coupling, P, rtol=1e-5, atol=1e-8)


def test_a_schedule_ends_in_the_plan_of_its_last_value():
    C, a, b = problem()
    last = partial(C, a, b, 0.02, **TIGHT).coupling
    torch.testing.assert_close(partial(C, a, b, (0.5, 0.1, 0.02), **TIGHT).coupling, last, rtol=1e-4, atol=1e-7)


def test_float32_agrees_with_float64_and_half_is_cast_up():
    C, a, b = problem()
    P = partial(C.float(), a.float(), b.float(), 0.05, tolerance=1e-6, max_steps=5000).coupling
    torch.testing.assert_close(P.double(), partial(C, a, b, 0.05, **TIGHT).coupling, rtol=1e-3, atol=1e-5)
    assert partial(C.half(), a.float(), b.float()).coupling.dtype == torch.float32


def test_arguments_stay_as_they_were_and_bad_ones_are_refused():
    C, a, b = problem()
    before = C.clone(), a.clone(), b.clone()
    partial(C, a, b)
    assert all(torch.equal(old, new) for old, new in zip(before, (C, a, b), strict=True))
    for share in (0.0, -0.2, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"share must be above 0 and at most 1.*received .*; try 0\.8"):
            partial(C, a, b, share=share)
    with pytest.raises(ValueError, match="epsilon"):
        partial(C, a, b, (0.1, 0.0))
    with pytest.raises(ValueError, match="masses"):
        partial(C, b, a)
