from __future__ import annotations

import pytest
import torch

from optical.transport.cost import cosine_cost, norm_mass, uniform_mass, weighted_mass


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


def test_norm_mass_is_the_share_of_the_lengths_and_zero_on_padding():
    vectors = torch.tensor([[[3.0, 4.0], [0.0, 15.0], [float("nan"), 1.0]], [[1.0, 0.0], [9.0, 9.0], [1.0, 0.0]]])
    mask = torch.tensor([[True, True, False], [True, False, True]])
    mass = norm_mass(vectors.requires_grad_(), mask)
    torch.testing.assert_close(mass, torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]]))
    assert not mass.requires_grad


@pytest.mark.parametrize("garbage", [1e9, -1.0, float("nan"), float("inf")])
def test_weighted_mass_is_the_share_of_the_weights_and_exactly_zero_on_padding(garbage):
    weights = torch.tensor([[1.0, 3.0, garbage], [5.0, 0.0, 0.0], [0.0, 0.0, garbage], [garbage] * 3])
    mask = torch.tensor([[True, True, False], [True, True, True], [True, True, False], [False] * 3])
    kept = weights.clone()
    mass = weighted_mass(weights, mask)
    expected = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(mass, expected)
    assert (mass[~mask] == 0).all()
    torch.testing.assert_close(weights, kept, equal_nan=True)


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1e30, 3e38])
def test_masses_do_not_depend_on_the_unit_of_the_weights(scale):
    weights = torch.tensor([[1.0, 0.5, 1.0, 7.0]]) * scale
    mask = torch.tensor([[True, True, True, False]])
    torch.testing.assert_close(weighted_mass(weights, mask), torch.tensor([[0.4, 0.2, 0.4, 0.0]]), rtol=1e-6, atol=0)


def test_half_precision_weights_are_cast_up():
    mask = torch.ones(1, 2).bool()
    assert weighted_mass(torch.ones(1, 2).bfloat16(), mask).dtype == torch.float32
    assert norm_mass(torch.ones(1, 2, 3).half(), mask).dtype == torch.float32
    assert norm_mass(torch.ones(1, 2, 3).double(), mask).dtype == torch.float64


def test_weights_that_are_no_masses_are_refused():
    mask = torch.ones(1, 2).bool()
    for bad in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite and not negative on real tokens; received"):
            weighted_mass(torch.tensor([[1.0, bad]]), mask)
    with pytest.raises(ValueError, match=r"received \(1, 3\) and \(1, 2\)"):
        weighted_mass(torch.ones(1, 3), mask)
