"""Four bits a dimension: nothing is lost in packing, little in rounding, and products stay."""

from __future__ import annotations

import torch

from optical.retrieval.late import int4


def test_every_pair_of_numbers_comes_back_from_its_byte() -> None:
    every = torch.arange(int4.LEAST, int4.MOST + 1, dtype=torch.int8)
    pairs = torch.cartesian_prod(every, every)
    whole = torch.cat([pairs[:, :1], pairs[:, :1].flip(0), pairs[:, 1:], pairs[:, 1:].flip(0)], dim=1)
    halves = int4.packed(whole)
    assert (halves.dtype, halves.shape) == (torch.uint8, (256, 2))
    assert torch.equal(int4.unpacked(halves), whole)
    wide = torch.full((300, 4), 99, dtype=torch.int8)
    int4.unpacked(halves, out=wide[:256])
    assert torch.equal(wide[:256], whole)
    assert (wide[256:] == 99).all()


def test_a_product_with_itself_is_kept_and_the_error_is_that_of_sixteen_steps() -> None:
    vectors = torch.randn(500, 96) * torch.logspace(-3, 3, 500)[:, None]
    whole, step = int4.as_int4(vectors)
    assert (int(whole.min()), int(whole.max())) == (int4.LEAST, int4.MOST)
    kept = whole * step
    torch.testing.assert_close((kept * vectors).sum(1), vectors.square().sum(1))
    error = (kept - vectors).norm(dim=1) / vectors.norm(dim=1)
    assert error.mean() < 0.12  # the best that sixteen equal steps can do for normal numbers is .107
    assert error.max() < 0.25  # a row that holds a number of four standard deviations


def test_nothing_and_next_to_nothing_stay_finite() -> None:
    few = torch.zeros(3, 8)
    few[1, 2], few[2] = 5.0, 1e-30
    whole, step = int4.as_int4(few)
    assert (whole[0] == 0).all()
    assert (step > 0).all()
    torch.testing.assert_close((whole * step)[1], few[1])
    assert (whole * step).isfinite().all()


def test_a_rotation_keeps_products_and_spreads_what_stood_in_one_dimension() -> None:
    turn = int4.rotation(64, seed=3)
    torch.testing.assert_close(turn @ turn.T, torch.eye(64), atol=1e-5, rtol=0)
    assert torch.equal(turn, int4.rotation(64, seed=3))
    assert not torch.equal(turn, int4.rotation(64, seed=4))
    spiky = torch.zeros(200, 64)
    spiky[torch.arange(200), torch.arange(200) % 7] = 1.0
    spiky += 0.02 * torch.randn(200, 64)

    def error(vectors: torch.Tensor) -> float:
        whole, step = int4.as_int4(vectors)
        return float((whole * step - vectors).norm() / vectors.norm())

    assert error(spiky @ turn) < 0.13
    assert error(spiky) > 0.2
