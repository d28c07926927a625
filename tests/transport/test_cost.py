from __future__ import annotations

import pytest
import torch

from optical.transport.cost import cosine_cost, uniform_mass


def test_cost_is_one_minus_the_cosine_of_each_pair():
    x, y = torch.randn(2, 3, 5), torch.randn(2, 4, 5)
    C = cosine_cost(x, y)
    for b in range(2):
        for i in range(3):
            for j in range(4):
                expected = 1 - torch.nn.functional.cosine_similarity(x[b, i], y[b, j], dim=0)
                torch.testing.assert_close(C[b, i, j], expected)


def test_cost_normalises_the_vectors_not_the_rows_of_the_matrix():
    x, y = torch.randn(1, 3, 5), torch.randn(1, 4, 5)
    scaled = cosine_cost(x * torch.tensor([1.0, 10.0, 0.1])[None, :, None], 7 * y)
    torch.testing.assert_close(scaled, cosine_cost(x, y))


def test_zero_vectors_cost_one_and_give_no_nan():
    x = torch.zeros(1, 2, 3, requires_grad=True)
    C = cosine_cost(x, torch.randn(1, 2, 3))
    C.sum().backward()
    torch.testing.assert_close(C, torch.ones(1, 2, 2))
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_is_cast_up_and_double_stays(given, expected):
    assert cosine_cost(torch.randn(1, 2, 3).to(given), torch.randn(1, 2, 3).to(given)).dtype == expected


def test_uniform_mass_is_one_over_the_real_tokens_and_zero_on_padding():
    mass = uniform_mass(torch.tensor([[True, True, False], [True, True, True], [False, False, False]]))
    torch.testing.assert_close(mass, torch.tensor([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.0, 0.0]]))
