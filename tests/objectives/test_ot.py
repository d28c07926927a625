from __future__ import annotations

import pytest
import torch

from optical.objectives.ot import ot
from optical.tokens import Tokens
from optical.transport.cost import cosine_cost, uniform_mass
from optical.transport.sinkhorn import sinkhorn


def batch(dtype=torch.float64):
    """Two ragged sentences and an empty one."""
    x, y = torch.randn(3, 6, 8, dtype=dtype), torch.randn(3, 4, 8, dtype=dtype)
    mx = torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [False] * 6])
    my = torch.tensor([[True] * 3 + [False], [True] * 4, [True] * 4])
    return Tokens(x, mx), Tokens(y, my)


def test_value_is_the_mean_cost_of_the_plans():
    x, y = batch()
    C = cosine_cost(x.vectors, y.vectors)[:2]
    P = sinkhorn(
        C, uniform_mass(x.mask[:2], C.dtype), uniform_mass(y.mask[:2], C.dtype), 0.1, tolerance=1e-9, max_steps=5000
    )
    expected = (P.coupling * C).sum() / 3  # the empty sentence counts, with cost 0
    torch.testing.assert_close(ot(x, y, 0.1, tolerance=1e-9, max_steps=5000).loss, expected)


def test_identical_token_sets_cost_almost_nothing_whatever_their_order():
    x, _ = batch()
    shuffled = Tokens(x.vectors[:1, torch.randperm(6)], x.mask[:1])
    first = Tokens(x.vectors[:1], x.mask[:1])
    assert ot(first, shuffled, 0.01, max_steps=2000).loss < 1e-6


def test_padding_has_no_effect_on_value_or_gradient():
    x, y = batch()
    vectors = x.vectors.clone().requires_grad_()
    ot(Tokens(vectors, x.mask), y).loss.backward()
    assert (vectors.grad[~x.mask] == 0).all()
    assert (vectors.grad[0] != 0).any()
    noise = torch.where(x.mask[..., None], x.vectors, 100 * torch.randn_like(x.vectors))
    torch.testing.assert_close(ot(Tokens(noise, x.mask), y).loss, ot(x, y).loss)


def test_gradient_is_that_of_the_regularised_optimum():
    # Danskin: with P detached, d<P, C> is the gradient of OT_epsilon = min <P, C> - epsilon H(P), here by central
    # differences along a random direction.
    x, y = batch()
    x, y = Tokens(x.vectors[:2], x.mask[:2]), Tokens(y.vectors[:2], y.mask[:2])
    exactly = {"tolerance": 1e-12, "max_steps": 50_000}

    def regularised(vectors):
        C = cosine_cost(vectors, y.vectors)
        P = sinkhorn(C, uniform_mass(x.mask, C.dtype), uniform_mass(y.mask, C.dtype), 0.1, **exactly).coupling
        entropy = -(torch.xlogy(P, P) - P).sum()
        return ((P * C).sum() - 0.1 * entropy) / 2

    vectors = x.vectors.clone().requires_grad_()
    ot(Tokens(vectors, x.mask), y, 0.1, **exactly).loss.backward()
    direction = torch.randn_like(vectors)
    step = 1e-4
    finite = (regularised(x.vectors + step * direction) - regularised(x.vectors - step * direction)) / (2 * step)
    torch.testing.assert_close((vectors.grad * direction).sum(), finite, rtol=1e-3, atol=1e-7)


def test_descending_the_gradient_brings_tokens_to_their_counterparts():
    x, y = batch(torch.float32)
    vectors = torch.randn(3, 6, 8, requires_grad=True)
    optimizer = torch.optim.Adam([vectors], lr=0.05)
    losses = []
    for _ in range(60):
        loss = ot(Tokens(vectors, x.mask), y, 0.05).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_the_doubt_travels_with_the_value():
    x, y = batch()
    hurried = ot(x, y, 0.02, tolerance=1e-9, max_steps=2)
    assert hurried.error > 1e-3
    assert hurried.steps == 2


def test_half_precision_tokens_are_solved_in_float32():
    x, y = batch(torch.float32)
    loss = ot(Tokens(x.vectors.bfloat16(), x.mask), y).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, ot(x, y).loss, rtol=2e-2, atol=1e-3)  # bfloat16 keeps 8 bits of the vectors


def test_epsilon_must_be_positive():
    with pytest.raises(ValueError, match="epsilon"):
        ot(*batch(), 0.0)
