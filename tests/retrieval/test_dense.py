"""The faiss index: found is what a matrix product finds, and what is on disk is whole, ours and pyserini's."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
import pytest

from optical.errors import DataError, RecipeError
from optical.retrieval import dense

N, D, Q = 57, 12, 5
MANIFEST = {"teacher": "tiny", "checksum": "abc", "langs": ["sw", "so"]}


@pytest.fixture
def vectors() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    drawn[7] = 0.0
    drawn[8] *= 40  # not of unit length: an inner product must notice
    return drawn


@pytest.fixture
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(Q, D)).astype(np.float32)


def names(count: int = N) -> list[str]:
    return [f"doc-{number}é" for number in range(count)]


def built(vectors: np.ndarray, folder: Path, factory: str = "Flat") -> Path:
    dense.build(vectors, names(len(vectors)), folder, factory, manifest=MANIFEST)
    return folder


def by_product(queries: np.ndarray, vectors: np.ndarray, k: int) -> list[list[str]]:
    return [[names()[row] for row in np.argsort(-scores)[:k]] for scores in queries @ vectors.T]


@pytest.mark.parametrize("k", [1, 10, N, N + 100])
def test_flat_finds_what_a_matrix_product_finds(
    tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, k: int
) -> None:
    found = dense.search(dense.load(built(vectors, tmp_path / "index")), queries, k)
    assert [[doc_id for doc_id, _ in answer] for answer in found] == by_product(queries, vectors, k)
    expected = np.sort(queries @ vectors.T, axis=1)[:, ::-1][:, :k]
    np.testing.assert_allclose([[score for _, score in answer] for answer in found], expected, rtol=1e-4, atol=1e-5)
    assert all(type(score) is float for answer in found for _, score in answer)


def test_queries_one_by_one_find_the_same(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    index = dense.load(built(vectors, tmp_path / "index"))
    together = dense.search(index, queries, 4)
    for query, answer in zip(queries, together, strict=True):
        [alone] = dense.search(index, query[None], 4)
        assert [doc_id for doc_id, _ in alone] == [doc_id for doc_id, _ in answer]


def test_no_query_finds_nothing(tmp_path: Path, vectors: np.ndarray) -> None:
    assert dense.search(dense.load(built(vectors, tmp_path / "index")), np.zeros((0, D), np.float32), 3) == []


def test_half_precision_is_cast_up_block_by_block(
    tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = vectors.astype(np.float16)
    monkeypatch.setattr(dense, "ROWS_AT_ONCE", 10)
    index = dense.load(built(half, tmp_path / "index"))
    assert index.index.ntotal == N
    found = dense.search(index, queries.astype(np.float64), N)
    assert [[doc_id for doc_id, _ in answer] for answer in found] == by_product(queries, half.astype(np.float32), N)


@pytest.mark.parametrize("factory", ["HNSW16", "IVF4,Flat", "IVF2,SQ8", "IVF2,PQ4x4fs"])
def test_approximate_kinds_find_the_best_and_invent_nothing(tmp_path: Path, vectors: np.ndarray, factory: str) -> None:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    unit = np.delete(unit, 7, axis=0)
    index = dense.load(built(unit, tmp_path / "index", factory))
    found = dense.search(index, unit, N)
    hits = sum(names().index(answer[0][0]) == row for row, answer in enumerate(found))
    assert hits >= 0.9 * len(unit), "a vector is its own nearest neighbour"
    for answer in found:
        assert len({doc_id for doc_id, _ in answer}) == len(answer), "no document twice, and no -1 taken for the last"


def test_training_sees_evenly_spaced_rows(tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "TRAINING_ROWS", 20)
    rows = []
    train = faiss.IndexIVFFlat.train
    monkeypatch.setattr(faiss.IndexIVFFlat, "train", lambda self, x: (rows.append(x), train(self, x))[1])
    built(vectors, tmp_path / "index", "IVF2,Flat")
    np.testing.assert_array_equal(rows[0], vectors[::3])


def test_polysemous_training_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32)
    trained = []
    train = faiss.IndexIVFPQ.train
    monkeypatch.setattr(faiss.IndexIVFPQ, "train", lambda self, x: (trained.append(self), train(self, x))[1])
    built(drawn, tmp_path / "index", "IVF1,PQ2")
    assert [index.do_polysemous_training for index in trained] == [False]


def test_the_folder_is_what_pyserini_reads(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    folder = built(vectors, tmp_path / "index")
    assert sorted(path.name for path in folder.iterdir()) == ["docid", "index", "optical.json"]
    # What FaissSearcher does: read the index, strip each line of docid, take labels for positions in that list.
    index = faiss.read_index(str(folder / "index"))
    with (folder / "docid").open(encoding="utf-8") as file:
        ids = [line.rstrip() for line in file]
    assert len(ids) == index.ntotal == N
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    _, rows = index.search(queries, 3)
    assert [[ids[row] for row in found] for found in rows] == by_product(queries, vectors, 3)


def test_the_manifest_keeps_what_it_was_told_and_adds_what_it_knows(tmp_path: Path, vectors: np.ndarray) -> None:
    folder = tmp_path / "deep" / "index"
    dense.build(vectors, names(), folder, manifest=MANIFEST | {"count": "wrong"})
    expected = MANIFEST | {"dimension": D, "count": N, "factory": "Flat"}
    assert json.loads((folder / "optical.json").read_text()) == expected
    assert dense.load(folder).manifest == expected
    assert dense.load(folder).ids == names()


def test_a_new_index_takes_the_place_of_the_old_one(tmp_path: Path, vectors: np.ndarray) -> None:
    built(vectors, tmp_path / "index")
    built(vectors[:9], tmp_path / "index")
    assert dense.load(tmp_path / "index").ids == names(9)
    assert [path.name for path in tmp_path.iterdir()] == ["index"], "no temporary folder stays"


def test_an_empty_folder_may_be_filled(tmp_path: Path, vectors: np.ndarray) -> None:
    built(vectors, tmp_path)
    assert len(dense.load(tmp_path).ids) == N


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("Error: 'x' failed: disk full"), OSError(28, "No space left on device")]
)
@pytest.mark.parametrize("at", ["write", "rename"])
def test_a_build_that_breaks_leaves_the_old_index(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: str
) -> None:
    built(vectors, tmp_path / "index")

    def breaks(*_: object) -> None:
        raise error

    rename = Path.rename
    if at == "write":
        monkeypatch.setattr(faiss, "write_index", breaks)
    else:
        monkeypatch.setattr(Path, "rename", lambda a, b: breaks() if a.suffix == ".tmp" else rename(a, b))
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError
    with pytest.raises(expected) as caught:
        built(vectors[:9], tmp_path / "index")
    if expected is DataError:
        assert str(caught.value).startswith("the index cannot be written: ")
        assert f"; at {tmp_path}/index; free some space" in str(caught.value)
    assert dense.load(tmp_path / "index").ids == names()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_folder_that_is_no_index_is_not_overwritten(tmp_path: Path, vectors: np.ndarray) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for folder in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(DataError, match=f"overwritten by the index, but is not one; at {folder}; name another"):
            built(vectors, folder)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (names(N - 1), "got 56 ids and 57 vectors; embed the collection again"),
        ([*names(N - 1), "doc-3é"], "'doc-3é', number 57, is there twice; rename"),
        (["a b", *names(N - 1)], "'a b', number 1, is empty or holds white space; rename"),
        (["", *names(N - 1)], "'', number 1, is empty or holds white space; rename"),
    ],
)
def test_bad_ids_are_refused(tmp_path: Path, vectors: np.ndarray, ids: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dense.build(vectors, ids, tmp_path / "index", manifest=MANIFEST)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,)])
def test_bad_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"must be \(documents, dimensions\), at least one of each; got \(.*embed"):
        dense.build(np.zeros(shape, np.float32), names(shape[0]), tmp_path / "index", manifest=MANIFEST)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_vectors_are_refused(
    tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = dense.load(built(vectors, tmp_path / "index"))
    queries[2, 1] = vectors[33, 3] = value
    with pytest.raises(DataError, match="1 query vectors hold NaN or infinity; the first is number 3; encode"):
        dense.search(index, queries, 3)
    monkeypatch.setattr(dense, "ROWS_AT_ONCE", 10)
    with pytest.raises(DataError, match="1 document vectors hold NaN or infinity; the first is number 34; encode"):
        built(vectors, tmp_path / "index")
    assert dense.load(tmp_path / "index").ids == names()


def test_a_factory_that_cannot_be_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    with pytest.raises(RecipeError, match="does not know this kind of index for 12 dimensions; got 'Flaat'; 'Flat'"):
        built(vectors, tmp_path / "index", "Flaat")
    with pytest.raises(RecipeError, match="cannot be an IDMap; got 'IDMap,Flat'; leave it out"):
        built(vectors, tmp_path / "index", "IDMap,Flat")
    with pytest.raises(DataError, match="57 vectors are too few to train the index 'IVF64,Flat' .*use the factory"):
        built(vectors, tmp_path / "index", "IVF64,Flat")
    assert not list(tmp_path.iterdir())


def test_what_is_not_an_index_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no such folder; at {tmp_path}/nowhere; build the index first"):
        dense.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["index", "docid", "optical.json"])
def test_a_missing_file_is_named(tmp_path: Path, vectors: np.ndarray, name: str) -> None:
    folder = built(vectors, tmp_path / "index")
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"no {name} there; at {folder}; build the index first"):
        dense.load(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("docid", b"a\nb\n", "differ in length: index has 57, docid has 2, optical.json has 57; at {folder}; build"),
        ("docid", b"\xff\n", "cannot be read: .*; at {folder}; build the index again"),
        ("index", b"not faiss", "cannot be read: .*; at {folder}; build the index again"),
        ("optical.json", b"{", "is not JSON: .*; at {folder}/optical.json; build the index again"),
        ("optical.json", b"[]", "is not a JSON object; at {folder}/optical.json; build the index again"),
        ("optical.json", b'{"count": 57, "dimension": 3}', "dimension: index has 12, optical.json says 3; at {folder}"),
        (
            "optical.json",
            b'{"dimension": 12}',
            "length: index has 57, docid has 57, optical.json has None; at {folder}",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, vectors: np.ndarray, name: str, content: bytes, message: str
) -> None:
    folder = built(vectors, tmp_path / "index")
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message.format(folder=folder)):
        dense.load(folder)


def test_queries_of_another_model_are_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    index = dense.load(built(vectors, tmp_path / "index"))
    for shape in ((2, D + 1), (D,)):
        with pytest.raises(
            DataError, match=r"must be \(queries, 12\), .*; encode the queries with a student of .*tiny"
        ):
            dense.search(index, np.zeros(shape, np.float32), 3)
    with pytest.raises(RecipeError, match="at least 1; got k = 0; 100 is usual"):
        dense.search(index, np.zeros((1, D), np.float32), 0)
