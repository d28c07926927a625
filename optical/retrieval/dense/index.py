"""One faiss index on disk: built whole or not at all, read or memory-mapped, searched.

The folder holds ``index`` (faiss, rows in the order of the documents) and ``docid`` (one id a line), which is what
pyserini's FaissSearcher reads, and ``optical.json``, the manifest: the teacher, the collection, dimension and count.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optical.embeddings.shards import Matrix
from optical.errors import DataError, RecipeError
from optical.files import check_replaceable, written_whole
from optical.marker import check_sealed
from optical.retrieval.dense.factory import check_finite, filled, first_line, load_faiss, planned, set_parameter
from optical.retrieval.dense.penalised import HUBNESS, QUERY_DIMENSION, asked, query_dimension

INDEX, DOCID, MANIFEST = "index", "docid", "optical.json"


class DenseIndex(NamedTuple):
    """An index that was read from its folder.

    Attributes:
        index: The faiss index; row i is the document ``ids[i]``. Of several searched as one, faiss's IndexShards.
        ids: Document ids in row order, ``(n,)``, an array of Python strings.
        manifest: What :func:`build` was told (teacher, checksum, ...) with ``dimension``, ``count`` and ``factory``.
    """

    index: Any
    ids: np.ndarray
    manifest: dict[str, Any]


class Nearest(NamedTuple):
    """Documents that a search finds, best first; where an index finds fewer, a row ends with -1.

    Attributes:
        scores: Inner products, ``(q, k)``, float32.
        rows: Row numbers of the documents, ``(q, k)``, int64.
    """

    scores: np.ndarray
    rows: np.ndarray


def build(vectors: Matrix, ids: Collection[str], folder: Path, factory: str = "Flat", *, manifest: dict) -> None:
    """Index vectors by inner product and write the folder; an earlier index there stays until this one is whole.

    Vectors are read a block at a time, so memory holds the index and the ids. Training rows are drawn evenly from all:
    262,144 of them, or 64 a cluster where that is more. The number of clusters that a search visits
    (:func:`optical.retrieval.dense.factory.probes`) is stored in the index, so pyserini uses it too. Rows are the
    positions of the ids, so the factory cannot be an IDMap.

    Args:
        vectors: ``(n, d)``, float32 or float16: an array, a memory map, or the vectors of :mod:`optical.embeddings`.
        ids: n document ids, different from each other and without white space.
        folder: Written anew; one that exists must be empty or hold an index.
        factory: The kind of index, in faiss's notation (``Flat``, ``HNSW32``, ``IVF4096,SQ8``), or ``auto``:
            :func:`optical.retrieval.dense.factory.choose`.
        manifest: What to store beside the index: teacher, checksum of the collection, ...; anything that JSON holds.
            ``hubness`` in it says that the vectors are those of :mod:`optical.retrieval.dense.penalised`.

    Raises:
        DataError: vectors, ids and folder do not fit the above, or there are too few vectors to train the index.
        RecipeError: faiss does not know the factory.
    """
    folder = Path(folder)
    check_documents(vectors, ids)
    check_replaceable(folder)
    factory, dimension = planned(vectors, factory, pads=HUBNESS in manifest)
    index = filled(vectors, factory, dimension)
    facts = {"dimension": dimension, "count": len(ids), "factory": factory, **query_dimension(vectors, manifest)}
    with writing(folder), written_whole(folder, sealed=True) as unfinished:
        load_faiss().write_index(index, str(unfinished / INDEX))
        (unfinished / DOCID).write_text("".join(f"{doc_id}\n" for doc_id in ids), encoding="utf-8", newline="\n")
        write_manifest(unfinished, {**manifest, **facts})


def load(
    folder: Path,
    *,
    teacher: str | None = None,
    mapped: bool = False,
    nprobe: int | None = None,
    ef_search: int | None = None,
) -> DenseIndex:
    """Open an index and check that its three files belong together.

    Args:
        folder: Made by :func:`build`.
        teacher: Fingerprint of the teacher whose vectors must be in it (``teacher_fingerprint`` of the manifest).
        mapped: Leave the index on disk and read what a search touches, through the system's cache: it opens at once,
            and several processes share it. The ids are always read.
        nprobe: Clusters that a search of an IVF index visits; by default as the index was built.
        ef_search: Candidates that a search of an HNSW index keeps; by default 64, or k if that is more.

    Raises:
        DataError: the folder or one of its files is missing, unreadable or not as it was written
            (:func:`optical.marker.check_sealed`), they disagree on counts or dimension, or the vectors are another
            teacher's.
        RecipeError: nprobe or ef_search for an index that has none, or below 1.
    """
    folder = Path(folder)
    missing = [name for name in (INDEX, DOCID, MANIFEST) if not (folder / name).is_file()]
    if missing:
        what = f"no {' and no '.join(missing)} there" if folder.is_dir() else "no such folder"
        raise DataError(f"this is not an index: {what}; at {folder}; build the index first")
    check_sealed(folder, "build the index again")
    manifest = read_manifest(folder / MANIFEST)
    try:
        ids = (folder / DOCID).read_text(encoding="utf-8").splitlines()
        faiss = load_faiss()
        index = faiss.read_index(str(folder / INDEX), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise DataError(f"the index cannot be read: {first_line(error)}; at {folder}; build the index again") from error
    counts = {INDEX: index.ntotal, DOCID: len(ids), MANIFEST: manifest.get("count")}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise DataError(f"the files of the index differ in length: {found}; at {folder}; build the index again")
    if index.d != manifest.get("dimension"):
        raise DataError(
            f"the files of the index differ in dimension: {INDEX} has {index.d}, {MANIFEST} says "
            f"{manifest.get('dimension')}; at {folder}; build the index again"
        )
    check_teacher(folder, manifest, teacher)
    set_parameter(index, "nprobe", nprobe, folder)
    set_parameter(index, "efSearch", ef_search, folder)
    return DenseIndex(index, np.array(ids, dtype=object), manifest)


def check_teacher(folder: Path, manifest: dict[str, Any], teacher: str | None) -> None:
    """Refuse an index of another teacher than the one of this fingerprint; None asks for none."""
    found = manifest.get("teacher_fingerprint")
    if teacher is not None and found != teacher:
        raise DataError(
            f"this index holds vectors of another teacher: {manifest.get('teacher')!r} with the fingerprint {found}, "
            f"wanted is {teacher}; at {folder}; build the index again, or name its teacher"
        )


def search(index: DenseIndex, vectors: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    """Find the k documents with the highest inner product for each query.

    Args:
        index: As :func:`load` gives it.
        vectors: Query vectors, ``(q, d)``, any float type; the search itself is in float32.
        k: How many documents a query gets; fewer when the index holds (or an approximate one finds) fewer.

    Returns:
        For each query ``(document id, score)``, best first.

    Raises:
        DataError: the vectors are not of the dimension of the index, or hold NaN or infinity; the index is damaged.
        RecipeError: k is below 1.
    """
    scores, rows = nearest(index, vectors, k)
    found = list(map(list, map(zip, index.ids[rows].tolist(), scores.tolist())))
    if min(rows[:, -1].tolist(), default=0) < 0:  # -1 at the end: found fewer
        return [answer[:count] for answer, count in zip(found, (rows >= 0).sum(axis=1).tolist(), strict=True)]
    return found


def nearest(index: DenseIndex, vectors: np.ndarray, k: int) -> Nearest:
    """The same search with row numbers instead of ids, as arrays.

    Args:
        index: As for :func:`search`.
        vectors: As for :func:`search`.
        k: As for :func:`search`; columns are no more than documents.

    Raises:
        DataError: As :func:`search`.
        RecipeError: As :func:`search`.
    """
    if k < 1:
        raise RecipeError(f"the number of documents to retrieve must be at least 1; got k = {k}; 100 is usual")
    dimension = index.manifest.get(QUERY_DIMENSION, index.index.d)
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise DataError(
            f"query vectors must be (queries, {dimension}), as the documents of this index; got {vectors.shape}; "
            f"encode the queries with a student of the teacher {index.manifest.get('teacher', 'of the index')!r}"
        )
    queries = np.ascontiguousarray(vectors, dtype=np.float32)
    check_finite(queries, "query")
    queries = asked(queries, index.index.d) if QUERY_DIMENSION in index.manifest else queries
    try:
        found = Nearest(*index.index.search(queries, min(k, len(index.ids))))
    except RuntimeError as error:
        raise DataError(f"the index cannot be searched: {first_line(error)}; build the index again") from error
    if found.rows.size and not -1 <= found.rows.min() <= found.rows.max() < len(index.ids):  # a stranger's, or damaged
        raise DataError("the index has rows of documents that are not there; build the index again")
    return found


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what fails while an index is written into one message."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # faiss reports a full disk as a RuntimeError
        raise DataError(
            f"the index cannot be written: {first_line(error)}; at {folder}; free some space or name another folder"
        ) from error


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of an index."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")


def check_documents(vectors: Matrix, ids: Collection[str]) -> None:
    """Refuse vectors and ids that cannot be indexed: none, of different number, or ids that are not distinct words."""
    if len(vectors.shape) != 2 or 0 in vectors.shape:
        raise DataError(
            f"document vectors must be (documents, dimensions), at least one of each; got {vectors.shape}; "
            "embed the collection first"
        )
    if len(ids) != len(vectors):
        raise DataError(
            f"every document needs one vector; got {len(ids)} ids and {len(vectors)} vectors; "
            "embed the collection again"
        )
    hashes = np.empty(len(ids), dtype=np.int64)  # a tenth of what a set of ids takes
    for position, doc_id in enumerate(ids):
        if doc_id.split() != [doc_id]:
            raise DataError(_bad_id(doc_id, position, "is empty or holds white space"))
        hashes[position] = hash(doc_id)
    hashes.sort()
    alike = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    seen: set[str] = set()
    for position, doc_id in enumerate(ids if alike else ()):
        if doc_id in seen:
            raise DataError(_bad_id(doc_id, position, "is there twice"))
        if hash(doc_id) in alike:
            seen.add(doc_id)


def _bad_id(doc_id: str, position: int, fault: str) -> str:
    return f"document ids must be different words; {doc_id!r}, number {position + 1}, {fault}; rename the document"


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of an index.

    Raises:
        DataError: It is not a JSON object.
    """
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"the manifest of the index is not JSON: {error}; at {path}; build the index again") from error
    if not isinstance(manifest, dict):
        raise DataError(f"the manifest of the index is not a JSON object; at {path}; build the index again")
    return manifest
