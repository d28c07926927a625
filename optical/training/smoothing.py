"""Random smoothing: a shift of token embeddings drawn from a ball around each token, and how large that ball is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Norm = Literal["l2", "linf"]


class Ball(NamedTuple):
    """The ball around each token's embedding that a shift stays in.

    Attributes:
        norm: Measures a shift, over the d numbers of one token.
        radius: In units of the embeddings (:func:`ball_of`).
    """

    norm: Norm
    radius: float


def noise(
    size: Sequence[int],
    mask: Bool[Tensor, "b n"],
    ball: Ball,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "b n d"]:
    """Draw a shift evenly from the ball ``|shift_i| <= radius`` of each real token i (RS-RP of Huang et al. 2021).

    In hundreds of dimensions nearly all of an l2 ball lies at its surface, so such a shift is about as long as the
    radius. That of a linf ball is ``radius sqrt(d / 3)`` long.

    Args:
        size: Of the shift, ``(b, n, d)``.
        mask: True where a token is real; elsewhere the shift is exactly 0.
        ball: Its norm and radius.
        generator: Source of randomness, on the device of ``mask``; torch's own by default.
        dtype: Of the shift.

    Raises:
        ValueError: An unknown norm, a radius that is not above 0, a size that does not fit the mask.
    """
    check_ball(size, mask, ball)
    drawn = DRAWS[ball.norm](size, generator, mask.device, dtype)
    return (ball.radius * drawn).masked_fill(~mask[..., None], 0.0)


def ball_of(embeddings: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"], norm: Norm, share: float) -> Ball:
    """The ball whose radius is a share of the mean l2 norm of the real tokens' embeddings.

    The corners of a linf ball lie ``radius sqrt(d)`` away from its middle, and the worst shift is a corner. So there
    the radius is divided by ``sqrt(d)``: one share means one length of the worst shift, whatever the norm.

    Args:
        embeddings: What is to be shifted.
        mask: True where a token is real.
        norm: Of the ball.
        share: Above 0; 0.1 moves a token by a tenth of a mean token's length.

    Raises:
        ValueError: An unknown norm, a share that is not above 0, or no real token.
    """
    _check_norm(norm)
    if not 0 < share < math.inf:
        raise ValueError(f"the share of the radius must be above 0; received {share}; 0.1 is a start")
    if not mask.any():
        raise ValueError(f"no token is real; received a mask of {tuple(mask.shape)}, False everywhere; leave it out")
    length = float(torch.linalg.vector_norm(embeddings.detach().float(), dim=-1)[mask].mean())
    return Ball(norm, share * length / (math.sqrt(embeddings.shape[-1]) if norm == "linf" else 1.0))


def check_ball(size: Sequence[int], mask: Tensor, ball: Ball) -> None:
    """Refuse a ball, a size or a mask that a shift cannot have.

    Raises:
        ValueError: An unknown norm, a radius that is not above 0, a size that does not fit the mask.
    """
    _check_norm(ball.norm)
    if not 0 < ball.radius < math.inf:
        raise ValueError(f"the radius must be above 0, in units of the embeddings; received {ball.radius}; see ball_of")
    if len(size) != 3 or tuple(size[:2]) != tuple(mask.shape) or mask.dtype != torch.bool:
        raise ValueError(
            f"a shift is (b, n, d) and its mask a boolean (b, n); received {tuple(size)} and {tuple(mask.shape)} of "
            f"{mask.dtype}; take both from the same batch"
        )


def _check_norm(norm: str) -> None:
    if norm not in DRAWS:
        raise ValueError(f"unknown norm; received {norm!r}; choose among {', '.join(DRAWS)}")


def _in_l2(size: Sequence[int], generator: torch.Generator | None, device, dtype) -> Tensor:
    """Draw evenly from the unit l2 ball: an even direction, and a length whose d-th power is even."""
    direction = torch.randn(size, generator=generator, device=device, dtype=dtype)
    direction = torch.nn.functional.normalize(direction, dim=-1)
    evenly = torch.rand((*size[:2], 1), generator=generator, device=device, dtype=dtype)
    return direction * evenly ** (1.0 / size[2])


def _in_linf(size: Sequence[int], generator: torch.Generator | None, device, dtype) -> Tensor:
    """Draw evenly from the cube from -1 to 1."""
    return 2.0 * torch.rand(size, generator=generator, device=device, dtype=dtype) - 1.0


DRAWS: dict[str, Callable[..., Tensor]] = {"l2": _in_l2, "linf": _in_linf}
"""Norm -> a draw from its unit ball."""
