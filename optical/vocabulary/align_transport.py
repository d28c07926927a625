"""Word alignment by optimal transport: one plan between the two vocabularies, over the pairs of words that co-occur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

from optical.vocabulary.cooccurrence import co_occurrences
from optical.vocabulary.translation_table import Hints, TranslationTable, apply_hints, empty_table, per_id, sorted_table

EPSILON = 0.3  # in units of the cost, nats; of .2, .3, .5 and 1 the best on the development sets of Somali


class Scaled(NamedTuple):
    """A plan ``P_ij = u_i K_ij v_j`` on the entries of a sparse kernel.

    Attributes:
        u: Scaling of the rows, ``(r,)``; 0 where a row has no mass or no entry.
        v: Scaling of the columns, ``(s,)``.
        error: Share of the mass by which the row sums miss ``a``, ``sum |P 1 - a| / sum a``; the columns are exact. It
            does not go to 0 where the entries allow no plan.
    """

    u: Float[np.ndarray, " r"]
    v: Float[np.ndarray, " s"]
    error: float


def scale(kernel: csr_matrix, a: Float[np.ndarray, " r"], b: Float[np.ndarray, " s"], *, steps: int = 30) -> Scaled:
    """Sinkhorn's scaling of a sparse kernel: ``u <- a / K v``, ``v <- b / K' u`` (Cuturi 2013, algorithm 1).

    Args:
        kernel: ``exp(-C / epsilon)`` where pairs are allowed, ``(r, s)``; what is not stored is forbidden.
        a: Mass of each row, >= 0; in all as much as b.
        b: Mass of each column, >= 0.
        steps: Iterations.

    Raises:
        ValueError: Masses that do not fit the kernel or each other, or no iteration.
    """
    if kernel.shape != (len(a), len(b)) or not np.isclose(a.sum(), b.sum()) or steps < 1:
        raise ValueError(
            "a plan needs as much mass on both sides of its kernel, and at least one step; received a kernel of "
            f"{kernel.shape}, {len(a)} masses of {a.sum():.6g}, {len(b)} of {b.sum():.6g} and {steps} steps; scale the "
            "masses to one sum"
        )
    columns = kernel.T.tocsr()
    u, v = np.zeros(len(a)), np.ones(len(b))
    for _ in range(steps):
        u = _ratio(a, kernel @ v)
        v = _ratio(b, columns @ u)
    return Scaled(u, v, float(np.abs(u * (kernel @ v) - a).sum() / max(a.sum(), 1e-30)))


def _ratio(mass: np.ndarray, reached: np.ndarray) -> np.ndarray:
    return np.divide(mass, reached, out=np.zeros(len(mass)), where=reached > 0)


def align_transport(
    english: Sequence[Sequence[int] | np.ndarray],
    foreign: Sequence[Sequence[int] | np.ndarray],
    *,
    steps: int = 30,
    max_length: int = 100,
    hints: Hints | None = None,
) -> TranslationTable:
    """Entropic transport between the words of X and the English pieces.

    The cost of a pair is its pointwise mutual information with the sign turned, ``C = -log (N_fe N / (N_f N_e))``, with
    ``N_fe`` the co-occurrences, each English token's shared out over the X tokens beside it; other pairs are forbidden.
    A piece is as heavy as it is frequent, an occurrence of an X word as heavy as the English side is longer
    than its own. The plan, in occurrences, is the table's ``count``. Factors of a row or a column do not change a plan,
    so at epsilon 1 this is the scaling of the plain counts to the frequencies, and at a smaller epsilon of their power:
    sharper. Unlike model 1, which sees each sentence again, it never asks which words of one sentence explain each
    other.

    Args:
        english: Token ids of each English sentence.
        foreign: Token ids of its translation.
        steps: Iterations of the scaling.
        max_length: Sentence pairs with a longer side are left out.
        hints: Looking alike makes a pair cheaper, by ``epsilon log(1 + alike dice^2)``; rare words borrow from their
            parts in ``t(e | f)``.

    Raises:
        ValueError: The two sides have different numbers of sentences.
    """
    met = co_occurrences(english, foreign, max_length)
    if met is None:
        return empty_table()
    start, smooth = apply_hints(hints, met.f, met.e)
    together = met.counts(np.ones_like(start)).astype(np.float64)
    a, b = np.bincount(met.f, weights=together), np.bincount(met.e, weights=together)
    information = np.log(together) - np.log(a[met.f]) - np.log(b[met.e])
    kernel = start * np.exp((information - information.max()) / EPSILON)
    plan = scale(csr_matrix((kernel, (met.f, met.e)), shape=(len(a), len(b))), a, b, steps=steps)
    counts = (plan.u[met.f] * kernel * plan.v[met.e]).astype(np.float32)
    return sorted_table(met.f, met.e, counts, per_id(counts + smooth(counts), met.f))
