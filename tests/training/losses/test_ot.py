from __future__ import annotations

import pytest
import torch

from optical.models.tokens import Tokens
from optical.training.losses.ot import PlanOptions, ot
from optical.transport.cost import cosine_cost, norm_mass, uniform_mass, weighted_mass
from optical.transport.partial import partial
from optical.transport.sinkhorn import sinkhorn
from optical.transport.unbalanced import unbalanced


def batch(dtype=torch.float64):
    """Three ragged sentences, one of a single token."""
    x, y = torch.randn(3, 6, 8, dtype=dtype), torch.randn(3, 4, 8, dtype=dtype)
    mx = torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [True] + [False] * 5])
    my = torch.tensor([[True] * 3 + [False], [True] * 4, [True] * 4])
    return Tokens(x, mx), Tokens(y, my)


def test_value_is_the_mean_cost_of_the_plans():
    x, y = batch()
    C = cosine_cost(x.vectors, y.vectors)
    P = sinkhorn(C, uniform_mass(x.mask, C.dtype), uniform_mass(y.mask, C.dtype), 0.1, tolerance=1e-9, max_steps=5000)
    expected = (P.coupling * C).sum() / 3
    torch.testing.assert_close(ot(x, y, PlanOptions(0.1, tolerance=1e-9, max_steps=5000)).loss, expected)


def test_identical_token_sets_cost_almost_nothing_whatever_their_order():
    x, _ = batch()
    shuffled = Tokens(x.vectors[:1, torch.randperm(6)], x.mask[:1])
    first = Tokens(x.vectors[:1], x.mask[:1])
    assert ot(first, shuffled, PlanOptions(0.01, max_steps=2000)).loss < 1e-6


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
    exactly = {"tolerance": 1e-12, "max_steps": 50_000}

    def regularised(vectors):
        C = cosine_cost(vectors, y.vectors)
        P = sinkhorn(C, uniform_mass(x.mask, C.dtype), uniform_mass(y.mask, C.dtype), 0.1, **exactly).coupling
        entropy = -(torch.xlogy(P, P) - P).sum()
        return ((P * C).sum() - 0.1 * entropy) / 3

    vectors = x.vectors.clone().requires_grad_()
    ot(Tokens(vectors, x.mask), y, PlanOptions(0.1, **exactly)).loss.backward()
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
        loss = ot(Tokens(vectors, x.mask), y, PlanOptions(0.05)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_the_doubt_travels_with_the_value():
    x, y = batch()
    hurried = ot(x, y, PlanOptions(0.02, tolerance=1e-9, max_steps=2))
    assert hurried.error > 1e-3
    assert hurried.steps == 2


def test_half_precision_tokens_are_solved_in_float32():
    x, y = batch(torch.float32)
    loss = ot(Tokens(x.vectors.bfloat16(), x.mask), y).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, ot(x, y).loss, rtol=2e-2, atol=1e-3)  # bfloat16 keeps 8 bits of the vectors


@pytest.mark.parametrize("how", [{}, {"marginals": "unbalanced"}, {"marginals": "partial"}])
@pytest.mark.parametrize("epsilon", [0.0, -0.1, float("nan"), (), (0.1, 0.0)])
def test_epsilon_must_be_positive(how, epsilon):
    with pytest.raises(
        ValueError, match=r"epsilon must be positive and finite, in units of the cost; received .*; try"
    ):
        ot(*batch(), PlanOptions(epsilon, **how))


@pytest.mark.parametrize("how", [{}, {"solver": "exact"}, {"solver": "ipot"}, {"marginals": "partial", "share": 1.0}])
def test_a_prior_decides_the_plan_and_adds_nothing_to_the_loss(how):
    x, y = (Tokens(side.vectors[:1], side.mask[:1]) for side in batch())
    target = torch.tensor([2, 0, 1, 1, 2, 0])[:, None]
    prior = torch.full((1, 6, 4), 5.0).scatter(2, target[None], 0.0)
    vectors, same = x.vectors.clone().requires_grad_(), x.vectors.clone().requires_grad_()
    options = PlanOptions(0.05, tolerance=1e-6, max_steps=2000, **how)
    found = ot(Tokens(vectors, x.mask), y, options, prior=prior).loss
    # Six tokens to three of the same mass: each goes whole where the prior is 0, and is pulled there alone.
    expected = cosine_cost(same, y.vectors)[0].gather(1, target).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    found.backward()
    expected.backward()
    torch.testing.assert_close(vectors.grad, same.grad, rtol=1e-3, atol=1e-4)


def test_a_prior_that_is_the_same_for_all_of_a_token_changes_no_balanced_plan():
    x, y = batch()
    how = PlanOptions(0.1, tolerance=1e-9, max_steps=5000)
    prior = 3 * torch.rand(3, 6, 1).double() + 2 * torch.rand(3, 1, 4).double()
    torch.testing.assert_close(ot(x, y, how, prior=prior).loss, ot(x, y, how).loss)


def test_a_prior_on_padding_has_no_effect():
    x, y = batch()
    prior = torch.rand(3, 6, 4).double()
    real = x.mask[:, :, None] & y.mask[:, None, :]
    padded = torch.where(real, prior, 100.0)
    torch.testing.assert_close(ot(x, y, prior=padded).loss, ot(x, y, prior=prior).loss)


def test_a_prior_that_is_none_is_refused():
    x, y = batch()
    prior = torch.rand(3, 6, 4)
    for bad in (prior[:2], prior[:, :5], torch.where(prior < 0.5, torch.inf, prior)):
        with pytest.raises(ValueError, match="prior needs one finite price for each pair"):
            ot(x, y, prior=bad)


def test_masses_decide_what_is_moved():
    x, y = batch()
    a = weighted_mass(torch.tensor([[0.0, 5, 1, 1, 1, 1], [3, 1, 9, 9, 9, 9], [7, 9, 9, 9, 9, 9]]), x.mask).double()
    b = norm_mass(y.vectors, y.mask)
    for how in ({}, {"solver": "exact"}, {"solver": "ipot"}, {"marginals": "unbalanced"}, {"marginals": "partial"}):
        given = ot(x, y, PlanOptions(0.1, **how), a=a, b=b)
        assert abs(float(given.loss - ot(x, y, PlanOptions(0.1, **how)).loss)) > 1e-3
        vectors = x.vectors.clone().requires_grad_()
        ot(Tokens(vectors, x.mask), y, PlanOptions(0.1, **how), a=a, b=b).loss.backward()
        assert (vectors.grad[0, 0] == 0).all()  # a real token without mass is not trained
        assert (vectors.grad[0, 1] != 0).any()


def test_masses_that_are_none_are_refused():
    x, y = batch()
    good = uniform_mass(x.mask, torch.float64)
    on_padding, negative, empty = good.clone(), good.clone(), good.clone()
    on_padding[1, 5], negative[1, 0], empty[2] = 0.1, -0.1, 0
    for bad in (on_padding, negative, empty, good.log()):
        with pytest.raises(ValueError, match=r"a must be finite, 0 or more on real tokens.*sentence [012]"):
            ot(x, y, a=bad)
    with pytest.raises(ValueError, match=r"b needs one mass for each token.*received \(3, 6\)"):
        ot(x, y, b=good)
    with pytest.raises(ValueError, match="equal total masses"):
        ot(x, y, a=2 * good)


def test_how_much_is_moved_is_said():
    x, y = batch()
    tight = {"tolerance": 1e-9, "max_steps": 5000}
    assert abs(float(ot(x, y, PlanOptions(**tight)).moved) - 1) < 1e-8
    assert abs(float(ot(x, y, PlanOptions(marginals="partial", share=0.3, **tight)).moved) - 0.3) < 1e-8
    little, much = (float(ot(x, y, PlanOptions(marginals="unbalanced", slack=s, **tight)).moved) for s in (0.05, 5.0))
    assert little < 0.5 < much < 1


def test_names_that_are_unknown_or_do_not_go_together_are_refused():
    with pytest.raises(
        ValueError, match="unknown marginals; received 'loose'; choose one of balanced, unbalanced, part"
    ):
        ot(*batch(), PlanOptions(marginals="loose"))
    with pytest.raises(ValueError, match="unknown solver; received 'emd'; choose one of sinkhorn, ipot, exact"):
        ot(*batch(), PlanOptions(solver="emd"))
    with pytest.raises(ValueError, match="unbalanced plans are found by sinkhorn only; received solver 'ipot'"):
        ot(*batch(), PlanOptions(marginals="unbalanced", solver="ipot"))
    with pytest.raises(ValueError, match="beta must be one positive number"):
        ot(*batch(), PlanOptions((0.1, 0.05), solver="ipot"))


def entropy(P):
    return -(torch.xlogy(P, P) - P).sum()


def kl(p, q):
    return (torch.xlogy(p, p / q) - p + q).sum()


def unbalanced_optimum(C, a, b):
    P = unbalanced(C, a, b, 0.1, 0.3, tolerance=1e-13, max_steps=50_000).coupling
    product = a[:, :, None] * b[:, None, :]
    return (P * C).sum() + 0.1 * kl(P, product) + 0.3 * (kl(P.sum(-1), a) + kl(P.sum(-2), b))


def partial_optimum(C, a, b):
    P = partial(C, a, b, 0.1, 0.6, tolerance=1e-13, max_steps=50_000).coupling
    return (P * C).sum() - 0.1 * (entropy(P) + entropy(a - P.sum(-1)) + entropy(b - P.sum(-2)))


@pytest.mark.parametrize(
    ("how", "optimum"),
    [
        ({"marginals": "unbalanced", "slack": 0.3}, unbalanced_optimum),
        ({"marginals": "partial", "share": 0.6}, partial_optimum),
    ],
)
def test_gradient_is_that_of_the_loose_optimum(how, optimum):
    # <P, C> is not the optimum, but with P detached its gradient is (Danskin); central differences of the optimum.
    x, y = batch()

    def regularised(vectors):
        total = 0.0
        for k in range(3):  # without padding, so that no logarithm meets a mass of 0
            C = cosine_cost(vectors[k][x.mask[k]][None], y.vectors[k][y.mask[k]][None])
            a, b = (torch.full((1, size), 1 / size, dtype=C.dtype) for size in C.shape[1:])
            total += optimum(C, a, b)
        return total / 3

    vectors = x.vectors.clone().requires_grad_()
    ot(Tokens(vectors, x.mask), y, PlanOptions(0.1, tolerance=1e-13, max_steps=50_000, **how)).loss.backward()
    direction, step = torch.randn_like(vectors), 1e-4
    finite = (regularised(x.vectors + step * direction) - regularised(x.vectors - step * direction)) / (2 * step)
    torch.testing.assert_close((vectors.grad * direction).sum(), finite, rtol=1e-3, atol=1e-7)
