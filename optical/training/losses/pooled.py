"""The sentence loss: put the vector of an X sentence where the vector of its translation is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from optical.training.losses import checks

_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda x, y: (1.0 - torch.nn.functional.cosine_similarity(x, y, dim=-1)).mean(),
    "squared": torch.nn.functional.mse_loss,
}


def pooled(
    x: Float[Tensor, "b d"], y: Float[Tensor, "b d"], distance: Literal["cosine", "squared"] = "cosine"
) -> Float[Tensor, ""]:
    """Mean distance of student and teacher sentence vectors.

    ``cosine`` is ``1 - cos(x, y)``, between 0 and 2; for unit vectors it is half the squared distance. ``squared`` is
    the mean squared error over all b d entries (Reimers & Gurevych 2020, equation 1), small when d is large. Half
    precision is cast up to float32.

    Raises:
        ValueError: What :func:`optical.training.losses.checks.sentences` refuses; another distance.
    """
    if distance not in _DISTANCES:
        raise ValueError(f"unknown distance; received {distance!r}; choose one of {', '.join(_DISTANCES)}")
    return _DISTANCES[distance](*checks.sentences(x, y))
