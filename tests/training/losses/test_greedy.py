from __future__ import annotations

import torch

from optical.models.tokens import Tokens
from optical.training.losses.assignment import assignment
from optical.training.losses.greedy import greedy
from optical.transport.cost import cosine_cost
from tests.training.losses.conftest import ragged


def at_angles(*degrees: float) -> Tokens:
    """Unit vectors in the plane, one sentence."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return Tokens(torch.stack((angle.cos(), angle.sin()), -1)[None], torch.ones(1, len(degrees)).bool())


def one_by_one(x: Tokens, y: Tokens) -> float:
    """Compute the value as the paper puts it in words, sentence by sentence and pair by pair."""
    total = 0.0
    for k in range(len(x.mask)):
        C = cosine_cost(x.vectors[k][x.mask[k]][None], y.vectors[k][y.mask[k]][None])[0]
        rows, columns, costs = list(range(C.shape[0])), list(range(C.shape[1])), []
        while rows and columns:
            cost, i, j = min((float(C[i, j]), i, j) for i in rows for j in columns)
            rows.remove(i)
            columns.remove(j)
            costs.append(cost)
        total += sum(costs) / len(costs)
    return total / len(x.mask)


def test_value_is_that_of_taking_one_pair_after_another():
    for seed in range(5):
        x, y = ragged(seed=seed)
        assert abs(float(greedy(x, y)) - one_by_one(x, y)) < 1e-12


def test_the_nearest_pair_goes_first_even_where_that_costs_more_in_the_end():
    x, y = at_angles(0, 20), at_angles(8, -9)  # 0 takes 8, and 20 is left with -9; best are 0 with -9, 20 with 8
    taken, best = (torch.deg2rad(torch.tensor(apart, dtype=torch.float64)) for apart in ((8, 29), (9, 12)))
    torch.testing.assert_close(greedy(x, y), (1 - taken.cos()).mean())
    torch.testing.assert_close(assignment(x, y), (1 - best.cos()).mean())


def test_tokens_left_over_on_the_longer_side_have_no_gradient():
    x, y = at_angles(0, 50, 100), at_angles(1, 49)
    vectors = x.vectors.requires_grad_()
    greedy(Tokens(vectors, x.mask), y).backward()
    moved = vectors.grad.abs().sum(-1)[0] > 0
    assert moved.tolist() == [True, True, False]
