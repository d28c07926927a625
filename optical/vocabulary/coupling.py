"""Word alignment by transport: one plan between the two vocabularies, over the pairs of words that meet.

Ids in, a lexicon out, as :func:`optical.vocabulary.align.align`; knows neither tokenizers nor embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

from optical.vocabulary.align import Hints, Lexicon, beginnings, lexicon, nothing, per_id
from optical.vocabulary.cooccurrence import co_occurrences

EPSILON = 0.5
SLACK = 1.0


class Scaled(NamedTuple):
    """A plan ``P_ij = u_i K_ij v_j`` on the entries of a sparse kernel.

    Attributes:
        u: Scaling of the rows, ``(r,)``; 0 where a row has no mass or no entry.
        v: Scaling of the columns, ``(s,)``.
        error: Mass by which the row sums miss ``a``, ``sum |P 1 - a|``, in units of the masses; does not go to 0 where
            the masses have slack, or where the entries allow no plan.
    """

    u: Float[np.ndarray, " r"]
    v: Float[np.ndarray, " s"]
    error: float


def scale(
    kernel: csr_matrix, a: Float[np.ndarray, " r"], b: Float[np.ndarray, " s"], *, power: float = 1.0, steps: int = 30
) -> Scaled:
    """Sinkhorn's scaling of a sparse kernel, balanced or with slack.

    ``u <- (a / K v)^power``, ``v <- (b / K' u)^power``; with ``power = rho / (rho + epsilon)`` that is the plan whose
    sums may miss the masses at a price of rho per KL (Chizat et al. 2018, "Scaling algorithms for unbalanced optimal
    transport problems", table 1), with 1 the balanced one.

    Args:
        kernel: ``exp(-C / epsilon)`` where pairs are allowed, ``(r, s)``.
        a: Mass of each row, >= 0.
        b: Mass of each column, >= 0.
        power: In (0, 1].
        steps: Iterations; the columns are exact after each when ``power`` is 1.

    Raises:
        ValueError: Shapes that do not fit, or no iteration.
    """
    if kernel.shape != (len(a), len(b)) or steps < 1:
        raise ValueError(
            f"a kernel needs a mass for each row and column and at least one step; received {kernel.shape}, "
            f"{len(a)} and {len(b)} masses, {steps} steps; give masses of its shape"
        )
    columns = kernel.T.tocsr()
    v = np.ones(len(b))
    u = np.zeros(len(a))
    for _ in range(steps):
        u = _ratio(a, kernel @ v) ** power
        v = _ratio(b, columns @ u) ** power
    return Scaled(u, v, float(np.abs(u * (kernel @ v) - a).sum()))


def _ratio(mass, reached):
    return np.divide(mass, reached, out=np.zeros_like(mass), where=reached > 0)


def couple(
    english: Sequence[Sequence[int] | np.ndarray],
    foreign: Sequence[Sequence[int] | np.ndarray],
    *,
    steps: int = 30,
    max_length: int = 100,
    hints: Hints | None = None,
) -> Lexicon:
    """Entropic transport between the words of X and the English pieces, each as heavy as it is frequent."""
    met = co_occurrences(english, foreign, max_length)
    if met is None:
        return nothing()
    start, smooth = beginnings(hints, met.f, met.e)
    counts = np.bincount(met.entry, weights=met.per_english(np.ones_like(start)), minlength=len(met.f))
    a, b = np.bincount(met.f, weights=counts), np.bincount(met.e, weights=counts)
    kernel = np.exp(np.log(start * counts) / EPSILON - np.log(a[met.f]) / 1 - np.log(b[met.e]) / 1)
    sparse = csr_matrix((kernel, (met.f, met.e)), shape=(len(a), len(b)))
    plan = scale(sparse, a, b, power=SLACK / (SLACK + EPSILON), steps=steps)
    counts = (plan.u[met.f] * kernel * plan.v[met.e]).astype(np.float32)
    return lexicon(met.f, met.e, counts, per_id(counts + smooth(counts), met.f))
