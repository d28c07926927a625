"""The folder of a late-interaction index: whole, checked, movable, and never half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optical.errors import DataError
from optical.marker import MARKER, file_checksum
from optical.retrieval.late import index as late_index
from optical.retrieval.late import inverted_lists
from optical.retrieval.late.store import LateOptions
from tests.retrieval.late.late_documents import MANIFEST, D, N, built, ids


def test_the_manifest_keeps_what_it_was_told_and_adds_what_it_knows(tmp_path: Path, documents: list) -> None:
    folder = built(documents, tmp_path / "deep" / "index", lists=3)
    manifest = json.loads((folder / "optical.json").read_text())
    facts = {"kind": "late-interaction", "count": N, "tokens": sum(map(len, documents)), "dimension": D, "lists": 3}
    assert (MANIFEST | facts).items() <= manifest.items()
    assert {path.name for path in folder.iterdir()} == {MARKER, "optical.json", *manifest["checksums"]}
    index = late_index.load(folder, teacher="abc", verify=True)
    assert index.ids == ids()
    assert index.manifest == manifest


def test_an_index_moves(tmp_path: Path, documents: list, queries: list) -> None:
    built(documents, tmp_path / "index", lists=3)
    expected = late_index.search(late_index.load(tmp_path / "index"), queries, 5)
    (tmp_path / "index").rename(tmp_path / "elsewhere")
    assert late_index.search(late_index.load(tmp_path / "elsewhere", verify=True), queries, 5) == expected


def test_searching_writes_nothing(tmp_path: Path, documents: list, queries: list) -> None:
    folder = built(documents, tmp_path / "index", lists=3)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    index = late_index.load(folder)
    late_index.search(index, queries, 5)
    index.tokens[:] = 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_no_document_and_no_token(tmp_path: Path, queries: list) -> None:
    for count, precision in ((0, "int8"), (2, "int8"), (2, "int4")):
        folder = tmp_path / f"{count}-{precision}"
        nothing = np.zeros((0, D)), np.zeros(count + 1, int), ids(count)
        late_index.build(*nothing, folder, LateOptions(precision), manifest={})
        assert late_index.search(late_index.load(folder, verify=True), queries, 3) == [[]] * 5
    assert late_index.search(late_index.load(folder), [], 3) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_build_that_breaks_leaves_the_old_index(
    tmp_path: Path, documents: list, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    built(documents, tmp_path / "index")

    def breaks(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(inverted_lists, "build", breaks)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError
    with pytest.raises(expected) as caught:
        built(documents[:9], tmp_path / "index", lists=2)
    if expected is DataError:
        assert "No space left on device; at" in str(caught.value)
    assert late_index.load(tmp_path / "index", verify=True).ids == ids()
    assert [path.name for path in tmp_path.iterdir()] == ["index"], "no temporary folder stays"


@pytest.mark.parametrize(
    "name",
    ["docid", "rotation.npy", "start.npy", "tokens.npy", "scale.npy", "centroids.npy",
     "list-start.npy", "list-rows.npy", "list-documents.npy", "codes.npy"],
)  # fmt: skip
def test_a_file_that_is_missing_cut_off_or_changed_is_noticed(tmp_path: Path, documents: list, name: str) -> None:
    path = built(documents, tmp_path / "index", lists=3, precision="int4") / name
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match=f"not complete: no {name} there; at .*; build the index again"):
        late_index.load(tmp_path / "index")
    path.write_bytes(whole[:-3])
    with pytest.raises(DataError, match=f"{path} has .* bytes, not the .* that were written; build the index again"):
        late_index.load(tmp_path / "index")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=f"{path} does not have the checksum that was written; build the index again"):
        late_index.load(tmp_path / "index")
    (tmp_path / "index" / MARKER).unlink()  # an index from before there were seals
    with pytest.raises(DataError, match=f"not what was written: its checksum differs; at .*{name}; build the index"):
        late_index.load(tmp_path / "index", verify=True)


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize(
    ("name", "wrong"), [("count", N + 1), ("tokens", 3), ("dimension", 384), ("dimension", None), ("lists", 4)]
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, documents: list, name: str, wrong: int | None, precision: str
) -> None:
    path = built(documents, tmp_path / "index", lists=3, precision=precision) / "optical.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: wrong}))
    (path.parent / MARKER).unlink()  # without a seal
    with pytest.raises(DataError, match="the files of the index do not belong together: .*; build the index again"):
        late_index.load(tmp_path / "index")


@pytest.mark.parametrize(("name", "harm"), [
    ("list-documents.npy", lambda rows: np.where(rows == 3, 2**31 - 1, rows)), ("list-documents.npy", np.negative),
    ("list-documents.npy", np.float32), ("list-rows.npy", lambda rows: rows + 1),
    ("codes.npy", lambda codes: codes + codes.dtype.type(1)),
    ("list-start.npy", lambda start: np.concatenate([[0, 2**40], start[2:]])),
    ("list-start.npy", lambda start: start + 1),
    ("start.npy", lambda start: np.array([0, 2**64 - 9, *start[2:]], dtype=np.uint64)),
    ("start.npy", np.float64), ("tokens.npy", np.asfortranarray), ("tokens.npy", np.int16), ("scale.npy", np.int8),
])  # fmt: skip
def test_a_strangers_numbers_lead_no_compiled_loop_outside(
    tmp_path: Path, documents: list, name: str, harm: Callable[[np.ndarray], np.ndarray]
) -> None:
    folder = built(documents, tmp_path / "index", lists=3)
    np.save(folder / name, harm(np.load(folder / name)))
    manifest = json.loads((folder / "optical.json").read_text())
    manifest["checksums"][name] = file_checksum(folder / name)[:16]
    (folder / "optical.json").write_text(json.dumps(manifest))
    (folder / MARKER).unlink()
    with pytest.raises(DataError, match=f"the files of the index do not belong together: .*{name.partition('.')[0]}"):
        late_index.load(folder, verify=True)


@pytest.mark.parametrize(("name", "value"), [
    ("count", "41"), ("tokens", None), ("lists", "3"), ("lists", -1), ("precision", {}), ("precision", "int2"),
    ("checksums", []),
])  # fmt: skip
def test_facts_of_no_index_are_refused(tmp_path: Path, documents: list, name: str, value: object) -> None:
    path = built(documents, tmp_path / "index", lists=3) / "optical.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    (path.parent / MARKER).unlink()
    with pytest.raises(DataError, match="the files of the index do not belong together"):
        late_index.load(path.parent)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this is not an index: no such folder; at .*; build the index first"):
        late_index.load(tmp_path / "none")
    with pytest.raises(DataError, match=r"this is not an index: no optical.json there; at .*; build the index first"):
        late_index.load(tmp_path)
    for text, message in (("{", "not JSON"), ("[]", "its kind is None"), ('{"factory": "Flat"}', "its kind is None")):
        (tmp_path / "optical.json").write_text(text)
        with pytest.raises(DataError, match=message):
            late_index.load(tmp_path)


def test_another_teacher_is_refused(tmp_path: Path, documents: list) -> None:
    folder = built(documents, tmp_path / "index")
    with pytest.raises(DataError, match="of another teacher: abc, not xyz; at .*; build the index with this teacher"):
        late_index.load(folder, teacher="xyz")


def test_another_folder_is_not_overwritten(tmp_path: Path, documents: list) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"thesis\.tex is in the way: optical did not write it"):
        built(documents, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
