"""Compiled loops of the search by lists, for processors with AVX2: numba (the extra ``late``) compiles them once.

A query token is compared with stored ones in whole numbers first: its 7 bits times theirs, 32 at a time. That finds
which tokens may be the most similar; only those are then multiplied in float32, so a score is exact.
"""

# ruff: noqa: ANN201 - numba reads the types from what the functions are called with

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 32  # bytes in a register: query tokens in a row of the table of similarities, dimensions multiplied at once
TOGETHER = 4  # query tokens that a stored token is compared with at once
DIGIT = 63  # largest number of a query: the sum of two products of bytes must fit 16 bits
LEVELS = 255  # of a similarity with a centroid, from 0 to the cosine 1
# Bounds on what rounding a query token changes: 3 standard deviations, sqrt(1 / 12) steps each, of a stored token whose
# numbers are all as large as can be, and several times as many for real ones.
ROUNDING, WIDEST, WIDEST_NIBBLE = 0.87, 127, 8

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES, _PAIRS, _SUMS = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)


def _intrinsic(function: Callable[..., object]) -> Callable[..., int]:
    """An intrinsic of numba, which is called without the context that it is written with."""
    return intrinsic(function)


_compiled = njit(cache=True, fastmath=True, nogil=True, error_model="numpy")


def usable() -> bool:
    """Whether this processor has the instructions."""
    return bool(binding.get_host_cpu_features().get("avx2"))


def _splat(kind: ir.VectorType, number: int) -> ir.Constant:
    return ir.Constant(kind, [number] * kind.count)


def _at(builder: Any, address: Any, *offsets: Any) -> Any:
    """The 32 bytes at an address."""
    for offset in offsets:
        address = builder.add(address, offset)
    return builder.load(builder.inttoptr(address, _BYTES.as_pointer()), align=1)


def _parts(builder: Any, stored: Any, offset: Any, half: Any, *, nibble: bool) -> list[tuple[Any, Any]]:
    """Stored numbers made positive, and where in the query the numbers lie that they are multiplied with."""
    if not nibble:
        return [(builder.xor(stored, _splat(_BYTES, -128)), offset)]
    low, eight = _splat(_BYTES, 15), _splat(_BYTES, 8)
    high = builder.lshr(stored, _splat(_BYTES, 4))
    return [
        (builder.xor(builder.and_(part, low), eight), where)
        for part, where in ((stored, offset), (high, builder.add(offset, half)))
    ]


def _sums(builder: Any, token: Any, queries: list[Any], blocks: Any, *, nibble: bool) -> list[Any]:
    """Products of one stored token with some query tokens, int32; the stored numbers are 128 (8) too large."""
    module = builder.module
    multiply = cgutils.get_or_insert_function(
        module, ir.FunctionType(_PAIRS, [_BYTES, _BYTES]), "llvm.x86.avx2.pmadd.ub.sw"
    )
    widen = cgutils.get_or_insert_function(module, ir.FunctionType(_SUMS, [_PAIRS, _PAIRS]), "llvm.x86.avx2.pmadd.wd")
    total = cgutils.get_or_insert_function(module, ir.FunctionType(_I32, [_SUMS]), "llvm.vector.reduce.add.v8i32")
    sums = [cgutils.alloca_once_value(builder, _splat(_SUMS, 0)) for _ in queries]
    half = builder.mul(blocks, _I64(WIDTH))
    with cgutils.for_range(builder, blocks, intp=_I64) as loop:
        offset = builder.mul(loop.index, _I64(WIDTH))
        parts = _parts(builder, _at(builder, token, offset), offset, half, nibble=nibble)
        for query, found in zip(queries, sums, strict=True):
            pairs = [builder.call(multiply, [stored, _at(builder, query, where)]) for stored, where in parts]
            both = pairs[0] if len(pairs) == 1 else builder.add(*pairs)
            wide = builder.call(widen, [both, _splat(_PAIRS, 1)])
            builder.store(builder.add(builder.load(found), wide), found)
    return [builder.call(total, [builder.load(found)]) for found in sums]


@_intrinsic
def _products(_, token, query, stride, blocks, nibble, out):
    """Write the products of a stored token and TOGETHER query tokens to an address; all arguments are intp."""

    def generate(context, builder, _, args):
        token, query, stride, blocks, nibble, out = args
        queries = [builder.add(query, builder.mul(stride, _I64(row))) for row in range(TOGETHER)]
        with builder.if_else(builder.icmp_signed("!=", nibble, _I64(0))) as branches:
            for branch, four_bits in zip(branches, (True, False), strict=True):
                with branch:
                    for row, total in enumerate(_sums(builder, token, queries, blocks, nibble=four_bits)):
                        builder.store(total, builder.inttoptr(builder.add(out, _I64(4 * row)), _I32.as_pointer()))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


@_intrinsic
def _product(_, token, query, blocks, nibble):
    """The product of a stored token and one query token."""

    def generate(_, builder, __, args):
        token, query, blocks, nibble = args
        found = cgutils.alloca_once(builder, _I32)
        with builder.if_else(builder.icmp_signed("!=", nibble, _I64(0))) as branches:
            for branch, four_bits in zip(branches, (True, False), strict=True):
                with branch:
                    builder.store(_sums(builder, token, [query], blocks, nibble=four_bits)[0], found)
        return builder.load(found)

    return types.int32(*[types.intp] * 4), generate


@_intrinsic
def _highest(_, table, width, codes, count, out):
    """The highest of 32 columns of the rows ``codes`` (uint16) of a table of bytes."""

    def generate(context, builder, _, args):
        table, width, codes, count, out = args
        best = cgutils.alloca_once_value(builder, _splat(_BYTES, 0))
        with cgutils.for_range(builder, count, intp=_I64) as loop:
            row = _row(builder, table, width, codes, loop.index)
            held = builder.load(best)
            builder.store(builder.select(builder.icmp_unsigned(">", row, held), row, held), best)
        builder.store(builder.load(best), builder.inttoptr(out, _BYTES.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@_intrinsic
def _reaching(_, table, width, codes, count, least, out):
    """For each of the rows ``codes`` of a table which of 32 columns reach ``least``, as bits of a uint32."""

    def generate(context, builder, _, args):
        table, width, codes, count, least, out = args
        bound = _at(builder, least)
        with cgutils.for_range(builder, count, intp=_I64) as loop:
            row = _row(builder, table, width, codes, loop.index)
            bits = builder.bitcast(builder.icmp_unsigned(">=", row, bound), _I32)
            where = builder.add(out, builder.mul(loop.index, _I64(4)))
            builder.store(bits, builder.inttoptr(where, _I32.as_pointer()))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


def _row(builder: Any, table: Any, width: Any, codes: Any, number: Any) -> Any:
    where = builder.inttoptr(builder.add(codes, builder.mul(number, _I64(2))), _I16.as_pointer())
    return _at(builder, table, builder.mul(builder.zext(builder.load(where), _I64), width))


@_intrinsic
def _soon(_, address):
    """Ask for the cache line at an address."""

    def generate(context, builder, _, args):
        pointer = _I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [builder.inttoptr(args[0], pointer), _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@_intrinsic
def _lowest_bit(_, bits):
    """The number of zeros below the lowest bit that is set."""

    def generate(_, builder, __, args):
        return builder.zext(builder.cttz(builder.trunc(args[0], _I32), ir.IntType(1)(1)), _I64)

    return types.intp(types.intp), generate


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
            _products(
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
            _highest(table.ctypes.data + block, table.strides[0], stored.codes.ctypes.data + 2 * begin,
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
            _highest(where, table.strides[0], codes, length, bound)
            for i in range(block, block + WIDTH):
                least[i] = max(np.int64(least[i]) - gap, 0)
            _reaching(where, table.strides[0], codes, length, bound, bits.ctypes.data)
            for j in range(length):
                if np.int64(bits[j]) & real:
                    for line in range(0, size, 64):
                        _soon(here + j * size + line)
            for j in range(length):
                left = np.int64(bits[j]) & real
                while left:
                    i = block + _lowest_bit(left)
                    left &= left - 1
                    query = asked.digits.ctypes.data + i * asked.digits.strides[0]
                    whole = _product(here + j * size, query, blocks, stored.nibble) - bias * asked.total[i]
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
                _products(stored.tokens.ctypes.data + j * size, digits.ctypes.data + i * digits.strides[0],
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
