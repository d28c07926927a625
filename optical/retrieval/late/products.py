"""Products of token vectors: in int8 where the processor multiplies that fast, else in float32.

A stored token is a row of int8 or of packed int4 and a scale, or float16. A query token has fifteen bits, as two rows
of int8, so that the error of a precise product is about that of float32 (some 1e-5 of the lengths) at a quarter of its
cost.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from optical.retrieval.late.int4 import unpacked

LEVELS = 127  # of int8, either side of zero
BLOCK = 4096  # stored tokens in one product; always the same shape, since each new shape costs milliseconds
FINER = 254  # half a step of the first digit is 127 steps of the second


class QueryTokens(NamedTuple):
    """Token vectors of one query, in the forms that products need.

    Attributes:
        vectors: ``(n, d)`` float32.
        digits: ``(m, d)`` int8: n first digits, n second ones, and rows of zeros up to a multiple of 16; ``vectors`` is
            about ``scale * (digits[:n] + digits[n : 2 * n] / 254)``.
        scale: ``(n, 1)`` float32, positive.
    """

    vectors: Float[Tensor, "n d"]
    digits: Int8[Tensor, "m d"]
    scale: Float[Tensor, "n 1"]


def as_query(vectors: np.ndarray, rotation: Float[Tensor, "d d"] | None = None) -> QueryTokens:
    """Prepare the token vectors of one query: ``(n, d)``, any float type, finite; rotated as the stored tokens are."""
    full = torch.from_numpy(np.array(vectors, dtype=np.float32))
    if rotation is not None:
        full = full @ rotation  # by torch: numpy's threads would slow torch's for a while
    scale = _steps(full)
    high = (full / scale).round()
    low = ((full / scale - high) * FINER).round()
    spare = torch.zeros(_rounded_up(2 * len(full)) - 2 * len(full), full.shape[1])
    return QueryTokens(full, torch.cat([high, low, spare]).to(torch.int8), scale)


def as_int8(vectors: Float[Tensor, "t d"]) -> tuple[Int8[Tensor, "t d"], Float[Tensor, "t 1"]]:
    """Rows of integers from -127 to 127, and the step of each row."""
    scale = _steps(vectors)
    return (vectors / scale).round().to(torch.int8), scale


def similarities(
    query: QueryTokens,
    vectors: Tensor,
    scale: Float[Tensor, " t"] | None,
    rows: Int[Tensor, " r"],
    *,
    precise: bool,
) -> Float[np.ndarray, "n r"]:
    """Inner products of query tokens and chosen stored tokens, float32.

    Args:
        query: n tokens.
        vectors: ``(t, d)``, int8 with its ``scale`` or float16 without; or ``(t, d / 2)``, uint8, packed int4 with its
            ``scale``.
        scale: The step of each row.
        rows: Which tokens.
        precise: Use both digits of the query; otherwise the error of a product is some thousandth of the lengths.
    """
    n = len(query.vectors)
    whole = scale is not None and whole_numbers_are_fast()
    digits = query.digits[: _rounded_up(2 * n if precise else n)]
    gathered = torch.empty(BLOCK, vectors.shape[1], dtype=vectors.dtype)
    wide = torch.zeros(BLOCK, digits.shape[1], dtype=torch.int8) if vectors.dtype == torch.uint8 else gathered
    found = torch.empty(n, len(rows))
    for k in range(0, len(rows), BLOCK):
        some = rows[k : k + BLOCK]
        torch.index_select(vectors, 0, some, out=gathered[: len(some)])
        if wide is not gathered:
            unpacked(gathered[: len(some)], out=wide[: len(some)])
        part = found[:, k : k + len(some)]
        if whole:
            products = whole_products(digits, wide)[:, : len(some)]  # the rest is left from the block before
            part.copy_(products[:n])
            if precise:
                part.add_(products[n : 2 * n], alpha=1 / FINER)
            part.mul_(query.scale)
        else:
            torch.mm(query.vectors, wide[: len(some)].float().T, out=part)
        if scale is not None:
            part.mul_(scale[some])
    return found.numpy()


def whole_products(a: Int8[Tensor, "n d"], b: Int8[Tensor, "t d"]) -> Tensor:
    """``a @ b.T`` of int8 rows, exactly: in int32, or in float32 where the processor does that faster."""
    if whole_numbers_are_fast():
        return torch._int_mm(a, b.T)
    return a.float() @ b.float().T


@functools.cache
def whole_numbers_are_fast() -> bool:
    """Whether int8 products are available, correct at the extremes (older processors saturate), and fast."""
    if not hasattr(torch, "_int_mm") or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    a = torch.full((24, 96), LEVELS, dtype=torch.int8)
    a[1::2] = -LEVELS
    try:
        return torch.equal(torch._int_mm(a, a.T), (a.long() @ a.long().T).int())
    except RuntimeError:
        return False


def _rounded_up(rows: int) -> int:
    """To the next multiple of 16."""
    return -(-rows // 16) * 16


def _steps(vectors: Float[Tensor, "t d"]) -> Float[Tensor, "t 1"]:
    """The step of each row: its largest number is LEVELS steps; 1 for a row of zeros."""
    scale = vectors.abs().amax(dim=1, keepdim=True) / LEVELS
    return scale.masked_fill_(scale < torch.finfo(torch.float32).tiny, 1.0)
