from __future__ import annotations

from itertools import permutations

import torch

from optical.models.tokens import Tokens
from optical.training.losses.assignment import assignment
from optical.training.losses.greedy import greedy
from optical.transport.cost import cosine_cost, uniform_mass
from optical.transport.exact import exact
from tests.training.losses.conftest import ragged


def test_value_is_the_least_over_all_alignments():
    x, y = ragged()
    first = Tokens(x.vectors[:1], x.mask[:1]), Tokens(y.vectors[:1], y.mask[:1])  # 6 and 3 tokens
    C = cosine_cost(first[0].vectors, first[1].vectors)[0, :, :3]
    least = min(C[list(rows), [0, 1, 2]].mean() for rows in permutations(range(6), 3))
    torch.testing.assert_close(assignment(*first), least)


def test_greedy_is_never_below_it_and_sometimes_above():
    above = 0
    for seed in range(10):
        x, y = ragged(seed=seed)
        best, first_come = assignment(x, y), greedy(x, y)
        assert first_come >= best - 1e-12
        above += bool(first_come > best + 1e-6)
    assert above > 0


def test_with_as_many_tokens_on_both_sides_it_is_exact_transport():
    x, y = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    C, mass = cosine_cost(x, y), uniform_mass(mask, torch.float64)
    expected = (exact(C, mass, mass).coupling * C).sum((1, 2)).mean()
    torch.testing.assert_close(assignment(Tokens(x, mask), Tokens(y, mask)), expected)
