"""Word dropout: while training, some added words are read as an unseen word would be.

A student that composes reads them by the rows of the words most alike, without the word itself, as they are at that
step; another one, and a word that resembles no other, by the pieces. So training and use agree, and the student cannot
memorise sentences by words that occur in one only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optical.models.composing import IDS, WEIGHT
from optical.models.query_words import Composition, QueryWords, padded_compositions


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
    """A tokenization function that drops added words at random.

    The choice depends on the seed and the batch alone, so a resumed run drops the same words.
    """

    def __init__(
        self,
        preprocess: Callable[..., dict[str, Any]],
        tokenizer: Any,
        probability: float,
        seed: int,
        words: QueryWords | None = None,
    ) -> None:
        """Wrap ``preprocess``; each added word is dropped with the given probability.

        Args:
            preprocess: Of the student.
            tokenizer: Of the student.
            probability: In [0, 1].
            seed: Of the draws.
            words: Of a student that composes.
        """
        self.words = words
        self.slots = words.seen.slots if words else []
        self.spelled = dict(zip(words.seen.ids, words.seen.words, strict=True)) if words else {}
        self.composed: dict[int, Composition | None] = {}
        self.preprocess = preprocess
        self.probability = probability
        self.seed = seed
        self.pieces = pieces_of_words(tokenizer)
        self.padding, self.limit = tokenizer.pad_token_id or 0, tokenizer.model_max_length

    def __call__(self, inputs: Sequence[str], **options: Any) -> dict[str, Any]:
        """Call ``preprocess`` and drop words in its features; a query keeps its length, with less [MASK] expansion."""
        features = self.preprocess(inputs, **options)
        ids, real = features["input_ids"], features["attention_mask"].bool()
        expanded = features.get("query_expansion_positions")
        if expanded is not None:
            real = real & ~expanded
        limit = self.limit if expanded is None else ids.shape[1]
        random = np.random.default_rng((self.seed, int(ids.sum())))
        prompt = features.get("prompt_length") or 0
        own = _compositions(features)
        dropped = [
            self._dropped(row[here].tolist(), random, limit, prompt, made)
            for row, here, made in zip(ids, real, own, strict=True)
        ]
        rows = [row for row, _ in dropped]
        width = max(map(len, rows)) if expanded is None else ids.shape[1]
        padded = self._padded(rows, width, features)
        padded = padded if expanded is None else _expanded_again(padded, features)
        return {**features, **padded, **_as_features([made for _, made in dropped])}

    def _dropped(
        self, row: list[int], random: np.random.Generator, limit: int, prompt: int, own: list[Composition]
    ) -> tuple[list[int], list[Composition]]:
        """Drop words at random, beyond the first ``prompt`` tokens; a row that gets too long stays whole.

        Returns:
            The token ids, and what the slots among them are composed of; ``own`` is that of the slots that are there.
        """
        fall = random.random(len(row)) < self.probability
        fall[:prompt] = False
        self._compose([i for i, falls in zip(row, fall, strict=True) if falls])
        rest, ids, made = iter(own), [], []
        for i, falls in zip(row, fall, strict=True):
            composed = next(rest, None) if i in self.slots else self.composed.get(i) if falls else None
            if composed is not None:
                ids.append(i if i in self.slots else self.slots[0])
                made.append(composed)
            else:
                ids += self.pieces.get(i, [i]) if falls and i not in self.slots else [i]
        return (ids, made) if len(ids) <= limit else (row, own)

    def _compose(self, ids: Sequence[int]) -> None:
        """Find what words are composed of where they themselves are left out."""
        new = [i for i in dict.fromkeys(ids) if i in self.spelled and i not in self.composed]
        if self.words is None or not new:
            return
        alike = self.words.spellings.alike([self.spelled[i] for i in new], apart=True)
        for k, i in enumerate(new):
            some = Composition(self.words.ids[alike.at[k]], alike.weight[k])
            self.composed[i] = some if alike.likeness[k] else None

    def _padded(self, rows: list[list[int]], width: int, features: dict[str, Any]) -> dict[str, Tensor]:
        ids = torch.full((len(rows), width), self.padding, dtype=features["input_ids"].dtype)
        mask = torch.zeros((len(rows), width), dtype=features["attention_mask"].dtype)
        for k, row in enumerate(rows):
            ids[k, : len(row)] = torch.tensor(row)
            mask[k, : len(row)] = 1
        padded = {"input_ids": ids, "attention_mask": mask}
        return padded | ({"token_type_ids": torch.zeros_like(ids)} if "token_type_ids" in features else {})


def _compositions(features: dict[str, Any]) -> list[list[Composition]]:
    """Read the compositions of the slots of each row from the features."""
    if IDS not in features:
        return [[] for _ in features["input_ids"]]
    both = zip(features[IDS].numpy(), features[WEIGHT].numpy(), strict=True)
    return [[Composition(i, w) for i, w in zip(ids, weight, strict=True) if w.any()] for ids, weight in both]


def _as_features(rows: Sequence[Sequence[Composition]]) -> dict[str, Tensor]:
    """Compositions as the features that a student reads; none where no row has any."""
    ids, weight = padded_compositions(rows)
    return {IDS: torch.from_numpy(ids), WEIGHT: torch.from_numpy(weight)} if ids.size else {}


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
