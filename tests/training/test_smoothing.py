from __future__ import annotations

import pytest
import torch

from optical.training.smoothing import Ball, ball_of, noise

MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
SIZE = (3, 3, 5)
RADIUS = 0.3
LENGTH = {"l2": lambda shift: shift.norm(dim=-1), "linf": lambda shift: shift.abs().amax(dim=-1)}


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_noise_stays_in_the_ball_and_off_the_padding(norm):
    shift = noise(SIZE, MASK, Ball(norm, RADIUS), dtype=torch.float64)
    length = LENGTH[norm](shift)
    assert shift.shape == SIZE
    assert (length <= RADIUS).all()
    assert (length[MASK] > 0).all()
    assert (shift[~MASK] == 0).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_noise_fills_the_ball_evenly(norm):
    # Share of the volume within a distance r of the middle: (r / radius)^d, for both norms in their own distance.
    d, mask = 3, torch.ones(1, 20_000, dtype=torch.bool)
    shift = noise((1, 20_000, d), mask, Ball(norm, 2.0), dtype=torch.float64)
    length = LENGTH[norm](shift)[0] / 2.0
    for r in (0.5, 0.8, 0.95):
        assert float((length <= r).double().mean()) == pytest.approx(r**d, abs=0.015)  # four standard errors
    assert shift.mean(dim=1).abs().max() < 0.04


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_generator_decides(norm):
    def draw(seed):
        return noise(SIZE, MASK, Ball(norm, RADIUS), generator=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_the_radius_is_a_share_of_the_mean_length_of_real_tokens():
    vectors = torch.zeros(2, 2, 4)
    vectors[0, 0, 0], vectors[0, 1, 2], vectors[1, 0] = 3.0, 5.0, 2.0  # lengths 3, 5, 4
    vectors[1, 1] = 1e6
    mask = torch.tensor([[True, True], [True, False]])
    assert ball_of(vectors, mask, "l2", 0.5).radius == pytest.approx(2.0)
    assert ball_of(vectors, mask, "linf", 0.5).radius == pytest.approx(1.0)  # divided by sqrt(4)


def test_one_share_is_one_length_of_the_worst_shift_in_both_norms():
    vectors, mask = torch.randn(2, 3, 7), torch.ones(2, 3, dtype=torch.bool)
    corner = torch.full((7,), ball_of(vectors, mask, "linf", 0.1).radius)
    assert float(corner.norm()) == pytest.approx(ball_of(vectors, mask, "l2", 0.1).radius)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ball": Ball("l1", RADIUS)}, "unknown norm; received 'l1'; choose among l2, linf"),
        ({"ball": Ball("l2", 0.0)}, "radius must be above 0"),
        ({"ball": Ball("l2", float("nan"))}, "radius must be above 0"),
        ({"size": (3, 2, 5)}, r"received \(3, 2, 5\) and \(3, 3\)"),
        ({"mask": MASK.float()}, "float32"),
    ],
)
def test_what_is_no_ball_is_refused(change, message):
    given = {"size": SIZE, "mask": MASK, "ball": Ball("l2", RADIUS)} | change
    with pytest.raises(ValueError, match=message):
        noise(**given)


def test_what_gives_no_radius_is_refused():
    vectors = torch.ones(*SIZE)
    with pytest.raises(ValueError, match="no token is real"):
        ball_of(vectors, torch.zeros_like(MASK), "l2", 0.1)
    with pytest.raises(ValueError, match="share"):
        ball_of(vectors, MASK, "l2", 0.0)
    with pytest.raises(ValueError, match="unknown norm"):
        ball_of(vectors, MASK, "l3", 0.1)  # pyright: ignore[reportArgumentType] - the wrong name is the test
