from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from optical.transport.exact import exact
from tests.transport.test_sinkhorn import problem


def test_uniform_square_problems_are_assignments():
    C = torch.rand(4, 12, 12, dtype=torch.float64)
    mass = torch.full((4, 12), 1 / 12, dtype=torch.float64)
    P = exact(C, mass, mass).coupling
    for k in range(4):
        rows, columns = linear_sum_assignment(C[k].numpy())
        expected = np.zeros((12, 12))
        expected[rows, columns] = 1 / 12
        np.testing.assert_allclose(P[k].numpy(), expected, atol=1e-12)


def test_marginals_and_zero_masses():
    C, a, b = problem()
    plan = exact(C, a, b)
    assert (plan.error < 1e-9).all()
    assert (plan.coupling[4] == 0).all()
    assert (plan.coupling[0, 5] == 0).all()


def test_shapes_that_do_not_fit_are_refused():
    C, a, b = problem()
    with pytest.raises(ValueError, match="masses"):
        exact(C, b, a)
