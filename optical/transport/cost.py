"""Costs and masses: what the solver is given.

Tensors in, tensors out. Nothing here knows how the plan is found.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def cosine_cost(x: Float[Tensor, "b n d"], y: Float[Tensor, "b m d"]) -> Float[Tensor, "b n m"]:
    """Cost of moving token ``i`` of x onto token ``j`` of y: ``C_ij = 1 - cos(x_i, y_j)``, between 0 and 2.

    The vectors are normalised here, each by its own length (not the rows of the similarity matrix). A zero vector
    costs 1 to everything. Half precision is cast up to float32, because the solver divides costs by an epsilon of
    a few hundredths; float64 stays, and autocast has no say. Differentiable in both arguments (OPTICAL, section 3).
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    x = torch.nn.functional.normalize(x.to(dtype), dim=-1)
    y = torch.nn.functional.normalize(y.to(dtype), dim=-1)
    with torch.autocast(x.device.type, enabled=False):
        return 1.0 - x @ y.transpose(-1, -2)


def uniform_mass(mask: Bool[Tensor, "b n"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "b n"]:
    """Mass ``1 / (number of real tokens)`` on each real token and exactly 0 on padding; an empty row is all zeros."""
    weight = mask.to(dtype)
    return weight / weight.sum(dim=-1, keepdim=True).clamp(min=1.0)
