"""Documents as token vectors for the tests of late interaction: different lengths, some empty, one there twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateOptions

N, D = 41, 12
EMPTY = (0, 17, 40)
MANIFEST = {"teacher": "tiny", "teacher_fingerprint": "abc", "langs": ["sw", "so"]}


def ids(count: int = N) -> list[str]:
    return [f"doc-{number}é" for number in range(count)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def some_documents() -> list[np.ndarray]:
    """Token matrices of different lengths, some without tokens, one there twice."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 14, N)
    made = [unit(generator.normal(size=(length, D))).astype(np.float16) for length in lengths]
    for row in EMPTY:
        made[row] = np.zeros((0, D), np.float16)
    made[30] = made[9].copy()
    return made


def some_queries() -> list[np.ndarray]:
    """Token matrices, one of them without tokens."""
    generator = np.random.default_rng(1)
    made = [unit(generator.normal(size=(length, D))).astype(np.float32) for length in (3, 1, 8, 5)]
    return [*made[:2], np.zeros((0, D), np.float32), *made[2:]]


def flat(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(documents), np.concatenate([[0], np.cumsum([len(one) for one in documents])])


def built(documents: list[np.ndarray], folder: Path, **options: Any) -> Path:
    late_index.build(*flat(documents), ids(len(documents)), folder, LateOptions(**options), manifest=MANIFEST)
    return folder
