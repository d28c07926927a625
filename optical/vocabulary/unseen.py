"""Rows of words that the bitext never had, composed from the rows of the seen words most alike in spelling.

An unseen word is often another form of a seen one, and shares most of its letters. Split into the teacher's pieces it
would have several tokens, each with a vote in the sentence vector; the mean of the rows of its neighbours is one token
that means nearly the right thing. After Fukuda, Yoshinaga and Kitsuregawa (2020, "Robust Backed-off Estimation of
Out-of-Vocabulary Embeddings"), here with rows that came from word alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from optical.data.spellings import Alike, Spellings


class ComposedRows:
    """Rows for unseen words, from seen words and their rows.

    >>> words = ComposedRows(["watoto", "mtoto", "maji"], np.eye(3, dtype=np.float32), [9, 7, 8])
    >>> rows, likeness = words.compose(["mtotoni", "xyz"])
    >>> rows.tolist(), [round(float(x), 2) for x in likeness]
    ([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [0.45, 0.0])
    """

    def __init__(
        self,
        words: Sequence[str],
        rows: Float[np.ndarray, "w d"],
        counts: Sequence[int] | Int[np.ndarray, " w"] | None = None,
        **options: Any,
    ) -> None:
        """Take seen words, the row of each, how often each was seen, and the options of :class:`Spellings`."""
        if len(rows) != len(words):
            raise ValueError(f"each word has one row; received {len(words)} words and {len(rows)} rows")
        self.spellings = Spellings(words, counts, **options)
        self.rows = rows

    def compose(self, new: Sequence[str], *, apart: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Rows ``(n, d)`` of new words and the likeness ``(n,)`` of their nearest seen word.

        A word with likeness 0 resembles no seen word: its row is zero, and it should fall into pieces. ``apart`` is
        that of :meth:`Spellings.alike`.
        """
        alike = self.spellings.alike(new, apart=apart)
        return mix(self.rows, alike), alike.likeness


def mix(rows: Float[np.ndarray, "w d"], alike: Alike) -> Float[np.ndarray, "n d"]:
    """The weighted mean of the rows of each new word's neighbours; zero where it has none."""
    result = np.zeros((len(alike.at), rows.shape[1]), dtype=rows.dtype)
    some = np.flatnonzero(alike.likeness)
    for k in range(alike.at.shape[1]):  # (n, k, d) at once would take k times the memory
        result[some] += alike.weight[some, k, None].astype(rows.dtype) * rows[alike.at[some, k]]
    return result
