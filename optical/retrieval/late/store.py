"""The folder of a late-interaction index: tokens, where each document begins, lists of tokens, ids and a manifest.

It is written whole or not at all, a block of tokens in memory at a time, and read memory-mapped after checks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from optical.embeddings.shards import Matrix
from optical.errors import DataError
from optical.files import file_checksum, written_whole
from optical.marker import check_sealed
from optical.retrieval.late import inverted_lists
from optical.retrieval.late.int4 import as_int4, packed, rotation
from optical.retrieval.late.products import as_int8

KIND = "late-interaction"
MANIFEST, DOCID = "optical.json", "docid"
TOKENS, SCALE, START = "tokens.npy", "scale.npy", "start.npy"
ROTATION = "rotation.npy"
CENTROIDS, LIST_START, LIST_ROWS = "centroids.npy", "list-start.npy", "list-rows.npy"
LIST_DOCUMENTS, CODES = "list-documents.npy", "codes.npy"
OLD_DOCUMENTS = "documents.npy"  # up to 0.1.0 in place of the two
# Read whole whenever the index is opened, so their checksums are compared too.
SMALL = (DOCID, START, ROTATION, CENTROIDS, LIST_START)
PER_TOKEN = (TOKENS, SCALE, OLD_DOCUMENTS, LIST_ROWS, LIST_DOCUMENTS, CODES)
ROWS_AT_ONCE = 2**16
KINDS = {"int8": "|i1", "float16": "<f2", "int4": "|u1"}  # precision -> numpy type of the file
PRECISIONS = tuple(KINDS)


class LateOptions(NamedTuple):
    """Options of storing tokens in a late-interaction index.

    Attributes:
        precision: ``"int8"`` keeps d + 14 bytes a token; rounding moves a similarity of unit vectors by some .0005.
            ``"float16"`` keeps 2 d + 10, is exact for float16 tokens, and searched some four times slower.
            ``"int4"`` keeps d / 2 + 14, for an even d: half of int8, and a few of the hundred best are lost.
        lists: How many lists tokens are put into; 0 for none, which compares a query with everything. None chooses: no
            list below 131,072 tokens, else the power of two nearest to ``4 sqrt(t)``.
        pool_factor: Replace the tokens of each document but the first by about one ``pool_factor``-th as many, means of
            similar ones (:func:`optical.retrieval.late.pooling.pooled`). 1 keeps them. Scores are then of what is
            left.
        seed: Of the sample and the start of k-means, and of the rotation of int4.
    """

    precision: str = "int8"
    lists: int | None = None
    pool_factor: float = 1
    seed: int = 0


class LateIndex(NamedTuple):
    """An index that was read from its folder.

    Attributes:
        tokens: Token vectors of all documents one after another, ``(t, d)``, int8 or float16, memory-mapped; of int4
            ``(t, d / 2)``, uint8, packed.
        scale: The step of each int8 or int4 row, ``(t,)`` float32; None where tokens are float16.
        rotation: By which int4 tokens were multiplied, and queries have to be, ``(d, d)``; None otherwise.
        start: Document i has the tokens ``start[i]`` to ``start[i + 1]``, ``(n + 1,)``.
        lists: Tokens by centroid; None where a search compares all tokens.
        ids: Document ids.
        manifest: What the index was given when it was built, with counts, dimension and checksums.
    """

    tokens: torch.Tensor
    scale: torch.Tensor | None
    rotation: Float[torch.Tensor, "d d"] | None
    start: Int[np.ndarray, " n_plus_1"]
    lists: inverted_lists.Lists | None
    ids: list[str]
    manifest: dict[str, Any]


def write(
    tokens: Matrix,
    start: Int[np.ndarray, " n_plus_1"],
    ids: Sequence[str],
    folder: Path,
    options: LateOptions,
    manifest: dict[str, Any],
) -> None:
    """Write the folder whole; an index that is there stays until the new one is complete.

    Tokens are written as they are given, whatever ``pool_factor`` says; ``lists`` is how many there are to be.

    Raises:
        DataError: A token holds NaN or infinity, or the disk does not take the files.
    """
    try:
        with written_whole(folder, sealed=True) as unfinished:
            error = _write_tokens(unfinished, tokens, start, ids, options)
            np.save(unfinished / START, np.asarray(start, dtype=np.int64))
            (unfinished / DOCID).write_text("".join(f"{doc_id}\n" for doc_id in ids), encoding="utf-8", newline="\n")
            if options.lists:
                _write_lists(unfinished, start, options.lists, options.seed)
            facts = {
                "kind": KIND,
                "count": len(ids),
                "tokens": len(tokens),
                "dimension": int(tokens.shape[1]),
                "precision": options.precision,
                "lists": options.lists,
                "token_error": error,
                "checksums": {path.name: file_checksum(path)[:16] for path in sorted(unfinished.iterdir())},
            }
            text = json.dumps({**manifest, **facts}, indent=2, ensure_ascii=False)
            (unfinished / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> DataError:
    """The error of a disk that does not take the files."""
    return DataError(
        f"the index cannot be written: {error.strerror or error}; at {folder}; free some space or name another folder"
    )


def check_finite(tokens: Matrix, start: np.ndarray, ids: Sequence[str]) -> None:
    """Refuse NaN and infinity, naming the first document that holds any."""
    for row in range(0, len(tokens), ROWS_AT_ONCE):
        block = torch.from_numpy(np.array(tokens[row : row + ROWS_AT_ONCE], dtype=np.float32))
        _check_finite(block, block, row, start, ids, "float32")


def _write_tokens(folder: Path, tokens: Matrix, start: np.ndarray, ids: Sequence[str], options: LateOptions) -> float:
    """Write tokens block by block; the mean length of the rounding error, as a share of the length of a token."""
    lost, scales, precision = 0.0, [], options.precision
    count, dimension = tokens.shape
    turn = rotation(dimension, options.seed) if precision == "int4" else None
    header = {"descr": KINDS[precision], "shape": (count, dimension if turn is None else dimension // 2)}
    with (folder / TOKENS).open("wb") as file:  # not a memory map: writing to one of a full disk kills the process
        np.lib.format.write_array_header_1_0(file, {**header, "fortran_order": False})
        for row in range(0, count, ROWS_AT_ONCE):
            block = torch.from_numpy(np.array(tokens[row : row + ROWS_AT_ONCE], dtype=np.float32))
            given, block = block, block if turn is None else block @ turn
            if precision == "float16":
                stored = block.half()
                read = stored.float()
            else:
                stored, scale = as_int8(block) if turn is None else as_int4(block)
                scales.append(scale[:, 0])
                read = stored.float().mul_(scale)
            _check_finite(given, read, row, start, ids, precision)
            lost += float((read.sub_(block).norm(dim=1) / block.norm(dim=1).clamp(min=1e-9)).sum())
            file.write((stored if turn is None else packed(stored)).numpy().tobytes())
    if precision != "float16":
        np.save(folder / SCALE, torch.cat([*scales, torch.zeros(0)]).numpy())
    if turn is not None:
        np.save(folder / ROTATION, turn.numpy())
    return lost / max(1, count)


def _check_finite(
    block: torch.Tensor, read: torch.Tensor, row: int, start: np.ndarray, ids: Sequence[str], precision: str
) -> None:
    broken = ~(block.isfinite() & read.isfinite()).all(dim=1)
    if not broken.any():
        return
    first = int(broken.nonzero()[0])
    doc_id = ids[int(np.searchsorted(start, row + first, side="right")) - 1]
    what = "holds NaN or infinity" if not block[first].isfinite().all() else f"is too large for {precision}"
    raise DataError(
        f"a token vector {what}; the first is of document {doc_id!r}; encode the texts again, in float32 if this was "
        "half precision"
    )


def _write_lists(folder: Path, start: np.ndarray, count: int, seed: int) -> None:
    """Cluster the tokens as they were written, rounded, which is what a search compares."""
    stored = torch.from_numpy(np.load(folder / TOKENS, mmap_mode="c"))
    made = inverted_lists.build(stored, start, count, seed=seed)
    np.save(folder / CENTROIDS, made.centroids)
    np.save(folder / LIST_START, made.start)
    np.save(folder / LIST_ROWS, made.rows)
    np.save(folder / LIST_DOCUMENTS, made.documents)
    np.save(folder / CODES, made.codes)


def read(folder: Path, *, verify: bool) -> LateIndex:
    """Open an index, and check that its files are whole and belong together.

    Args:
        folder: As :func:`write` left it, here or anywhere else.
        verify: Compare the checksums of the large files too, which reads all of them.

    Raises:
        DataError: The folder or a file is missing, cut off or changed, or they disagree.
    """
    manifest = read_manifest(folder)
    names = _names(manifest)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise _again(folder, f"the index is not complete: no {' and no '.join(missing)} there")
    check_sealed(folder, "build the index again", full=verify)
    for name in names if verify else [name for name in names if name in SMALL]:
        if file_checksum(folder / name)[:16] != manifest.get("checksums", {}).get(name):
            raise _again(folder / name, "a file of the index is not what was written: its checksum differs")
    arrays = {name: _array(folder / name) for name in names if name != DOCID}
    ids = (folder / DOCID).read_text(encoding="utf-8").splitlines()
    _check_counts(folder, manifest, arrays, ids)
    _check_rows(folder, manifest, arrays)
    lists = _lists(arrays) if manifest["lists"] else None
    scale = torch.from_numpy(arrays[SCALE]) if SCALE in arrays else None
    tokens = torch.from_numpy(arrays[TOKENS])
    turn = torch.from_numpy(arrays[ROTATION]) if ROTATION in arrays else None
    return LateIndex(tokens, scale, turn, arrays[START], lists, ids, manifest)


def _lists(arrays: dict[str, np.ndarray]) -> inverted_lists.Lists:
    rows = arrays[LIST_ROWS]
    documents = arrays[OLD_DOCUMENTS][rows] if OLD_DOCUMENTS in arrays else arrays[LIST_DOCUMENTS]
    return inverted_lists.read(arrays[CENTROIDS], arrays[LIST_START], rows, documents, arrays.get(CODES))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an index.

    Raises:
        DataError: There is no index, or one of another kind.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = f"no {MANIFEST} there" if folder.is_dir() else "no such folder"
        raise DataError(f"this is not an index: {what}; at {folder}; build the index first")
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise _again(path, f"the manifest of the index is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        kind = manifest.get("kind") if isinstance(manifest, dict) else None
        raise DataError(
            f"this is not a late-interaction index: its kind is {kind!r}; at {path}; name another folder, or build one "
            "from token vectors"
        )
    numbers = [manifest.get(name) for name in ("count", "tokens", "dimension")] + [manifest.get("lists") or 0]
    named = str(manifest.get("precision")) in KINDS and isinstance(manifest.get("checksums", {}), dict)
    if not named or not all(isinstance(one, int) and one >= 0 for one in numbers):
        raise _again(path, "the files of the index do not belong together: counts or precision are none")
    return manifest


def _names(manifest: dict[str, Any]) -> list[str]:
    names = [DOCID, START, TOKENS]
    if manifest.get("precision") in ("int8", "int4"):
        names.append(SCALE)
    if manifest.get("precision") == "int4":
        names.append(ROTATION)
    if not manifest.get("lists"):
        return names
    old = OLD_DOCUMENTS in manifest.get("checksums", {})
    return [*names, CENTROIDS, LIST_START, LIST_ROWS, *([OLD_DOCUMENTS] if old else [LIST_DOCUMENTS, CODES])]


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="c" if path.name in PER_TOKEN else None)  # "c": writable, but never written
    except (OSError, ValueError, EOFError) as error:
        try:
            return _without_rows(path)
        except (OSError, ValueError, EOFError):
            raise _again(path, f"a file of the index cannot be read: {error}") from error
    return array


def _without_rows(path: Path) -> np.ndarray:
    """An array without rows, which cannot be memory-mapped."""
    array = np.load(path)
    if len(array):
        raise ValueError
    return array


def _check_counts(folder: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray], ids: list[str]) -> None:
    count, tokens, dimension = (manifest.get(name) for name in ("count", "tokens", "dimension"))
    start, lists = arrays[START], manifest.get("lists")
    expected = {START: ((count or 0) + 1,), TOKENS: (tokens, dimension)}
    expected |= {name: (tokens,) for name in PER_TOKEN if name in arrays and name != TOKENS}
    if ROTATION in arrays:
        expected |= {TOKENS: (tokens, (dimension or 0) // 2), ROTATION: (dimension, dimension)}
    if lists:
        expected |= {CENTROIDS: (lists, dimension), LIST_START: (lists + 1,)}
    found = {name: arrays[name].shape for name in expected}
    wrong = [f"{name} is {found[name]}, not {shape}" for name, shape in expected.items() if found[name] != shape]
    if len(ids) != count:
        wrong.append(f"{DOCID} has {len(ids)} ids, not {count}")
    if not wrong and not _ascends(start, tokens or 0):
        wrong.append(f"{START} does not lead through {tokens} tokens")
    if wrong:
        raise _again(folder, f"the files of the index do not belong together: {'; '.join(wrong)}")


def _check_rows(folder: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Refuse numbers that lead outside of other arrays: compiled loops follow them without looking."""
    wrong = [LIST_START] if LIST_START in arrays and not _ascends(arrays[LIST_START], manifest["tokens"]) else []
    if arrays[TOKENS].dtype != KINDS[manifest["precision"]] or not arrays[TOKENS].flags.c_contiguous:
        wrong.append(TOKENS)
    wrong += [name for name in (SCALE, CENTROIDS, ROTATION) if name in arrays and arrays[name].dtype.kind != "f"]
    ends = {LIST_ROWS: "tokens", LIST_DOCUMENTS: "count", OLD_DOCUMENTS: "count", CODES: "lists"}
    for name in ends.keys() & arrays.keys():
        one = arrays[name]
        if one.dtype.kind not in "iu" or (len(one) and not 0 <= one.min() <= one.max() < manifest[ends[name]]):
            wrong.append(name)
    if wrong:
        raise _again(folder, f"the files of the index do not belong together: see {', '.join(wrong)}")


def _ascends(start: np.ndarray, end: int) -> bool:
    return start.dtype.kind in "iu" and start[0] == 0 and start[-1] == end and not (start[1:] < start[:-1]).any()


def _again(where: Path, what: str) -> DataError:
    return DataError(f"{what}; at {where}; build the index again")
