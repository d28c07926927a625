"""Build and open indexes of single vectors of any size: one faiss index, or parts that are searched as one.

With one part the folder is that of :mod:`optical.retrieval.dense.index`, which pyserini reads. With more it holds
``part-000``, ``part-001``, ..., each such a folder, and ``optical.json``: the manifest of the whole, and for each part
its rows and a checksum of its vectors and ids.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optical.embeddings.shards import Matrix
from optical.errors import DataError, RecipeError
from optical.files import check_replaceable, checksum, discard, held_alone, take_place
from optical.marker import check_sealed
from optical.retrieval import dense
from optical.retrieval.dense.factory import ROWS_AT_ONCE, load_faiss, planned
from optical.retrieval.dense.index import MANIFEST, DenseIndex
from optical.retrieval.dense.penalised import HUBNESS, query_dimension

INDEX_SIZE = 50_000_000  # vectors of one faiss index: 26 GB in memory while it is built, 384 dimensions coded by `auto`


def build(
    vectors: Matrix,
    ids: Collection[str],
    folder: Path,
    factory: str = "Flat",
    *,
    manifest: dict[str, Any],
    index_size: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Index vectors as :func:`optical.retrieval.dense.index.build` does, in as many parts as needed.

    Parts have one factory and sizes that differ by at most one. They are built one after another in a hidden folder
    beside the wanted one, which takes its place when it is complete: memory holds one part, and an earlier index stays
    until then. A build that was stopped goes on after the parts that are whole and of the same vectors, ids and
    factory; so does one that replaces an index with a missing part. Only one process at a time builds an index.

    Args:
        vectors: As for ``dense.build``.
        ids: As for ``dense.build``.
        folder: As for ``dense.build``.
        factory: As for ``dense.build``; ``auto`` goes by the size of a part.
        manifest: As for ``dense.build``.
        index_size: Most vectors of one part, by default 50,000,000.
        say: Told of each part before it is built.

    Raises:
        DataError: As ``dense.build``; another process is building parts of this index.
        RecipeError: faiss does not know the factory, or ``index_size`` is below 1.
    """
    folder = Path(folder)
    size = INDEX_SIZE if index_size is None else index_size
    if size < 1:
        raise RecipeError(f"an index needs room for a vector; got index_size = {size}; leave it out, or raise it")
    unfinished = _unfinished(folder)
    if len(ids) <= size:
        dense.build(vectors, ids, folder, factory, manifest=manifest)
        _remove(unfinished)
        return
    dense.check_documents(vectors, ids)
    check_replaceable(folder)
    count = -(-len(ids) // size)
    factory, dimension = planned(_Rows(vectors, 0, -(-len(ids) // count)), factory, pads=HUBNESS in manifest)
    whole = {**manifest, "dimension": dimension, "count": len(ids), "factory": factory, "parts": []}
    whole |= query_dimension(vectors, manifest)
    words, ends = iter(ids), [len(ids) * part // count for part in range(count + 1)]
    with dense.writing(folder):
        unfinished.mkdir(parents=True, exist_ok=True)
    with held_alone(unfinished):
        for stray in {path.name for path in unfinished.iterdir()} - {_name(part) for part in range(count)}:
            discard(unfinished / stray)  # of another size, or half-written
        for part, (first, stop) in enumerate(itertools.pairwise(ends)):
            rows, own = _Rows(vectors, first, stop), list(itertools.islice(words, stop - first))
            whole["parts"].append({"rows": [first, stop], "checksum": _checksum(rows, own)})
            there = _is_there(whole, part, unfinished, folder)
            say(f"index, part {part + 1} of {count}: {stop - first} vectors{', already there' if there else ''}")
            if not there:
                dense.build(rows, own, unfinished / _name(part), factory, manifest={**manifest, **whole["parts"][part]})
        with dense.writing(folder):
            dense.write_manifest(unfinished, whole)
            take_place(unfinished, folder, sealed=True)  # its manifest; a part has a seal of its own


def load(folder: Path, *, teacher: str | None = None, **options: Any) -> DenseIndex:
    """Open an index of one part or of several, and check that the parts belong together.

    Args:
        folder: Made by :func:`build`.
        teacher: Fingerprint of the teacher whose vectors must be in it.
        options: ``mapped``, ``nprobe``, ``ef_search``, as :func:`optical.retrieval.dense.index.load` takes them.

    Raises:
        DataError: As ``dense.load``; a build was stopped; a part is missing, or was not made with the others.
        RecipeError: As ``dense.load``.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file() and (there := unfinished_parts(folder)):
        raise DataError(
            f"the index is not finished: {there} of its parts are built; at {folder}; build it again, which goes "
            "on after them"
        )
    whole = dense.read_manifest(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    if "parts" not in whole:
        return dense.load(folder, teacher=teacher, **options)
    check_sealed(folder, "build the index again, which keeps its parts")
    dense.check_teacher(folder, whole, teacher)
    opened = [_open(whole, part, folder, **options) for part in range(len(whole["parts"]))]
    return joined(opened)._replace(manifest=whole)


def joined(indexes: Sequence[DenseIndex]) -> DenseIndex:
    """Several indexes as one: their results are merged, and row numbers go on from one to the next.

    Exact indexes find what one index of all vectors would find, except for equal scores at the cut. The manifest is
    that of the first, with the number of all documents.
    """
    whole = load_faiss().IndexShards(indexes[0].index.d, False, True)  # one after the other, rows in succession
    for one in indexes:
        whole.add_shard(one.index)
    ids = np.concatenate([one.ids for one in indexes])
    return DenseIndex(whole, ids, {**indexes[0].manifest, "count": len(ids)})


def _open(whole: dict[str, Any], part: int, folder: Path, **options: Any) -> DenseIndex:
    """Open a part and check that it is the one in the manifest of the whole."""
    place = folder / _name(part)
    if not place.is_dir():
        raise DataError(
            f"a part of the index is missing: {place.name}, of {len(whole['parts'])}; at {folder}; build the index "
            "again, which keeps the others"
        )
    index = dense.load(place, **options)
    expected = {name: whole.get(name) for name in ("teacher_fingerprint", "dimension", "factory")}
    for name, value in (expected | whole["parts"][part]).items():
        if (found := index.manifest.get(name)) != value:
            raise DataError(
                f"{place.name} was not made with the other parts of the index: its {name} is {found}, not {value}; "
                f"at {folder}; build the index again, which keeps the others"
            )
    return index


def _is_there(whole: dict[str, Any], part: int, unfinished: Path, folder: Path) -> bool:
    """Whether a part need not be built: a stopped build left it, or it is taken from the index to be replaced."""
    place = unfinished / _name(part)
    if _is_whole(whole, part, unfinished):
        return True
    discard(place)
    if not _is_whole(whole, part, folder):
        return False
    try:
        shutil.copytree(folder / place.name, place, copy_function=os.link)  # the same files under both names
    except OSError:  # the disk has no hard links: the part is built anew
        discard(place)
        return False
    return True


def _is_whole(whole: dict[str, Any], part: int, folder: Path) -> bool:
    try:
        _open(whole, part, folder, mapped=True)
    except DataError:
        return False
    return True


class _Rows:
    """Consecutive rows of a matrix, read only when they are asked for."""

    def __init__(self, whole: Matrix, first: int, stop: int) -> None:
        self._whole, self._rows = whole, range(first, stop)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""
        return len(self), *self._whole.shape[1:]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Some of them in memory."""
        wanted = self._rows[rows]
        return self._whole[wanted.start : wanted.stop : wanted.step]


def _checksum(vectors: Matrix, ids: list[str]) -> str:
    """Sixteen hexadecimal digits of the ids and vectors of a part; this takes little time beside indexing them."""
    digest = hashlib.sha256(checksum(ids).encode())
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        digest.update(np.ascontiguousarray(vectors[start : start + ROWS_AT_ONCE]).data)
    return digest.hexdigest()[:16]


def _name(part: int) -> str:
    return f"part-{part:03}"


def unfinished_parts(folder: Path) -> int:
    """Count the parts of the index at ``folder`` that a stopped build has left."""
    return len(list(_unfinished(folder).glob("part-*")))


def _remove(unfinished: Path) -> None:
    """Remove what a stopped build in parts has left."""
    if unfinished.is_dir():
        with held_alone(unfinished):
            discard(unfinished)


def _unfinished(folder: Path) -> Path:
    """Where finished parts are kept until the last one is built."""
    return folder.with_name(f".{folder.name}.parts")
