"""One shard: vectors rounded to a precision, written with checksums, and checked before they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int, Shaped

from optical.errors import DataError
from optical.files import written_whole
from optical.marker import changed, noted
from optical.models.reading import counted

Precision: TypeAlias = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
FORMAT = 1
MANIFEST, DOCID, SENTENCES, TOKENS, START, SCALES, DOCUMENTS = (
    "optical.json", "docid", "sentences.npy", "tokens.npy", "start.npy", "scales.npy", "documents.npy",
)  # fmt: skip
# Of each document: two halves of the hash of its text; its tokens, whole and as read; the cosine of its vectors, as
# stored, with what was encoded.
_DOCUMENT = np.dtype([("hash", "<u8", 2), ("tokens", "<i4"), ("read", "<i4"), ("least", "<f4"), ("mean", "<f4")])
_KNOWN = ("kind", "precision", "compute", "encoder", "texts", "count", "rows", "dimension")  # of every manifest
_DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "|i1"}


class Batch(NamedTuple):
    """Some texts, encoded.

    Attributes:
        rows: Their numbers.
        vectors: For each a vector ``(e,)`` or a token matrix ``(n_i, d)``, float32.
        tokens: Of each, whole; empty where they are not counted.
        read: Of these, the ones that the encoder read.
    """

    rows: Sequence[int]
    vectors: Sequence[np.ndarray] | np.ndarray
    tokens: Sequence[int] = ()
    read: Sequence[int] = ()


class Cast(NamedTuple):
    """Vectors as they are stored.

    Attributes:
        values: ``(t, d)`` of the precision.
        scales: What each row is multiplied by, ``(t,)`` float32; None for floating point.
        cosine: Of each vector with its rounded self, ``(t,)``; 1 for a zero vector.
    """

    values: Shaped[np.ndarray, "t d"]
    scales: Float[np.ndarray, " t"] | None
    cosine: Float[np.ndarray, " t"]


def cast(vectors: Float[np.ndarray, "t d"], precision: Precision) -> Cast:
    """Round vectors to a precision; int8 has one scale a vector, which makes its largest number 127."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    scales = None
    if precision == "int8":
        scales = np.abs(vectors).max(axis=1, initial=0.0) / np.float32(127)
        values = np.rint(vectors / np.maximum(scales, np.finfo(np.float32).tiny)[:, None]).astype(np.int8)
    else:
        values = vectors.astype(_DTYPES[precision])
    if precision == "float32":
        return Cast(values, None, np.ones(len(vectors), dtype=np.float32))
    back = restored(values, scales).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(back, axis=1)
    dots = np.einsum("td,td->t", vectors, back)
    return Cast(values, scales, np.where(norms > 0, dots / np.maximum(norms, 1e-30), np.float32(norms == 0)))


class Stored(NamedTuple):
    """Some texts with their vectors as they are stored.

    Attributes:
        rows: Their numbers.
        lengths: Vectors of each.
        values: All vectors, ``(t, d)`` of the precision.
        scales: What each row is multiplied by, ``(t,)`` float32; None for floating point.
        documents: Facts of each, as :meth:`Shard.documents` gives them.
    """

    rows: Sequence[int]
    lengths: Sequence[int]
    values: Shaped[np.ndarray, "t d"]
    scales: Float[np.ndarray, " t"] | None
    documents: np.ndarray


def hashes_of(texts: Iterable[str]) -> Int[np.ndarray, "n 2"]:
    """Hash each text to 128 bits, in two halves."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2)


def restored(values: Shaped[np.ndarray, "t d"], scales: Float[np.ndarray, " t"] | None) -> Shaped[np.ndarray, "t d"]:
    """Stored numbers to compute with: float32 for int8, floating point unchanged."""
    if scales is None:
        return np.asarray(values)
    return values.astype(np.float32) * scales[:, None]


class ShardVectors(NamedTuple):
    """The vectors of one shard in memory, in the order of its documents; ``copied`` of them were stored already."""

    values: Shaped[np.ndarray, "t d"]
    scales: Float[np.ndarray, " t"] | None
    start: Int[np.ndarray, " n_plus_1"] | None
    documents: np.ndarray
    copied: int

    def cosine(self) -> dict[str, float]:
        """Of what is stored with what was encoded: minimum and mean over vectors."""
        lengths = np.ones(len(self.documents)) if self.start is None else np.diff(self.start)
        some = self.documents[lengths > 0]
        if not len(some):
            return {"min": 1.0, "mean": 1.0}
        mean = np.average(some["mean"].astype(np.float64), weights=lengths[lengths > 0])
        return {"min": float(some["least"].min()), "mean": float(mean)}


def gather(
    batches: Iterable[Batch | Stored], ids: Sequence[str], precision: Precision, *, tokens: bool
) -> ShardVectors:
    """Round batches as they come, so that memory holds the shard in its precision, and sort them as the ids are.

    Vectors that are stored already are taken as they are.

    Raises:
        DataError: A vector holds NaN or infinity.
    """
    parts: list[Stored] = []
    documents = np.zeros(len(ids), dtype=_DOCUMENT)
    where: list[tuple[int, int, int]] = [(0, 0, 0)] * len(ids)  # document -> its part; first row and end there
    copied = 0
    for batch in batches:
        copied += len(batch.rows) if isinstance(batch, Stored) else 0
        part = batch if isinstance(batch, Stored) else _rounded(batch, ids, precision, tokens)
        for row, length, end in zip(part.rows, part.lengths, np.cumsum(part.lengths), strict=True):
            where[int(row)] = (len(parts), int(end) - length, int(end))
        documents[list(part.rows)] = part.documents
        parts.append(part)
    offsets = np.cumsum([0, *(len(part.values) for part in parts)])
    order = [np.arange(offsets[part] + first, offsets[part] + end) for part, first, end in where]
    index = np.concatenate(order)  # (t,) stored row -> row as it came
    scales = np.concatenate([p.scales for p in parts if p.scales is not None])[index] if precision == "int8" else None
    start = np.concatenate([[0], np.cumsum([len(rows) for rows in order])]) if tokens else None
    return ShardVectors(_in_order(parts, index), scales, start, documents, copied)


def _rounded(batch: Batch, ids: Sequence[str], precision: Precision, tokens: bool) -> Stored:
    rows, vectors = batch.rows, batch.vectors
    lengths = [len(v) for v in vectors] if tokens else [1] * len(rows)
    flat = np.concatenate(list(vectors)) if tokens else np.asarray(vectors)
    ends = np.cumsum(lengths)
    broken = ~np.isfinite(flat).all(axis=1)
    if broken.any():
        document = int(rows[int(np.searchsorted(ends, int(broken.argmax()), side="right"))])
        raise DataError(
            f"the encoder gave NaN or infinity for document {ids[document]!r}; encode in float32, or mend the model"
        )
    values, scales, cosine = cast(flat, precision)
    documents = np.zeros(len(rows), dtype=_DOCUMENT)
    own = [part if len(part) else np.ones(1) for part in np.split(cosine, ends[:-1])]
    documents["least"], documents["mean"] = [part.min() for part in own], [part.mean() for part in own]
    if len(batch.tokens):
        documents["tokens"], documents["read"] = batch.tokens, batch.read
    return Stored(rows, lengths, values, scales, documents)


def _in_order(parts: list[Stored], index: Int[np.ndarray, " t"]) -> Shaped[np.ndarray, "t d"]:
    """Rows of all parts in another order; the memory of a part is freed once its rows are copied."""
    values = np.empty((len(index), parts[0].values.shape[1]), dtype=parts[0].values.dtype)
    place = np.empty_like(index)
    place[index] = np.arange(len(index))
    done = 0
    for k, part in enumerate(parts):
        values[place[done : done + len(part.values)]] = part.values
        done += len(part.values)
        parts[k] = part._replace(values=part.values[:0])
    return values


def write_shard(folder: Path, ids: Sequence[str], held: ShardVectors, facts: dict[str, Any]) -> None:
    """Write the folder of a shard, whole or not at all; ``facts`` are added to its manifest."""
    with written_whole(folder) as unfinished:
        np.save(unfinished / (SENTENCES if held.start is None else TOKENS), held.values)
        if held.start is not None:
            np.save(unfinished / START, held.start)
        if held.scales is not None:
            np.save(unfinished / SCALES, held.scales.astype(np.float32))
        np.save(unfinished / DOCUMENTS, held.documents)
        (unfinished / DOCID).write_text("".join(f"{doc_id}\n" for doc_id in ids), encoding="utf-8", newline="\n")
        files = {path.name: noted(path) for path in sorted(unfinished.iterdir())}
        manifest = {
            "format": FORMAT,
            **facts,
            "count": len(ids),
            "rows": len(held.values),
            "dimension": int(held.values.shape[1]),
            "copied": held.copied,
            "cosine": held.cosine(),
            "reading": counted(held.documents["tokens"].tolist(), held.documents["read"].tolist())._asdict(),
            "files": files,
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


class Shard(NamedTuple):
    """A shard on disk that was checked.

    Attributes:
        folder: Where it is.
        manifest: Its ``optical.json``.
    """

    folder: Path
    manifest: dict[str, Any]

    def values(self) -> Shaped[np.ndarray, "t d"]:
        """The stored numbers, memory-mapped; writing to the array changes no file."""
        name = TOKENS if self.manifest["kind"] == "tokens" else SENTENCES
        mode = "c" if self.manifest["rows"] else None  # an empty file cannot be mapped; torch warns of "r"
        return _load(self.folder, name, mode, (self.manifest["rows"], self.manifest["dimension"]))

    def scales(self) -> Float[np.ndarray, " t"] | None:
        """The scale of each row; None for floating point."""
        if self.manifest["precision"] != "int8":
            return None
        return _load(self.folder, SCALES, None, (self.manifest["rows"],))

    def start(self) -> Int[np.ndarray, " n_plus_1"]:
        """Where the tokens of each document begin; zeros for a shard of sentence vectors."""
        if self.manifest["kind"] != "tokens":
            return np.zeros(self.manifest["count"] + 1, dtype=np.int64)
        return _load(self.folder, START, None, (self.manifest["count"] + 1,))

    def documents(self) -> np.ndarray | None:
        """Facts of each document: hash, tokens, ...; None for a shard made before they were kept."""
        if DOCUMENTS not in self.manifest["files"]:
            return None
        return _load(self.folder, DOCUMENTS, None, (self.manifest["count"],))

    def ids(self) -> list[str]:
        """Document ids in the order of the rows."""
        ids = (self.folder / DOCID).read_text(encoding="utf-8").splitlines()
        if len(ids) != self.manifest["count"]:
            raise DataError(_broken(self.folder, f"{DOCID} has {len(ids)} ids, not {self.manifest['count']}"))
        return ids


def read_shard(folder: Path, *, verify: bool = False) -> Shard:
    """Open a shard and check it by its manifest: sizes, and checksums of files of another time, or with ``verify`` all.

    Raises:
        DataError: The shard is missing, cut short or changed; the message names it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; embed the collection again: only this shard is made, or copy it here")
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        found = {name: changed(folder / name, facts, full=verify) for name, facts in manifest["files"].items()}
        known = {key: manifest[key] for key in _KNOWN}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(_broken(folder, f"{MANIFEST} or a file that it names cannot be read ({error!r})")) from error
    if manifest.get("format") != FORMAT:
        raise DataError(_broken(folder, f"its format is {manifest.get('format')!r}, not {FORMAT}"))
    for name, problem in found.items():
        if problem:
            raise DataError(_broken(folder, f"{name} {problem}"))
    return Shard(folder, {**manifest, **known})


def _load(folder: Path, name: str, mode: Literal["c"] | None, shape: tuple[int, ...]) -> np.ndarray:
    try:
        found = np.load(folder / name, mmap_mode=mode)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(_broken(folder, f"{name} cannot be read ({error})")) from error
    if found.shape != shape:
        raise DataError(_broken(folder, f"{name} has the shape {found.shape}, not {shape}"))
    return found


def _broken(folder: Path, what: str) -> str:
    return (
        f"{folder} is not the shard that was written: {what}; remove this folder and embed again: only this shard is "
        "made anew"
    )
