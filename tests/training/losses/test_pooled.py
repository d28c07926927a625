from __future__ import annotations

import pytest
import torch

from optical.training.losses.pooled import pooled
from tests.training.losses.conftest import gradient_is_the_slope


def test_cosine_is_half_the_squared_distance_of_unit_vectors():
    x = torch.nn.functional.normalize(torch.randn(7, 5), dim=-1)
    y = torch.nn.functional.normalize(torch.randn(7, 5), dim=-1)
    torch.testing.assert_close(pooled(x, y), 0.5 * (x - y).square().sum(-1).mean())


def test_squared_is_the_mean_over_all_entries():
    x, y = torch.randn(7, 5), torch.randn(7, 5)
    torch.testing.assert_close(pooled(x, y, "squared"), (x - y).square().mean())
    assert pooled(x, x, "squared") == 0


def test_cosine_ignores_length_and_squared_does_not():
    x, y = torch.randn(7, 5), torch.randn(7, 5)
    torch.testing.assert_close(pooled(3 * x, y), pooled(x, y))
    assert pooled(3 * x, y, "squared") > pooled(x, y, "squared")


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"received \(7, 5\) and \(7, 6\)"):
        pooled(torch.randn(7, 5), torch.randn(7, 6))


def test_vectors_that_are_not_finite_and_unknown_distances_are_refused():
    x = torch.randn(7, 5)
    broken = x.clone()
    broken[3] = float("nan")
    with pytest.raises(ValueError, match="first: sentence 3"):
        pooled(broken, x)
    with pytest.raises(ValueError, match="unknown distance; received 'l1'; choose one of cosine, squared"):
        pooled(x, x, "l1")


@pytest.mark.parametrize("distance", ["cosine", "squared"])
def test_gradient_is_the_slope_and_arguments_stay(distance):
    x, y = torch.randn(2, 7, 5, dtype=torch.float64)
    before = x.clone(), y.clone()
    gradient_is_the_slope(lambda at: pooled(at, y, distance), x)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@pytest.mark.parametrize("distance", ["cosine", "squared"])
def test_half_precision_is_cast_up(distance):
    x, y = torch.randn(2, 7, 5).bfloat16()
    loss = pooled(x, y, distance)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, pooled(x.float(), y.float(), distance))
