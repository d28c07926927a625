"""Which sentences go into a batch together: those of about one length, so that little of it is padding.

On real bitext, batches drawn at random are half padding; grouped by tokens, a twentieth is. Takes lengths, gives row
numbers; knows no text and no model.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

SORTED_TOGETHER = 50  # batches; more would save little padding and make batches of one kind of text


def length_grouped(
    lengths: Int[np.ndarray, " n"],
    repeats: Int[np.ndarray, " n"],
    random: np.random.Generator,
    *,
    batch_size: int,
    batch_tokens: int | None = None,
) -> list[list[int]]:
    """One epoch of batches in random order, each of rows of about one length.

    Args:
        lengths: Tokens of each row.
        repeats: How often each row is drawn.
        random: Decides which rows meet, and the order of the batches.
        batch_size: Rows of a batch. What does not fill one is left out, other rows in each epoch.
        batch_tokens: Tokens of a batch, padding counted, instead of ``batch_size``: many short rows or few long ones.
            No row is left out, and one that is longer than this is a batch of its own.
    """
    rows = np.repeat(np.arange(len(lengths)), repeats)
    rows = rows[random.permutation(len(rows))]
    together = SORTED_TOGETHER * (batch_size if batch_tokens is None else _rows_a_batch(lengths, batch_tokens))
    batches = []
    for k in range(0, len(rows), together):
        block = rows[k : k + together]
        block = block[np.argsort(lengths[block], kind="stable")]
        batches += _by_count(block, batch_size) if batch_tokens is None else _by_tokens(block, lengths, batch_tokens)
    return [batches[k] for k in random.permutation(len(batches))]


def padding(lengths: Int[np.ndarray, " n"], batches: list[list[int]]) -> float:
    """Share of the places in the batches that hold padding."""
    places = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1.0 - sum(int(lengths[batch].sum()) for batch in batches) / max(1, places)


def _rows_a_batch(lengths: np.ndarray, batch_tokens: int) -> int:
    return max(1, round(batch_tokens / max(1.0, float(lengths.mean()))))


def _by_count(block: np.ndarray, batch_size: int) -> list[list[int]]:
    whole = len(block) - len(block) % batch_size
    return block[:whole].reshape(-1, batch_size).tolist()


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
