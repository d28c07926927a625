from __future__ import annotations

import torch

from optical.models.tokens import Tokens
from optical.training.losses import posterior as module
from optical.training.losses.posterior import posterior
from optical.training.losses.product import product
from tests.training.losses.conftest import ragged


def by_hand(x: Tokens, y: Tokens) -> torch.Tensor:
    """The two formulas, sentence by sentence, on the real tokens alone."""
    total = torch.zeros((), dtype=torch.float64)
    for k in range(len(x.mask)):
        u, v = (torch.nn.functional.normalize(s.vectors[k][s.mask[k]], dim=-1) for s in (x, y))
        deviations = u.var(0, correction=0).sqrt() - v.var(0, correction=0).sqrt()
        w = torch.cdist(u, v).square().mean() + deviations.square().sum()

        def kernel(p, q):
            return sum(2 * s / (2 * s + torch.cdist(p, q).square()) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)).mean()

        total += 0.5 * w + 0.01 * (kernel(u, u) + kernel(v, v) - 2 * kernel(u, v))
    return total / len(x.mask)


def test_value_is_that_of_the_formulas():
    for seed in range(3):
        x, y = ragged(seed=seed)
        torch.testing.assert_close(posterior(x, y), by_hand(x, y))


def test_one_token_on_each_side_closed_form():
    # No deviation; |x - y|^2 = 2 for orthogonal vectors, 0 for equal ones.
    one = torch.ones(1, 1).bool()
    e1, e2 = torch.eye(2, dtype=torch.float64)[:, None, None]
    kernel = sum(2 * s / (2 * s + 2) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))
    assert abs(float(posterior(Tokens(e1, one), Tokens(5 * e2, one))) - (0.5 * 2 + 0.01 * 2 * (7 - kernel))) < 1e-12
    assert posterior(Tokens(e1, one), Tokens(3 * e1, one)).abs() < 1e-12


def test_equal_sets_have_no_discrepancy_and_differ_from_the_product_plan_by_nothing():
    x, _ = ragged()
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    other = Tokens(x.vectors[:, order], x.mask[:, order])
    torch.testing.assert_close(posterior(x, other), product(x, x))  # 0.5 W is the product cost, the rest is 0


def test_the_discrepancy_is_never_negative_and_tells_sets_apart(monkeypatch):
    monkeypatch.setattr(module, "WASSERSTEIN", 0.0)
    for seed in range(5):
        x, y = ragged(seed=seed)
        assert posterior(x, y) > 1e-4
        assert posterior(x, x).abs() < 1e-12


def test_gradients_are_finite_where_nothing_varies(monkeypatch):
    # One token, and two tokens alike: the standard deviation is 0, where its square root has no slope.
    x, y = ragged()
    x.vectors[1] = x.vectors[1, 0]
    for side in (0, 1):
        pair = [Tokens(s.vectors.clone(), s.mask) for s in (x, y)]
        pair[side].vectors.requires_grad_()
        posterior(*pair).backward()
        grad = pair[side].vectors.grad
        assert torch.isfinite(grad).all()
        assert (grad[1][pair[side].mask[1]] != 0).any()


def test_deviations_that_agree_cost_less(monkeypatch):
    # Two sets with equal means; the spread of y is along x's in one and across it in the other.
    monkeypatch.setattr(module, "DISCREPANCY", 0.0)
    angle = torch.tensor(0.4, dtype=torch.float64)
    up = [[angle.cos(), angle.sin(), 0.0], [angle.cos(), -angle.sin(), 0.0]]
    across = [[angle.cos(), 0.0, angle.sin()], [angle.cos(), 0.0, -angle.sin()]]
    two = torch.ones(1, 2).bool()
    x, same, other = (Tokens(torch.tensor(rows, dtype=torch.float64)[None], two) for rows in (up, up, across))
    torch.testing.assert_close(product(x, same), product(x, other))
    torch.testing.assert_close(posterior(x, other) - posterior(x, same), 0.5 * 2 * angle.sin() ** 2)
