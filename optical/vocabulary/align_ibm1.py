"""Word alignment: what English pieces a word of X means, from parallel sentences alone.

Ids in, probabilities out: this file knows neither tokenizers nor embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64
from scipy.sparse import csr_matrix

from optical.vocabulary.cooccurrence import co_occurrences
from optical.vocabulary.subwords import Parts, borrow, likeness

Smooth: TypeAlias = Callable[[np.ndarray], np.ndarray]

REVERSE = 0.2  # of 0.1 to 0.7 the best on the development sets: more favours English words that are rare by chance


class Lexicon(NamedTuple):
    """A sparse translation table, sorted by X id and then by falling weight.

    Attributes:
        foreign: X id of each entry.
        english: English id of each entry.
        count: Expected number of times that they translate each other.
        probability: ``t(english | foreign)``; sums to 1 over the entries of one X id.
        reverse: ``t(foreign | english)`` from the same expected counts; sums to 1 over the entries of one English id.
    """

    foreign: Int[np.ndarray, " k"]
    english: Int[np.ndarray, " k"]
    count: Float[np.ndarray, " k"]
    probability: Float[np.ndarray, " k"]
    reverse: Float[np.ndarray, " k"]

    @property
    def weight(self) -> Float[np.ndarray, " k"]:
        """``t(e | f) t(f | e)^0.2``: what f means, less what every f means ("the", commas)."""
        return self.probability * self.reverse**REVERSE


class Hints(NamedTuple):
    """What is known of the words before the first sentence is read.

    Attributes:
        parts: Halves that words share; rare words lean on them.
        letters: Character pairs of X ids and of English ids; words that look alike probably mean the same.
        alike: Weight of looking alike in the start: ``t0 ~ 1 + alike * dice^2``.
        lean: Occurrences that a word needs before its own counts weigh more than its halves'.
    """

    parts: Parts
    letters: tuple[UInt64[np.ndarray, "f 12"], UInt64[np.ndarray, "e 12"]]
    alike: float = 20.0
    lean: float = 1.0


def align(
    english: Sequence[Sequence[int] | np.ndarray],
    foreign: Sequence[Sequence[int] | np.ndarray],
    *,
    steps: int = 5,
    max_length: int = 100,
    hints: Hints | None = None,
) -> Lexicon:
    """IBM model 1 by expectation maximisation over sparse co-occurrence (Brown et al. 1993, section 4.3).

    Every (English token, X token) pair of every sentence pair is one entry of a flat array; each step is a gather, two
    sums over groups and a division. Time and memory are linear in ``sum_k n_k m_k``: some 20 million entries for 40k
    news sentences. With hints, the start favours words that look alike, and each step estimates
    ``t(e | f) ~ c(f, e) + lean * b(e | f)``, with b from the halves of f (:func:`optical.vocabulary.subwords.borrow`).

    Args:
        english: Token ids of each English sentence.
        foreign: Token ids of its translation.
        steps: EM iterations; 5 are enough to tell the main senses apart, more favour rare words.
        max_length: Sentence pairs with a longer side are left out: they cost n m and align badly.
        hints: Back-off for rare words; plain model 1 from a uniform start without.

    Raises:
        ValueError: The two sides have different numbers of sentences.
    """
    met = co_occurrences(english, foreign, max_length)
    if met is None:
        return nothing()
    start, smooth = beginnings(hints, met.f, met.e)
    probability, counts = per_id(start, met.f), start
    for _ in range(max(1, steps)):
        counts = np.bincount(met.entry, weights=met.per_english(probability), minlength=len(met.f)).astype(np.float32)
        probability = per_id(counts + smooth(counts), met.f)
    return lexicon(met.f, met.e, counts, probability)


def beginnings(hints: Hints | None, f: Int[np.ndarray, " k"], e: Int[np.ndarray, " k"]) -> tuple[np.ndarray, Smooth]:
    """What the hints say of distinct pairs: how likely each is before any count, and what it borrows from parts.

    Args:
        hints: None for a uniform start and nothing borrowed.
        f: X id of each pair.
        e: English id of each pair.

    Returns:
        Start ``(k,)``, at least 1, and a function from expected counts ``(k,)`` to occurrences borrowed ``(k,)``.
    """
    start = np.ones(len(f), dtype=np.float32)
    if hints is None:
        return start, np.zeros_like
    start += hints.alike * likeness(*hints.letters, f, e) ** 2
    smooth = borrow(hints.parts, f, e)
    return start, lambda counts: hints.lean * smooth(counts)


def nothing() -> Lexicon:
    """The lexicon of a bitext in which nothing meets."""
    empty = np.zeros(0, dtype=np.int64)
    return Lexicon(empty, empty, np.zeros(0), np.zeros(0), np.zeros(0))


def lexicon(f, e, counts, probability) -> Lexicon:
    """A sorted :class:`Lexicon` of distinct pairs."""
    reverse = (counts / np.maximum(np.bincount(e, weights=counts)[e], 1e-30)).astype(np.float32)
    table = Lexicon(f, e, counts, probability, reverse)
    order = _order(table)
    return Lexicon(*(values[order] for values in table))


def _order(table: Lexicon):
    """By X id, then by falling weight: one sort of a combined key, weights being at most 1, is faster than lexsort."""
    return np.argsort(table.foreign.astype(np.float64) * 2 - table.weight, kind="stable")


def per_id(values: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Values ``(k,)`` divided by their sum over the entries of the same id."""
    return (values / np.maximum(np.bincount(f, weights=values), 1e-30)[f]).astype(np.float32)


def mix_rows(
    lexicon: Lexicon,
    vectors: Float[np.ndarray, "v d"],
    size: int,
    *,
    top: int = 8,
    empty: Bool[np.ndarray, " v"] | None = None,
) -> tuple[Float[np.ndarray, "s d"], Int[np.ndarray, " s"]]:
    """The embedding of each X id: the weighted mean of the vectors of its ``top`` likeliest English pieces.

    Args:
        lexicon: From :func:`align`.
        vectors: Embeddings of the English pieces, row by English id.
        size: How many X ids there are.
        top: Pieces mixed for each word.
        empty: English pieces that mean nothing, such as commas: mixed only where there is nothing else.

    Returns:
        Rows ``(size, d)``, zero where an id was never aligned, and how many pieces each row mixes.
    """
    if empty is not None:
        lexicon = lexicon._replace(probability=np.where(empty[lexicon.english], 1e-6, 1) * lexicon.probability)
        lexicon = Lexicon(*(values[_order(lexicon)] for values in lexicon))
    start = np.searchsorted(lexicon.foreign, np.arange(size))
    kept = (np.arange(len(lexicon.foreign)) - start[lexicon.foreign]) < top if len(lexicon.foreign) else slice(0)
    f, e, weight = lexicon.foreign[kept], lexicon.english[kept], lexicon.weight[kept]
    mass = np.bincount(f, weights=weight, minlength=size)
    mixing = csr_matrix((weight / np.maximum(mass[f], 1e-30), (f, e)), shape=(size, len(vectors)))
    return (mixing @ vectors).astype(vectors.dtype), np.bincount(f, minlength=size)


def random_rows(vectors: Float[np.ndarray, "v d"], size: int, seed: int) -> Float[np.ndarray, "s d"]:
    """Rows ``(size, d)`` that mean nothing: normal, each dimension with the mean and spread it has in ``vectors``."""
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((size, vectors.shape[1]), dtype=np.float32)
    return (vectors.mean(axis=0) + drawn * vectors.std(axis=0)).astype(vectors.dtype)


def pool(table: Lexicon, parts: Parts) -> Lexicon:
    """What the parts of words mean: the expected counts of all words that share a part, added up."""
    sides = [np.flatnonzero(parts.of[table.foreign, side] >= 0) for side in (0, 1)]
    part = np.concatenate([parts.of[table.foreign[at], side] for side, at in enumerate(sides)])
    at = np.concatenate(sides)
    width = int(table.english.max()) + 1 if len(at) else 1
    distinct, entry = np.unique(part * width + table.english[at], return_inverse=True)
    counts = np.bincount(entry, weights=table.count[at], minlength=len(distinct)).astype(np.float32)
    return lexicon(distinct // width, distinct % width, counts, per_id(counts, distinct // width))


def lean_on(parts: Parts, rows, part_rows, part_mixed, counts, lean: float) -> Float[np.ndarray, "s d"]:
    """Rows drawn towards those of their parts: ``(c row + lean part) / (c + lean)``.

    Args:
        parts: Halves of the X ids.
        rows: Row of each X id, ``(s, d)``.
        part_rows: Row of each part, ``(p, d)``.
        part_mixed: How many pieces each part's row mixes; a part with none is not leaned on.
        counts: Occurrences c of each X id.
        lean: Occurrences that the parts are worth.
    """
    borrowed, weight = np.zeros_like(rows), np.zeros(len(rows), dtype=rows.dtype)
    for side in (0, 1):
        at = np.flatnonzero(parts.of[:, side] >= 0)
        at = at[part_mixed[parts.of[at, side]] > 0]
        share = parts.share[at, side]
        borrowed[at] += share[:, None] * part_rows[parts.of[at, side]]
        weight[at] += share
    own = counts.astype(rows.dtype)
    return ((own[:, None] * rows + lean * borrowed) / np.maximum(own + lean * weight, 1e-9)[:, None]).astype(rows.dtype)
