"""Sizes and ids of the documents of the late-interaction tests, and an index built of them."""

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


def flat(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(documents), np.concatenate([[0], np.cumsum([len(one) for one in documents])])


def built(documents: list[np.ndarray], folder: Path, **options: Any) -> Path:
    late_index.build(*flat(documents), ids(len(documents)), folder, LateOptions(**options), manifest=MANIFEST)
    return folder
