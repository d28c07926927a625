"""Token vectors for the benchmark ``late``: passages and questions read by the default teacher token by token.

``python -m benchmarks.late_tokens FOLDER --passages DOCS.jsonl.gz ... --queries QUERIES.tsv ... [--count 20000]``. The
passages are shuffled, and encoded a thousand at a time, in bfloat16 where the processor has it; what is there from an
interrupted run is kept.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from optical.models.encoders import Encoder, as_multi_vector, encode_tokens
from optical.models.load import load_encoder
from optical.models.packaged_teachers import DEFAULT_TEACHER
from optical.models.precision import bfloat16

PART = 1000
FILES = (("tokens.npy", "start.npy"), ("queries.npy", "queries-start.npy"))


def main() -> None:
    """Encode what is missing, then join the parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.late_tokens", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passages", type=Path, nargs="+", required=True, help="jsonl or jsonl.gz: id, title, text")
    parser.add_argument("--queries", type=Path, nargs="+", required=True, help="tsv: id, text")
    parser.add_argument("--count", type=int, default=20_000, help="passages, the first of all files together")
    parser.add_argument("--questions", type=int, default=100, help="the first of each file of queries")
    given = parser.parse_args()
    teacher = as_multi_vector(load_encoder(DEFAULT_TEACHER, "cpu"))
    texts = [text for path in given.passages for text in _passages(path)][: given.count]
    texts = [texts[row] for row in np.random.default_rng(0).permutation(len(texts))]
    questions = [text for path in given.queries for text in _questions(path)[: given.questions]]
    given.folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, row in enumerate(range(0, len(texts), PART)):
        parts.append(given.folder / f"part{number:03d}.npz")
        if not parts[-1].is_file():
            _encode(teacher, texts[row : row + PART], parts[-1], query=False)
    _join(parts, given.folder, *FILES[0])
    _encode(teacher, questions, given.folder / "questions.npz", query=True)
    _join([given.folder / "questions.npz"], given.folder, *FILES[1])


def _passages(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for line in file:
            doc = json.loads(line)
            yield f"{doc.get('title', '')} {doc['text']}".strip()


def _questions(path: Path) -> list[str]:
    return [line.split("\t")[1] for line in path.read_text(encoding="utf-8").splitlines()]


def _encode(teacher: Encoder, texts: list[str], path: Path, *, query: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=not query and bfloat16("auto", "cpu")):
        rows = encode_tokens(teacher, texts, query=query, batch_size=32)
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(unfinished, tokens=np.concatenate(rows).astype(np.float16), lengths=[len(row) for row in rows])
    unfinished.replace(path)


def _join(parts: list[Path], folder: Path, tokens: str, start: str) -> None:
    arrays = [np.load(path) for path in parts]
    np.save(folder / tokens, np.concatenate([part["tokens"] for part in arrays]))
    np.save(folder / start, np.concatenate([[0], np.cumsum(np.concatenate([part["lengths"] for part in arrays]))]))


if __name__ == "__main__":
    main()
