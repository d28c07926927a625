"""The loss on shifted embeddings of a model so small that the worst shift is known."""

from __future__ import annotations

import pytest
import torch

from optical.config.training import Robustness
from optical.training.robust import shifted_loss

FEATURES = {"input_ids": torch.tensor([[1, 2, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}


@pytest.fixture
def embedding():
    made = torch.nn.Embedding(4, 2)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[9.0, 9.0], [3.0, 4.0], [0.0, 5.0], [1.0, 1.0]]))
    return made


def linear(embedding, weight=(3.0, 4.0)):
    """A loss that is linear in the embeddings of all tokens, padding too."""
    return lambda: (embedding(FEATURES["input_ids"]) @ torch.tensor(weight)).sum()


def value_of(embedding, options, seed=0):
    return float(shifted_loss(linear(embedding), embedding, FEATURES, options, seed).detach())


@pytest.mark.parametrize(("norm", "added"), [("l2", 2 * 0.5 * 5), ("linf", 2 * 0.5 / 2**0.5 * 7)])
@pytest.mark.parametrize("method", ["fgm", "pgd"])
def test_an_adversary_goes_as_far_as_the_ball_on_real_tokens(embedding, norm, added, method):
    # A mean token is 5 long, so a tenth of it is a radius of 0.5; the gradient has length 5 at each of two tokens.
    clean = float(linear(embedding)().detach())
    options = Robustness(method=method, norm=norm, radius=0.1, steps=8)
    assert value_of(embedding, options) == pytest.approx(
        clean + added,
        rel=1e-3,  # eight steps of PGD end a little beside the corner of a circle
    )


def test_noise_stays_in_the_ball_and_depends_on_seed_and_batch_alone(embedding):
    options = Robustness(method="noise", radius=0.1)
    found = [value_of(embedding, options, seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    clean = float(linear(embedding)().detach())
    assert all(0 < abs(value - clean) <= 5 for value in found)


def test_the_loss_has_the_gradient_of_the_weights_and_a_search_leaves_none(embedding):
    value = shifted_loss(linear(embedding), embedding, FEATURES, Robustness(method="fgm", radius=0.1))
    assert embedding.weight.grad is None
    value.backward()
    torch.testing.assert_close(embedding.weight.grad[1], torch.tensor([3.0, 4.0]))


def test_a_method_that_shifts_nothing_is_refused(embedding):
    with pytest.raises(ValueError, match="'augment' shifts no embeddings; choose one of fgm, pgd, noise"):
        shifted_loss(linear(embedding), embedding, FEATURES, Robustness(method="augment"))
