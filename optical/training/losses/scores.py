"""The ranking loss: score a collection as the teacher scores it (collection-aware distillation)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from optical.training.losses import checks


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

    Raises:
        ValueError: A temperature that is not positive; passages that do not fit, none, or NaN in one; what
            :func:`optical.training.losses.checks.sentences` refuses.
    """
    checks.positive("temperature", temperature, "score", 0.05)
    x, y = checks.sentences(x, y)
    if documents.ndim != 2 or documents.shape[1] != y.shape[1] or len(documents) == 0:
        raise ValueError(
            f"passages need vectors (n, d) of the teacher's width, at least one; received {tuple(documents.shape)} for "
            f"sentences {tuple(y.shape)}; embed the passages with the same teacher"
        )
    documents = checks.cast_up(documents)
    student = torch.log_softmax(x @ documents.T / temperature, dim=-1)  # (b, n)
    teacher = torch.log_softmax(y @ documents.T / temperature, dim=-1)
    if not teacher.detach().sum().isfinite():  # the passages are too many to be looked at in every step
        _refuse(documents)
    return torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _refuse(documents: Tensor) -> None:
    broken = (~documents.isfinite().all(-1)).nonzero()[:, 0].tolist()
    if broken:
        raise ValueError(
            f"passages must have finite vectors; received NaN or infinity in {len(broken)} of {len(documents)} (first: "
            f"passage {broken[0]}); embed the collection again"
        )
