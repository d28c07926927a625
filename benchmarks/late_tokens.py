"""Token vectors for the benchmark ``late``: passages and questions read by the default teacher token by token.

``python -m benchmarks.late_tokens FOLDER --passages DOCS.jsonl.gz ... --queries QUERIES.tsv ... [--qrels QRELS.tsv]
[--count 20000]``. The passages of each file are shuffled, and encoded a thousand at a time, in bfloat16 where the
processor has it; what is there from an interrupted run, or one of fewer thousands, is kept.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch

from optical.models.encoders import Encoder, as_multi_vector, encode_tokens
from optical.models.load import load_encoder
from optical.models.packaged_teachers import DEFAULT_TEACHER
from optical.models.precision import bfloat16

PART = 1000
TOGETHER = 8  # texts in a batch: what a core's cache holds; 32 took twice as long (AVX2, float32)
FILES = (("tokens.npy", "start.npy"), ("queries.npy", "queries-start.npy"))
RELEVANT = "relevant.json"  # for each query the rows of the passages that answer it


def main() -> None:
    """Encode what is missing, then join the parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.late_tokens", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passages", type=Path, nargs="+", required=True, help="jsonl or jsonl.gz: id, title, text")
    parser.add_argument("--queries", type=Path, nargs="+", required=True, help="tsv: id, text")
    parser.add_argument("--qrels", type=Path, help="tsv: query, 0, passage, grade; for nDCG")
    parser.add_argument("--count", type=int, default=20_000, help="passages, the first of all files together")
    parser.add_argument("--questions", type=int, default=100, help="the first of each file of queries")
    given = parser.parse_args()
    teacher = as_multi_vector(load_encoder(DEFAULT_TEACHER, "cpu"))
    passages = [passage for path in given.passages for passage in _passages(path)][: given.count]
    questions = [question for path in given.queries for question in _questions(path)[: given.questions]]
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.qrels:
        relevant = _relevant(given.qrels, [key for key, _ in passages], [key for key, _ in questions])
        (given.folder / RELEVANT).write_text(json.dumps(relevant), encoding="utf-8")
    parts = []
    for number, row in enumerate(range(0, len(passages), PART)):
        parts.append(given.folder / f"part{number:03d}.npz")
        if not parts[-1].is_file():
            _encode(teacher, [text for _, text in passages[row : row + PART]], parts[-1], query=False)
    _join(parts, given.folder, *FILES[0])
    _encode(teacher, [text for _, text in questions], given.folder / "questions.npz", query=True)
    _join([given.folder / "questions.npz"], given.folder, *FILES[1])


def _passages(path: Path) -> list[tuple[str, str]]:
    """Ids and texts of a file, shuffled: those of one article do not lie together."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        docs = [json.loads(line) for line in file]
    order = np.random.default_rng(0).permutation(len(docs))
    return [(docs[row]["id"], f"{docs[row].get('title', '')} {docs[row]['text']}".strip()) for row in order]


def _questions(path: Path) -> list[tuple[str, str]]:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [(key, text) for key, text, *_ in lines]


def _relevant(path: Path, passages: list[str], questions: list[str]) -> list[list[int]]:
    rows = {key: row for row, key in enumerate(passages)}
    judged: dict[str, list[int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query, _, passage, grade = line.split()
        if int(grade) > 0 and passage in rows:
            judged.setdefault(query, []).append(rows[passage])
    return [judged.get(key, []) for key in questions]


def _encode(teacher: Encoder, texts: list[str], path: Path, *, query: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=not query and bfloat16("auto", "cpu")):
        rows = encode_tokens(teacher, texts, query=query, batch_size=TOGETHER)
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(unfinished, tokens=np.concatenate(rows).astype(np.float16), lengths=[len(row) for row in rows])
    unfinished.replace(path)


def _join(parts: list[Path], folder: Path, tokens: str, start: str) -> None:
    arrays = [np.load(path) for path in parts]
    np.save(folder / tokens, np.concatenate([part["tokens"] for part in arrays]))
    np.save(folder / start, np.concatenate([[0], np.cumsum(np.concatenate([part["lengths"] for part in arrays]))]))


if __name__ == "__main__":
    main()
