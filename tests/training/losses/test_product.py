from __future__ import annotations

import torch

from optical.models.tokens import Tokens
from optical.training.losses.product import product
from optical.transport.cost import cosine_cost, uniform_mass
from optical.transport.sinkhorn import sinkhorn
from tests.training.losses.conftest import ragged


def test_value_is_the_cost_of_the_product_coupling():
    x, y = ragged()
    a, b = uniform_mass(x.mask, torch.float64), uniform_mass(y.mask, torch.float64)
    expected = torch.einsum("bn,bnm,bm->b", a, cosine_cost(x.vectors, y.vectors), b).mean()
    torch.testing.assert_close(product(x, y), expected)


def test_it_is_never_below_transport_and_its_limit_for_a_large_epsilon():
    x, y = ragged()
    C = cosine_cost(x.vectors, y.vectors)
    a, b = uniform_mass(x.mask, C.dtype), uniform_mass(y.mask, C.dtype)
    blunt, sharp = ((sinkhorn(C, a, b, e).coupling * C).sum((1, 2)).mean() for e in (1e4, 0.05))
    torch.testing.assert_close(product(x, y), blunt, rtol=1e-3, atol=1e-4)
    assert sharp < product(x, y) - 0.05


def test_it_is_zero_only_where_all_tokens_are_one_vector():
    one = torch.randn(1, 1, 5, dtype=torch.float64)
    same = Tokens(one.repeat(1, 3, 1), torch.ones(1, 3).bool())
    assert product(same, Tokens(2 * one, torch.ones(1, 1).bool())).abs() < 1e-12
    x, _ = ragged()
    assert product(x, x) > 0.3  # equal sets, but of different tokens
