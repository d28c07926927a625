"""Word dropout: while training, some added words are split into the pieces that an unseen word would have.

The student so learns to read pieces in context, and cannot memorise sentences by words that occur in one only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def pieces_of_words(tokenizer: Any) -> dict[int, list[int]]:
    """Map the id of each added word to the ids of the pieces that its text has without that word in the vocabulary."""
    backend = tokenizer.backend_tokenizer
    special = set(tokenizer.all_special_ids)
    found = {}
    for i, token in tokenizer.added_tokens_decoder.items():
        if i in special or token.special:
            continue
        text = backend.normalizer.normalize_str(token.content) if backend.normalizer else token.content
        parts = backend.pre_tokenizer.pre_tokenize_str(text) if backend.pre_tokenizer else [(text, None)]
        found[i] = [piece.id for part, _ in parts for piece in backend.model.tokenize(part)]
    return {i: pieces for i, pieces in found.items() if pieces}


class WordDropout:
    """A tokenization function that splits added words at random.

    The choice depends on the seed and the batch alone, so a resumed run splits the same words.
    """

    def __init__(
        self, preprocess: Callable[..., dict[str, Any]], tokenizer: Any, probability: float, seed: int
    ) -> None:
        """Wrap ``preprocess``; each added word is split with the given probability."""
        self.preprocess = preprocess
        self.probability = probability
        self.seed = seed
        self.pieces = pieces_of_words(tokenizer)
        self.padding, self.limit = tokenizer.pad_token_id or 0, tokenizer.model_max_length

    def __call__(self, inputs: Sequence[str], **options: Any) -> dict[str, Any]:
        """Call ``preprocess`` and split words in its features; a query keeps its length, with less [MASK] expansion."""
        features = self.preprocess(inputs, **options)
        ids, real = features["input_ids"], features["attention_mask"].bool()
        expanded = features.get("query_expansion_positions")
        if expanded is not None:
            real = real & ~expanded
        limit = self.limit if expanded is None else ids.shape[1]
        random = np.random.default_rng((self.seed, int(ids.sum())))
        prompt = features.get("prompt_length") or 0
        rows = [self._apart(row[here].tolist(), random, limit, prompt) for row, here in zip(ids, real, strict=True)]
        width = max(map(len, rows)) if expanded is None else ids.shape[1]
        padded = self._padded(rows, width, features)
        return {**features, **(padded if expanded is None else _expanded_again(padded, features))}

    def _apart(self, row: list[int], random: np.random.Generator, limit: int, prompt: int) -> list[int]:
        """Split words at random, beyond the first ``prompt`` tokens; a row that gets too long stays whole."""
        fall = random.random(len(row)) < self.probability
        fall[:prompt] = False
        apart = [piece for i, f in zip(row, fall, strict=True) for piece in (self.pieces.get(i, (i,)) if f else (i,))]
        return apart if len(apart) <= limit else row

    def _padded(self, rows: list[list[int]], width: int, features: dict[str, Any]) -> dict[str, Tensor]:
        ids = torch.full((len(rows), width), self.padding, dtype=features["input_ids"].dtype)
        mask = torch.zeros((len(rows), width), dtype=features["attention_mask"].dtype)
        for k, row in enumerate(rows):
            ids[k, : len(row)] = torch.tensor(row)
            mask[k, : len(row)] = 1
        padded = {"input_ids": ids, "attention_mask": mask}
        return padded | ({"token_type_ids": torch.zeros_like(ids)} if "token_type_ids" in features else {})


def _expanded_again(padded: dict[str, Tensor], features: dict[str, Any]) -> dict[str, Tensor]:
    """Fill the rest of each row with the expansion token of ``features``, attended to or not as there."""
    old, were = features["input_ids"], features["query_expansion_positions"]
    if not were.any():
        return padded
    # Expansion fills every row up to the last expanded place of the batch; beyond it is padding.
    within = torch.arange(old.shape[1]) <= were.nonzero()[:, 1].max()
    now = (padded["attention_mask"] == 0) & within
    attended = int(features["attention_mask"].bool()[were].all())
    ids = padded["input_ids"].masked_fill(now, int(old[were][0]))
    mask = padded["attention_mask"].masked_fill(now, attended)
    return padded | {"input_ids": ids, "attention_mask": mask, "query_expansion_positions": now}
