"""Parts that the solvers share: their checks, the marginal error and the log-domain steps."""

from __future__ import annotations

import math

import pytest
import torch

from optical.transport.exact import exact
from optical.transport.ipot import ipot
from optical.transport.partial import partial
from optical.transport.plan import (
    check_masses,
    check_problem,
    checked_schedule,
    checked_stop,
    logsumexp,
    marginal_error,
    reduced_costs,
)
from optical.transport.sinkhorn import column_potentials, sinkhorn
from optical.transport.unbalanced import unbalanced
from tests.transport.test_sinkhorn import problem


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, (0.1, 0.0), (0.1, math.nan), ()])
def test_epsilon_must_be_positive_and_finite(epsilon):
    with pytest.raises(ValueError, match=r"epsilon must be positive.*received.*try"):
        checked_schedule(epsilon)


def test_one_epsilon_is_a_schedule_of_one():
    assert checked_schedule(0.1) == (0.1,)
    assert checked_schedule([0.5, 0.1]) == (0.5, 0.1)


def test_shapes_that_do_not_fit_are_refused():
    C, a, b = problem()
    check_masses(C, a, b)
    with pytest.raises(ValueError, match=r"masses.*received C \(5, 17, 29\)"):
        check_masses(C, b, a)


@pytest.mark.parametrize("wrong", [-0.25, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("solve", [sinkhorn, column_potentials, unbalanced, partial, ipot, exact])
def test_no_solver_takes_what_is_no_mass(solve, wrong):
    C, a, b = problem()
    for side in (a, b):
        before = side[1, :2].clone()
        side[1, 0] = wrong
        side[1, 1] += before[0] - wrong if math.isfinite(wrong) else 0  # the totals still agree
        with pytest.raises(ValueError, match="masses must be finite and not negative; received .* in problem 1; give"):
            solve(C, a, b)
        side[1, :2] = before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"check_every": 0}, "check_every must be at least 1; received 0"),
        ({"max_steps": 0}, "max_steps must be at least 1; received 0"),
        ({"tolerance": math.nan}, "tolerance must be 0 or more.*received nan"),
        ({"tolerance": -1e-3}, "tolerance must be 0 or more"),
    ],
)
def test_an_iteration_that_cannot_end_or_begin_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        checked_stop(**{"tolerance": 1e-3, "max_steps": 200, "check_every": 10} | given)
    for solve in (sinkhorn,) if "check_every" in given else (sinkhorn, column_potentials, unbalanced, partial):
        with pytest.raises(ValueError, match=said):
            solve(*problem(), **given)


def test_masses_of_different_total_are_refused():
    C, a, b = problem()
    check_problem(C, a, b)
    with pytest.raises(ValueError, match="problem 2 has"):
        check_problem(C, torch.where(torch.arange(5)[:, None] == 2, 2 * a, a), b)


def test_the_marginal_error_is_the_mass_missed_on_both_sides():
    P = torch.tensor([[[0.5, 0.0], [0.0, 0.25]]])
    half = torch.tensor([[0.5, 0.5]])
    torch.testing.assert_close(marginal_error(P, half, half), torch.tensor([0.5]))


def test_reduced_costs_have_a_zero_in_every_real_row_and_column_and_nothing_below():
    C, a, b = problem()
    R, _ = reduced_costs(C - 1, a[:, None, :], b[:, None, :], torch.zeros_like(b)[:, None, :])
    real = (a > 0)[:, :, None] & (b > 0)[:, None, :]
    R = R.masked_fill(~real, torch.inf)
    assert (R >= 0).all()
    assert (R.amin(-1)[real.any(-1)] == 0).all()
    assert (R.amin(-2)[real.any(-2)] == 0).all()


def test_logsumexp_of_nothing_is_zero():
    z = torch.tensor([[0.0, math.log(2)], [-math.inf, -math.inf]])
    torch.testing.assert_close(logsumexp(z, -1), torch.tensor([[math.log(3)], [0.0]]))
