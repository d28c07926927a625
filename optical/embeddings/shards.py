"""All shards of a collection as one: ids in order, vectors as one memory-mapped array."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Int, Shaped

from optical.embeddings.shard import FORMAT, MANIFEST, Shard, read_shard, restored
from optical.errors import DataError


class Matrix(Protocol):
    """Vectors to be indexed: an array, a memory map, or :class:`Rows`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        """Some rows in memory."""
        ...


class Rows:
    """Vectors of several shards as one array ``(t, d)``; a row, a slice or a list of rows is read when it is asked for.

    ``np.asarray`` and ``T`` read all of it.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Map the files of the shards."""
        self._parts = [(shard.values(), shard.scales()) for shard in shards]
        self._ends = np.cumsum([len(values) for values, _ in self._parts])
        self.shape = (int(self._ends[-1]), int(self._parts[0][0].shape[1]))
        first = self._parts[0][0].dtype
        self.dtype = np.dtype(np.float32) if first == np.int8 else first

    ndim = 2

    @property
    def T(self) -> Shaped[np.ndarray, "d t"]:
        """The whole array, transposed, in memory."""
        return np.asarray(self).T

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __iter__(self) -> Iterator[Shaped[np.ndarray, " d"]]:
        """One row after another."""
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The whole array in memory."""
        del copy  # there is no array yet that could be shared
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """A row ``(d,)``, or several ``(k, d)`` in the order asked for."""
        if isinstance(rows, int | np.integer):
            return self._take(np.array([range(len(self))[int(rows)]]))[0]  # range refuses what is outside
        if isinstance(rows, slice):
            first, stop, step = rows.indices(len(self))
            return self._between(first, stop) if step == 1 else self._take(np.arange(first, stop, step))
        wanted = np.asarray(rows)
        if wanted.dtype == bool:
            wanted = np.flatnonzero(wanted)
        wanted = wanted.astype(np.int64)
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        if ((wanted < 0) | (wanted >= len(self))).any():
            raise IndexError(f"rows must be below {len(self)}; got {wanted.max()}")
        return self._take(wanted)

    def _between(self, first: int, stop: int) -> np.ndarray:
        found = []
        for (values, scales), end in zip(self._parts, self._ends, strict=True):
            begin = int(end) - len(values)
            low, high = max(first - begin, 0), min(stop - begin, len(values))
            if low < high:
                found.append(restored(values[low:high], None if scales is None else scales[low:high]))
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.zeros((0, self.shape[1]), dtype=self.dtype)

    def _take(self, wanted: Int[np.ndarray, " k"]) -> np.ndarray:
        found = np.empty((len(wanted), self.shape[1]), dtype=self.dtype)
        part_of = np.searchsorted(self._ends, wanted, side="right")
        for part in np.unique(part_of):
            values, scales = self._parts[part]
            here = np.flatnonzero(part_of == part)
            rows = wanted[here] - (int(self._ends[part]) - len(values))
            found[here] = restored(values[rows], None if scales is None else scales[rows])
        return found


class Ids:
    """Document ids of all shards in order; a shard of them is in memory at a time."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Remember where the ids are."""
        self._shards = shards

    def __len__(self) -> int:
        """Number of documents."""
        return sum(shard.manifest["count"] for shard in self._shards)

    def __iter__(self) -> Iterator[str]:
        """Read a shard at a time."""
        for shard in self._shards:
            yield from shard.ids()


class Shards(NamedTuple):
    """The vectors of a collection on disk.

    Attributes:
        folder: Where they are.
        manifest: Its ``optical.json``: ``kind`` (sentences or tokens), ``precision``, ``dimension``, ``encoder``,
            ``count`` of documents, ``rows`` of vectors, ``empty`` documents, ``texts`` (a checksum), ``cosine`` (min
            and mean of what is stored with what was encoded), ``reading`` (how much of the texts was read, see
            :class:`optical.models.reading.Reading`; not in collections embedded before it was counted), ``shards``.
        parts: The shards in order.
    """

    folder: Path
    manifest: dict[str, Any]
    parts: list[Shard]

    @property
    def ids(self) -> Ids:
        """Document ids in order."""
        return Ids(self.parts)

    def vectors(self) -> np.ndarray | Rows:
        """Sentence or token vectors of all documents: a memory map where there is one shard of floating point."""
        alone = len(self.parts) == 1 and self.manifest["precision"] != "int8"
        return self.parts[0].values() if alone else Rows(self.parts)

    def start(self) -> Int[np.ndarray, " n_plus_1"]:
        """Document i has the token vectors ``start[i]`` to ``start[i + 1]``; zeros for sentence vectors."""
        lengths = [np.diff(shard.start()) for shard in self.parts]
        return np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)


def read_shards(folder: str | Path, *, encoder: str | None = None, verify: bool = False) -> Shards:
    """Open an embedded collection and check that it is complete.

    Args:
        folder: Made by :func:`optical.embeddings.embed.embed_collection`.
        encoder: Fingerprint of the encoder whose vectors are wanted (``fingerprint(teacher, "document")``).
        verify: Read every file and compare its checksum; otherwise manifests and sizes are compared.

    Raises:
        DataError: No such folder, an unfinished one, a shard that is missing, cut short or damaged, or another encoder.
    """
    folder = Path(folder)
    there = sorted(folder.glob("shard-*")) if folder.is_dir() else []
    if not (folder / MANIFEST).is_file():
        what = f"{len(there)} shards and no {MANIFEST} there" if folder.is_dir() else "no such folder"
        raise DataError(
            f"{folder} is no finished embedded collection: {what}; embed the collection, which goes on after the "
            "shards that are there"
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        listed = [(part["name"], part["texts"]) for part in manifest["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / MANIFEST} cannot be read ({error!r}); remove this file and embed again: shards that are there "
            "are kept"
        ) from error
    if manifest.get("format") != FORMAT:
        raise DataError(f"{folder}: its format is {manifest.get('format')!r}, not {FORMAT}; embed into a new folder")
    check_encoder(folder, manifest["encoder"], encoder)
    parts = [read_shard(folder / name, verify=verify) for name, _ in listed]
    for part, (name, texts) in zip(parts, listed, strict=True):
        if part.manifest["texts"] != texts or part.manifest["encoder"] != manifest["encoder"]:
            raise DataError(
                f"{folder / name} is a shard of another collection or encoder; remove this folder and embed again: "
                "only this shard is made anew"
            )
    return Shards(folder, manifest, parts)


def check_encoder(folder: Path, found: str, wanted: str | None) -> None:
    """Refuse vectors of another encoder than the wanted one."""
    if wanted is not None and found != wanted:
        raise DataError(
            f"{folder} holds vectors of another encoder: its fingerprint is {found}, wanted is {wanted}; name the "
            "teacher that embedded it, or embed into a new folder"
        )
