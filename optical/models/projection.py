"""Token vectors of fewer dimensions: the linear layer of a late-interaction teacher, before anything is trained.

The projection is fitted to a sample of texts, so that MaxSim is already close to that of the unprojected tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from optical.errors import RecipeError
from optical.models.encoders import Encoder, as_multi_vector, encode_tokens

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


def projected(encoder: Encoder, texts: Sequence[str], dimension: int) -> MultiVectorEncoder:
    """The encoder read token by token, its vectors projected to fewer dimensions and scaled to unit length again.

    A linear layer without bias stands between the transformer and the rest of the modules; its weights are those of
    :func:`principal_directions` for the unit token vectors of the texts. The encoder stays as it is.

    Args:
        encoder: Single-vector, or multi-vector without a linear layer.
        texts: A sample of what will be encoded, some hundred passages.
        dimension: Of the projected vectors.

    Raises:
        RecipeError: More dimensions than the encoder has.
    """
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense

    raw = as_multi_vector(encoder)
    vectors = torch.cat([torch.from_numpy(rows) for rows in encode_tokens(raw, texts, query=False)])  # (t, d)
    weight = principal_directions(vectors, dimension)
    linear = Dense(
        weight.shape[1], dimension, bias=False, activation_function=None, init_weight=weight,
        module_input_name="token_embeddings",
    )  # fmt: skip
    transformer, *rest = raw
    prompts: Any = dict(raw.prompts)  # the library keeps None for no prompt, and its annotation does not say so
    return MultiVectorEncoder(modules=[transformer, linear, *rest], prompts=prompts, device=str(raw.device))


def principal_directions(vectors: Float[Tensor, "t d"], dimension: int) -> Float[Tensor, "k d"]:
    """The k orthonormal directions W that keep most of the dot products of the vectors.

    ``W W^T = 1`` and ``sum_ij ((W x_i) . (W x_j) - x_i . x_j)^2`` is least: the first eigenvectors of the second moment
    ``sum_i x_i x_i^T`` (Eckart & Young 1936). It is not centred, since MaxSim compares the vectors and not their
    deviations from the mean.

    Args:
        vectors: Unit token vectors.
        dimension: k, between 1 and d.

    Raises:
        RecipeError: k is larger than d.
    """
    size = vectors.shape[1]
    if not 1 <= dimension <= size:
        raise RecipeError(
            f"a projection keeps between 1 and all dimensions of a token vector; got dimension = {dimension} for "
            f"vectors of {size}; set dimension to {size} or less, or to 0 for no projection"
        )
    moment = vectors.double().T @ vectors.double()
    eigenvectors = torch.linalg.eigh(moment).eigenvectors  # columns, the largest eigenvalue last
    return eigenvectors[:, -dimension:].flip(1).T.contiguous().to(vectors.dtype)
