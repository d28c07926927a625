"""One vector a document: a faiss index on disk, built whole or not at all, and searched by inner product.

The folder holds ``index`` (faiss, rows in the order of the documents) and ``docid`` (one id a line), which is what
pyserini's FaissSearcher reads, and ``optical.json``, our manifest: who made the vectors, of what, and how many. Takes
vectors and ids, gives scored ids; knows no model, no text and no torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from optical.errors import DataError, RecipeError
from optical.files import written_whole

ROWS_AT_ONCE = 65_536  # cast to float32 a block at a time, so that half-precision vectors are never held twice
TRAINING_ROWS = 262_144  # faiss itself samples 256 rows a cluster; this is enough for a thousand clusters
INDEX, DOCID, MANIFEST = "index", "docid", "optical.json"


class DenseIndex(NamedTuple):
    """An index that was read from its folder.

    Attributes:
        index: The faiss index; row i is the document ``ids[i]``.
        ids: Document ids in row order.
        manifest: What :func:`build` was told (teacher, checksum, ...) with ``dimension``, ``count`` and ``factory``.
    """

    index: Any
    ids: list[str]
    manifest: dict[str, Any]


def build(vectors: np.ndarray, ids: Sequence[str], folder: Path, factory: str = "Flat", *, manifest: dict) -> None:
    """Index vectors by inner product and write the folder; an earlier index there stays until this one is whole.

    ``Flat`` is exact and serves up to some 200,000 documents; above, ``IVF1024,SQ8`` or ``IVF1024,PQ48x4fs`` save time
    and memory. An IDMap has no place here: rows are the positions of the ids.

    Args:
        vectors: ``(n, d)``, float32 or float16, an array or a memory map.
        ids: n document ids, different from each other and without white space.
        folder: Written anew; one that exists must be empty or hold an index.
        factory: The kind of index, in faiss's notation.
        manifest: What to keep beside the index: teacher, checksum of the collection, ...; anything JSON holds.

    Raises:
        DataError: vectors, ids and folder do not fit the above, or there are too few vectors to train the index.
        RecipeError: faiss does not know the factory.
    """
    folder = Path(folder)
    _check_documents(vectors, ids)
    _check_free(folder)
    index = _index(vectors, factory)
    facts = {"dimension": int(vectors.shape[1]), "count": len(ids), "factory": factory}
    text = json.dumps({**manifest, **facts}, indent=2, ensure_ascii=False)
    try:
        with written_whole(folder) as unfinished:
            _faiss().write_index(index, str(unfinished / INDEX))
            (unfinished / DOCID).write_text("".join(f"{doc_id}\n" for doc_id in ids), encoding="utf-8", newline="\n")
            (unfinished / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")
    except (OSError, RuntimeError) as error:  # faiss reports a full disk as a RuntimeError
        raise DataError(
            f"the index cannot be written: {_first_line(error)}; at {folder}; free some space or name another folder"
        ) from error


def load(folder: Path) -> DenseIndex:
    """Read an index and check that its three files belong together.

    Raises:
        DataError: the folder or one of its files is missing or unreadable, or they disagree on counts or dimension.
    """
    folder = Path(folder)
    missing = [name for name in (INDEX, DOCID, MANIFEST) if not (folder / name).is_file()]
    if missing:
        what = f"no {' and no '.join(missing)} there" if folder.is_dir() else "no such folder"
        raise DataError(f"this is not an index: {what}; at {folder}; build the index first")
    manifest = _read_manifest(folder / MANIFEST)
    try:
        ids = (folder / DOCID).read_text(encoding="utf-8").splitlines()
        index = _faiss().read_index(str(folder / INDEX))
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise DataError(
            f"the index cannot be read: {_first_line(error)}; at {folder}; build the index again"
        ) from error
    counts = {INDEX: index.ntotal, DOCID: len(ids), MANIFEST: manifest.get("count")}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise DataError(f"the files of the index differ in length: {found}; at {folder}; build the index again")
    if index.d != manifest.get("dimension"):
        raise DataError(
            f"the files of the index differ in dimension: {INDEX} has {index.d}, {MANIFEST} says "
            f"{manifest.get('dimension')}; at {folder}; build the index again"
        )
    return DenseIndex(index, ids, manifest)


def search(index: DenseIndex, vectors: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    """Find the k documents with the highest inner product for each query.

    Args:
        index: As :func:`load` gives it.
        vectors: Query vectors, ``(q, d)``, any float type; the search itself is in float32.
        k: How many documents a query gets; fewer when the index holds (or an approximate one finds) fewer.

    Returns:
        For each query ``(document id, score)``, best first.

    Raises:
        DataError: the vectors are not of the dimension of the index, or hold NaN or infinity.
        RecipeError: k is below 1.
    """
    if k < 1:
        raise RecipeError(f"the number of documents to retrieve must be at least 1; got k = {k}; 100 is usual")
    if vectors.ndim != 2 or vectors.shape[1] != index.index.d:
        raise DataError(
            f"query vectors must be (queries, {index.index.d}), as the documents of this index; got {vectors.shape}; "
            f"encode the queries with a student of the teacher {index.manifest.get('teacher', 'of the index')!r}"
        )
    queries = np.ascontiguousarray(vectors, dtype=np.float32)
    _check_finite(queries, "query")
    scores, rows = index.index.search(queries, min(k, len(index.ids)))
    return [
        [(index.ids[row], float(score)) for row, score in zip(*found, strict=True) if row >= 0]  # -1: found fewer
        for found in zip(rows, scores, strict=True)
    ]


def _faiss() -> ModuleType:
    """Faiss, imported late: where torch is used too, torch must have brought its threads first."""
    import faiss

    if sys.platform == "darwin":  # torch and faiss each carry an OpenMP there, and two that run at once crash
        faiss.omp_set_num_threads(1)
    return faiss


def _index(vectors: np.ndarray, factory: str) -> Any:  # noqa: ANN401 - faiss classes are generated, without types
    """A trained index that holds the vectors."""
    faiss = _faiss()
    if "IDMap" in factory:
        raise RecipeError(f"rows of this index are positions, so it cannot be an IDMap; got {factory!r}; leave it out")
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise RecipeError(
            f"faiss does not know this kind of index for {vectors.shape[1]} dimensions; got {factory!r}; "
            "'Flat', 'HNSW32' and 'IVF1024,SQ8' are kinds that it knows"
        ) from error
    if hasattr(index, "do_polysemous_training"):  # simulated annealing for a minute, for a search that we never do
        index.do_polysemous_training = False
    try:
        if not index.is_trained:
            step = -(-len(vectors) // TRAINING_ROWS)
            index.train(np.ascontiguousarray(vectors[::step], dtype=np.float32))
    except RuntimeError as error:
        raise DataError(
            f"{len(vectors)} vectors are too few to train the index {factory!r} ({_first_line(error)}); "
            "use the factory 'Flat', or fewer clusters"
        ) from error
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        block = np.ascontiguousarray(vectors[start : start + ROWS_AT_ONCE], dtype=np.float32)
        _check_finite(block, "document", start)
        index.add(block)
    return index


def _check_documents(vectors: np.ndarray, ids: Sequence[str]) -> None:
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise DataError(
            f"document vectors must be (documents, dimensions), at least one of each; got {vectors.shape}; "
            "embed the collection first"
        )
    if len(ids) != len(vectors):
        raise DataError(
            f"every document needs one vector; got {len(ids)} ids and {len(vectors)} vectors; "
            "embed the collection again"
        )
    seen: set[str] = set()
    for position, doc_id in enumerate(ids):
        if doc_id.split() != [doc_id] or doc_id in seen:
            fault = "is there twice" if doc_id in seen else "is empty or holds white space"
            raise DataError(
                f"document ids must be different words; {doc_id!r}, number {position + 1}, {fault}; rename the document"
            )
        seen.add(doc_id)


def _check_finite(vectors: np.ndarray, what: str, first: int = 0) -> None:
    broken = ~np.isfinite(vectors).all(axis=1)
    if broken.any():
        raise DataError(
            f"{int(broken.sum())} {what} vectors hold NaN or infinity; the first is number "
            f"{first + int(broken.argmax()) + 1}; encode the texts again, in float32 if this was half precision"
        )


def _check_free(folder: Path) -> None:
    """The folder is replaced as a whole, so nothing but an index may be in it."""
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"this would be overwritten by the index, but is not one; at {folder}; name another folder, or remove it"
        )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"the manifest of the index is not JSON: {error}; at {path}; build the index again") from error
    if not isinstance(manifest, dict):
        raise DataError(f"the manifest of the index is not a JSON object; at {path}; build the index again")
    return manifest


def _first_line(error: Exception) -> str:
    """The readable part of a message: the system's word for it, or the last clause of faiss's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().splitlines()[0].rpartition("Error: ")[2]
