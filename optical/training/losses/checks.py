"""Checks that all losses share.

They return their input in at least single precision and with padding set to 0, so that nothing that padding holds (NaN
included) can reach a value or a gradient. A check costs one pass over the vectors and one wait for the device.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from optical.models.tokens import Tokens


def tokens(x: Tokens, y: Tokens) -> tuple[Tokens, Tokens]:
    """Student and teacher tokens, cast up to float32 (float64 stays), padding exactly 0 and without gradient.

    Args:
        x: Student tokens, ``(b, n, d)``.
        y: Teacher tokens, ``(b, m, d)``.

    Raises:
        ValueError: Shapes that do not fit, a mask that is not boolean, no sentence at all, a sentence without any real
            token, NaN or infinity on a real token. Padding may hold anything.
    """
    for name, side in (("student", x), ("teacher", y)):
        if side.vectors.ndim != 3 or side.mask.shape != side.vectors.shape[:2] or side.mask.dtype != torch.bool:
            raise ValueError(
                f"{name} tokens need vectors (b, n, d) and a boolean mask (b, n), True on real tokens; received "
                f"{tuple(side.vectors.shape)} and {side.mask.dtype} {tuple(side.mask.shape)}; give one mask entry for "
                "each vector"
            )
    (b, _, d), (c, _, e) = x.vectors.shape, y.vectors.shape
    if b != c or d != e or b == 0:
        raise ValueError(
            "student and teacher tokens must be of the same sentences, at least one, and of one width; received "
            f"{tuple(x.vectors.shape)} and {tuple(y.vectors.shape)}; a student of another width needs a projection"
        )
    x, y = _without_padding(x), _without_padding(y)
    empty = ~(x.mask.any(-1) & y.mask.any(-1))  # (b,)
    broken = ~(_finite(x.vectors) & _finite(y.vectors))
    if (empty | broken).any():
        _refuse(empty, broken)
    return x, y


def sentences(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
    """Student and teacher sentence vectors, cast up to float32 (float64 stays).

    Raises:
        ValueError: Two shapes, no sentence at all, NaN or infinity.
    """
    if x.ndim != 2 or x.shape != y.shape or len(x) == 0:
        raise ValueError(
            "student and teacher sentence vectors must have one shape (b, d) of at least one sentence; received "
            f"{tuple(x.shape)} and {tuple(y.shape)}; a student of another width needs a projection"
        )
    x, y = cast_up(x), cast_up(y)
    broken = ~(_finite(x) & _finite(y))
    if broken.any():
        _refuse(torch.zeros_like(broken), broken)
    return x, y


def masses(name: str, mass: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Masses of tokens as constants, cast up to float32 (float64 stays).

    Raises:
        ValueError: Another shape than the mask, a mass that is negative, not finite or on padding, a row without any.
    """
    mass = cast_up(mass.detach())
    if mass.shape != mask.shape:
        raise ValueError(
            f"{name} needs one mass for each token, (b, n); received {tuple(mass.shape)} for a mask "
            f"{tuple(mask.shape)}; see optical.transport.cost for masses from masks, lengths and weights"
        )
    real = torch.where(mask, mass, -mass.abs())  # any mass on padding counts as negative
    wrong = ~((real >= 0) & real.isfinite()).all(-1) | (mass.sum(-1) <= 0)  # (b,)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"{name} must be finite, 0 or more on real tokens, 0 on padding, and more than 0 in all; received "
            f"{mass[row].tolist()} for mask {mask[row].tolist()} (sentence {row}); normalise weights with "
            "optical.transport.cost.weighted_mass"
        )
    return mass


def prior(prior: Float[Tensor, "b n m"], C: Float[Tensor, "b n m"]) -> Float[Tensor, "b n m"]:
    """A prior of plans as a constant with the precision and on the device of the costs.

    Raises:
        ValueError: Another shape than the costs, or a price that is not finite.
    """
    if prior.shape != C.shape or not prior.isfinite().all():
        raise ValueError(
            f"prior needs one finite price for each pair of tokens, (b, n, m); received {tuple(prior.shape)} for costs "
            f"{tuple(C.shape)}, from {prior.min():.4g} to {prior.max():.4g}; give pairs that are unknown a floor"
        )
    return prior.detach().to(C)


def positive(name: str, value: float, unit: str, remedy: float) -> None:
    """Refuse a number that is not above 0.

    Raises:
        ValueError: With the name, the unit and a value to try.
    """
    if not value > 0:  # NaN too
        raise ValueError(f"{name} must be positive, in units of the {unit}; received {value}; try {remedy}")


def cast_up(vectors: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def _without_padding(side: Tokens) -> Tokens:
    return Tokens(cast_up(side.vectors).masked_fill(~side.mask[..., None], 0.0), side.mask)


def _finite(vectors: Tensor) -> Tensor:
    """Which sentences have only finite numbers, (b,): NaN and infinity survive a sum; large numbers are looked at."""
    vectors = vectors.detach().flatten(1)
    fine = vectors.sum(-1).isfinite()
    return fine if fine.all() else vectors.isfinite().all(-1)


def _refuse(empty: Tensor, broken: Tensor) -> None:
    if empty.any():
        rows = empty.nonzero()[:, 0].tolist()
        raise ValueError(
            f"every sentence needs a real token on both sides; received none in {len(rows)} of {len(empty)} (first: "
            f"sentence {rows[0]}); leave empty texts out, or mend the mask (True on real tokens)"
        )
    rows = broken.nonzero()[:, 0].tolist()
    raise ValueError(
        f"vectors must be finite; received NaN or infinity in {len(rows)} of {len(broken)} sentences (first: sentence "
        f"{rows[0]}); if the student's weights are NaN, go back to the last good checkpoint with a lower learning rate"
    )
