"""Invariants first, then closed forms; comparisons with other programs are in tests/references."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optical.transport import sinkhorn as solver
from optical.transport.cost import uniform_mass
from optical.transport.plan import Stop, marginal_error
from optical.transport.sinkhorn import column_potentials, sinkhorn


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


@pytest.mark.parametrize("epsilon", [0.5, 0.02, 0.002, (0.5, 0.05)])  # 0.002 overflows, and is solved by its logarithms
def test_a_plan_follows_from_the_potentials_of_its_columns(epsilon):
    C, a, b = problem()
    C, a, b = C[:4], a[:4], b[:4]  # an empty pair has none
    last = epsilon[-1] if isinstance(epsilon, tuple) else epsilon
    g = column_potentials(C, a, b, epsilon, **TIGHT)
    z = (g[:, None, :] - C) / last
    f = -torch.logsumexp(z + b.log()[:, None, :], -1, keepdim=True)  # as the documentation says
    expected = sinkhorn(C, a, b, epsilon, **TIGHT).coupling
    torch.testing.assert_close(a[:, :, None] * b[:, None, :] * (f + z).exp(), expected, rtol=1e-6, atol=1e-9)


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


@pytest.mark.parametrize("garbage", [-1e3, 1e3])
def test_padding_may_hold_costs_of_either_sign_on_either_side(garbage):
    C, a, b = problem(torch.float32)
    padded = (a == 0)[:, :, None] | (b == 0)[:, None, :]
    assert padded[:4].any((1, 2)).all()
    plan = sinkhorn(torch.where(padded, garbage, C), a, b, 0.02)
    torch.testing.assert_close(plan.coupling, sinkhorn(C, a, b, 0.02).coupling)
    assert (plan.coupling[padded] == 0).all()


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


def test_autocast_has_no_say():
    C, a, b = problem(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        plan = sinkhorn(C, a, b, 0.05)
    torch.testing.assert_close(plan.coupling, sinkhorn(C, a, b, 0.05).coupling)


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


def test_epsilon_shapes_and_totals_are_checked():
    C, a, b = problem()
    with pytest.raises(ValueError, match="epsilon must be positive"):
        sinkhorn(C, a, b, 0.0)
    with pytest.raises(ValueError, match="masses"):
        sinkhorn(C, b, a)
    with pytest.raises(ValueError, match="problem 0 has"):
        sinkhorn(C, 2 * a, b)


def test_a_mask_of_one_token_moves_everything_to_it():
    mask = torch.tensor([[True, False, False]])
    P = sinkhorn(torch.rand(1, 3, 2), uniform_mass(mask), torch.full((1, 2), 0.5)).coupling
    torch.testing.assert_close(P[0], torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]]))


def in_the_log_domain(C, a, b, epsilon, *, tolerance=1e-10, max_steps=5000):
    """Plan and steps of the slow loop in float64: no kernel, no jump, nothing that could overflow."""
    C, a, b = (t.double() for t in (C, a, b))
    plan, _, steps = solver._log_domain(
        C, a[:, None, :], b[:, None, :], epsilon, Stop(tolerance, max_steps, check_every=10)
    )
    return plan, steps


def aligned(count=8, n=12, m=10, dtype=torch.float32, seed=0):
    """Each y a noisy copy of some x, as tokens of a translation are; this converges slowly."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, n, 64, generator=random)
    y = x.gather(1, torch.randint(0, n, (count, m, 1), generator=random).expand(-1, -1, 64))
    y = y + 0.5 * torch.randn(count, m, 64, generator=random)
    C = 1 - torch.nn.functional.normalize(x, dim=-1) @ torch.nn.functional.normalize(y, dim=-1).mT
    return C.to(dtype), torch.full((count, n), 1 / n, dtype=dtype), torch.full((count, m), 1 / m, dtype=dtype)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6), shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    epsilon=st.floats(0.003, 1.0), spread=st.sampled_from([0.0, 0.5, 2.0]), offset=st.sampled_from([0.0, -10.0, 1e3]),
    skew=st.sampled_from([0, 1, 30]), coarse=st.booleans(), check_every=st.sampled_from([1, 2, 10, 50]),
)  # fmt: skip
@example(
    seed=0, shape=(4, 9, 3), epsilon=0.003, spread=2.0, offset=0.0, skew=0, coarse=False, check_every=10
)  # the error rests while the potentials move
def test_whatever_the_problem_the_plan_is_that_of_the_log_domain(
    seed, shape, epsilon, spread, offset, skew, coarse, check_every
):
    random = torch.Generator().manual_seed(seed)
    count, n, m = shape
    C = spread * torch.rand(shape, generator=random, dtype=torch.float64)
    C = (4 * C).round() / 4 if coarse else C  # ties, identical rows
    masses = []
    for size in (n, m):
        mass = (torch.rand(count, size, generator=random, dtype=torch.float64) ** skew).clamp(min=1e-8)
        mass[torch.rand(count, size, generator=random) < 0.2] = 0
        masses.append(mass)
    both = (masses[0].sum(-1, keepdim=True) > 0) & (masses[1].sum(-1, keepdim=True) > 0)
    a, b = (torch.where(both, mass / mass.sum(-1, keepdim=True), 0.0) for mass in masses)
    plan = sinkhorn(C + offset, a, b, epsilon, tolerance=1e-9, max_steps=5000, check_every=check_every)
    P = plan.coupling
    assert torch.isfinite(P).all()
    assert (P >= 0).all()
    assert (P[((a == 0)[:, :, None] | (b == 0)[:, None, :])] == 0).all()
    torch.testing.assert_close(plan.error, marginal_error(P, a, b))
    slow, steps = in_the_log_domain(C, a, b, epsilon, tolerance=1e-9)
    settled = steps < 2500  # with room for checks at every step, where jumps have nothing to go by
    assert (plan.error[settled] <= 1.1e-9).all()
    # A plan is known as well as its marginals are, and less so where the smallest epsilon hardly holds it.
    torch.testing.assert_close(P[settled], slow[settled], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.1, 0.003])
def test_float32_kernels_hold_what_exp_of_minus_cost_would_lose(epsilon):
    random = torch.Generator().manual_seed(4)
    C = torch.rand(6, 9, 7, generator=random)
    C[:, :3] += 1.0  # rows that exp(-C / epsilon) would empty
    C[:, :, 5:] += 0.5
    a, b = torch.rand(6, 9, generator=random), torch.rand(6, 7, generator=random)
    a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
    plan = sinkhorn(C, a, b, epsilon, tolerance=2e-6, max_steps=5000)
    exact, _ = in_the_log_domain(C, a, b, epsilon, tolerance=1e-8)
    assert (plan.error <= 3e-6).all()
    torch.testing.assert_close(plan.coupling.double(), exact, rtol=1e-2, atol=2e-5)


def test_a_large_constant_in_the_costs_changes_nothing():
    C, a, b = aligned()
    C = (1024 * C).round() / 1024  # so that adding 4096 is exact
    torch.testing.assert_close(sinkhorn(C + 4096, a, b, 0.02).coupling, sinkhorn(C, a, b, 0.02).coupling)
    tall = torch.arange(12.0)[:, None] * 512  # a constant for each row is one too
    torch.testing.assert_close(
        sinkhorn(C + tall, a, b, 0.02, tolerance=1e-5, max_steps=5000).coupling,
        sinkhorn(C, a, b, 0.02, tolerance=1e-5, max_steps=5000).coupling, rtol=1e-3, atol=1e-5,
    )  # fmt: skip


def test_masses_of_very_different_size_are_met_each_for_itself():
    C, a, b = aligned()
    a[:, 0], b[:, 1] = 1e-8, 1e-8
    a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
    P = sinkhorn(C, a, b, 0.05, tolerance=1e-6, max_steps=5000).coupling
    torch.testing.assert_close(P.sum(-1)[:, 0], a[:, 0], rtol=1e-3, atol=0)
    torch.testing.assert_close(P.sum(-2)[:, 1], b[:, 1], rtol=1e-3, atol=0)


def overflowing():
    """A column of almost no mass beside a row that has no other: its scaling leaves float32 at once."""
    C = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat_interleave(6, 0).repeat_interleave(5, 1)
    b = torch.cat((torch.full((5,), 1e-38), torch.full((5,), 0.2)))
    return C[None], torch.full((1, 12), 1 / 12), b[None]


def test_a_problem_that_no_kernel_holds_is_solved_in_the_log_domain_and_disturbs_no_other(monkeypatch):
    easy, hard = aligned(), overflowing()
    places = []
    slow = solver._log_domain
    monkeypatch.setattr(solver, "_log_domain", lambda C, *rest: places.append(len(C)) or slow(C, *rest))
    alone = sinkhorn(*easy, 0.003, max_steps=500)
    assert places == []
    C, a, b = (torch.cat((e[:3], h, e[3:])) for e, h in zip(easy, hard, strict=True))
    plan = sinkhorn(C, a, b, 0.003, max_steps=500)
    assert places == [1]
    others = [0, 1, 2, *range(4, 9)]
    torch.testing.assert_close(plan.coupling[others], alone.coupling)
    assert torch.equal(plan.steps[others], alone.steps)
    assert plan.error[3] < 1e-3
    exact, _ = in_the_log_domain(*hard, 0.003, tolerance=1e-6)
    torch.testing.assert_close(plan.coupling[3].double(), exact[0], rtol=1e-3, atol=1e-5)


def test_centring_a_kernel_leaves_the_plan_as_it_was(monkeypatch):
    monkeypatch.setattr(solver, "NEGLIGIBLE", 0.0)  # so that every problem is wide
    C, a, b = aligned(dtype=torch.float64)
    a, b = a[:, None, :], b[:, None, :]
    K, g = solver._kernel(C, a, b, torch.zeros_like(b), 0.02)
    w = b * torch.exp(3 * torch.randn(b.shape, dtype=b.dtype, generator=torch.Generator().manual_seed(0)))
    z = a / torch.bmm(w, K.mT)
    live = solver._Live(torch.arange(8), a, b, K, z, w, torch.full((8,), torch.inf, dtype=a.dtype))
    now, centred, _ = solver._mend(live, live, C, g, 0.02)
    assert (centred != g).any()
    torch.testing.assert_close(now.z.mT * now.K * now.w, z.mT * K * w)


def test_jumps_save_at_least_half_of_the_iterations():
    C, a, b = aligned(4, 24, 24, dtype=torch.float64)
    plan = sinkhorn(C, a, b, 0.05, tolerance=1e-5, max_steps=5000)
    _, plain = in_the_log_domain(C, a, b, 0.05, tolerance=1e-5)
    assert (plan.error <= 1e-5).all()
    assert plan.steps.sum() < plain.sum() / 2


def test_more_iterations_never_leave_a_worse_plan():
    C, a, b = aligned(4, 14, 17, torch.float64, seed=5)  # a jump that is not taken back raises the error by a third
    looks = (20, 30, 40, 60, 80, 100, 150)
    errors = torch.stack([sinkhorn(C, a, b, 0.01, tolerance=0, max_steps=most).error for most in looks])
    assert (errors[1:] <= errors[:-1] * (1 + 1e-9)).all()
