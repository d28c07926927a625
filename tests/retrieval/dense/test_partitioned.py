"""An index in parts: found is what one index of all would find, and only parts of one make are searched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optical import files
from optical.embeddings.shard import Batch
from optical.embeddings.write_shards import ShardPlan, make_shards
from optical.errors import DataError, RecipeError
from optical.files import held_alone
from optical.marker import MARKER, seal_of
from optical.retrieval import dense
from optical.retrieval.dense import factory as factory_dense
from optical.retrieval.dense import partitioned
from optical.retrieval.dense.index import DenseIndex

N, D, Q = 57, 12, 5
MANIFEST = {"teacher": "tiny", "teacher_fingerprint": "f1", "langs": ("sw", "so")}
SIZE = 20  # three parts of 19


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(Q, D)).astype(np.float32)


def names(count: int = N) -> list[str]:
    return [f"doc-{number}é" for number in range(count)]


def built(vectors: np.ndarray, folder: Path, size: int | None = SIZE, factory: str = "Flat", **more: str) -> Path:
    ids = names(len(vectors))
    partitioned.build(vectors, ids, folder, factory, manifest=MANIFEST | more, index_size=size)
    return folder


def joined(folders: list[Path], **options: Any) -> DenseIndex:
    return partitioned.joined([dense.load(folder, **options) for folder in folders])


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != MARKER)


class Counted:
    """A build that counts the parts it makes, and can be killed before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built: list[str] = []
        self.killed_at: int | None = None
        build = dense.build

        def counting(vectors, ids, folder, factory, *, manifest):
            if len(self.built) == self.killed_at:
                (folder.parent / f".{folder.name}.123.tmp").mkdir()
                (folder.parent / f".{folder.name}.123.tmp" / "index").write_bytes(b"half")
                raise KeyboardInterrupt
            self.built.append(folder.name)
            build(vectors, ids, folder, factory, manifest=manifest)

        monkeypatch.setattr(dense, "build", counting)

    def kill_at(self, part: int, *args, **more) -> None:
        self.killed_at = part
        with pytest.raises(KeyboardInterrupt):
            built(*args, **more)
        self.killed_at = None
        self.built.clear()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


class TestSearching:
    @pytest.mark.parametrize("k", [1, 10, 19, 25, N, N + 3])
    @pytest.mark.parametrize("size", [1, 10, SIZE, N - 1])
    @pytest.mark.parametrize("mapped", [False, True])
    def test_parts_find_what_one_index_finds(
        self, tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, k: int, size: int, mapped: bool
    ) -> None:
        index = partitioned.load(built(vectors, tmp_path / "parts", size), mapped=mapped)
        found = dense.search(index, queries, k)
        whole = dense.search(partitioned.load(built(vectors, tmp_path / "whole", None)), queries, k)
        assert [[d for d, _ in answer] for answer in found] == [[d for d, _ in answer] for answer in whole]
        for answer, other in zip(found, whole, strict=True):
            assert dict(answer) == pytest.approx(dict(other), rel=1e-4, abs=1e-5)
        assert index.ids.tolist() == names()

    def test_equal_scores_across_the_border_are_found_on_both_sides(self, tmp_path: Path) -> None:
        levels = np.ones((N, D), dtype=np.float32)
        levels[17:21] = 3  # the border is before row 19
        levels[36:40] = 2
        index = partitioned.load(built(levels, tmp_path / "parts"))
        whole = partitioned.load(built(levels, tmp_path / "whole", None))
        for k in (4, 8, N):
            found, expected = (dense.search(one, np.ones((1, D), np.float32), k) for one in (index, whole))
            assert found == expected
        assert {doc_id for doc_id, _ in found[0][:4]} == {f"doc-{row}é" for row in (17, 18, 19, 20)}

    def test_what_a_search_is_told_is_told_to_every_part(self, tmp_path: Path, vectors: np.ndarray) -> None:
        folder = built(vectors, tmp_path / "index", factory="IVF3,Flat")
        for nprobe, fewest in ((1, 3), (3, N)):
            answers = dense.search(partitioned.load(folder, nprobe=nprobe), vectors, N)
            assert min(map(len, answers)) >= fewest
            assert (min(map(len, answers)) == N) == (nprobe == 3)
        with pytest.raises(RecipeError, match=f"has no efSearch; got 9; at {folder}/part-000; leave it out"):
            partitioned.load(folder, ef_search=9)

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="says what is mapped on Linux only")
    def test_every_part_stays_on_disk(self, tmp_path: Path, vectors: np.ndarray) -> None:
        folder = built(vectors, tmp_path / "index")
        index = partitioned.load(folder, mapped=True)
        assert index.index.ntotal == N
        maps = Path("/proc/self/maps").read_text()
        assert all(str(folder / f"part-00{part}" / "index") in maps for part in range(3))


class TestFolder:
    def test_of_one_part_it_is_as_ever(self, tmp_path: Path, vectors: np.ndarray) -> None:
        dense.build(vectors, names(), tmp_path / "dense", manifest=MANIFEST)
        for size in (N, N + 1, None):
            folder = built(vectors, tmp_path / "parts", size)
            assert below(folder) == ["docid", "index", "optical.json"]
            assert all((folder / n).read_bytes() == (tmp_path / "dense" / n).read_bytes() for n in below(folder))

    def test_of_several_each_is_an_index_and_one_manifest_tells_of_all(
        self, tmp_path: Path, vectors: np.ndarray
    ) -> None:
        folder = built(vectors, tmp_path / "index", 30)
        files = ["docid", "index", "optical.json"]
        assert below(folder) == sorted(
            ["optical.json", "part-000", "part-001", *(f"part-00{part}/{name}" for part in (0, 1) for name in files)]
        )
        manifest = json.loads((folder / "optical.json").read_text())
        rows = [part.pop("rows") for part in manifest["parts"]]
        assert rows == [[0, 28], [28, 57]]
        assert all(len(part.pop("checksum")) == 16 for part in manifest["parts"])
        expected = {"dimension": D, "count": N, "factory": "Flat", "parts": [{}, {}]}
        assert manifest == json.loads(json.dumps(MANIFEST)) | expected
        assert dense.load(folder / "part-001", teacher="f1").ids.tolist() == names()[28:]
        assert partitioned.load(folder).manifest["count"] == N
        assert below(tmp_path) == ["index", *(f"index/{name}" for name in below(folder))], "nothing beside it stays"

    def test_auto_goes_by_the_size_of_a_part(
        self, tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(factory_dense, "choose", lambda count, _: "Flat" if count < 25 else "IVF2,Flat")
        for size, factory in ((SIZE, "Flat"), (30, "IVF2,Flat"), (None, "IVF2,Flat")):
            assert partitioned.load(built(vectors, tmp_path / "index", size, "auto")).manifest["factory"] == factory

    def test_shards_are_read_a_part_at_a_time(self, tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
        row = dict(zip(names(), vectors, strict=True))

        def encode(ids):
            return [Batch(range(len(ids)), np.stack([row[doc_id] for doc_id in ids]))]

        texts = [(doc_id, doc_id) for doc_id in names()]
        shards = make_shards(texts, tmp_path / "shards", encode, ShardPlan("f1", "sentences", "float16", 10))
        for factory in ("Flat", "IVF2,SQ8"):
            folder = tmp_path / factory
            partitioned.build(shards.vectors(), shards.ids, folder, factory, manifest=MANIFEST, index_size=SIZE)
            half = np.asarray(shards.vectors()[:])
            expected = partitioned.load(built(half, tmp_path / "of an array", factory=factory))
            found = partitioned.load(folder)
            assert found.manifest == expected.manifest, "the same checksums"
            assert dense.search(found, queries, 9) == dense.search(expected, queries, 9)

    def test_one_index_takes_the_place_of_parts_as_a_whole_and_back(self, tmp_path: Path, vectors: np.ndarray) -> None:
        folder = built(vectors, tmp_path / "index")
        built(vectors, folder, None)
        assert below(tmp_path) == ["index", "index/docid", "index/index", "index/optical.json"]
        built(vectors, folder, 30)
        assert len(partitioned.load(folder).manifest["parts"]) == 2
        assert not (folder / "docid").exists()
        built(vectors, folder, 10)
        assert len(partitioned.load(folder).manifest["parts"]) == 6
        assert [path.name for path in tmp_path.iterdir()] == ["index"]


class TestStopped:
    @pytest.mark.parametrize("factory", ["Flat", "IVF2,SQ8"])
    def test_it_goes_on_after_the_parts_that_are_there(
        self, tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, counted: Counted, factory: str
    ) -> None:
        counted.kill_at(2, vectors, tmp_path / "index", factory=factory)
        with pytest.raises(
            DataError, match=f"not finished: 2 of its parts are built; at {tmp_path}/index; build it again, which goes"
        ):
            partitioned.load(tmp_path / "index")
        built(vectors, tmp_path / "index", factory=factory, teacher="another name of it")
        assert counted.built == ["part-002"]
        assert [path.name for path in tmp_path.iterdir()] == ["index"]
        assert sorted(os.listdir(tmp_path / "index")) == [MARKER, "optical.json", "part-000", "part-001", "part-002"]
        at_once = dense.search(partitioned.load(built(vectors, tmp_path / "at once", factory=factory)), queries, 9)
        index = partitioned.load(tmp_path / "index", teacher="f1")
        assert dense.search(index, queries, 9) == at_once
        assert index.manifest["teacher"] == "another name of it"

    def test_each_part_is_told_and_what_is_there_is_told_so(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted
    ) -> None:
        counted.kill_at(1, vectors, tmp_path / "index")
        assert (partitioned.unfinished_parts(tmp_path / "index"), partitioned.unfinished_parts(tmp_path / "other")) == (
            1,
            0,
        )
        said: list[str] = []
        partitioned.build(vectors, names(), tmp_path / "index", manifest=MANIFEST, index_size=SIZE, say=said.append)
        assert said == [
            "index, part 1 of 3: 19 vectors, already there",
            "index, part 2 of 3: 19 vectors",
            "index, part 3 of 3: 19 vectors",
        ]
        assert partitioned.unfinished_parts(tmp_path / "index") == 0

    @pytest.mark.parametrize("size", [SIZE, None])
    def test_two_do_not_build_at_once(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted, size: int | None
    ) -> None:
        counted.kill_at(2, vectors, tmp_path / "index")
        left = below(tmp_path / ".index.parts")
        with (
            held_alone(tmp_path / ".index.parts"),
            pytest.raises(
                DataError, match=r"another process is writing .*\.index\.parts; wait until it is done, or stop"
            ),
        ):
            built(vectors, tmp_path / "index", size)
        assert below(tmp_path / ".index.parts") == left
        built(vectors, tmp_path / "index", size)
        assert [path.name for path in tmp_path.iterdir()] == ["index"]

    def test_before_the_first_part_there_is_no_index(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted
    ) -> None:
        counted.kill_at(0, vectors, tmp_path / "index")
        with pytest.raises(DataError, match="no such folder; at .*; build the index first"):
            partitioned.load(tmp_path / "index")

    def test_the_earlier_index_is_searched_until_the_new_one_is_whole(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted
    ) -> None:
        built(vectors[:9], tmp_path / "index", None)
        counted.built.clear()
        counted.kill_at(1, vectors, tmp_path / "index")
        assert partitioned.load(tmp_path / "index").ids.tolist() == names(9)
        built(vectors, tmp_path / "index")
        assert counted.built == ["part-001", "part-002"]
        assert partitioned.load(tmp_path / "index").ids.tolist() == names()

    def test_when_one_index_is_wanted_after_all_the_parts_go(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted
    ) -> None:
        counted.kill_at(1, vectors, tmp_path / "index")
        built(vectors, tmp_path / "index", None)
        assert below(tmp_path) == ["index", "index/docid", "index/index", "index/optical.json"]

    @pytest.mark.parametrize(
        "changed", ["vectors", "ids", "factory", "teacher", "size", "larger", "half", "torn", "empty"]
    )
    def test_parts_that_do_not_fit_are_built_again(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted, changed: str
    ) -> None:
        counted.kill_at(2, vectors, tmp_path / "index")
        kept, options, ids = tmp_path / ".index.parts" / "part-000", {"factory": "Flat", "index_size": SIZE}, names()
        manifest = dict(MANIFEST)
        if changed == "vectors":
            vectors[3, 3] += 1e-3
        elif changed == "ids":
            ids[3] = "another"
        elif changed == "factory":
            options["factory"] = "HNSW8"
        elif changed == "teacher":
            manifest["teacher_fingerprint"] = "f2"
        elif changed == "size":
            options["index_size"] = 15
        elif changed == "larger":
            options["index_size"] = 30
        elif changed == "half":
            (kept / "index").write_bytes((kept / "index").read_bytes()[:-9])
        elif changed == "torn":
            (kept / "optical.json").unlink()
        else:
            shutil.rmtree(kept)
            kept.mkdir()
        partitioned.build(vectors, ids, tmp_path / "index", manifest=manifest, **options)
        again = {"factory": 3, "teacher": 3, "size": 4, "larger": 2}.get(changed)
        assert counted.built == [f"part-00{part}" for part in (range(again) if again else (0, 2))]
        index = partitioned.load(tmp_path / "index", teacher=manifest["teacher_fingerprint"])
        assert index.ids.tolist() == ids
        assert index.manifest["factory"] == options["factory"]
        if changed == "vectors":
            np.testing.assert_array_equal(index.index.at(0).reconstruct(3), vectors[3])
        assert [path.name for path in tmp_path.iterdir()] == ["index"]
        assert len(os.listdir(tmp_path / "index")) == 2 + len(index.manifest["parts"]), "nothing else is in it"

    def test_a_kill_while_the_new_folder_takes_its_place_loses_nothing(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built(vectors[:9], tmp_path / "index", None)
        rename = Path.rename
        with monkeypatch.context() as broken:
            broken.setattr(files, "_exchange", lambda *_: False)  # as where the system cannot
            broken.setattr(Path, "rename", lambda a, b: os._exit(9) if a.suffix == ".parts" else rename(a, b))
            if (child := os.fork()) == 0:
                built(vectors, tmp_path / "index")
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        with pytest.raises(DataError, match="not finished: 3 of its parts are built"):
            partitioned.load(tmp_path / "index")
        counted.built.clear()
        built(vectors, tmp_path / "index")
        assert counted.built == []
        assert partitioned.load(tmp_path / "index").ids.tolist() == names()
        assert [path.name for path in tmp_path.iterdir()] == ["index"]


class TestRefused:
    def test_a_missing_part_is_named_and_alone_built_again(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted
    ) -> None:
        folder = built(vectors, tmp_path / "index")
        shutil.rmtree(folder / "part-001")
        with pytest.raises(
            DataError, match=f"part of the index is missing: part-001, of 3; at {folder}; build the index again, which"
        ):
            partitioned.load(folder)
        counted.built.clear()
        built(vectors, folder)
        assert counted.built == ["part-001"]
        assert partitioned.load(folder).ids.tolist() == names()

    def test_where_there_are_no_links_the_others_are_built_too(
        self, tmp_path: Path, vectors: np.ndarray, counted: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = built(vectors, tmp_path / "index")
        shutil.rmtree(folder / "part-001")
        counted.built.clear()

        def none(*_: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", none)
        built(vectors, folder)
        assert counted.built == ["part-000", "part-001", "part-002"]
        assert partitioned.load(folder).ids.tolist() == names()

    @pytest.mark.parametrize("name", ["index", "docid", "optical.json"])
    def test_a_part_without_one_of_its_files(self, tmp_path: Path, vectors: np.ndarray, name: str) -> None:
        folder = built(vectors, tmp_path / "index")
        (folder / "part-002" / name).unlink()
        with pytest.raises(DataError, match=f"no {name} there; at {folder}/part-002; build the index"):
            partitioned.load(folder)

    @pytest.mark.parametrize("mapped", [False, True])
    def test_half_a_part(self, tmp_path: Path, vectors: np.ndarray, mapped: bool) -> None:
        folder = built(vectors, tmp_path / "index")
        content = (folder / "part-002" / "index").read_bytes()
        (folder / "part-002" / "index").write_bytes(content[: len(content) // 2])
        (folder / "part-002" / MARKER).unlink()  # without a seal
        with pytest.raises(DataError, match=f"cannot be read: .*; at {folder}/part-002; build the index again"):
            partitioned.load(folder, mapped=mapped)

    @pytest.mark.parametrize(("name", "byte"), [("optical.json", 5), ("part-001/index", -9), ("part-002/docid", -9)])
    def test_what_is_not_as_it_was_written(self, tmp_path: Path, vectors: np.ndarray, name: str, byte: int) -> None:
        folder = built(vectors, tmp_path / "index")
        copy = Path(shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copy))
        assert [len(seal_of(copy / one)) for one in ("", "part-000")] == [1, 3], "each file is noted once"
        assert partitioned.load(copy).ids.tolist() == names()
        data = bytearray((copy / name).read_bytes())
        data[byte] ^= 1  # all can still be read
        (copy / name).write_bytes(data)
        with pytest.raises(DataError, match=f"{copy / name} does not have the checksum .*; build the index again"):
            partitioned.load(copy)

    def test_another_teacher(self, tmp_path: Path, vectors: np.ndarray) -> None:
        folder = built(vectors, tmp_path / "index")
        assert partitioned.load(folder, teacher="f1").ids.tolist() == names()
        with pytest.raises(DataError, match=f"another teacher: 'tiny' with .* f1, wanted is f2; at {folder}; build"):
            partitioned.load(folder, teacher="f2")

    @pytest.mark.parametrize(
        ("more", "factory", "message"),
        [
            ({"teacher_fingerprint": "f2"}, "Flat", "its teacher_fingerprint is f2, not f1"),
            ({}, "HNSW8", "its factory is HNSW8, not Flat"),
            ({}, "Flat", "its checksum is [0-9a-f]{16}, not [0-9a-f]{16}"),
        ],
    )
    def test_a_part_of_another_make(
        self, tmp_path: Path, vectors: np.ndarray, more: dict[str, str], factory: str, message: str
    ) -> None:
        folder = built(vectors, tmp_path / "index")
        other = built(vectors + 1, tmp_path / "other", factory=factory, **more)
        shutil.rmtree(folder / "part-001")
        shutil.copytree(other / "part-001", folder / "part-001")
        with pytest.raises(
            DataError, match=f"part-001 was not made with the other parts.*{message}; at {folder}; build"
        ):
            partitioned.load(folder)

    def test_parts_in_another_order(self, tmp_path: Path, vectors: np.ndarray) -> None:
        folder = built(vectors, tmp_path / "index")
        for old, new in (("part-000", "x"), ("part-001", "part-000"), ("x", "part-001")):
            (folder / old).rename(folder / new)
        with pytest.raises(DataError, match=r"part-000 was not made with .*: its rows is \[19, 38\], not \[0, 19\]"):
            partitioned.load(folder)

    def test_an_id_in_two_parts(self, tmp_path: Path, vectors: np.ndarray) -> None:
        with pytest.raises(DataError, match="'doc-1é', number 57, is there twice"):
            partitioned.build(
                vectors, [*names(N - 1), "doc-1é"], tmp_path / "index", manifest=MANIFEST, index_size=SIZE
            )
        with pytest.raises(DataError, match="got 56 ids and 57 vectors"):
            partitioned.build(vectors, names(N - 1), tmp_path / "index", manifest=MANIFEST, index_size=SIZE)
        assert not list(tmp_path.iterdir())

    def test_a_size_below_one(self, tmp_path: Path, vectors: np.ndarray) -> None:
        with pytest.raises(RecipeError, match="room for a vector; got index_size = 0; leave it out, or raise it"):
            built(vectors, tmp_path / "index", 0)

    def test_a_folder_of_something_else(self, tmp_path: Path, vectors: np.ndarray) -> None:
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(DataError, match=r"thesis\.tex is in the way: optical did not write it"):
            built(vectors, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
    def test_a_full_disk_at_the_end_keeps_the_parts(
        self,
        tmp_path: Path,
        vectors: np.ndarray,
        counted: Counted,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
    ) -> None:
        def breaks(*_: object, **__: object) -> None:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(partitioned, "take_place", breaks)
            expected = DataError if isinstance(error, OSError) else KeyboardInterrupt
            with pytest.raises(expected) as caught:
                built(vectors, tmp_path / "index")
        if expected is DataError:
            assert str(caught.value).startswith("the index cannot be written: No space left on device; at ")
        counted.built.clear()
        built(vectors, tmp_path / "index")
        assert counted.built == []
        assert partitioned.load(tmp_path / "index").ids.tolist() == names()


class TestJoined:
    @staticmethod
    def split(folder: Path, vectors: np.ndarray, ids: list[str], factory: str = "Flat") -> list[Path]:
        folders = []
        for number, rows in enumerate((slice(0, 3), slice(3, 40), slice(40, None))):
            folders.append(folder / f"index-{number}")
            dense.build(vectors[rows], ids[rows], folders[-1], factory, manifest=MANIFEST)
        return folders

    @pytest.mark.parametrize("k", [1, 4, 10, N, N + 3])
    @pytest.mark.parametrize("mapped", [False, True])
    def test_they_find_what_one_index_of_all_finds(
        self, tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, k: int, mapped: bool
    ) -> None:
        several = joined(self.split(tmp_path, vectors, names()), mapped=mapped)
        assert several.ids.tolist() == names()
        assert several.manifest == MANIFEST | {"langs": ["sw", "so"], "dimension": D, "count": N, "factory": "Flat"}
        found = dense.search(several, queries, k)
        whole = dense.search(dense.load(built(vectors, tmp_path / "whole", size=None)), queries, k)
        assert [[d for d, _ in answer] for answer in found] == [[d for d, _ in answer] for answer in whole]
        np.testing.assert_allclose(
            [[s for _, s in answer] for answer in found], [[s for _, s in answer] for answer in whole], rtol=1e-5
        )

    @pytest.mark.parametrize("k", [10, N])
    def test_equal_scores_across_the_border_are_those_of_one_index(self, tmp_path: Path, k: int) -> None:
        levels = np.ones((N, D), dtype=np.float32)
        levels[1:5] = 3  # two documents of the first index, two of the second
        levels[38:44] = 2
        several = joined(self.split(tmp_path, levels, names()))
        whole = dense.load(built(levels, tmp_path / "whole", size=None))
        found, expected = (dense.search(index, np.ones((1, D), np.float32), k) for index in (several, whole))
        assert found == expected
        assert {doc_id for doc_id, _ in found[0][:10]} == {f"doc-{row}é" for row in (1, 2, 3, 4, *range(38, 44))}

    def test_equal_scores_at_the_cut_are_found_as_often_as_there_is_room(self, tmp_path: Path) -> None:
        several = joined(self.split(tmp_path, np.ones((N, D), dtype=np.float32), names()))
        [answer] = dense.search(several, np.ones((1, D), np.float32), 5)
        assert len({doc_id for doc_id, _ in answer}) == 5
        assert [score for _, score in answer] == [D] * 5

    def test_where_each_finds_fewer_nothing_is_invented(self, tmp_path: Path, vectors: np.ndarray) -> None:
        folders = self.split(tmp_path, vectors, names(), "IVF3,Flat")
        several = joined(folders, nprobe=1)
        for query, answer in zip(vectors, dense.search(several, vectors, N), strict=True):
            alone = [dense.search(dense.load(folder, nprobe=1), query[None], N)[0] for folder in folders]
            assert len(answer) < N
            assert dict(answer) == pytest.approx(dict(sum(alone, [])), rel=1e-5)
