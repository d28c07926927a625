from __future__ import annotations

import pytest
import torch

from optical.objectives.pooled import pooled


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
