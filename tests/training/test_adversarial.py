from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from optical.models.encoders import encode_batch, transformer
from optical.training.adversarial import adversarial, shifted
from optical.training.row_adam import RowsInUse
from optical.training.smoothing import Ball, Norm, ball_of, noise
from tests.conftest import bert

MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
SIZE = (3, 3, 5)
RADIUS = 0.3
LENGTH = {"l2": lambda shift: shift.norm(dim=-1), "linf": lambda shift: shift.abs().amax(dim=-1)}
TEXTS = ["i drink water .", "rain", "the children read books ."]


def linear(weights):
    """A loss with one gradient everywhere; 0 for the second token of the first row."""
    return lambda shift: (weights * shift).sum()


@pytest.fixture
def weights():
    drawn = torch.randn(SIZE, dtype=torch.float64)
    drawn[0, 1] = 0.0
    return drawn


def find(loss, steps, norm: Norm = "l2", radius=RADIUS, seed=0, size=SIZE, mask=MASK):
    generator = torch.Generator().manual_seed(seed)
    return adversarial(loss, size, mask, Ball(norm, radius), steps=steps, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_shift_is_in_the_ball_and_exactly_0_on_padding(norm, steps, weights):
    shift = find(lambda s: linear(weights)(s) + (s**2).sum(), steps, norm)
    assert (LENGTH[norm](shift) <= RADIUS * (1 + 1e-12)).all()
    assert (shift[~MASK] == 0).all()
    assert not shift.requires_grad


def test_one_step_in_l2_goes_to_the_edge_along_the_gradient(weights):
    shift = find(linear(weights), 1)
    expected = RADIUS * weights / weights.norm(dim=-1, keepdim=True)
    real = MASK & (weights != 0).any(dim=-1)
    torch.testing.assert_close(shift[real], expected[real])
    assert (shift[0, 1] == 0).all()  # no gradient, no direction, and no NaN


def test_one_step_in_linf_is_the_sign_of_the_gradient(weights):
    expected = (RADIUS * weights.sign()).masked_fill(~MASK[..., None], 0.0)
    assert torch.equal(find(linear(weights), 1, "linf"), expected)


def test_many_steps_in_linf_find_the_worst_corner_from_any_start(weights):
    # The way across the ball is 2 radii, and all steps together are 2.5.
    for seed in (1, 2):
        found = find(linear(weights), 9, "linf", seed=seed)[weights.sign().abs() * MASK[..., None] > 0]
        expected = (RADIUS * weights.sign())[weights.sign().abs() * MASK[..., None] > 0]
        torch.testing.assert_close(found, expected)


def test_many_steps_in_l2_come_near_the_worst_of_a_linear_loss_from_any_start(weights):
    # On the sphere, small steps of s radii together shrink tan(angle / 2) to the worst shift by exp(-s), s = 2.5.
    worst = find(linear(weights), 1)
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        start = noise(SIZE, MASK, Ball("l2", RADIUS), generator=generator, dtype=torch.float64)
        found = find(linear(weights), 200, seed=seed)
        before, after = (half_tangent(s, worst)[worst.norm(dim=-1) > 0] for s in (start, found))
        assert (after < 1.1 * math.exp(-2.5) * before).all()  # the start lies within the sphere, not on it


def half_tangent(a, b):
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1)
    return ((1 - cosine) / (1 + cosine)).sqrt()


def test_several_steps_beat_one_where_the_loss_bends():
    # Maximum at -0.8 radius along the first axis, but the slope at 0 points the other way.
    def loss(shift):
        first = shift[..., 0] / RADIUS
        return (0.1 * first - first**2 * (first - 1.0)).sum()

    mask = torch.ones(1, 50, dtype=torch.bool)
    one, many = (find(loss, steps, size=(1, 50, 3), mask=mask) for steps in (1, 20))
    assert loss(many) > loss(one) + 1.0


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_padded_row_gets_what_it_gets_alone(norm, weights):
    together = find(linear(weights), 1, norm)[1:2, :1]
    alone = find(linear(weights[1:2, :1]), 1, norm, size=(1, 1, 5), mask=MASK[1:2, :1])
    assert torch.equal(together, alone)


def test_tiny_gradients_have_a_direction_too():
    weights = torch.full(SIZE, 1e-30)
    shift = adversarial(linear(weights), SIZE, MASK, Ball("l2", RADIUS), steps=1)
    torch.testing.assert_close(shift[0].norm(dim=-1), torch.full((3,), RADIUS))


def test_several_steps_start_where_the_generator_says(weights):
    assert torch.equal(find(linear(weights), 2, seed=3), find(linear(weights), 2, seed=3))
    assert not torch.equal(find(linear(weights), 2, seed=3), find(linear(weights), 2, seed=4))


def test_a_loss_that_does_not_depend_on_the_shift_is_refused(weights):
    with pytest.raises(ValueError, match="does not depend on the shift; received a loss of 1 without it"):
        find(lambda _: torch.ones((), dtype=torch.float64), 1)
    parameter = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="does not depend on the shift"):
        find(lambda _: 2 * parameter, 1)


def test_no_step_and_no_ball_are_refused(weights):
    with pytest.raises(ValueError, match="at least 1 step; received 0"):
        find(linear(weights), 0)
    with pytest.raises(ValueError, match="radius"):
        find(linear(weights), 1, radius=-1.0)


class Student:
    """A tiny encoder, its embedding as it is or as row_adam replaces it, and a loss like that of training."""

    def __init__(self, folder, rows: bool) -> None:
        self.encoder = bert(folder)
        network = transformer(self.encoder).auto_model
        if rows:
            network.set_input_embeddings(RowsInUse(network.get_input_embeddings()))
        self.embedding = network.get_input_embeddings()
        self.features = self.encoder.preprocess(TEXTS)
        self.mask = self.features["attention_mask"].bool()
        self.size = (*self.mask.shape, 32)
        self.target = torch.nn.functional.normalize(torch.randn(len(TEXTS), 32), dim=-1)

    def encode(self, shift):
        with shifted(self.embedding, shift):
            return encode_batch(self.encoder, self.features)

    def loss(self, shift):
        return (1 - (self.encode(shift).sentence * self.target).sum(dim=-1)).mean()


@pytest.fixture(params=[False, True], ids=["embedding", "rows in use"])
def student(request, tmp_path):
    made = Student(tmp_path / "bert", request.param)
    made.encoder.eval()
    return made


def test_no_shift_and_a_shift_of_0_change_nothing(student):
    plain = encode_batch(student.encoder, student.features).tokens.vectors
    assert torch.equal(student.encode(None).tokens.vectors, plain)
    assert torch.equal(student.encode(torch.zeros(student.size)).tokens.vectors, plain)
    assert not torch.equal(student.encode(torch.randn(student.size)).tokens.vectors, plain)
    assert torch.equal(encode_batch(student.encoder, student.features).tokens.vectors, plain)  # it is gone afterwards


def test_a_shift_of_one_sentence_leaves_the_others_alone(student):
    shift = torch.zeros(student.size)
    shift[0] = torch.randn(student.size[1:])
    plain, moved = student.encode(None).sentence, student.encode(shift).sentence
    assert not torch.allclose(plain[0], moved[0], atol=1e-3)
    torch.testing.assert_close(moved[1:], plain[1:])


def test_the_gradient_of_the_shift_is_that_of_central_differences(student):
    student.encoder.double()
    student.target = student.target.double()
    at = (0.1 * torch.randn(student.size, dtype=torch.float64)).requires_grad_()
    direction = torch.randn(student.size, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(student.loss(at), at)
    with torch.no_grad():
        ahead, behind = student.loss(at + 1e-5 * direction), student.loss(at - 1e-5 * direction)
    torch.testing.assert_close((gradient * direction).sum(), (ahead - behind) / 2e-5, rtol=1e-3, atol=1e-9)


def test_finding_a_shift_leaves_no_gradient_anywhere(student):
    for parameter in student.encoder.parameters():
        assert parameter.grad is None
    find_in_student(student, steps=3)
    assert [n for n, p in student.encoder.named_parameters() if p.grad is not None] == []
    if isinstance(student.embedding, RowsInUse):
        assert [rows for rows, leaf in student.embedding.used if leaf.grad is not None] == []
        assert len(student.embedding.take_gradient()[0]) == 0


def test_the_gradients_of_training_are_those_of_clean_and_worst_input_alone(student):
    """Found inside the step or given beforehand, the shift leads to the same gradients."""
    worst = find_in_student(student, steps=3)

    def gradients(search):
        student.encoder.zero_grad()
        shift = find_in_student(student, steps=3) if search else worst
        (student.loss(None) + 0.7 * student.loss(shift)).backward()
        body = {n: p.grad.clone() for n, p in student.encoder.named_parameters() if p.grad is not None}
        rows = student.embedding.take_gradient() if isinstance(student.embedding, RowsInUse) else ()
        return [*body.values(), *rows]

    searched, given = gradients(True), gradients(False)
    assert len(searched) == len(given) > 10
    for a, b in zip(searched, given, strict=True):
        torch.testing.assert_close(a, b)
    assert float(searched[-1].abs().max()) > 0  # the rows of the embedding learn from both


def test_the_worst_shift_hurts_more_than_a_random_one(student):
    with torch.no_grad():
        clean, random = float(student.loss(None)), float(student.loss(random_shift(student)))
        worst = {steps: float(student.loss(find_in_student(student, steps=steps))) for steps in (1, 5)}
    assert worst[1] > max(clean, random) + 0.01
    assert worst[5] > max(clean, random) + 0.01


def ball(student):
    with torch.no_grad():
        return ball_of(student.embedding(student.features["input_ids"]), student.mask, "l2", 0.1)


def find_in_student(student, steps):
    generator = torch.Generator().manual_seed(0)
    return adversarial(student.loss, student.size, student.mask, ball(student), steps=steps, generator=generator)


def random_shift(student):
    return noise(student.size, student.mask, ball(student), generator=torch.Generator().manual_seed(0))


def test_a_shift_of_another_size_is_refused_and_removed():
    embedding = nn.Embedding(10, 5)
    with (
        pytest.raises(ValueError, match=r"received \(1, 2, 5\) for \(1, 3, 5\)"),
        shifted(embedding, torch.zeros(1, 2, 5)),
    ):
        embedding(torch.zeros(1, 3, dtype=torch.int64))
    assert embedding(torch.zeros(1, 3, dtype=torch.int64)).shape == (1, 3, 5)


def test_a_shift_that_nothing_reads_is_refused():
    """As when the model was compiled, or its embedding replaced."""
    with (
        pytest.raises(ValueError, match="no effect: the embedding was not called; received a Embedding"),
        shifted(nn.Embedding(10, 5), torch.zeros(1, 2, 5)),
    ):
        pass


def test_a_failure_inside_is_not_hidden_and_the_hook_is_gone():
    embedding = nn.Embedding(10, 5)
    with pytest.raises(ZeroDivisionError), shifted(embedding, torch.zeros(1, 2, 5)):
        _ = 1 / 0
    assert not embedding._forward_hooks


def test_a_half_precision_model_takes_a_shift_of_single_precision():
    embedding = nn.Embedding(10, 5).bfloat16()
    shift = torch.zeros(1, 2, 5, requires_grad=True)
    with shifted(embedding, shift):
        out = embedding(torch.zeros(1, 2, dtype=torch.int64))
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert shift.grad is not None
    assert (shift.grad == 1).all()
