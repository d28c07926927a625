"""The ranking objective: score a collection as the teacher scores it (collection-aware distillation)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def scores(
    x: Float[Tensor, "b d"],
    y: Float[Tensor, "b d"],
    documents: Float[Tensor, "n d"],
    temperature: float = 0.05,
) -> Float[Tensor, ""]:
    """Mean over the batch of ``KL(p_y || p_x)``, with ``p_z = softmax(z . documents / temperature)``.

    The document side never changes, so what the teacher thinks of its whole collection costs one matrix product, and
    the student of an X sentence learns to rank English passages as the teacher ranks them for the English sentence: no
    relevance judgement is used. Small temperatures look at the first few passages only.

    Args:
        x: Student sentence vectors, unit length.
        y: Teacher vectors of the English sentences, unit length; should carry no gradient.
        documents: Teacher vectors of any English passages, unit length.
        temperature: In units of the dot product, > 0.

    Returns:
        The divergence in nats, >= 0. Its gradient in x is bounded by ``2 / temperature``.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, in units of the score; received {temperature}; try 0.05")
    x, y, documents = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (x, y, documents))
    student = torch.log_softmax(x @ documents.T / temperature, dim=-1)  # (b, n)
    teacher = torch.log_softmax(y @ documents.T / temperature, dim=-1)
    return torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
