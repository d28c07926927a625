"""Students that compose the embeddings of unseen words, whenever they read a text.

The network, the weights and the saved files are those of any other encoder; where this package is not installed, the
same folder loads and unseen words fall into pieces. What is added lies in the instance: the tokenization puts slots in
the place of unseen words (:mod:`optical.models.query_words`), and their embeddings are mixed as the features say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from optical.models.encoders import Encoder, transformer
from optical.models.onnx_encoder import COMPOSED as IDS
from optical.models.onnx_encoder import WEIGHT
from optical.models.query_words import QueryWords, SeenWords


def compose_unseen(encoder: Encoder, seen: SeenWords) -> None:
    """Let an encoder compose the embeddings of unseen words, in place.

    Args:
        encoder: With a fast tokenizer that has the slots of ``seen``.
        seen: What it has rows for.
    """
    read_plainly(encoder)
    module = transformer(encoder)
    module.query_words = QueryWords(seen, encoder.tokenizer.backend_tokenizer)
    module.preprocess = _Slotting(module.preprocess, module.query_words)
    module.forward = _Mixing(module.forward, module, seen.slots)


def read_plainly(encoder: Encoder) -> None:
    """Let unseen words fall into pieces again, in place."""
    own = vars(transformer(encoder))
    for name in ("query_words", "preprocess", "forward"):
        own.pop(name, None)


def query_words(encoder: Encoder) -> QueryWords | None:
    """Return the finder of unseen words in an encoder's texts; None where it does not compose."""
    return getattr(transformer(encoder), "query_words", None)


class _Slotting:
    """A tokenization that puts slots in the place of unseen words, and gives names their capital.

    Features get what they are composed of: ``composed_ids`` and ``composed_weight``, ``(b, s, k)``.
    """

    def __init__(self, preprocess: Callable[..., dict[str, Any]], words: QueryWords) -> None:
        self.preprocess, self.words = preprocess, words

    def __call__(self, inputs: Sequence[Any], *args: Any, **options: Any) -> dict[str, Any]:
        if not all(isinstance(text, str) for text in inputs):
            return self.preprocess(inputs, *args, **options)
        slotted = self.words.slotted(inputs)
        features = self.preprocess(slotted.texts, *args, **options)
        if not slotted.ids.size:
            return features
        return {**features, IDS: torch.from_numpy(slotted.ids), WEIGHT: torch.from_numpy(slotted.weight)}


class _Mixing:
    """A forward pass in which the embedding of a slot is the weighted mean of the rows that its features name."""

    def __init__(self, forward: Callable[..., dict[str, Any]], module: Any, slots: Sequence[int]) -> None:
        self.forward, self.module, self.slots = forward, module, list(slots)

    def __call__(self, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        if IDS not in features:
            return self.forward(features, **options)
        mixed = mixed_embeddings(
            self.module.auto_model.get_input_embeddings(), features["input_ids"], self.slots, features[IDS],
            features[WEIGHT],
        )  # fmt: skip
        inside = {name: value for name, value in features.items() if name not in (IDS, WEIGHT, "input_ids")}
        output = self.forward({**inside, "inputs_embeds": mixed}, **options)
        output.pop("inputs_embeds")
        return {**output, "input_ids": features["input_ids"]}


def mixed_embeddings(
    embedding: Callable[[Tensor], Tensor], ids: Tensor, slots: Sequence[int], composed: Tensor, weight: Tensor
) -> Tensor:
    """Embeddings ``(b, n, d)`` of token ids; the s-th slot of a row has ``sum_k weight_sk embedding(composed_sk)``.

    Args:
        embedding: Ids ``(*)`` -> vectors ``(*, d)``.
        ids: Token ids, ``(b, n)``.
        slots: Those that stand for a composed word.
        composed: Ids that each slot of a row is composed of, ``(b, s, k)``.
        weight: Their weights, ``(b, s, k)``.
    """
    is_slot = reduce(torch.logical_or, (ids == slot for slot in slots))  # (b, n); ONNX has no isin
    rows = (weight.unsqueeze(-1) * embedding(composed)).sum(dim=2)  # (b, s, d)
    place = (is_slot.cumsum(dim=1) - 1).clamp(0, rows.shape[1] - 1)  # (b, n)
    own = rows.gather(1, place.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))  # (b, n, d)
    return torch.where(is_slot.unsqueeze(-1), own.to(rows.dtype), embedding(ids))
