"""Parts that the solvers share: their checks, the marginal error and the log-domain steps."""

from __future__ import annotations

import math

import pytest
import torch

from optical.transport.plan import (
    check_problem,
    check_shapes,
    checked_schedule,
    logsumexp,
    marginal_error,
    reduced_costs,
)
from tests.transport.test_sinkhorn import problem


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, (0.1, 0.0), ()])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(ValueError, match=r"epsilon must be positive.*received.*try"):
        checked_schedule(epsilon)


def test_one_epsilon_is_a_schedule_of_one():
    assert checked_schedule(0.1) == (0.1,)
    assert checked_schedule([0.5, 0.1]) == (0.5, 0.1)


def test_shapes_that_do_not_fit_are_refused():
    C, a, b = problem()
    check_shapes(C, a, b)
    with pytest.raises(ValueError, match=r"masses.*received C \(5, 17, 29\)"):
        check_shapes(C, b, a)


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
