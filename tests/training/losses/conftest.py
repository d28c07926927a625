"""Awkward tokens, and checks that every objective of tokens has to pass."""

from __future__ import annotations

from collections.abc import Callable

import torch

from optical.models.tokens import Tokens


def ragged(dtype=torch.float64, d: int = 8, seed: int = 0) -> tuple[Tokens, Tokens]:
    """Awkward on purpose: n != m, padding inside and at the end, one-token texts on either side."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 6, d, generator=random, dtype=dtype)
    y = torch.randn(4, 4, d, generator=random, dtype=dtype)
    mx = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]).bool()
    my = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 0]]).bool()
    return Tokens(x, mx), Tokens(y, my)


def gradient_is_the_slope(value: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, step: float = 1e-5) -> None:
    """Compare a gradient with central differences along a random direction."""
    at = at.detach().clone().requires_grad_()
    value(at).backward()
    direction = torch.randn(at.shape, dtype=at.dtype, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        slope = (value(at + step * direction) - value(at - step * direction)) / (2 * step)
    assert at.grad is not None
    assert at.grad.abs().max() > 0
    torch.testing.assert_close((at.grad * direction).sum(), slope, rtol=1e-3, atol=1e-8)
