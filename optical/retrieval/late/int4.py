"""Four bits a dimension: vectors rotated at random, rounded to sixteen steps, two dimensions in a byte.

A rotation does not change inner products, and makes all dimensions of a vector spread alike, close to a normal
distribution, which sixteen equal steps fit best. Rotation and scale, which keeps the product of a vector with itself,
are those of Gao and Long 2024, RaBitQ.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

LEAST, MOST = -8, 7
CLIP = 2.5  # standard deviations at MOST steps; 2.3 and 2.75 kept fewer of the hundred best


def rotation(dimension: int, seed: int) -> Float[Tensor, "d d"]:
    """A random orthogonal matrix, float32. Store it: another machine may compute another one from the same seed."""
    generator = torch.Generator().manual_seed(seed)
    turned, _ = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator, dtype=torch.float64))
    return turned.float()


def as_int4(vectors: Float[Tensor, "t d"]) -> tuple[Int8[Tensor, "t d"], Float[Tensor, "t 1"]]:
    """Rows w of integers from -8 to 7, and the step of each row, such that ``<v, step * w> = <v, v>``."""
    step = vectors.square().mean(dim=1, keepdim=True).sqrt_().mul_(CLIP / MOST)
    step.masked_fill_(step < torch.finfo(torch.float32).tiny, 1.0)
    whole = (vectors / step).round_().clamp_(LEAST, MOST)
    along = (vectors * whole).sum(dim=1, keepdim=True)
    exact = vectors.square().sum(dim=1, keepdim=True) / along
    return whole.to(torch.int8), torch.where(along > 0, exact, step)


def packed(whole: Int8[Tensor, "t d"]) -> UInt8[Tensor, "t h"]:
    """Two dimensions in a byte, i in the low half and i + d / 2 in the high one; d is even."""
    low, high = whole.view(torch.uint8).chunk(2, dim=1)
    return (low & 15) | (high << 4)


def unpacked(halves: UInt8[Tensor, "t h"], out: Int8[Tensor, "t d"] | None = None) -> Int8[Tensor, "t d"]:
    """Undo :func:`packed`: int8, written to ``out`` if that is given."""
    rows, half = halves.shape
    out = torch.empty(rows, 2 * half, dtype=torch.int8) if out is None else out
    signed, low = halves.view(torch.int8), out[:, :half]
    torch.bitwise_left_shift(signed, 4, out=low).bitwise_right_shift_(4)  # a shift to the right keeps the sign
    torch.bitwise_right_shift(signed, 4, out=out[:, half:])
    return out
