"""The solvers on drawn problems: masses met, none below zero, and nothing but the problem itself in a plan."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from optical.transport.cost import cosine_cost, norm_mass, uniform_mass, weighted_mass
from optical.transport.partial import partial
from optical.transport.sinkhorn import sinkhorn
from optical.transport.unbalanced import unbalanced

drawn = settings(max_examples=12, deadline=None, derandomize=True)
TIGHT = {"tolerance": 1e-9, "max_steps": 5000}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
SLACK, SHARE = 0.4, 0.6
SOLVERS = {
    "sinkhorn": lambda one, scale=1.0, **stop: sinkhorn(
        one.C, one.a, one.b, scale * one.epsilon, **(TIGHT | stop)
    ).coupling,
    "unbalanced": lambda one, scale=1.0, **stop: unbalanced(
        one.C, one.a, one.b, scale * one.epsilon, scale * SLACK, **(TIGHT | stop)
    ).coupling,
    "unbalanced, dear": lambda one, scale=1.0, **stop: unbalanced(
        one.C, one.a, one.b, scale * one.epsilon, scale * 10 * SLACK, **(TIGHT | stop)
    ).coupling,
    "partial": lambda one, scale=1.0, **stop: partial(
        one.C, one.a, one.b, scale * one.epsilon, SHARE, **(TIGHT | stop)
    ).coupling,
}  # fmt: skip
every = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


class Problem(NamedTuple):
    """Costs ``(b, n, m)``, masses ``(b, n)`` and ``(b, m)``, both sides of total 1."""

    C: Tensor
    a: Tensor
    b: Tensor
    epsilon: float

    def row(self, k: int) -> Problem:
        return self._replace(C=self.C[k : k + 1], a=self.a[k : k + 1], b=self.b[k : k + 1])


@st.composite
def problems(draw) -> Problem:
    """Costs of 0 to 2, tied ones too; one token, many, equal masses, masses of 0."""
    size, (n, m) = draw(st.integers(1, 3)), draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    random = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    C = 2 * torch.rand(size, n, m, generator=random, dtype=torch.float64)
    if draw(st.booleans()):
        C = (2 * C).round() / 2
    masses = []
    for length in (n, m):
        uniform = draw(st.booleans())
        mass = torch.ones(size, length) if uniform else torch.rand(size, length, generator=random) + 0.05
        off = draw(st.lists(st.integers(1, 6), max_size=3))  # the first token stays
        mass[:, [k for k in off if k < length]] = 0
        masses.append((mass / mass.sum(-1, keepdim=True)).double())
    masses = [mass / mass.sum(-1, keepdim=True) for mass in masses]
    return Problem(C, *masses, draw(st.sampled_from([0.1, 0.3, 1.0])))


@every
@drawn
@given(one=problems())
def test_a_plan_is_nowhere_negative_and_exactly_nothing_where_there_is_no_mass(solve, one):
    P = solve(one)
    assert P.isfinite().all()
    assert (P >= 0).all()
    assert (P[(one.a == 0)[:, :, None].expand_as(P)] == 0).all()
    assert (P[(one.b == 0)[:, None, :].expand_as(P)] == 0).all()


@drawn
@given(one=problems())
def test_sums_are_the_masses_and_of_a_share_at_most_those(one):
    P = SOLVERS["sinkhorn"](one)
    torch.testing.assert_close(P.sum(-1), one.a, **CLOSE)
    torch.testing.assert_close(P.sum(-2), one.b, **CLOSE)
    P = SOLVERS["partial"](one)
    assert (P.sum(-1) <= one.a + 1e-7).all()
    assert (P.sum(-2) <= one.b + 1e-7).all()
    torch.testing.assert_close(P.sum((1, 2)), torch.full((len(P),), SHARE, dtype=torch.float64), **CLOSE)


@every
@drawn
@given(one=problems(), data=st.data())
def test_the_order_of_tokens_orders_the_plan_and_no_more(solve, one, data):
    rows = data.draw(st.permutations(range(one.a.shape[1])))
    columns = data.draw(st.permutations(range(one.b.shape[1])))
    permuted = one._replace(C=one.C[:, rows][:, :, columns], a=one.a[:, rows], b=one.b[:, columns])
    torch.testing.assert_close(solve(permuted), solve(one)[:, rows][:, :, columns], **CLOSE)


@every
@drawn
@given(one=problems())
def test_exchanged_sides_exchange_the_plan(solve, one):
    turned = one._replace(C=one.C.mT, a=one.b, b=one.a)
    torch.testing.assert_close(solve(turned).mT, solve(one), **CLOSE)


@every
@drawn
@given(one=problems(), scale=st.sampled_from([0.25, 3.0, 100.0]))
def test_the_unit_of_the_costs_is_that_of_epsilon(solve, one, scale):
    torch.testing.assert_close(solve(one._replace(C=scale * one.C), scale), solve(one), **CLOSE)


@pytest.mark.parametrize("solve", [SOLVERS["sinkhorn"], SOLVERS["partial"]], ids=["sinkhorn", "partial"])
@drawn
@given(one=problems(), scale=st.sampled_from([0.25, 3.0]))
def test_the_unit_of_the_masses_is_that_of_the_plan(solve, one, scale):
    """Not of the unbalanced problem, whose reference a b' is of another degree than its marginals."""
    scaled = one._replace(a=scale * one.a, b=scale * one.b)
    torch.testing.assert_close(solve(scaled), scale * solve(one), **CLOSE)


@every
@drawn
@given(
    one=problems(), wider=st.tuples(st.integers(0, 3), st.integers(0, 3)), garbage=st.sampled_from([-50.0, 0.0, 1e3])
)
def test_padding_changes_nothing_whatever_it_holds(solve, one, wider, garbage):
    n, m = one.C.shape[1:]
    pad = torch.nn.functional.pad
    C = pad(one.C, (0, wider[1], 0, wider[0]), value=garbage)
    C = torch.where(
        (pad(one.a, (0, wider[0])) > 0)[:, :, None] & (pad(one.b, (0, wider[1])) > 0)[:, None, :], C, garbage
    )
    P = solve(one._replace(C=C, a=pad(one.a, (0, wider[0])), b=pad(one.b, (0, wider[1]))))
    torch.testing.assert_close(P[:, :n, :m], solve(one), **CLOSE)
    assert P.sum().item() == pytest.approx(P[:, :n, :m].sum().item())


@every
@drawn
@given(one=problems())
def test_a_batch_has_the_plans_of_its_rows(solve, one):
    for tolerance in (TIGHT["tolerance"], 1e-2, 1e-4):  # a problem goes when it is done, and not when another is
        alone = torch.cat([solve(one.row(k), tolerance=tolerance) for k in range(len(one.C))])
        torch.testing.assert_close(solve(one, tolerance=tolerance), alone, **CLOSE)


@drawn
@given(one=problems())
def test_plans_are_those_of_pot(one):
    plans = {name: solve(one) for name, solve in SOLVERS.items() if name in ("sinkhorn", "unbalanced")}
    for k in range(len(one.C)):
        rows, columns = one.a[k] > 0, one.b[k] > 0
        a, b, C = one.a[k][rows].numpy(), one.b[k][columns].numpy(), one.C[k][rows][:, columns].numpy()
        found = {name: P[k][rows][:, columns].numpy() for name, P in plans.items()}
        balanced = ot.sinkhorn(a, b, C, one.epsilon, method="sinkhorn_log", numItermax=20_000, stopThr=1e-10)
        np.testing.assert_allclose(found["sinkhorn"], balanced, rtol=1e-4, atol=1e-7)
        loose = ot.unbalanced.sinkhorn_unbalanced(
            a, b, C, one.epsilon, SLACK, reg_type="kl", numItermax=20_000, stopThr=1e-11
        )
        np.testing.assert_allclose(found["unbalanced"], loose, rtol=1e-4, atol=1e-7)


@drawn
@given(one=problems())
def test_a_share_of_the_mass_costs_what_it_costs_in_pot(one):
    P = partial(one.C, one.a, one.b, (0.1, 0.01), SHARE, tolerance=1e-6, max_steps=5000).coupling
    for k in range(len(one.C)):
        best = ot.partial.partial_wasserstein(one.a[k].numpy(), one.b[k].numpy(), one.C[k].numpy(), m=SHARE)
        least, ours = float((best * one.C[k].numpy()).sum()), float((P[k] * one.C[k]).sum())
        assert least - 1e-5 <= ours <= least + 0.05  # what an epsilon of 0.01 may add


@drawn
@given(
    seed=st.integers(0, 10**6), mask=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=4)
)
def test_masses_are_shares_of_the_real_tokens_alone(seed, mask):
    mask = torch.tensor(mask)
    random = torch.Generator().manual_seed(seed)
    vectors = torch.randn(*mask.shape, 3, generator=random)
    garbage = torch.where(mask[..., None], vectors, 1e30)
    order = torch.randperm(4, generator=random)
    weights = [uniform_mass(mask), norm_mass(vectors, mask), weighted_mass(vectors.square().sum(-1), mask)]
    for mass in weights:
        assert (mass >= 0).all()
        assert (mass[~mask] == 0).all()
        torch.testing.assert_close(mass.sum(-1), mask.any(-1).float())
    torch.testing.assert_close(norm_mass(garbage, mask), weights[1])
    torch.testing.assert_close(norm_mass(7 * vectors, mask), weights[1])
    torch.testing.assert_close(norm_mass(vectors[:, order], mask[:, order]), weights[1][:, order])
    C = cosine_cost(vectors, vectors)
    assert (C >= -1e-6).all()
    assert (C <= 2 + 1e-6).all()
    torch.testing.assert_close(cosine_cost(0.1 * vectors, 9 * vectors), C)
    torch.testing.assert_close(C, C.mT)
