"""Vectors of texts that an earlier collection had, so that one changed document costs one document.

Texts are compared by their hashes, as they were embedded; the fingerprint of the encoder, which covers weights and
prompts, is that of the whole shard. Vectors are copied bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from optical.embeddings.shard import Shard, Stored, read_shard
from optical.errors import DataError

_SAME = ("kind", "precision", "compute", "encoder")  # must be equal for a vector to be of use


class Earlier:
    """The shards of earlier collections, finished or not, by the same encoder in the same precision."""

    def __init__(self, folders: Iterable[Path], facts: Mapping[str, Any]) -> None:
        """Read the hashes of all texts that were embedded as ``facts`` (of a plan) say; other shards are left out."""
        found = [(shard, kept) for folder in folders for shard, kept in _shards(folder, facts)]
        self._shards = [shard for shard, _ in found]
        self._ends = np.cumsum([len(kept) for _, kept in found])
        self._hashes = np.concatenate([np.zeros((0, 2), "<u8"), *(kept["hash"] for _, kept in found)])
        self._order = np.argsort(self._hashes[:, 0], kind="stable")
        self._sorted = self._hashes[self._order, 0]
        self._whole: dict[int, bool] = {}

    def known(self, hashes: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Which of those texts have vectors, whole or damaged."""
        return self._found(hashes)[1]

    def _found(self, hashes: Int[np.ndarray, "n 2"]) -> tuple[np.ndarray, np.ndarray]:
        """Where each text would be, and whether it is there."""
        if not len(self._sorted):
            return np.zeros(len(hashes), dtype=np.int64), np.zeros(len(hashes), dtype=bool)
        at = self._order[np.minimum(np.searchsorted(self._sorted, hashes[:, 0]), len(self._sorted) - 1)]
        return at, (self._hashes[at] == hashes).all(axis=1)

    def stored(self, hashes: Int[np.ndarray, "n 2"]) -> Iterator[Stored]:
        """The vectors of those texts that are there; texts of a damaged shard are not."""
        at, there = self._found(hashes)
        rows = np.flatnonzero(there)
        shard_of = np.searchsorted(self._ends, at[rows], side="right")
        for number in np.unique(shard_of).tolist():
            if self._is_whole(number):
                here = rows[shard_of == number]
                shard = self._shards[number]
                yield _copied(shard, here, at[here] - (int(self._ends[number]) - shard.manifest["count"]))

    def _is_whole(self, number: int) -> bool:
        """Whether the files of a shard have their checksums; compared once, before the first vector is copied."""
        if number not in self._whole:
            try:
                self._whole[number] = bool(read_shard(self._shards[number].folder, verify=True))
            except (DataError, OSError):
                self._whole[number] = False
        return self._whole[number]


def _shards(folder: Path, facts: Mapping[str, Any]) -> Iterator[tuple[Shard, np.ndarray]]:
    for path in sorted(folder.glob("shard-*")):
        try:
            shard = read_shard(path)
            kept = shard.documents() if all(shard.manifest[key] == facts[key] for key in _SAME) else None
        except DataError:
            continue  # its own collection says so when it is read
        if kept is not None and "hash" in (kept.dtype.names or ()):
            yield shard, kept


def _copied(shard: Shard, rows: np.ndarray, own: np.ndarray) -> Stored:
    """The documents ``own`` of a shard, which are to be the texts ``rows``."""
    values, scales, documents = shard.values(), shard.scales(), shard.documents()
    assert documents is not None, "they were read before"
    lengths, at = np.ones(len(own), dtype=np.int64), own
    if shard.manifest["kind"] == "tokens":
        start = shard.start()
        lengths = np.diff(start)[own]
        at = np.concatenate([np.arange(int(start[row]), int(start[row + 1])) for row in own.tolist()])
    return Stored(rows.tolist(), lengths.tolist(), values[at], None if scales is None else scales[at], documents[own])
