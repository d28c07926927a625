"""The contrastive loss: tell the translation of a sentence from the other sentences of the batch (InfoNCE)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from optical.training.losses import checks
from optical.transport.cost import cosine_cost

ROUNDING = 1e-6  # by which the cosine of two equal vectors may fall short of 1


def contrastive(
    x: Float[Tensor, "b d"], y: Float[Tensor, "b d"], temperature: float = 0.05, false_negative: float = 0.9
) -> Float[Tensor, ""]:
    """Mean over the batch of ``-log softmax_j(cos(x_i, y_j) / temperature)`` at ``j = i``, over admissible j.

    A ``y_j`` with ``cos(y_i, y_j) >= false_negative`` is no wrong answer for ``x_i`` and is left out: a batch of bitext
    holds the same sentence twice, or two that mean the same. One direction only, each student vector against all
    teacher vectors, since that is what retrieval does: the English side is fixed, and the X query has to find its own
    among it. The other direction would ask which X sentence belongs to an English one, a question no index answers.
    Meant beside distillation, with a small weight: 0.2 in MIMO (Jang, Hong and Lim, 2026, arXiv 2605.31171).

    Args:
        x: Student sentence vectors; need not be unit vectors.
        y: Teacher vectors of the English sentences; should carry no gradient.
        temperature: In units of the cosine, > 0.
        false_negative: Cosine of two teacher vectors; above 1 everything else in the batch counts as wrong.

    Returns:
        Nats, >= 0; exactly 0 where no wrong answer is left. Its gradient in a unit x_i is at most ``2 / temperature``.

    Raises:
        ValueError: A temperature that is not positive; what :func:`optical.training.losses.checks.sentences` refuses.
    """
    checks.positive("temperature", temperature, "cosine", 0.05)
    x, y = checks.sentences(x, y)
    cosine = 1.0 - cosine_cost(x[None], y[None])[0]  # (b, b), i of x against j of y
    alike = 1.0 - cosine_cost(y[None], y[None])[0] >= false_negative - ROUNDING
    alike.fill_diagonal_(False)
    return -torch.log_softmax((cosine / temperature).masked_fill(alike, -torch.inf), dim=-1).diagonal().mean()
