"""The contract of every objective of tokens: padding, order, precision, gradients, refusals."""

from __future__ import annotations

import pytest
import torch

from optical.models.tokens import Tokens
from optical.training.losses.assignment import assignment
from optical.training.losses.greedy import greedy
from optical.training.losses.ot import PlanOptions, ot
from optical.training.losses.posterior import posterior
from optical.training.losses.product import product
from tests.training.losses.conftest import gradient_is_the_slope, ragged

TIGHT = {"tolerance": 1e-12, "max_steps": 1000}
# The rows whose plan is that of an optimum to machine precision; the slope of the smoothed ones is in test_ot.
EVERY = {
    "product": product,
    "greedy": greedy,
    "assignment": assignment,
    "posterior": posterior,
    "ot exact": lambda x, y: ot(x, y, PlanOptions(solver="exact")).loss,
}
SMOOTHED = {
    "ot": lambda x, y: ot(x, y, PlanOptions(0.1, **TIGHT)).loss,
    "ot ipot": lambda x, y: ot(x, y, PlanOptions(0.5, solver="ipot", max_steps=10)).loss,
    "ot unbalanced": lambda x, y: ot(x, y, PlanOptions(0.1, marginals="unbalanced", **TIGHT)).loss,
    "ot partial": lambda x, y: ot(x, y, PlanOptions(0.1, marginals="partial", **TIGHT)).loss,
}


@pytest.fixture(params=[*EVERY.values(), *SMOOTHED.values()], ids=[*EVERY, *SMOOTHED])
def objective(request):
    return request.param


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def optimum(request):
    return request.param


def test_a_scalar_with_a_gradient_on_both_sides(objective):
    x, y = ragged()
    u, v = x.vectors.clone().requires_grad_(), y.vectors.clone().requires_grad_()
    loss = objective(Tokens(u, x.mask), Tokens(v, y.mask))
    assert loss.shape == ()
    loss.backward()
    assert (u.grad[x.mask].abs().sum(-1) > 0).any()
    assert (v.grad[y.mask].abs().sum(-1) > 0).any()


def test_a_batch_costs_the_mean_of_its_sentences_without_their_padding(objective):
    x, y = ragged()
    alone = [
        objective(*(Tokens(s.vectors[k][s.mask[k]][None], torch.ones(1, s.mask[k].sum()).bool()) for s in (x, y)))
        for k in range(4)
    ]
    torch.testing.assert_close(objective(x, y), torch.stack(alone).mean(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
def test_what_padding_holds_has_no_effect_on_value_or_gradient(objective, garbage):
    x, y = ragged()
    clean, dirty = x.vectors.clone().requires_grad_(), x.vectors.masked_fill(~x.mask[..., None], garbage)
    dirty.requires_grad_()
    other = Tokens(y.vectors.masked_fill(~y.mask[..., None], garbage), y.mask)
    first, second = objective(Tokens(clean, x.mask), y), objective(Tokens(dirty, x.mask), other)
    torch.testing.assert_close(first, second)
    first.backward()
    second.backward()
    torch.testing.assert_close(clean.grad, dirty.grad)
    assert (dirty.grad[~x.mask] == 0).all()


def test_the_order_of_tokens_has_no_effect(objective):
    x, y = ragged()
    i, j = torch.tensor([3, 5, 0, 1, 4, 2]), torch.tensor([2, 0, 3, 1])
    shuffled = objective(Tokens(x.vectors[:, i], x.mask[:, i]), Tokens(y.vectors[:, j], y.mask[:, j]))
    torch.testing.assert_close(shuffled, objective(x, y), rtol=1e-6, atol=1e-9)


def test_gradient_in_the_student_is_the_slope(optimum):
    x, y = ragged()
    gradient_is_the_slope(lambda vectors: optimum(Tokens(vectors, x.mask), y), x.vectors)


def test_gradient_in_the_teacher_is_the_slope(optimum):
    x, y = ragged()
    gradient_is_the_slope(lambda vectors: optimum(x, Tokens(vectors, y.mask)), y.vectors)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast_up(objective, half):
    x, y = ragged(torch.float32)
    low = Tokens(x.vectors.to(half), x.mask), Tokens(y.vectors.to(half), y.mask)
    loss = objective(*low)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, objective(*(Tokens(s.vectors.float(), s.mask) for s in low)))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(objective(*low), loss)


def test_arguments_stay_as_they_were(objective):
    x, y = ragged()
    before = [t.clone() for t in (*x, *y)]
    objective(x, y)
    assert all(torch.equal(old, new) for old, new in zip(before, (*x, *y), strict=True))


def test_gradients_are_finite_where_a_real_token_is_zero_and_where_all_are_alike(objective):
    x, y = ragged()
    x.vectors[0, 2] = 0
    x.vectors[3] = y.vectors[3, 2]
    vectors = x.vectors.requires_grad_()
    objective(Tokens(vectors, x.mask), y).backward()
    assert torch.isfinite(vectors.grad).all()


def test_an_empty_sentence_is_refused(objective):
    x, y = ragged()
    empty = x.mask.clone()
    empty[2] = False
    with pytest.raises(ValueError, match=r"received none in 1 of 4 \(first: sentence 2\)"):
        objective(Tokens(x.vectors, empty), y)


@pytest.mark.parametrize("name", ["greedy", "assignment", "ot exact"])
def test_equal_sets_cost_nothing_whatever_their_order_and_length(name):
    x, _ = ragged()
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    other = Tokens(3 * x.vectors[:, order], x.mask[:, order])
    assert EVERY[name](x, other).abs() < 1e-12
