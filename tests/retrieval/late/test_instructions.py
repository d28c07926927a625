"""Products of bytes are those of whole numbers, by the instructions of every processor."""

from __future__ import annotations

import numpy as np
import pytest

numba = pytest.importorskip("numba")
instructions = pytest.importorskip("optical.retrieval.late.instructions")
if not instructions.AVX2:
    pytest.skip("this processor has no AVX2", allow_module_level=True)

D = 128


@pytest.mark.parametrize("vnni", [False, True])
@pytest.mark.parametrize("nibble", [0, 1])
def test_products_are_exact(vnni: bool, nibble: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the largest numbers too: stored ones come 128 (8) too large, and the sums of products must not overflow."""
    if vnni and not instructions.VNNI:
        pytest.skip("this processor has no VNNI")
    monkeypatch.setattr(instructions, "VNNI", vnni)
    products, product = instructions.products, instructions.product

    @numba.njit
    def compared(token, query, four, blocks, nibble):
        products(token.ctypes.data, query.ctypes.data, query.strides[0], blocks, nibble, four.ctypes.data)
        return product(token.ctypes.data, query.ctypes.data, blocks, nibble)

    generator = np.random.default_rng(0)
    low, high = (-8, 7) if nibble else (-128, 127)
    for token in (np.full(D, high), np.full(D, low), generator.integers(low, high + 1, size=D)):
        query = np.stack([np.full(D, 63), np.full(D, -63), *generator.integers(-63, 64, size=(2, D))]).astype(np.int8)
        packed = (token[: D // 2] & 15 | token[D // 2 :] << 4) if nibble else token
        four = np.zeros(4, np.int32)
        first = compared(packed.astype(np.int8), query, four, len(packed) // 32, nibble)
        np.testing.assert_array_equal(four, query.astype(int) @ (token - low))
        assert first == four[0]
