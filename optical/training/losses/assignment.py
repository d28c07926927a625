"""The loss under the best one-to-one alignment of tokens, which greedy alignment approximates (ablation)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from optical.models.tokens import Tokens
from optical.training.losses import checks
from optical.transport.cost import cosine_cost


def assignment(x: Tokens, y: Tokens) -> Float[Tensor, ""]:
    """Mean over the batch of the mean of ``1 - cos(x_i, y_j)`` over the ``min(n, m)`` pairs that cost least together.

    One sentence after another on the processor, by scipy's ``linear_sum_assignment`` (Crouse 2016): for ablations, not
    for speed. With n = m it is exact transport under uniform masses; with n != m tokens are left over, where transport
    splits masses. The alignment is a constant of the gradient, which is that of the optimum (Danskin) wherever the best
    alignment is unique. Between 0 and 2; 0 for equal sets in any order.

    Args:
        x: Student tokens of the X sentences, ``(b, n, d)``; need not be unit vectors.
        y: Teacher tokens of the English sentences, ``(b, m, d)``.

    Raises:
        ValueError: What :func:`optical.training.losses.checks.tokens` refuses.
    """
    from scipy.optimize import linear_sum_assignment

    x, y = checks.tokens(x, y)
    C = cosine_cost(x.vectors, y.vectors)  # (b, n, m)
    costs = []
    for k, plain in enumerate(C.detach().cpu().numpy()):
        rows, columns = (side.mask[k].nonzero()[:, 0].cpu().numpy() for side in (x, y))
        i, j = linear_sum_assignment(plain[rows][:, columns])
        costs.append(C[k, torch.as_tensor(rows[i]), torch.as_tensor(columns[j])].mean())
    return torch.stack(costs).mean()
