"""Unbalanced and partial plans against POT: other people's programs, at their own stopping thresholds."""

from __future__ import annotations

import numpy as np
import ot
import pytest

from optical.transport.partial import partial
from optical.transport.unbalanced import unbalanced
from tests.transport.test_sinkhorn import problem


def real_problems():
    """Arrays of each problem that has any mass, without its zero masses."""
    C, a, b = problem()
    for k in range(4):
        rows, columns = (a[k] > 0).numpy(), (b[k] > 0).numpy()
        yield k, rows, columns, C[k].numpy()[rows][:, columns], a[k].numpy()[rows], b[k].numpy()[columns]


@pytest.mark.parametrize(("epsilon", "slack"), [(0.5, 0.5), (0.1, 0.05), (0.1, 1.0), (0.05, 5.0)])
def test_unbalanced_plans_are_those_of_pot_with_its_kl_regulariser(epsilon, slack):
    # reg_type="kl" is KL(P | a b'), as ours; "entropy" is another problem.
    C, a, b = problem()
    plan = unbalanced(C, 0.8 * a, 1.3 * b, epsilon, slack, tolerance=1e-11, max_steps=20_000)
    for k, rows, columns, cost, left, right in real_problems():
        reference = ot.unbalanced.sinkhorn_unbalanced(
            0.8 * left, 1.3 * right, cost, epsilon, slack, reg_type="kl", numItermax=50_000, stopThr=1e-12
        )
        np.testing.assert_allclose(plan.coupling[k].numpy()[rows][:, columns], reference, rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_partial_plans_cost_what_those_of_pot_cost_as_epsilon_falls(share):
    C, a, b = problem()
    P = partial(C, a, b, (0.1, 0.01, 0.001), share, tolerance=1e-7, max_steps=50_000).coupling
    for k, _, _, cost, left, right in real_problems():
        best = (ot.partial.partial_wasserstein(left, right, cost, m=share) * cost).sum()
        ours = float((P[k] * C[k]).sum())
        assert best - 1e-6 <= ours <= best + 5e-3  # what an epsilon of 0.001 adds


def test_the_entropic_problem_of_pot_is_another_one_that_meets_ours_as_epsilon_falls():
    # Benamou et al. leave the entropy of what stays out, we do not: apart at 0.1, together at 0.005.
    C, a, b = problem()
    _, _, _, cost, left, right = next(iter(real_problems()))
    apart = []
    for epsilon in (0.1, 0.005):
        reference = ot.partial.entropic_partial_wasserstein(
            left, right, cost, epsilon, m=0.5, method="sinkhorn_log", numItermax=5000, stopThr=1e-9
        )
        ours = partial(C, a, b, epsilon, 0.5, tolerance=1e-8, max_steps=50_000).coupling[0]
        apart.append(abs(float((reference * cost).sum() - (ours * C[0]).sum())))
    assert apart[0] > 1e-2
    assert apart[1] < 1e-3
