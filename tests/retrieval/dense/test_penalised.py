"""A penalty is one more dimension: every kind of index finds what products less penalties say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optical.errors import DataError, RecipeError
from optical.retrieval import dense
from optical.retrieval.dense import factory as factory_dense
from optical.retrieval.dense import partitioned
from optical.retrieval.dense.penalised import HUBNESS, Penalised

N, D, Q = 300, 12, 5
MANIFEST = {"teacher": "tiny", HUBNESS: {"method": "csls"}}
IDS = [f"d{k}" for k in range(N)]


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, penalties as large as the products differ, and queries."""
    random = np.random.default_rng(0)
    vectors, queries = random.normal(size=(N, D)).astype(np.float32), random.normal(size=(Q, D)).astype(np.float32)
    return vectors, random.normal(size=N).astype(np.float32) * 4, queries


def best(data: tuple[np.ndarray, np.ndarray, np.ndarray], k: int) -> np.ndarray:
    vectors, penalties, queries = data
    return np.argsort(-(queries @ vectors.T - penalties), axis=1)[:, :k]


@pytest.mark.parametrize(
    ("factory", "least"),
    [
        ("Flat", 1.0), ("HNSW16", 0.95), ("IVF4,Flat", 1.0), ("IVF2,SQ8", 0.9), ("IVF2,PQ6x4fs,Refine(SQ8)", 0.9),
        ("PQ4x8", 0.6), ("OPQ4_8,IVF2,PQ4", 0.5), ("IVF2,PQ6x4fs,RFlat", 0.9),
    ],
)  # fmt: skip
def test_every_kind_finds_the_best_less_their_penalties(tmp_path: Path, data, factory: str, least: float) -> None:
    vectors, penalties, queries = data
    dense.build(Penalised(vectors, penalties), IDS, tmp_path / "index", factory, manifest=MANIFEST)
    index = dense.load(tmp_path / "index")
    found = dense.nearest(index, queries, 10)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(best(data, 10), found.rows, strict=True)]) >= least
    assert index.manifest["query_dimension"] == D
    if least == 1.0:
        expected = np.take_along_axis(queries @ vectors.T - penalties, found.rows, axis=1)
        np.testing.assert_allclose(found.scores, expected, atol=1e-4)


@pytest.mark.parametrize(("factory", "dimension"), [("Flat", 13), ("IVF2,PQ6x4fs", 18), ("IVF2,PQ7x4fs", 14)])
def test_zeros_fill_vectors_up_where_a_kind_wants_it(tmp_path: Path, data, factory: str, dimension: int) -> None:
    dense.build(Penalised(*data[:2]), IDS, tmp_path / "index", factory, manifest=MANIFEST)
    assert dense.load(tmp_path / "index").index.d == dimension


def test_auto_keeps_its_kind_for_one_more_dimension(tmp_path: Path, data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory_dense, "FLAT_BELOW", 10)
    dense.build(data[0], IDS, tmp_path / "plain", "auto", manifest={})
    dense.build(Penalised(*data[:2]), IDS, tmp_path / "index", "auto", manifest=MANIFEST)
    assert dense.load(tmp_path / "plain").manifest["factory"] == "IVF64,PQ6x4fs,Refine(SQ8)"
    assert dense.load(tmp_path / "index").manifest["factory"] == "IVF64,PQ7x4fs,Refine(SQ8)"


def test_parts_are_searched_as_one_and_kept_when_built_again(tmp_path: Path, data) -> None:
    said: list[str] = []
    for factory in ("IVF2,PQ7x4fs,RFlat", "Flat", "Flat"):
        partitioned.build(
            Penalised(*data[:2]), IDS, tmp_path / "index", factory, manifest=MANIFEST, index_size=100, say=said.append
        )
    assert sum("already there" in line for line in said) == 3
    found = dense.nearest(partitioned.load(tmp_path / "index"), data[2], 10)
    np.testing.assert_array_equal(found.rows, best(data, 10))


def test_queries_have_the_dimension_of_their_encoder(tmp_path: Path, data) -> None:
    dense.build(Penalised(*data[:2]), IDS, tmp_path / "index", manifest=MANIFEST)
    with pytest.raises(DataError, match=r"must be \(queries, 12\), as the documents of this index; got \(5, 13\)"):
        dense.search(dense.load(tmp_path / "index"), np.zeros((Q, D + 1), np.float32), 3)


def test_a_kind_that_faiss_does_not_know_is_refused_in_one_message(tmp_path: Path, data) -> None:
    with pytest.raises(RecipeError, match="does not know this kind of index for 13 dimensions; got 'IVF2,Fat'"):
        dense.build(Penalised(*data[:2]), IDS, tmp_path / "index", "IVF2,Fat", manifest=MANIFEST)
