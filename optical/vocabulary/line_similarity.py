"""Similarity of an English line and the X lines around it, by their words and without a model.

X is put into English by a table that is learnt from other lines of the same bitext (IBM model 1), so that no line is
judged by what was learnt from itself; numbers and names mean themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import regex
from jaxtyping import Bool, Float, Int
from scipy import sparse

from optical.data.bitext import Pair
from optical.data.words import fold
from optical.vocabulary.align_ibm1 import align_ibm1

REACH = 10  # lines above and below an English one that are compared with it
OFFSETS = np.arange(-REACH, REACH + 1)
BLOCK = 30  # lines in a row that are of one half
LEARNT_FROM = 5_000  # lines of a half at most
STEPS = 3  # EM iterations of the alignment
LEAST = 0.02  # of sqrt(t(e | f) t(f | e)), below which words are no translations
SENSES = 10  # translations of a word at most
PART = 20_000  # lines whose vectors are in memory at once
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TOKEN = regex.compile(rf"[{_SPACELESS}]|[\p{{L}}\p{{M}}]+|\p{{Nd}}+")


class Lines(NamedTuple):
    """Lines of bitext as distinct tokens; e English and f X tokens in all.

    Attributes:
        english: Ids of the tokens of each English line.
        foreign: Ids of the tokens of each X line.
        x: Which tokens each English line has, weighted by how rare they are, ``(n, e)``.
        y: Which tokens each X line has, ``(n, f)``.
        rarity: Inverse document frequency of each English token, on the diagonal.
        same: Which tokens of X are written like an English one, ``(f, e)``.
        start: Position of the first line of the file of each line.
        end: Position after the last line of its file.
    """

    english: list[list[int]]
    foreign: list[list[int]]
    x: sparse.csr_matrix
    y: sparse.csr_matrix
    rarity: sparse.csr_matrix
    same: sparse.csr_matrix
    start: Int[np.ndarray, " n"]
    end: Int[np.ndarray, " n"]

    def there(self, rows: Int[np.ndarray, " r"], by: int | Int[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
        """Whether the file of each line has a line ``by`` lines further down."""
        return (rows + by >= self.start[rows]) & (rows + by < self.end[rows])


def tokenized(files: Sequence[Sequence[Pair]]) -> Lines:
    """Take the lines of files apart into tokens: folded words, characters of scripts without spaces, numbers."""
    english, e = _numbered(pair.english for file in files for pair in file)
    foreign, f = _numbered(pair.foreign for file in files for pair in file)
    x, y = _vectors(english, len(e)), _vectors(foreign, len(f))
    seen = np.asarray(x.sum(0)).ravel()
    rarity = sparse.csr_matrix(sparse.diags(np.log((1 + len(english)) / (1 + seen)).astype(np.float32)))
    both = np.array([(k, e[token]) for token, k in f.items() if token in e], dtype=np.int64).reshape(-1, 2)
    same = sparse.csr_matrix((np.ones(len(both), dtype=np.float32), tuple(both.T)), shape=(len(f), len(e)))
    sizes = np.array([len(file) for file in files], dtype=np.int64)
    end = np.repeat(np.cumsum(sizes), sizes)
    return Lines(english, foreign, _unit(x @ rarity), y, rarity, same, end - np.repeat(sizes, sizes), end)


def similarity_by_names(lines: Lines) -> Float[np.ndarray, "n offsets"]:
    """Cosine of each English line and the X line at each offset by what is written alike; NaN where there is none."""
    return _cosines(lines, lines.same, np.arange(len(lines.english)))


def similarity_by_words(lines: Lines, offsets: Int[np.ndarray, " n"], window: int) -> Float[np.ndarray, "n offsets"]:
    """Cosine of each English line and the X line at each offset by words learnt from the other half of the lines.

    Args:
        lines: Of all files.
        offsets: Where the translation of each line is believed to stand.
        window: How many lines above and below that it may stand.

    Returns:
        Between 0 and 1; NaN where a file has no line at an offset.
    """
    half = np.arange(len(lines.english)) // BLOCK % 2
    found = np.full((len(half), len(OFFSETS)), np.nan, dtype=np.float32)
    for own in (0, 1):
        rows, others = np.flatnonzero(half == own), np.flatnonzero(half != own)
        means = _translations(lines, others, offsets, window)
        found[rows] = _cosines(lines, sparse.csr_matrix(lines.same.maximum(means)), rows)
    return found


def _numbered(texts: Iterable[str]) -> tuple[list[list[int]], dict[str, int]]:
    """Ids of the distinct tokens of each text, and the id of each token."""
    ids: dict[str, int] = {}
    return [[ids.setdefault(token, len(ids)) for token in dict.fromkeys(tokens(text))] for text in texts], ids


def tokens(text: str) -> list[str]:
    """The tokens of a text; numbers have ASCII digits whatever their script."""
    return [str(int(one[:20])) if one[0].isdecimal() else fold(one) for one in _TOKEN.findall(text)]


def _vectors(texts: list[list[int]], width: int) -> sparse.csr_matrix:
    starts = np.cumsum([0, *map(len, texts)])
    ids = np.fromiter(chain.from_iterable(texts), dtype=np.int32, count=int(starts[-1]))
    return sparse.csr_matrix((np.ones(len(ids), dtype=np.float32), ids, starts), shape=(len(texts), width))


def _unit(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    norm = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(norm, 1e-9)) @ rows)


def _translations(
    lines: Lines, rows: Int[np.ndarray, " r"], offsets: Int[np.ndarray, " n"], window: int
) -> sparse.csr_matrix:
    """Learn from some of the lines how surely each X token means each English one, ``(f, e)``."""
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), LEARNT_FROM)).astype(int)]
    low = np.maximum(lines.start[rows], rows + offsets[rows] - window)
    high = np.minimum(lines.end[rows], rows + offsets[rows] + window + 1)
    windows = [list(chain.from_iterable(lines.foreign[a:b])) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    table = align_ibm1([lines.english[row] for row in rows], windows, steps=STEPS, max_length=600)
    sure = np.sqrt(table.probability * table.reverse)
    first = np.searchsorted(table.foreign, np.arange(lines.y.get_shape()[1]))
    kept = (sure >= LEAST) & (np.arange(len(sure)) - first[table.foreign] < SENSES)
    return sparse.csr_matrix((sure[kept], (table.foreign[kept], table.english[kept])), shape=lines.same.get_shape())


def _cosines(lines: Lines, means: sparse.csr_matrix, rows: Int[np.ndarray, " r"]) -> Float[np.ndarray, "r offsets"]:
    """Cosine of some English lines and the X lines around them, put into English."""
    found = np.full((len(rows), len(OFFSETS)), np.nan, dtype=np.float32)
    for at in range(0, len(rows), PART):
        part = rows[at : at + PART]
        low = max(0, part[0] - REACH)
        own, near = lines.x[part], _unit(lines.y[low : part[-1] + REACH + 1] @ means @ lines.rarity)
        for column, by in enumerate(OFFSETS.tolist()):
            there = np.flatnonzero(lines.there(part, by))
            found[at + there, column] = own[there].multiply(near[part[there] + by - low]).sum(1).ravel()
    return found
