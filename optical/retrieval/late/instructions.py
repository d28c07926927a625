"""Instructions of the processor that numba does not offer to Python code: products of bytes, levels, fetching ahead.

Each is a function that the compiled loops call (:mod:`optical.retrieval.late.kernels`); addresses are whole numbers.
"""

# ruff: noqa: ANN201 - numba reads the types from what the functions are called with

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 32  # bytes in a register
TOGETHER = 4  # query tokens that a stored token is compared with at once
_FEATURES = binding.get_host_cpu_features()
AVX2 = bool(_FEATURES.get("avx2"))
VNNI = bool(_FEATURES.get("avx512vnni") and _FEATURES.get("avx512vl"))  # four products and their sum in one

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES, _PAIRS, _SUMS = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)


def _intrinsic(function: Callable[..., object]) -> Callable[..., int]:
    """An intrinsic of numba, which is called without the context that it is written with."""
    return intrinsic(function)


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


def _add_products(builder: Any, held: Any, pairs: list[tuple[Any, Any]]) -> Any:
    """Add products of 32 stored numbers (bytes, or two of four bits) and 32 of a query, four by four, to 8 sums."""
    module = builder.module
    if VNNI:
        kind = ir.FunctionType(_SUMS, [_SUMS] * 3)
        add = cgutils.get_or_insert_function(module, kind, "llvm.x86.avx512.vpdpbusd.256")
        for stored, asked in pairs:
            held = builder.call(add, [held, builder.bitcast(stored, _SUMS), builder.bitcast(asked, _SUMS)])
        return held
    kind = ir.FunctionType(_PAIRS, [_BYTES, _BYTES])
    multiply = cgutils.get_or_insert_function(module, kind, "llvm.x86.avx2.pmadd.ub.sw")
    widen = cgutils.get_or_insert_function(module, ir.FunctionType(_SUMS, [_PAIRS] * 2), "llvm.x86.avx2.pmadd.wd")
    found = [builder.call(multiply, list(pair)) for pair in pairs]
    both = found[0] if len(found) == 1 else builder.add(*found)
    return builder.add(held, builder.call(widen, [both, _splat(_PAIRS, 1)]))


def _sums(builder: Any, token: Any, queries: list[Any], blocks: Any, *, nibble: bool) -> list[Any]:
    """Products of one stored token with some query tokens, int32; the stored numbers are 128 (8) too large."""
    kind = ir.FunctionType(_I32, [_SUMS])
    total = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.add.v8i32")
    sums = [cgutils.alloca_once_value(builder, _splat(_SUMS, 0)) for _ in queries]
    half = builder.mul(blocks, _I64(WIDTH))
    with cgutils.for_range(builder, blocks, intp=_I64) as loop:
        offset = builder.mul(loop.index, _I64(WIDTH))
        parts = _parts(builder, _at(builder, token, offset), offset, half, nibble=nibble)
        for query, found in zip(queries, sums, strict=True):
            pairs = [(part, _at(builder, query, where)) for part, where in parts]
            builder.store(_add_products(builder, builder.load(found), pairs), found)
    return [builder.call(total, [builder.load(found)]) for found in sums]


@_intrinsic
def products(_, token, query, stride, blocks, nibble, out):
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
def product(_, token, query, blocks, nibble):
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
def highest(_, table, width, codes, count, out):
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
def reaching(_, table, width, codes, count, least, out):
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
def soon(_, address):
    """Ask for the cache line at an address: in the second level, since the first takes fewer at a time."""

    def generate(context, builder, _, args):
        pointer = _I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [builder.inttoptr(args[0], pointer), _I32(0), _I32(2), _I32(1)])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@_intrinsic
def lowest_bit(_, bits):
    """The number of zeros below the lowest bit that is set."""

    def generate(_, builder, __, args):
        return builder.zext(builder.cttz(builder.trunc(args[0], _I32), ir.IntType(1)(1)), _I64)

    return types.intp(types.intp), generate
