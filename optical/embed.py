"""Text to vectors on disk, once: the teacher's view of the bitext (for learning) and of the collection (for searching).

Takes an encoder and texts, gives memory-mapped arrays that are keyed by both, so that a second run, a second student or
a second experiment reads what the first one wrote. Knows no objective, no index and no language.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from optical.encoders import (
    Encoded,
    Encoder,
    encode_batch,
    encode_sentences,
    encode_tokens,
    fingerprint,
    is_multi_vector,
)
from optical.errors import DataError
from optical.files import checksum, written_whole
from optical.tokens import Tokens

_TOKENS, _START, _SENTENCES, _MANIFEST = "tokens.npy", "start.npy", "sentences.npy", "optical.json"


class Vectors(NamedTuple):
    """Vectors of n texts, memory-mapped.

    Attributes:
        tokens: Token vectors of all texts one after another, ``(t, d)``, float16.
        start: Text i has the rows ``start[i]`` to ``start[i + 1]``, ``(n + 1,)``.
        sentences: One unit vector a text, ``(n, e)``, float32.
        folder: Where they lie.
    """

    tokens: Float[np.ndarray, "t d"]
    start: Int[np.ndarray, " n_plus_1"]
    sentences: Float[np.ndarray, "n e"]
    folder: Path

    def batch(self, rows: Sequence[int]) -> Encoded:
        """The given texts as one padded batch, float32."""
        return Encoded(padded([self.of(i) for i in rows]), torch.from_numpy(np.asarray(self.sentences[list(rows)])))

    def of(self, i: int) -> Float[np.ndarray, "n_i d"]:
        """Token vectors of text i."""
        return self.tokens[self.start[i] : self.start[i + 1]]


def padded(rows: Sequence[Float[np.ndarray, "n_i d"]]) -> Tokens:
    """Token matrices of different lengths as one batch, float32, the rest masked."""
    width = max((len(row) for row in rows), default=0)
    vectors = torch.zeros(len(rows), width, rows[0].shape[1] if len(rows) else 0)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for k, row in enumerate(rows):
        vectors[k, : len(row)] = torch.from_numpy(row.astype(np.float32))
        mask[k, : len(row)] = True
    return Tokens(vectors, mask)


def teacher_vectors(
    teacher: Encoder, texts: Sequence[str], cache: Path, *, batch_size: int = 64, progress: bool = False
) -> Vectors:
    """What the teacher makes of the English side of the bitext: every token and every sentence.

    Written below ``cache`` in a folder named by teacher and texts, as float16 tokens (2 d bytes each: some 20 kB for a
    sentence of 25 tokens and d = 384), and only read when it is there.
    """
    folder = cache / f"teacher-{fingerprint(teacher)}-{checksum(texts)}"
    if not (folder / _MANIFEST).is_file():
        with written_whole(folder) as unfinished:
            _write_all(unfinished, *_all_tokens(teacher, texts, batch_size, progress))
    return _read(folder)


def document_vectors(
    teacher: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    cache: Path,
    *,
    batch_size: int = 32,
    progress: bool = False,
) -> Vectors:
    """What the teacher makes of a collection: sentence vectors, or the scoring tokens of a late-interaction model."""
    folder = cache / f"documents-{fingerprint(teacher, documents=True)}-{checksum([*ids, *texts])}"
    if not (folder / _MANIFEST).is_file():
        with written_whole(folder) as unfinished:
            if is_multi_vector(teacher):
                rows = encode_tokens(teacher, texts, query=False, batch_size=batch_size, progress=progress)
                _write_all(unfinished, rows, np.zeros((len(texts), 0), dtype=np.float32))
            else:
                sentences = encode_sentences(teacher, texts, batch_size=batch_size, progress=progress)
                _write_all(unfinished, [np.zeros((0, 1), dtype=np.float16)] * len(texts), sentences)
    return _read(folder)


def _all_tokens(teacher, texts, batch_size, progress):
    """Token matrices and sentence vectors of all texts, in their order, encoded from the longest to the shortest."""
    from tqdm.auto import tqdm

    order = np.argsort([-len(text) for text in texts], kind="stable")
    tokens: list[np.ndarray] = [np.zeros((0, 1))] * len(texts)
    sentences: list[np.ndarray] = [np.zeros(0)] * len(texts)
    teacher.eval()
    with torch.inference_mode():
        for k in tqdm(range(0, len(order), batch_size), desc="Teacher vectors", disable=not progress):
            rows = order[k : k + batch_size]
            task = {"task": "query"} if is_multi_vector(teacher) else {}
            encoded = encode_batch(teacher, teacher.preprocess([texts[i] for i in rows], **task), **task)
            for i, vectors, mask, sentence in zip(rows, *encoded.tokens, encoded.sentence, strict=True):
                tokens[i] = vectors[mask].cpu().numpy().astype(np.float16)
                sentences[i] = torch.nn.functional.normalize(sentence.float(), dim=-1).cpu().numpy()
    return tokens, np.stack(sentences)


def _write_all(folder: Path, tokens: Sequence[np.ndarray], sentences: np.ndarray) -> None:
    start = np.concatenate([[0], np.cumsum([len(row) for row in tokens])])
    dimension = tokens[0].shape[1]
    with (folder / _TOKENS).open("wb") as file:  # row by row: writing to a memory map of a full disk kills the process
        header = {"descr": "<f2", "fortran_order": False, "shape": (int(start[-1]), dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for row in tokens:
            file.write(np.ascontiguousarray(row, dtype="<f2").tobytes())
    np.save(folder / _START, start)
    np.save(folder / _SENTENCES, sentences)
    (folder / _MANIFEST).write_text(json.dumps({"texts": len(tokens), "tokens": int(start[-1])}), encoding="utf-8")


def _read(folder: Path) -> Vectors:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        mode = "r" if manifest["tokens"] else None  # an empty file cannot be mapped
        tokens = np.load(folder / _TOKENS, mmap_mode=mode)
        start, sentences = np.load(folder / _START), np.load(folder / _SENTENCES)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(
            f"{folder}: cached vectors cannot be read ({error}); remove this folder, it is made again"
        ) from error
    if len(start) != manifest["texts"] + 1 or len(tokens) != manifest["tokens"] or len(sentences) != manifest["texts"]:
        raise DataError(
            f"{folder}: cached vectors are not those that were written; remove this folder, it is made again"
        )
    return Vectors(tokens, start, sentences, folder)
