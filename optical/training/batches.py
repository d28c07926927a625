"""Batches of sentences of about one length, so that little of a batch is padding, and the weights of languages.

On real bitext, batches drawn at random are half padding; grouped by tokens, a twentieth is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

SORTED_TOGETHER = 50  # batches; more would save little padding and make batches of one kind of text


def length_grouped(
    lengths: Int[np.ndarray, " n"],
    repeats: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    random: np.random.Generator,
    *,
    batch_size: int,
    batch_tokens: int | None = None,
) -> list[list[int]]:
    """Draw one epoch of batches in random order, each of rows of about one length.

    Args:
        lengths: Tokens of each row.
        repeats: How often each row is drawn, >= 0: a row of 2.3 twice, and once more with probability .3.
        random: Decides which rows meet, and the order of the batches.
        batch_size: Rows of a batch. As many rows as do not fill one are drawn at random and left out.
        batch_tokens: Tokens of a batch, padding counted, instead of ``batch_size``: many short rows or few long ones.
            No row is left out, and one that is longer than this is a batch of its own.
    """
    rows = np.repeat(np.arange(len(lengths)), _whole(repeats, random))
    rows = rows[random.permutation(len(rows))]
    if batch_tokens is None:  # before sorting, or those left out would always be the longest
        rows = rows[: len(rows) - len(rows) % batch_size]
    together = SORTED_TOGETHER * (batch_size if batch_tokens is None else _rows_a_batch(lengths, batch_tokens))
    batches = []
    for k in range(0, len(rows), together):
        block = rows[k : k + together]
        block = block[np.argsort(lengths[block], kind="stable")]
        batches += _by_count(block, batch_size) if batch_tokens is None else _by_tokens(block, lengths, batch_tokens)
    return [batches[k] for k in random.permutation(len(batches))]


def language_weights(counts: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Weight of a pair of each language: its expected draws in an epoch, where 1 is what every pair would have alone.

    Languages are drawn in proportion to ``count^(1 / temperature)`` (Arivazhagan et al. 2019; Lample & Conneau 2019
    with alpha = 1 / temperature), each evenly over its pairs. The scale keeps the length of an epoch: the weights of
    all pairs add up to the number of pairs, so those of large languages are below 1, those of small ones above.

    Args:
        counts: Language -> its pairs, or what they weigh together; positive.
        temperature: >= 1. At 1 every pair weighs 1; the larger, the nearer to as many draws for every language.

    Raises:
        ValueError: A count or a temperature out of its range.
    """
    wrong = {lang: count for lang, count in counts.items() if not count > 0}
    if wrong or not temperature >= 1:
        raise ValueError(
            f"counts must be positive and the temperature at least 1; received {wrong or dict(counts)} and "
            f"{temperature}; leave out languages without pairs"
        )
    drawn = {lang: count ** (1.0 / temperature) for lang, count in counts.items()}
    scale = sum(counts.values()) / sum(drawn.values()) if counts else 1.0
    return {lang: scale * drawn[lang] / count for lang, count in counts.items()}


def _whole(repeats: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Round repeats at random to whole numbers; no random number is drawn where all are whole already."""
    floor = np.floor(repeats)
    rest = repeats - floor
    if rest.any():
        floor += random.random(len(repeats)) < rest
    return floor.astype(int)


def _rows_a_batch(lengths: np.ndarray, batch_tokens: int) -> int:
    return max(1, round(batch_tokens / max(1.0, float(lengths.mean()))))


def _by_count(block: np.ndarray, batch_size: int) -> list[list[int]]:
    return block.reshape(-1, batch_size).tolist()


def _by_tokens(block: np.ndarray, lengths: np.ndarray, batch_tokens: int) -> list[list[int]]:
    """Cut a block, sorted by length, as soon as the next row would make the padded batch too large."""
    batches: list[list[int]] = []
    batch: list[int] = []
    for row in block.tolist():
        if batch and (len(batch) + 1) * lengths[row] > batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(row)
    return [*batches, batch]
