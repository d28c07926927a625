from __future__ import annotations

import math

import pytest
import torch

from optical.training.losses.contrastive import contrastive
from tests.training.losses.conftest import gradient_is_the_slope


def vectors(count=5, d=8, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, d, generator=random, dtype=torch.float64)


def test_value_is_the_cross_entropy_of_finding_ones_own_translation():
    x, y = vectors()
    cosine = torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=-1)
    expected = torch.nn.functional.cross_entropy(cosine / 0.1, torch.arange(5))
    torch.testing.assert_close(contrastive(x, y, 0.1, false_negative=2.0), expected)


def test_orthogonal_closed_form():
    # cos = 1 for the right one, 0 for the b - 1 others: log(1 + (b - 1) exp(-1 / temperature)).
    eye = torch.eye(4, dtype=torch.float64)
    for temperature in (1.0, 0.3):
        expected = math.log(1 + 3 * math.exp(-1 / temperature))
        assert abs(float(contrastive(eye, eye, temperature)) - expected) < 1e-12


def test_length_has_no_effect_and_the_order_of_the_batch_none_either():
    x, y = vectors()
    order = torch.tensor([2, 0, 4, 1, 3])
    torch.testing.assert_close(contrastive(3 * x, 0.1 * y), contrastive(x, y))
    torch.testing.assert_close(contrastive(x[order], y[order]), contrastive(x, y))


def test_a_sentence_that_stands_twice_in_the_batch_is_no_wrong_answer():
    x, y = vectors()
    twice = torch.cat((y, 2 * y[:1]))
    again = torch.cat((x, x[:1]))
    # Both copies of row 0 see the four others only, as row 0 alone does; the rest see one wrong answer more.
    loss = contrastive(again, twice, 0.1, false_negative=1.0)
    cosine = torch.nn.functional.cosine_similarity(again[:, None], twice[None], dim=-1) / 0.1
    cosine[0, 5] = cosine[5, 0] = -torch.inf
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(cosine, torch.arange(6)))


def test_near_translations_are_left_out_from_the_stated_cosine_on():
    x, y = vectors(count=2)
    y[1] = y[0] / y[0].norm() + 0.3 * torch.nn.functional.normalize(y[1] - y[1] @ y[0] / (y[0] @ y[0]) * y[0], dim=0)
    cosine = float(torch.nn.functional.cosine_similarity(y[0], y[1], dim=0))
    assert contrastive(x, y, false_negative=cosine - 1e-4) == 0  # nothing wrong is left
    assert contrastive(x, y, false_negative=cosine + 1e-4) > 0


def test_one_sentence_has_no_wrong_answer_and_no_gradient():
    x, y = vectors(count=1)
    x.requires_grad_()
    loss = contrastive(x, y)
    loss.backward()
    assert loss == 0
    assert (x.grad == 0).all()


def test_gradient_is_the_slope_in_both_arguments_and_finite_at_a_zero_vector():
    x, y = vectors()
    gradient_is_the_slope(lambda at: contrastive(at, y), x)
    gradient_is_the_slope(lambda at: contrastive(x, at), y)
    x = x.clone()
    x[1] = 0
    x.requires_grad_()
    contrastive(x, y).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast_up_and_autocast_has_no_say(half):
    x, y = (t.to(half) for t in vectors())
    loss = contrastive(x, y)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, contrastive(x.float(), y.float()))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(contrastive(x, y), loss)


def test_arguments_stay_as_they_were():
    x, y = vectors()
    before = x.clone(), y.clone()
    contrastive(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=r"temperature must be positive.*received.*try 0\.05"):
        contrastive(*vectors(), temperature)
