"""The loss on shifted input embeddings, as students and probes are trained with it: FGM, PGD or random noise.

Takes the loss as a function without arguments, which runs the model once. Replaced words, the other way to train on
perturbed input, are of :mod:`optical.training.augmentation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from optical.config.training import Robustness
from optical.training.adversarial import adversarial, shifted
from optical.training.smoothing import ball_of, noise

SHIFTED = ("fgm", "pgd", "noise")
"""Methods of :class:`optical.config.training.Robustness` that shift embeddings."""


def shifted_loss(
    loss: Callable[[], Tensor],
    embedding: nn.Module,
    features: Mapping[str, Tensor],
    options: Robustness,
    seed: int = 0,
) -> Tensor:
    """The loss with input embeddings shifted, at random (RS-RP) or by an adversary, within a ball around each token.

    Args:
        loss: A scalar; it calls the embedding, once for the value and once for each gradient step of the adversary.
        embedding: The input embedding of the model.
        features: The batch, with ``input_ids`` and ``attention_mask``, ``(b, n)``; what is masked is not shifted.
        options: The method, one of ``SHIFTED``, and the ball; the weight is the caller's.
        seed: With the batch it decides what is drawn, so that a resumed run draws the same shifts.

    Raises:
        ValueError: Another method; and see :func:`optical.training.adversarial.adversarial`.
    """
    if options.method not in SHIFTED:
        raise ValueError(f"{options.method!r} shifts no embeddings; choose one of {', '.join(SHIFTED)}")
    device = next(embedding.parameters()).device
    ids, mask = features["input_ids"].to(device), features["attention_mask"].bool().to(device)
    with torch.no_grad():
        embedded = embedding(ids).float()
    ball = ball_of(embedded, mask, options.norm, options.radius)

    def at(shift: Tensor) -> Tensor:
        with shifted(embedding, shift):
            return loss()

    generator = torch.Generator(device).manual_seed(seed + int(ids.sum()))
    if options.method == "noise":
        return at(noise(embedded.shape, mask, ball, generator=generator))
    steps = options.steps if options.method == "pgd" else 1
    return at(adversarial(at, embedded.shape, mask, ball, steps=steps, generator=generator))
