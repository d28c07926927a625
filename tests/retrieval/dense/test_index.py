"""The faiss index: found is what a matrix product finds, and what is on disk is whole, ours and pyserini's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

from optical import files
from optical.embeddings.shard import Batch
from optical.embeddings.write_shards import ShardPlan, make_shards
from optical.errors import DataError, RecipeError
from optical.marker import MARKER
from optical.retrieval import dense
from optical.retrieval.dense import factory as factory_dense
from optical.retrieval.dense.factory import choose, probes

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


def test_rows_are_for_who_keeps_ids_of_their_own(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    index = dense.load(built(vectors, tmp_path / "index"))
    scores, rows = dense.nearest(index, queries, N + 100)
    assert scores.shape == rows.shape == (Q, N)
    found = [
        [(names()[row], score) for row, score in zip(*pair, strict=True)] for pair in zip(rows, scores, strict=True)
    ]
    assert found == dense.search(index, queries, N + 100)


@pytest.mark.parametrize("nprobe", [1, 3])
def test_where_some_queries_find_fewer_each_answer_ends_where_it_does(
    tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, nprobe: int
) -> None:
    index = dense.load(built(vectors, tmp_path / "index", "IVF3,Flat"), nprobe=nprobe)
    scores, rows = dense.nearest(index, queries, 20)
    counts = (rows >= 0).sum(axis=1)
    assert (counts.min() < 20) == (nprobe == 1)
    found = dense.search(index, queries, 20)
    assert [len(answer) for answer in found] == counts.tolist()
    for answer, ids, row in zip(found, rows, scores, strict=True):
        assert answer == [(names()[i], score) for i, score in zip(ids, row, strict=True) if i >= 0]


def test_large_numbers_are_not_taken_for_infinity(tmp_path: Path, vectors: np.ndarray) -> None:
    vectors[3] = 1e25  # its square is beyond float32
    index = dense.load(built(vectors, tmp_path / "index"))
    query = np.full((1, D), 1e-20, np.float32)
    assert dense.search(index, query, 1)[0][0][0] == names()[3]
    assert len(dense.search(index, np.full((1, D), 1e25, np.float32), 1)[0]) == 1


def test_half_precision_is_cast_up_block_by_block(
    tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = vectors.astype(np.float16)
    monkeypatch.setattr(factory_dense, "ROWS_AT_ONCE", 10)
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


@pytest.mark.parametrize("rows_at_least", [5, 20])
def test_training_sees_evenly_spaced_rows(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, rows_at_least: int
) -> None:
    monkeypatch.setattr(factory_dense, "TRAINING_ROWS", rows_at_least)
    monkeypatch.setattr(factory_dense, "ROWS_A_CLUSTER", 10)
    rows = []
    train = faiss.IndexIVFFlat.train
    monkeypatch.setattr(faiss.IndexIVFFlat, "train", lambda self, x: (rows.append(x), train(self, x))[1])
    built(vectors, tmp_path / "index", "IVF2,Flat")
    np.testing.assert_array_equal(rows[0], vectors[::3])


@pytest.mark.parametrize("factory", ["IVF1,PQ2", "IVF1,PQ2,RFlat", "PCA4,IVF1,PQ2"])
def test_polysemous_training_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str) -> None:
    drawn = np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32)
    trained = []

    def train(index, x):  # faiss trains what it wraps in C++, where no Python method is called
        trained.extend(
            one.do_polysemous_training for one in factory_dense._inside(index) if isinstance(one, faiss.IndexIVFPQ)
        )

    for kind in (faiss.IndexIVFPQ, faiss.IndexRefineFlat, faiss.IndexPreTransform):
        monkeypatch.setattr(kind, "train", train)
        monkeypatch.setattr(kind, "add", lambda *_: None)
    monkeypatch.setattr(faiss, "write_index", lambda index, path: Path(path).touch())
    built(drawn, tmp_path / "index", factory)
    assert trained == [False]


class TestAuto:
    @pytest.mark.parametrize(
        ("count", "dimension", "factory"),
        [
            (1, 384, "Flat"),
            (199_999, 384, "Flat"),
            (200_000, 384, "IVF2048,PQ192x4fs,Refine(SQ8)"),
            (1_000_000, 384, "IVF4096,PQ192x4fs,Refine(SQ8)"),
            (8_800_000, 384, "IVF16384,PQ192x4fs,Refine(SQ8)"),
            (10**9, 768, "IVF16384,PQ384x4fs,Refine(SQ8)"),
            (10**9, 7, "IVF16384,SQ8"),
        ],
    )
    def test_the_rule(self, count: int, dimension: int, factory: str) -> None:
        assert choose(count, dimension) == factory

    def test_a_build_follows_it_and_says_what_it_chose(
        self, tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert dense.load(built(vectors, tmp_path / "a", "auto")).manifest["factory"] == "Flat"
        monkeypatch.setattr(factory_dense, "FLAT_BELOW", 57)
        assert dense.load(built(vectors, tmp_path / "b", "auto")).manifest["factory"] == "IVF32,PQ6x4fs,Refine(SQ8)"


class TestApproximation:
    COUNT, DIMENSION = 4000, 32

    @pytest.fixture
    def clustered(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors round 200 centres, and queries beside some of them."""
        random = np.random.default_rng(3)
        centres = random.normal(size=(200, self.DIMENSION))
        drawn = centres[random.integers(200, size=self.COUNT + 40)] + 0.6 * random.normal(
            size=(self.COUNT + 40, self.DIMENSION)
        )
        drawn = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        return drawn[:-40], drawn[-40:]

    @pytest.mark.parametrize(
        ("factory", "least"),
        [("Flat", 1.0), ("SQ8", 0.95), ("HNSW16", 0.95), ("IVF100,Flat", 0.95), ("IVF100,SQ8", 0.95),
         ("IVF100,PQ16x4fs,Refine(SQ8)", 0.95), ("IVF100,PQ16x4fs,RFlat", 0.95)],
    )  # fmt: skip
    @pytest.mark.parametrize("mapped", [False, True])
    def test_recall_of_the_ten_best_as_built(
        self, tmp_path: Path, clustered: tuple[np.ndarray, np.ndarray], factory: str, least: float, mapped: bool
    ) -> None:
        vectors, queries = clustered
        index = dense.load(built(vectors, tmp_path / "index", factory), mapped=mapped)
        found = dense.search(index, queries, 10)
        exact = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
        names_ = np.array(names(len(vectors)))
        hits = [len({d for d, _ in answer} & set(names_[best])) for answer, best in zip(found, exact, strict=True)]
        assert np.mean(hits) >= 10 * least

    def test_more_probes_find_more(self, tmp_path: Path, clustered: tuple[np.ndarray, np.ndarray]) -> None:
        vectors, queries = clustered
        folder = built(vectors, tmp_path / "index", "IVF64,Flat")
        best = np.argmax(queries @ vectors.T, axis=1)

        def hits(nprobe: int | None) -> int:
            found = dense.search(dense.load(folder, nprobe=nprobe), queries, 1)
            return sum(answer[0][0] == names(len(vectors))[row] for answer, row in zip(found, best, strict=True))

        assert hits(1) < hits(64) == len(queries)
        assert hits(1) <= hits(None)

    def test_what_a_search_visits_is_set_through_wrappers(
        self, tmp_path: Path, clustered: tuple[np.ndarray, np.ndarray]
    ) -> None:
        vectors, _ = clustered
        folder = built(vectors, tmp_path / "ivf", "PCA16,IVF64,PQ8x4fs,RFlat")
        loaded = list(factory_dense._inside(dense.load(folder).index))
        assert [type(one).__name__ for one in loaded] == ["IndexRefineFlat", "IndexPreTransform", "IndexIVFPQFastScan"]
        assert (loaded[0].k_factor, loaded[2].nprobe) == (8.0, 64)
        assert list(factory_dense._inside(dense.load(folder, nprobe=33).index))[2].nprobe == 33
        folder = built(vectors[:100], tmp_path / "hnsw", "HNSW8")
        assert dense.load(folder).index.hnsw.efSearch == 64
        assert dense.load(folder, ef_search=5).index.hnsw.efSearch == 5
        for name, there in (("nprobe", "hnsw"), ("ef_search", "ivf")):
            with pytest.raises(RecipeError, match=f"this index has no .*; got 3; at {tmp_path / there}; leave it out"):
                dense.load(tmp_path / there, **{name: 3})
        with pytest.raises(RecipeError, match="nprobe must be at least 1; got 0; leave it out"):
            dense.load(tmp_path / "ivf", nprobe=0)

    @pytest.mark.parametrize(
        ("clusters", "visited"), [(4, 4), (64, 64), (256, 64), (2048, 512), (4096, 1024), (8192, 1024), (16384, 2048)]
    )
    def test_probes(self, clusters: int, visited: int) -> None:
        assert probes(clusters) == visited

    def test_broken_vectors_are_named_before_training(self, tmp_path: Path, vectors: np.ndarray) -> None:
        vectors[40, 0] = np.nan
        with pytest.raises(DataError, match="1 document vectors hold NaN or infinity; the first is number 41"):
            built(vectors, tmp_path / "index", "IVF2,SQ8")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="says what is mapped on Linux only")
@pytest.mark.parametrize("factory", ["Flat", "HNSW8", "IVF2,SQ8", "IVF2,PQ4x4fs,Refine(SQ8)"])
def test_a_mapped_index_stays_on_disk(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, factory: str) -> None:
    folder = built(vectors, tmp_path / "index", factory)
    mapped = dense.load(folder, mapped=True)
    assert str(folder / "index") in Path("/proc/self/maps").read_text()
    assert dense.search(mapped, queries, 5) == dense.search(dense.load(folder), queries, 5)


def test_an_index_of_shards_is_that_of_their_vectors(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    row = dict(zip(names(), vectors, strict=True))
    texts = [(doc_id, doc_id) for doc_id in names()]
    plan = ShardPlan("f1", "sentences", "float32", 10)

    def encode(ids):
        return [Batch(range(len(ids)), np.stack([row[doc_id] for doc_id in ids]))]

    shards = make_shards(texts, tmp_path / "shards", encode, plan)
    for factory in ("Flat", "IVF3,SQ8"):
        dense.build(shards.vectors(), shards.ids, tmp_path / "of shards", factory, manifest=MANIFEST)
        expected = dense.load(built(vectors, tmp_path / "of an array", factory))
        found = dense.load(tmp_path / "of shards")
        assert found.ids.tolist() == expected.ids.tolist() == names()
        assert dense.search(found, queries, 9) == dense.search(expected, queries, 9)


def test_an_index_of_another_teacher_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    dense.build(vectors, names(), tmp_path / "index", manifest={"teacher": "tiny", "teacher_fingerprint": "f1"})
    assert dense.load(tmp_path / "index", teacher="f1").ids.tolist() == names()
    with pytest.raises(DataError, match="another teacher: 'tiny' with the fingerprint f1, wanted is f2; at .*; build"):
        dense.load(tmp_path / "index", teacher="f2")


@pytest.mark.parametrize("factory", ["Flat", "HNSW8", "IVF2,SQ8", "IVF2,PQ4x4fs,Refine(SQ8)"])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_a_truncated_index_is_refused(
    tmp_path: Path, vectors: np.ndarray, factory: str, mapped: bool, kept: float
) -> None:
    folder = built(vectors, tmp_path / "index", factory)
    content = (folder / "index").read_bytes()
    (folder / "index").write_bytes(content[: int(kept * len(content))])
    (folder / MARKER).unlink()  # it was made before there were seals, or by another program
    with pytest.raises(DataError, match=f"cannot be read: .*; at {folder}; build the index again"):
        dense.load(folder, mapped=mapped)


def test_a_folder_that_was_not_finished_is_never_read(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(index: object, path: str) -> None:
        Path(path).write_bytes(b"half")
        raise SystemExit

    with monkeypatch.context() as broken:
        broken.setattr(faiss, "write_index", killed)
        broken.setattr("shutil.rmtree", lambda *_, **__: None)  # as if the process had been killed
        with pytest.raises(SystemExit):
            built(vectors, tmp_path / "index")
    assert [path.name.startswith(".") for path in tmp_path.iterdir()] == [True]
    with pytest.raises(DataError, match="no such folder"):
        dense.load(tmp_path / "index")
    assert dense.load(built(vectors, tmp_path / "index")).ids.tolist() == names()


def test_the_folder_is_what_pyserini_reads(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    folder = built(vectors, tmp_path / "index")
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, "docid", "index", "optical.json"]
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
    assert dense.load(folder).ids.tolist() == names()


def test_a_new_index_takes_the_place_of_the_old_one(tmp_path: Path, vectors: np.ndarray) -> None:
    built(vectors, tmp_path / "index")
    built(vectors[:9], tmp_path / "index")
    assert dense.load(tmp_path / "index").ids.tolist() == names(9)
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
        monkeypatch.setattr(files, "_exchange", lambda *_: False)  # as where the system cannot
        monkeypatch.setattr(Path, "rename", lambda a, b: breaks() if a.suffix == ".tmp" else rename(a, b))
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError
    with pytest.raises(expected) as caught:
        built(vectors[:9], tmp_path / "index")
    if expected is DataError:
        assert str(caught.value).startswith("the index cannot be written: ")
        assert f"; at {tmp_path}/index; free some space" in str(caught.value)
    assert dense.load(tmp_path / "index").ids.tolist() == names()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_folder_that_is_no_index_is_not_overwritten(tmp_path: Path, vectors: np.ndarray) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for folder in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(DataError, match=r"thesis\.tex is in the way: optical did not write it"):
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
    monkeypatch.setattr(factory_dense, "ROWS_AT_ONCE", 10)
    with pytest.raises(DataError, match="1 document vectors hold NaN or infinity; the first is number 34; encode"):
        built(vectors, tmp_path / "index")
    assert dense.load(tmp_path / "index").ids.tolist() == names()


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
    (folder / MARKER).unlink()  # without a seal
    with pytest.raises(DataError, match=message.format(folder=folder)):
        dense.load(folder)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ["index", "docid", "optical.json"])
def test_a_copy_of_the_folder_alone_is_compared_with_its_seal(
    tmp_path: Path, vectors: np.ndarray, name: str, mapped: bool
) -> None:
    copy = Path(shutil.copytree(built(vectors, tmp_path / "index"), tmp_path / "copy", copy_function=shutil.copy))
    assert dense.load(copy, mapped=mapped).ids.tolist() == names()
    data = bytearray((copy / name).read_bytes())
    data[-9] ^= 1  # of a number or of a name: all can still be read
    (copy / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{copy / name} does not have the checksum .*; build the index again"):
        dense.load(copy, mapped=mapped)


@pytest.mark.parametrize("row", [N, 2**60, -7])
def test_rows_of_no_document_are_refused(tmp_path: Path, vectors: np.ndarray, row: int) -> None:
    folder = built(vectors, tmp_path / "index", "IVF2,Flat")
    index = faiss.read_index(str(folder / "index"))
    index.reset()
    index.add_with_ids(vectors, np.full(len(vectors), row))
    faiss.write_index(index, str(folder / "index"))
    (folder / MARKER).unlink()  # of a stranger
    with pytest.raises(DataError, match="rows of documents that are not there; build the index again"):
        dense.search(dense.load(folder), vectors[:2], 3)


def test_queries_of_another_model_are_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    index = dense.load(built(vectors, tmp_path / "index"))
    for shape in ((2, D + 1), (D,)):
        with pytest.raises(
            DataError, match=r"must be \(queries, 12\), .*; encode the queries with a student of .*tiny"
        ):
            dense.search(index, np.zeros(shape, np.float32), 3)
    with pytest.raises(RecipeError, match="at least 1; got k = 0; 100 is usual"):
        dense.search(index, np.zeros((1, D), np.float32), 0)
