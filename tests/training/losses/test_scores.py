from __future__ import annotations

import pytest
import torch

from optical.training.losses.scores import scores
from tests.training.losses.conftest import gradient_is_the_slope


def unit(*shape, dtype=torch.float64):
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=dtype), dim=-1)


def test_value_is_the_kl_divergence_of_the_score_distributions():
    x, y, documents = unit(3, 8), unit(3, 8), unit(20, 8)
    p = torch.softmax(y @ documents.T / 0.1, dim=-1)
    q = torch.softmax(x @ documents.T / 0.1, dim=-1)
    torch.testing.assert_close(scores(x, y, documents, 0.1), (p * (p / q).log()).sum(-1).mean())


def test_it_is_zero_for_the_teacher_itself_and_positive_elsewhere():
    x, y, documents = unit(3, 8), unit(3, 8), unit(20, 8)
    assert scores(y, y, documents).abs() < 1e-12
    assert scores(x, y, documents) > 0


def test_only_the_ranking_of_the_collection_matters():
    # A difference that is orthogonal to every document is invisible to this objective.
    documents = unit(4, 8)
    y = unit(1, 8)
    invisible = torch.linalg.svd(documents)[2][-1]
    torch.testing.assert_close(scores(y + invisible, y, documents), torch.zeros((), dtype=torch.float64))


def test_gradient_is_bounded_by_two_over_the_temperature():
    x, y, documents = unit(1, 8).requires_grad_(), unit(1, 8), unit(50, 8)
    scores(x, y, documents, 0.02).backward()
    assert 0 < x.grad.norm() <= 2 / 0.02


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be positive"):
        scores(unit(1, 8), unit(1, 8), unit(2, 8), 0.0)


def test_gradient_is_the_slope():
    x, y, documents = unit(3, 8), unit(3, 8), unit(20, 8)
    gradient_is_the_slope(lambda at: scores(at, y, documents, 0.1), x)


def test_what_cannot_be_ranked_is_refused():
    x, y, documents = unit(3, 8), unit(3, 8), unit(20, 8)
    for bad in (documents[:, :7], documents[:0], documents[0]):
        with pytest.raises(ValueError, match=r"passages need vectors.*received .* for sentences \(3, 8\)"):
            scores(x, y, bad)
    broken = documents.clone()
    broken[[4, 9]] = float("nan")
    with pytest.raises(ValueError, match=r"in 2 of 20 \(first: passage 4\); embed"):
        scores(x, y, broken)
    x[1, 0] = float("inf")
    with pytest.raises(ValueError, match="first: sentence 1"):
        scores(x, y, documents)
