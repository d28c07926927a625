"""Documents and queries for the tests of late interaction."""

from __future__ import annotations

import numpy as np
import pytest

from tests.retrieval.late.late_documents import EMPTY, D, N, unit


@pytest.fixture
def documents() -> list[np.ndarray]:
    """Token matrices of different lengths, some without tokens, one there twice."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 14, N)
    made = [unit(generator.normal(size=(length, D))).astype(np.float16) for length in lengths]
    for row in EMPTY:
        made[row] = np.zeros((0, D), np.float16)
    made[30] = made[9].copy()
    return made


@pytest.fixture
def queries() -> list[np.ndarray]:
    """Token matrices, one of them without tokens."""
    generator = np.random.default_rng(1)
    made = [unit(generator.normal(size=(length, D))).astype(np.float32) for length in (3, 1, 8, 5)]
    return [*made[:2], np.zeros((0, D), np.float32), *made[2:]]
