"""The compiled loops answer as exhaustive MaxSim does, and as the search without them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optical.marker import MARKER
from optical.retrieval.late import cascade, maxsim
from optical.retrieval.late import index as late_index
from tests.retrieval.late.late_documents import ids, unit
from tests.retrieval.late.test_index import assert_same, padded, stored

pytest.importorskip("numba")
if cascade.kernels() is None:
    pytest.skip("this processor has no AVX2", allow_module_level=True)

D, COUNT = 64, 300


@pytest.fixture(scope="module")
def documents() -> list[np.ndarray]:
    """Documents of 20 themes; every ninth has no tokens, one is there twice, and one is longer than the others."""
    generator = np.random.default_rng(0)
    themes = generator.normal(size=(20, D))
    made = [
        unit(themes[k % 20] + generator.normal(size=(int(generator.integers(1, 14)), D))).astype(np.float16)
        for k in range(COUNT)
    ]
    for row in range(0, COUNT, 9):
        made[row] = np.zeros((0, D), np.float16)
    made[31] = made[13].copy()
    made[70] = unit(generator.normal(size=(90, D))).astype(np.float16)
    return made


@pytest.fixture(scope="module")
def queries() -> list[np.ndarray]:
    """Of other lengths than a register has places, one longer than a row of the table, one of tokens that are short."""
    generator = np.random.default_rng(1)
    made = [unit(generator.normal(size=(length, D))).astype(np.float32) for length in (3, 1, 8, 37)]
    return [*made, 0.01 * made[0], np.zeros((0, D), np.float32), np.zeros((2, D), np.float32)]


@pytest.fixture(scope="module", params=["int8", "int4"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, documents: list) -> Path:
    place = tmp_path_factory.mktemp("index") / request.param
    start = np.concatenate([[0], np.cumsum([len(one) for one in documents])])
    options = late_index.LateOptions(request.param, lists=16)
    late_index.build(np.concatenate(documents), start, ids(COUNT), place, options, manifest={})
    return place


def exact(index: late_index.LateIndex, queries: list, k: int) -> list:
    return maxsim.search(padded(queries, D), padded(stored(index), D), ids(COUNT), k)


@pytest.mark.parametrize("k", [1, 10, COUNT])
def test_with_everything_opened_it_is_exhaustive_maxsim(folder: Path, queries: list, k: int) -> None:
    index = late_index.load(folder)
    assert cascade.serves(index)
    expected = exact(index, queries, k)
    assert_same(late_index.search(index, queries, k, probe=16, candidates=COUNT), expected)
    assert_same(late_index.search(index, queries, k, exhaustive=True), expected)


def test_scores_are_exact_whatever_is_proposed(folder: Path, queries: list) -> None:
    index = late_index.load(folder)
    for answer, scores in zip(
        late_index.search(index, queries, 5, probe=1, candidates=5), exact(index, queries, COUNT), strict=True
    ):
        assert dict(answer) == pytest.approx({doc_id: dict(scores)[doc_id] for doc_id, _ in answer}, rel=1e-4, abs=1e-5)


def test_few_candidates_hold_the_best(folder: Path, documents: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage leaves documents out, and finds nearly what all of them would give."""
    asked = [documents[row][:6].astype(np.float32) for row in range(1, 60, 4) if len(documents[row])]
    index = late_index.load(folder)
    kept = narrowed(monkeypatch)
    assert late_index.recall(index, asked, 5, probe=8, candidates=12) >= 0.95
    assert kept == [(96, 36), (36, 12)] * len(asked)


def test_where_no_number_is_given_fewer_are_scored_exactly(
    folder: Path, documents: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any case k and some more; then those that could be among the k best."""
    asked = [documents[row][:6].astype(np.float32) for row in range(1, 60, 4) if len(documents[row])]
    index = late_index.load(folder)
    monkeypatch.setattr(cascade, "FIRST", 3)
    monkeypatch.setattr(late_index, "default_candidates", lambda _: 30)
    kept = narrowed(monkeypatch)
    assert late_index.recall(index, asked, 5, probe=8) >= 0.95
    before, near, exactly = [b for b, _ in kept[::2]], [a for _, a in kept[::2]], [a for _, a in kept[1::2]]
    assert min(exactly) == 8 <= max(exactly) < 30 <= min(near) <= max(near) < min(before)


def test_among_more_documents_more_are_scored(folder: Path, documents: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds grow by the square root of the documents from MANY on, and so do the doubts."""
    asked = [documents[row][:6].astype(np.float32) for row in range(1, 60, 4) if len(documents[row])]
    index = late_index.load(folder)
    monkeypatch.setattr(cascade, "FEWER_BY_CENTROIDS", 1)
    monkeypatch.setattr(late_index, "default_candidates", lambda _: 30)
    kept = narrowed(monkeypatch)

    def first_and_second() -> tuple[int, int]:
        kept.clear()
        late_index.search(index, asked, 5, probe=8)
        return max(before for before, _ in kept[::2]), sum(after for _, after in kept[::2])

    assert [cascade._sure_near(count) for count in (1, 5_000)] == [cascade.SURE_NEAR] * 2
    assert first_and_second()[0] == 30
    monkeypatch.setattr(cascade, "MANY", COUNT / 4)
    listed, before = first_and_second()
    assert listed == 60
    monkeypatch.setattr(cascade, "BY_CHANCE", 1e-6)
    assert first_and_second()[1] > before


@pytest.mark.parametrize(("noise", "least", "most"), [(0.0, 12, 12), (0.3, 30, 150)])
def test_more_are_scored_while_they_could_be_among_the_best(noise: float, least: int, most: int) -> None:
    """Scores that are all higher by as much leave no doubt."""
    generator = np.random.default_rng(3)
    better, rows = generator.normal(size=300).astype(np.float32), np.arange(0, 600, 2)
    rough = better - 2 + noise * generator.normal(size=300).astype(np.float32)
    found, scores = cascade._narrowed(rows, rough, lambda some: better[some // 2], 10, 200, 12, 4.0)
    assert least <= len(found) <= most
    assert set(2 * np.argsort(-better)[:10]) <= set(found)
    np.testing.assert_array_equal(scores, better[found // 2])
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(("count", "parts"), [(0, 1), (19, 1), (20, 2), (100, 3)])
def test_documents_are_divided_among_the_threads(count: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as torch has, each with some documents at least."""
    monkeypatch.setattr(cascade, "PART", 10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    gone_through: list[tuple[int, int]] = []
    together = threading.Barrier(parts)  # nobody passes it unless all are at work

    def work(begin: int, end: int) -> None:
        together.wait(timeout=20)
        gone_through.append((begin, end))

    cascade._divided(work, count)
    assert [row for part in sorted(gone_through) for row in range(*part)] == list(range(count))
    assert len(gone_through) == parts


def test_a_fault_in_another_thread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def work(begin: int, _: int) -> None:
        if begin:
            raise ValueError("of the second thread")

    with pytest.raises(ValueError, match="second thread"):
        cascade._divided(work, 1000)


def test_threads_change_no_answer(folder: Path, queries: list, monkeypatch: pytest.MonkeyPatch) -> None:
    index = late_index.load(folder)
    monkeypatch.setattr(cascade, "PART", 10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = late_index.search(index, queries, 10, probe=4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert late_index.search(index, queries, 10, probe=4) == alone


def narrowed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Documents before and after each stage of the searches from here on."""
    kept: list[tuple[int, int]] = []

    def noted(rows: np.ndarray, *given: Any, real: Any = cascade._narrowed) -> cascade.Found:
        found = real(rows, *given)
        kept.append((len(rows), len(found[0])))
        return found

    monkeypatch.setattr(cascade, "_narrowed", noted)
    return kept


def test_more_lists_are_opened_until_there_are_enough(folder: Path, queries: list, documents: list) -> None:
    found = late_index.search(late_index.load(folder), queries[:1], COUNT, probe=1)
    assert len(found[0]) == sum(len(one) > 0 for one in documents)


def test_without_compiled_loops_the_answers_are_the_same(
    folder: Path, queries: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = late_index.load(folder)
    ours = late_index.search(index, queries, 10, probe=16, candidates=COUNT)
    monkeypatch.setattr(cascade, "kernels", lambda: None)
    assert_same(late_index.search(index, queries, 10, probe=16, candidates=COUNT), ours)


def test_an_index_of_an_older_program_is_read(folder: Path, queries: list, tmp_path: Path) -> None:
    """It had the document of each token, and neither codes nor the documents list by list."""
    index = late_index.load(folder)
    old = tmp_path / "old"
    old.mkdir()
    manifest = json.loads((folder / "optical.json").read_text())
    for path in folder.iterdir():
        if path.name not in ("codes.npy", "list-documents.npy", MARKER):
            (old / path.name).write_bytes(path.read_bytes())
    np.save(old / "documents.npy", np.repeat(np.arange(COUNT, dtype=np.int32), np.diff(index.start)))
    del manifest["checksums"]["codes.npy"], manifest["checksums"]["list-documents.npy"]
    manifest["checksums"]["documents.npy"] = late_index.store.file_checksum(old / "documents.npy")[:16]
    (old / "optical.json").write_text(json.dumps(manifest))
    again = late_index.load(old, verify=True)
    assert again.lists is not None
    assert index.lists is not None
    np.testing.assert_array_equal(again.lists.codes, index.lists.codes)
    assert late_index.search(again, queries, 10, probe=3) == late_index.search(index, queries, 10, probe=3)
