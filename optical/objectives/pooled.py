"""The sentence objective: put the vector of an X sentence where the vector of its translation is."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def pooled(
    x: Float[Tensor, "b d"], y: Float[Tensor, "b d"], distance: Literal["cosine", "squared"] = "cosine"
) -> Float[Tensor, ""]:
    """Mean distance of student and teacher sentence vectors.

    ``cosine`` is ``1 - cos(x, y)``, between 0 and 2; for unit vectors it is half the squared distance. ``squared`` is
    the mean squared error over all b d entries (Reimers & Gurevych 2020, equation 1), small when d is large. Half
    precision is cast up to float32.
    """
    x, y = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (x, y))
    if x.shape != y.shape:
        raise ValueError(
            f"student and teacher sentence vectors must have one shape; received {tuple(x.shape)} and "
            f"{tuple(y.shape)}; a student of another width needs a projection"
        )
    if distance == "squared":
        return torch.nn.functional.mse_loss(x, y)
    return (1.0 - torch.nn.functional.cosine_similarity(x, y, dim=-1)).mean()
