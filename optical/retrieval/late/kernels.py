"""Compiled loops of the search by lists, for processors with AVX2: numba (the extra ``late``) compiles them once.

A query token is compared with stored ones in whole numbers first: its 7 bits times theirs, 32 at a time. That finds
which tokens may be the most similar; only those are then multiplied in float32, so a score is exact. What is compiled
is kept until this file changes: after a change of :mod:`optical.retrieval.late.instructions`, change this one too.
"""

# ruff: noqa: ANN201 - numba reads the types from what the functions are called with

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from optical.retrieval.late.instructions import (
    AVX2,
    TOGETHER,
    WIDTH,
    highest,
    lowest_bit,
    product,
    products,
    reaching,
    soon,
)

DIGIT = 63  # largest number of a query: without VNNI the sum of two products of bytes must fit 16 bits
LEVELS = 255  # of a similarity with a centroid, from 0 to the cosine 1
# Bounds on what rounding a query token changes: 3 standard deviations, sqrt(1 / 12) steps each, of a stored token whose
# numbers are all as large as can be, and several times as many for real ones.
ROUNDING, WIDEST, WIDEST_NIBBLE = 0.87, 127, 8

_compiled = njit(cache=True, fastmath=True, nogil=True, error_model="numpy")


def usable() -> bool:
    """Whether this processor has the instructions."""
    return AVX2


class Asked(NamedTuple):
    """A query in the forms that the loops need; rows from n to m, a multiple of TOGETHER, are zeros.

    Attributes:
        vectors: ``(n, d)`` float32.
        lengths: ``(n,)`` float32.
        digits: ``(m, d)`` int8, from -DIGIT to DIGIT.
        total: ``(m,)`` int32, the sum of each row of digits.
        step: ``(m,)`` float32; ``vectors`` is about ``step * digits``.
    """

    vectors: np.ndarray
    lengths: np.ndarray
    digits: np.ndarray
    total: np.ndarray
    step: np.ndarray


class Stored(NamedTuple):
    """The tokens of an index.

    Attributes:
        tokens: ``(t, d)`` int8, or ``(t, d / 2)`` int8 that hold packed int4.
        scale: ``(t,)`` float32.
        codes: The list of each token, ``(t,)`` uint16; without rows where there are no lists.
        start: Document i has the tokens ``start[i]`` to ``start[i + 1]``.
        longest: Most tokens of a document.
        nibble: 1 for int4, else 0.
    """

    tokens: np.ndarray
    scale: np.ndarray
    codes: np.ndarray
    start: np.ndarray
    longest: int
    nibble: int


@_compiled
def levels(centroids, unit, asked, table):
    """Cosines of all centroids and query tokens, in LEVELS from 0.

    ``centroids`` are int8 unit vectors in steps of ``unit``; ``table``, ``(c, w)`` uint8 zeros with w a multiple of
    WIDTH, is written to.
    """
    found, digits, n = np.empty(TOGETHER, np.int32), asked.digits, len(asked.vectors)
    factor = np.zeros(len(digits), np.float32)
    factor[:n] = asked.step[:n] * unit * np.float32(LEVELS) / np.maximum(asked.lengths, np.float32(1e-9))
    for row in range(len(centroids)):
        for i in range(0, len(digits), TOGETHER):
            products(
                centroids.ctypes.data + row * centroids.strides[0], digits.ctypes.data + i * digits.strides[0],
                digits.strides[0], centroids.shape[1] // WIDTH, 0, found.ctypes.data,
            )  # fmt: skip
            for j in range(TOGETHER):
                level = np.float32(found[j] - 128 * asked.total[i + j]) * factor[i + j]
                table[row, i + j] = np.uint8(min(max(level, np.float32(0)), np.float32(LEVELS)))


@_compiled
def listed(table, lengths, probe, start, documents, score):
    """Documents of the nearest lists: for each query token its nearest ``probe`` lists, and those level with them.

    ``table`` is as :func:`levels` writes it, ``lengths`` are those of the query tokens, and list i has the
    ``documents[start[i]:start[i + 1]]``. ``score``, a float32 zero a document, becomes the sum over query tokens of
    the length of the token times how far the document's best list lies above the last one opened. Returns how many
    documents have one.
    """
    met, count = np.full(len(score), -1, np.int32), 0
    opened = np.empty(len(table), np.int32)
    for i in range(len(lengths)):
        ends = np.zeros(LEVELS + 2, np.int64)  # lists at a level or above
        for row in range(len(table)):
            ends[table[row, i]] += 1
        for level in range(LEVELS, -1, -1):
            ends[level] += ends[level + 1]
        floor = LEVELS
        while floor > 0 and ends[floor] < probe:
            floor -= 1
        total = ends[floor]
        for row in range(len(table) - 1, -1, -1):
            level = table[row, i]
            if level >= floor:
                ends[level] -= 1
                opened[ends[level]] = row
        for number in range(total):
            row = opened[number]
            gain = max(lengths[i], np.float32(1e-9)) * np.float32(np.int64(table[row, i]) - floor + 1)
            for entry in range(start[row], start[row + 1]):
                document = documents[entry]
                if met[document] != i:
                    count += met[document] < 0
                    met[document] = i
                    score[document] += gain
    return count


@_compiled
def by_centroids(table, lengths, stored, rows, out):
    """MaxSim of documents by the centroids of their tokens, in levels."""
    best = np.zeros(table.shape[1], np.uint8)
    for k in range(len(rows)):
        begin, end = stored.start[rows[k]], stored.start[rows[k] + 1]
        for block in range(0, table.shape[1], WIDTH):
            highest(table.ctypes.data + block, table.strides[0], stored.codes.ctypes.data + 2 * begin,
                     end - begin, best.ctypes.data + block)  # fmt: skip
        total = np.float32(0)
        for i in range(len(lengths)):
            total += lengths[i] * np.float32(best[i])
        out[k] = total


@_compiled
def by_near_tokens(table, gap, asked, stored, rows, out):
    """MaxSim of documents over the tokens whose centroid is within ``gap`` levels of the best of the document.

    Its error is that of whole numbers, and what farther tokens would have given.
    """
    n, size = len(asked.vectors), stored.tokens.strides[0]
    blocks, bias = stored.tokens.shape[1] // WIDTH, 8 if stored.nibble else 128
    least, bits = np.zeros(table.shape[1], np.uint8), np.empty(stored.longest, np.uint32)
    found = np.empty(n, np.float32)
    for k in range(len(rows)):
        begin = stored.start[rows[k]]
        length = stored.start[rows[k] + 1] - begin
        here = stored.tokens.ctypes.data + begin * size
        codes = stored.codes.ctypes.data + 2 * begin
        found[:] = np.float32(-1e30)
        for block in range(0, n, WIDTH):
            real = (np.int64(1) << min(n - block, WIDTH)) - 1
            where, bound = table.ctypes.data + block, least.ctypes.data + block
            highest(where, table.strides[0], codes, length, bound)
            for i in range(block, block + WIDTH):
                least[i] = max(np.int64(least[i]) - gap, 0)
            reaching(where, table.strides[0], codes, length, bound, bits.ctypes.data)
            for j in range(length):
                if np.int64(bits[j]) & real:
                    for line in range(0, size, 64):
                        soon(here + j * size + line)
            for j in range(length):
                left = np.int64(bits[j]) & real
                while left:
                    i = block + lowest_bit(left)
                    left &= left - 1
                    query = asked.digits.ctypes.data + i * asked.digits.strides[0]
                    whole = product(here + j * size, query, blocks, stored.nibble) - bias * asked.total[i]
                    found[i] = max(found[i], np.float32(whole) * asked.step[i] * stored.scale[begin + j])
        total = np.float32(0)
        for i in range(n):
            total += found[i]
        out[k] = total


@_compiled
def exactly(asked, stored, rows, out):
    """MaxSim of documents by all of their tokens, in float32."""
    n, m, size, digits = len(asked.vectors), len(asked.digits), stored.tokens.strides[0], asked.digits
    offset, blocks = np.empty(m, np.int32), stored.tokens.shape[1] // WIDTH
    offset[:] = (8 if stored.nibble else 128) * asked.total
    slack = np.float32(ROUNDING * (WIDEST_NIBBLE if stored.nibble else WIDEST) * math.sqrt(digits.shape[1]))
    whole = np.empty((stored.longest, m), np.int32)
    least, best = np.empty(m, np.float32), np.empty(n, np.float32)  # the first in steps of the query token
    for k in range(len(rows)):
        begin, end = stored.start[rows[k]], stored.start[rows[k] + 1]
        least[:] = np.float32(-1e30)
        for j in range(begin, end):
            to = whole[j - begin]
            for i in range(0, m, TOGETHER):
                products(stored.tokens.ctypes.data + j * size, digits.ctypes.data + i * digits.strides[0],
                          digits.strides[0], blocks, stored.nibble, to.ctypes.data + 4 * i)  # fmt: skip
            unit = stored.scale[j]
            for i in range(m):
                to[i] -= offset[i]
                least[i] = max(least[i], (np.float32(to[i]) - slack) * unit)
        _refine(asked, stored, begin, whole[: end - begin], slack, least, best)
        total = np.float32(0)
        for i in range(n):
            total += best[i]
        out[k] = total


@_compiled
def _refine(asked, stored, begin, whole, slack, least, best):
    """For each query token the highest similarity in float32 of those whose rounded one may be the highest."""
    best[:] = np.float32(-1e30)
    for j in range(len(whole)):
        found, unit, most = whole[j], stored.scale[begin + j], np.float32(-1)
        for i in range(len(best)):
            most = max(most, (np.float32(found[i]) + slack) * unit - least[i])
        if most >= 0:
            for i in range(len(best)):
                if (np.float32(found[i]) + slack) * unit >= least[i]:
                    similarity = _in_full(asked.vectors[i], stored.tokens[begin + j], stored.nibble)
                    best[i] = max(best[i], similarity * unit)


@_compiled
def _in_full(query, stored, nibble):
    total, half = np.float32(0), len(stored)
    if nibble:
        for j in range(half):
            total += query[j] * np.float32(np.int8(stored[j] << 4) >> 4)
            total += query[j + half] * np.float32(stored[j] >> 4)
    else:
        for j in range(half):
            total += query[j] * np.float32(stored[j])
    return total
