"""Adversarial training: the shift of token embeddings, within a ball around each token, that raises a loss most.

Takes the loss as a function of the shift. Finding a shift leaves no gradient behind: only the shift is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from optical.training.smoothing import Ball, check_ball, noise

STRIDE = 2.5  # radii that all steps of PGD together could go


@contextmanager
def shifted(embedding: nn.Module, shift: Float[Tensor, "b n d"] | None) -> Iterator[None]:
    """Add a shift to what an embedding module gives, for as long as this is open; ``None`` changes nothing.

    Gradients flow to the module's weights and to the shift. The module need not be an ``nn.Embedding``: whatever gives
    ``(b, n, d)`` will do.

    Args:
        embedding: The input embedding of a model; called at least once before this ends.
        shift: Added to what it gives.

    Raises:
        ValueError: The module gives another shape than the shift's, or was not called at all. A compiled model does
            not see what was changed after its compilation: then the shift would have no effect.
    """
    if shift is None:
        yield
        return
    calls = 0

    def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        nonlocal calls
        if output.dim() > shift.dim():
            return output  # rows that a slot is composed of, which are no tokens of the text
        calls += 1
        if output.shape != shift.shape:
            raise ValueError(
                f"the shift does not fit the embeddings; received {tuple(shift.shape)} for {tuple(output.shape)}; make "
                "it of the size of the batch that is encoded"
            )
        return output + shift.to(output.dtype)

    handle = embedding.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
    if not calls:
        raise ValueError(
            f"the shift had no effect: the embedding was not called; received a {type(embedding).__name__}; pass the "
            "one that the model calls now, and do not compile the model"
        )


def adversarial(
    loss: Callable[[Tensor], Tensor],
    size: Sequence[int],
    mask: Bool[Tensor, "b n"],
    ball: Ball,
    *,
    steps: int = 1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "b n d"]:
    """Find a shift in the ball ``|shift_i| <= radius`` of each real token i by gradient ascent on the loss.

    One step is the fast gradient method: from no shift, as far as the ball goes in the steepest direction, which is
    ``radius g_i / |g_i|`` in l2 (Miyato et al. 2017, section 3, who take one ball for the whole text) and
    ``radius sign(g_i)`` in linf (Goodfellow et al. 2015, section 4). More steps are projected gradient ascent (Madry
    et al. 2018, section 2.1): from a random shift, ``2.5 radius / steps`` at a time, each followed by the projection
    onto the ball. The last shift is returned; its loss is not evaluated here.

    Args:
        loss: A scalar for a shift ``(b, n, d)``, differentiable with respect to it; called ``steps`` times.
        size: Of the shift, ``(b, n, d)``.
        mask: True where a token is real; elsewhere the shift is exactly 0.
        ball: Its norm and radius (:func:`optical.training.smoothing.ball_of`).
        steps: Gradients taken, at least 1.
        generator: Of the random start of several steps, on the device of ``mask``; torch's own by default.
        dtype: Of the shift.

    Returns:
        The shift, without gradient. No ``.grad`` of any parameter changes.

    Raises:
        ValueError: No step, an unknown norm, a radius that is not above 0, a size that does not fit the mask, a loss
            that does not depend on the shift.
    """
    check_ball(size, mask, ball)
    if steps < 1:
        raise ValueError(f"an adversary takes at least 1 step; received {steps}; 1 is FGM, 3 a short PGD")
    padding = ~mask[..., None]
    if steps == 1:
        shift, stride = torch.zeros(size, dtype=dtype, device=mask.device), ball.radius
    else:
        shift = noise(size, mask, ball, generator=generator, dtype=dtype)
        stride = STRIDE * ball.radius / steps
    for _ in range(steps):
        moved = shift + stride * STEEPEST[ball.norm](_gradient(loss, shift))
        shift = PROJECTIONS[ball.norm](moved, ball.radius).masked_fill(padding, 0.0)
    return shift


def _gradient(loss: Callable[[Tensor], Tensor], shift: Tensor) -> Tensor:
    """The gradient of the loss with respect to the shift alone: no ``.grad`` changes."""
    with torch.enable_grad():
        at = shift.detach().requires_grad_()
        value = loss(at)
        found = torch.autograd.grad(value, at, allow_unused=True)[0] if value.requires_grad else None
    if found is None:
        raise ValueError(
            f"the loss does not depend on the shift; received a loss of {float(value.detach()):.4g} without it; run "
            "the model within shifted(embedding, shift)"
        )
    return found


def _along(gradient: Tensor) -> Tensor:
    """Scale each token's gradient to length 1; 0 stays 0. The largest first: squares of tiny numbers would vanish."""
    largest = gradient.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
    return torch.nn.functional.normalize(gradient / largest, dim=-1)


def _onto_l2(shift: Tensor, radius: float) -> Tensor:
    return shift * (radius / torch.linalg.vector_norm(shift, dim=-1, keepdim=True).clamp_min(radius))


def _onto_linf(shift: Tensor, radius: float) -> Tensor:
    return shift.clamp(-radius, radius)


STEEPEST: dict[str, Callable[[Tensor], Tensor]] = {"l2": _along, "linf": torch.sign}
"""Norm -> the step of length 1 in it along which a linear loss grows most, token by token."""
PROJECTIONS: dict[str, Callable[[Tensor, float], Tensor]] = {"l2": _onto_l2, "linf": _onto_linf}
"""Norm -> the nearest shift of the ball."""
