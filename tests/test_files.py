"""Files and folders are there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from optical import files
from optical.errors import DataError
from optical.files import (
    check_replaceable,
    check_writable,
    checksum,
    clear_working_folder,
    discard,
    file_checksum,
    file_written_whole,
    held_alone,
    remove_whole,
    take_place,
    working_folder,
    write_text,
    written_whole,
)
from optical.marker import MARKER, Marker, check_sealed, is_ours, write_marker
from optical.version import __version__


def names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != MARKER)


def earlier(folder, text: str) -> None:
    """A folder of this program, with one file."""
    with written_whole(folder) as unfinished:
        (unfinished / "old").write_text(text)


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with written_whole(tmp_path / "deep" / "new") as unfinished:
        (unfinished / "file").write_text("x")
        assert not (tmp_path / "deep" / "new").exists()
    assert names(tmp_path) == ["deep", "deep/new", "deep/new/file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_folder_that_was_there_stays_when_the_new_one_fails(tmp_path, error):
    earlier(tmp_path / "run", "kept")

    def half() -> None:
        with written_whole(tmp_path / "run") as unfinished:
            (unfinished / "new").write_text("half")
            raise error

    with pytest.raises(error):
        half()
    assert names(tmp_path) == ["run", "run/old"]
    assert (tmp_path / "run" / "old").read_text() == "kept"


def test_a_folder_is_one_process_at_a_time(tmp_path):
    def second() -> None:
        with held_alone(tmp_path):
            pytest.fail("two hold it")

    with held_alone(tmp_path), pytest.raises(DataError, match=f"another process is writing {tmp_path}; wait"):
        second()
    with held_alone(tmp_path):
        assert names(tmp_path) == [], "the lock is no file"
    with pytest.raises(OSError, match="^full$"), held_alone(tmp_path):
        raise OSError("full")


def test_a_killed_process_holds_nothing(tmp_path):
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        with held_alone(tmp_path):
            os.write(writing, b"x")
            signal.pause()
    try:
        os.read(reading, 1)
        with pytest.raises(DataError, match="another process"), held_alone(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with held_alone(tmp_path):
        pass


@pytest.mark.parametrize("there", [True, False])
def test_what_a_killed_process_had_put_aside_is_in_nobodys_way(tmp_path, there):
    if there:
        earlier(tmp_path / "run", "x")
    for name in (".run.parts", ".run.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("x")
    take_place(tmp_path / ".run.parts", tmp_path / "run")
    assert names(tmp_path) == ["run", "run/.run.parts"]


def test_a_sealed_folder_is_as_it_was_written_or_is_refused(tmp_path):
    with written_whole(tmp_path / "made", sealed=True) as unfinished:
        (unfinished / "deep").mkdir()
        for name in ("a", "deep/b", "README.md"):
            (unfinished / name).write_text("whole")
    folder = tmp_path / "copy"
    shutil.copytree(tmp_path / "made", folder, copy_function=shutil.copy)
    time = (folder / "a").stat().st_mtime_ns
    assert check_sealed(folder, "mend it")
    assert (folder / "a").stat().st_mtime_ns == (tmp_path / "made" / "a").stat().st_mtime_ns != time
    (folder / "README.md").write_text("My own words.")
    (folder / "notes").write_text("mine")
    assert check_sealed(folder, "mend it", full=True)
    for harm, says in (
        (lambda file: file.write_text("WHOLE"), "does not have the checksum that was written; mend it"),
        (lambda file: file.write_text("cut"), "has 3 bytes, not the 5 that were written; mend it"),
        (lambda file: file.unlink(), "is missing; mend it"),
    ):
        harm(folder / "deep" / "b")
        with pytest.raises(DataError) as error:
            check_sealed(folder, "mend it")
        assert str(error.value) == f"{folder / 'deep' / 'b'} {says}"
    earlier(tmp_path / "older", "kept")
    assert not check_sealed(tmp_path / "older", "mend it")
    assert not check_sealed(tmp_path / "none", "mend it")


def test_a_sealed_file_is_as_it_was_written_whenever_it_was_of_use(tmp_path):
    for text in ("first", "again"):
        with file_written_whole(tmp_path / "kept.json", sealed=True) as unfinished:
            unfinished.write_text(text)
    write_text(tmp_path / "other", "x")
    os.utime(tmp_path / "kept.json", ns=(1, 1))
    assert check_sealed(tmp_path / "kept.json", "mend it", full=True)
    assert (tmp_path / "kept.json").stat().st_mtime_ns == 1
    assert not check_sealed(tmp_path / "other", "mend it", full=True)
    (tmp_path / "kept.json").write_text("AGAIN")
    with pytest.raises(DataError, match=r"kept\.json does not have the checksum"):
        check_sealed(tmp_path / "kept.json", "mend it", full=True)
    write_text(tmp_path / "kept.json", "by another hand of ours")
    assert not check_sealed(tmp_path / "kept.json", "mend it", full=True)


def test_a_folder_that_was_there_is_replaced_as_a_whole(tmp_path):
    earlier(tmp_path / "run", "gone")
    with written_whole(tmp_path / "run") as unfinished:
        (unfinished / "new").write_text("x")
        assert names(tmp_path / "run") == ["old"]
    assert names(tmp_path) == ["run", "run/new"]


def test_a_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    earlier(tmp_path / "run", "kept")
    rename = files.Path.rename

    def fail(self, target):
        if self.name.endswith(".tmp"):
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(files, "_exchange", lambda *_: False)  # as where the system cannot
    monkeypatch.setattr(files.Path, "rename", fail)
    with pytest.raises(OSError, match="no"), written_whole(tmp_path / "run") as unfinished:
        (unfinished / "new").write_text("x")
    assert names(tmp_path) == ["run", "run/old"]


def test_what_an_earlier_crash_left_is_not_mixed_in(tmp_path):
    with written_whole(tmp_path / "run") as unfinished:
        place = unfinished
    place.mkdir()
    (place / "leftover").write_text("x")
    with written_whole(tmp_path / "run"):
        pass
    assert names(tmp_path) == ["run"]


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "file.json"
    for text in ("one", "two"):
        with file_written_whole(path) as unfinished:
            unfinished.write_text(text)
    assert path.read_text() == "two"

    def half() -> None:
        with file_written_whole(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "two"
    assert names(tmp_path) == ["deep", "deep/file.json"]


def test_a_checksum_is_of_the_texts_and_their_borders():
    sums = [checksum(t) for t in ([], [""], ["ab"], ["a", "b"], ["b", "a"], ["a", "b", ""], ["é"], ["e\u0301"])]
    assert len(set(sums)) == len(sums)
    assert checksum(iter(["a", "b"])) == checksum(("a", "b"))
    assert {len(s) for s in sums} == {16}


def test_a_file_checksum_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2
    assert file_checksum(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(FileNotFoundError):
        file_checksum(tmp_path / "none")


def test_a_folder_says_what_was_written_there(tmp_path):
    with written_whole(tmp_path / "run") as unfinished:
        (unfinished / "deep").mkdir()
        (unfinished / "deep" / "file[1]*").write_text("x")
        (unfinished / "empty").mkdir()
    with file_written_whole(tmp_path / "run" / "table.md") as unfinished:
        unfinished.write_text("x")
    marker = json.loads((tmp_path / "run" / MARKER).read_text())
    assert marker == {"made_by": f"optical {__version__}", "files": ["deep/file[1]*", "empty/", "table.md"]}
    check_replaceable(tmp_path / "run")
    with written_whole(tmp_path / "run") as unfinished:
        (unfinished / "new").write_text("x")
    assert names(tmp_path) == ["run", "run/new"]


def test_only_what_this_program_wrote_is_replaced(tmp_path):
    check_replaceable(tmp_path / "none")
    check_replaceable(tmp_path)
    folder = tmp_path / "run"
    with written_whole(folder) as unfinished:
        (unfinished / "ours").write_text("x")
    mine = folder / "deep" / "letter.txt"
    mine.parent.mkdir()
    with pytest.raises(DataError, match="run/deep is in the way"):
        check_replaceable(folder)
    mine.write_text("dear")
    for replace in (check_replaceable, remove_whole, lambda place: written_whole(place).__enter__()):
        with pytest.raises(DataError, match=r"run/deep/letter\.txt is in the way: optical did not .*another place"):
            replace(folder)
    with pytest.raises(DataError, match=r"letter\.txt"):
        check_replaceable(mine)
    mine.unlink()
    mine.parent.rmdir()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(DataError, match="link is in the way"):
        check_replaceable(tmp_path / "link")
    (folder / "deep").symlink_to(tmp_path)
    with pytest.raises(DataError, match="run/deep is in the way"):
        check_replaceable(folder)
    (folder / "deep").unlink()
    remove_whole(folder)
    assert names(tmp_path) == ["link"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made_by": "me", "files": ["letter.txt"]}'])
def test_a_marker_of_something_else_marks_nothing(tmp_path, text):
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(DataError, match="is in the way"):
        check_replaceable(tmp_path)


def test_a_run_in_a_folder_is_not_replaced_with_it(tmp_path):
    with written_whole(tmp_path / "home" / "run") as unfinished:
        (unfinished / "ours").write_text("x")
    with pytest.raises(DataError, match="home/run/ours"):
        check_replaceable(tmp_path / "home")


def test_what_comes_while_a_folder_is_written_stays_and_so_does_the_new_one(tmp_path):
    def write() -> None:
        with written_whole(tmp_path / "run") as unfinished:
            (unfinished / "new").write_text("hours of work")
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "letter.txt").write_text("dear")

    with pytest.raises(DataError, match=r"letter\.txt is in the way.*; what was to take its place is in .*run-1$"):
        write()
    assert (tmp_path / "run" / "letter.txt").read_text() == "dear"
    assert (tmp_path / "run-1" / "new").read_text() == "hours of work"
    assert names(tmp_path) == ["run", "run-1", "run-1/new", "run/letter.txt"]


def test_a_file_that_this_program_did_not_write_is_not_replaced(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("mine")

    def write(**options) -> None:
        with file_written_whole(path, **options) as unfinished:
            unfinished.write_text("x")

    with pytest.raises(DataError, match=r"table\.md is in the way"):
        write()
    assert (path.read_text(), names(tmp_path)) == ("mine", ["table.md"])
    write(anyones=True)
    assert (path.read_text(), names(tmp_path)) == ("x", ["table.md"])


def test_what_is_in_the_way_of_single_files_and_folders_is_named(tmp_path):
    check_writable(tmp_path / "none", ["recipe.toml"], ["student"])
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "lexicon").mkdir()
    check_writable(tmp_path, ["recipe.toml", "evaluation/*/table.md", "lexicon-*.tsv"], ["student", "index-*"])
    for name in ("recipe.toml", "lexicon-sw.tsv", "evaluation/x/table.md", "student/a", "index-sw/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("mine")
        with pytest.raises(DataError, match=f"{tmp_path / name} is in the way"):
            check_writable(tmp_path, ["recipe.toml", "evaluation/*/table.md", "lexicon-*.tsv"], ["student", "index-*"])
        (tmp_path / name).unlink()
    (tmp_path / "file").write_text("mine")
    for folder, name in ((tmp_path / "file", "recipe.toml"), (tmp_path, "file/x/table.md")):
        with pytest.raises(DataError, match="file is in the way"):
            check_writable(folder, [name])


def test_a_working_folder_is_emptied_of_what_belongs_there_only(tmp_path):
    folder = tmp_path / "checkpoints-1a"
    for name in ("checkpoint-50/model", "start.pt"):
        working_folder(folder, ("start.pt", "checkpoint-*"))
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    check_replaceable(tmp_path)
    (folder / "thesis.doc").write_text("mine")
    with pytest.raises(DataError, match=r"checkpoints-1a/thesis\.doc"):
        check_replaceable(tmp_path)
    clear_working_folder(folder)
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, "thesis.doc"]
    (folder / "thesis.doc").unlink()
    clear_working_folder(folder)
    assert names(tmp_path) == []
    folder.mkdir()
    (folder / "thesis.doc").write_text("mine")
    with pytest.raises(DataError, match=r"thesis\.doc is in the way"):
        working_folder(folder, ("start.pt", "checkpoint-*"))
    clear_working_folder(folder)
    assert names(tmp_path) == ["checkpoints-1a", "checkpoints-1a/thesis.doc"]


def test_only_temporary_folders_are_discarded(tmp_path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(ValueError, match="not temporary"):
        discard(tmp_path / "thesis")
    for name in (".index.parts/part-000", ".student.12.tmp"):
        (tmp_path / name).mkdir(parents=True)
        discard(tmp_path / name)
    assert names(tmp_path) == [".index.parts", "thesis"]


def test_processes_that_list_at_once_lose_no_name(tmp_path):
    children = []
    for number in range(4):
        if (child := os.fork()) == 0:
            for k in range(25):
                with file_written_whole(tmp_path / f"{number}-{k}") as unfinished:
                    unfinished.write_text("x")
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len(json.loads((tmp_path / MARKER).read_text())["files"]) == 100
    check_replaceable(tmp_path)


DIGEST = "0123456789abcdef"
OLD_RUN = ["recipe.toml", "training.json", "lexicon-sw.tsv", "student/modules.json", "student/model.safetensors",
    "student/1_Pooling/config.json", "student/2_Normalize/config.json", "index/index", "index/docid",
    "index/optical.json", "index-so/part-000/index", "index-so/optical.json", "onnx/model.onnx", "onnx/report.json",
    "colbert/artifact.metadata", "colbert/1_Dense/model.safetensors", "evaluation/x-test/student.trec",
    "evaluation/x-test/table.md", "teacher/tokenizer.json", "transplant/vocab.txt"]  # fmt: skip


def old_run(folder):
    """A run as it was before there were markers."""
    for name in OLD_RUN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "manifest.json").write_text('{"optical": "0.1.0"}')
    return folder


WHOLE = ["student", "transplant", "teacher", "index", "index-*", "onnx", "colbert"]
SINGLE = ["recipe.toml", "training.json", "manifest.json", "lexicon-*.tsv", "evaluation/*/*"]


def test_an_old_run_is_known_by_its_names(tmp_path):
    check_writable(old_run(tmp_path), SINGLE, WHOLE)
    check_writable(tmp_path, SINGLE, WHOLE)  # by markers now
    listed = list(tmp_path.rglob(MARKER))
    assert len(listed) == 9
    (tmp_path / "manifest.json").write_text("x")
    check_writable(tmp_path, SINGLE, WHOLE)


@pytest.mark.parametrize("name", [
    "student/thesis.doc", "student/1_Pooling/thesis.doc", "student/deep/config.json",
    "student/model-mine/a.safetensors", "index/index.bak", "evaluation/x-test/thesis.doc", "onnx/notes.md",
])  # fmt: skip
def test_what_else_is_in_an_old_run_is_not_ours(tmp_path, name):
    (old_run(tmp_path) / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    for _ in range(2):
        with pytest.raises(DataError, match=f"{name} is in the way"):
            check_writable(tmp_path, SINGLE, WHOLE)


@pytest.mark.parametrize("manifest", [None, "", "[]", '{"other": 1}'])
def test_names_alone_make_no_old_run(tmp_path, manifest):
    old_run(tmp_path)
    (tmp_path / "manifest.json").unlink()
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    for place in ("student", "index", "onnx", "colbert"):
        with pytest.raises(DataError, match=f"{place}/.* is in the way"):
            check_replaceable(tmp_path / place)
    with pytest.raises(DataError, match=r"recipe\.toml is in the way"):
        check_writable(tmp_path, ["recipe.toml"])


def test_a_model_put_into_a_new_run_is_not_ours(tmp_path):
    check_writable(old_run(tmp_path), SINGLE, WHOLE)
    remove_whole(tmp_path / "student")
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "modules.json").write_text("mine")
    with pytest.raises(DataError, match=r"student/modules\.json is in the way"):
        check_replaceable(tmp_path / "student")


def test_old_folders_of_a_cache_are_known_by_their_names(tmp_path):
    documents = f"documents-{DIGEST}-{DIGEST}-int8"
    old = [f"{documents}/optical.json", f"{documents}/shard-00000/docid", f"{documents}/shard-00000/scales.npy",
        f"teacher-{DIGEST}-{DIGEST}/tokens.npy", f"bm25-{DIGEST}/_0.cfs", f"bm25-{DIGEST}/segments_1"]  # fmt: skip
    for name in old:
        for folder in (tmp_path, tmp_path / "other" / "documents-mine"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")
    check_writable(tmp_path, [old[0]], [f"{documents}/shard-*", "teacher-*", "bm25-*"])
    (tmp_path / f"documents-{DIGEST}").mkdir()
    (tmp_path / f"documents-{DIGEST}" / "docid").write_text("x")
    with pytest.raises(DataError, match="docid is in the way"):
        check_replaceable(tmp_path / f"documents-{DIGEST}")
    (tmp_path / f"bm25-{DIGEST}" / "thesis.doc").write_text("x")
    with pytest.raises(DataError, match=r"thesis\.doc is in the way"):
        check_replaceable(tmp_path / f"bm25-{DIGEST}")


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    flush, rename, replace = files.flush, files.Path.rename, os.replace
    monkeypatch.setattr(files, "flush", lambda *paths: [done.append(path.name) for path in paths] and flush(*paths))
    monkeypatch.setattr(files.Path, "rename", lambda self, to: (done.append(f"-> {to.name}"), rename(self, to))[1])
    monkeypatch.setattr(os, "replace", lambda one, to: (done.append(f"-> {to.name}"), replace(one, to))[1])
    with written_whole(tmp_path / "run") as unfinished:
        (unfinished / "deep").mkdir()
        (unfinished / "deep" / "new").write_text("x")
    assert {"new", "deep", unfinished.name, MARKER} <= set(done[: done.index("-> run")])
    assert tmp_path.name in done[done.index("-> run") :]
    done.clear()
    write_text(tmp_path / "table.md", "x")
    assert [name for name in done if not name.startswith(("-> .", MARKER, f"-> {MARKER}"))] == [
        *[name for name in done if name.startswith(".table.md.")], "-> table.md", tmp_path.name,
    ]  # fmt: skip


def test_a_folder_takes_the_place_of_another_in_one_step(tmp_path, monkeypatch):
    """Where the system can; a process that is killed in between leaves no gap."""
    earlier(tmp_path / "run", "x")
    rename, named = files.Path.rename, []
    monkeypatch.setattr(files.Path, "rename", lambda self, to: (named.append(to.name), rename(self, to))[1])
    with written_whole(tmp_path / "run") as unfinished:
        (unfinished / "new").write_text("x")
    assert named == [unfinished.name]
    assert names(tmp_path) == ["run", "run/new"]


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(tmp_path):
    with written_whole(tmp_path / "run") as unfinished, file_written_whole(tmp_path / "table.md") as file:
        for left in (".run.12.tmp", ".table.md.12.tmp"):
            (tmp_path / left).mkdir()
        with written_whole(tmp_path / "run"), file_written_whole(tmp_path / "table.md") as second:
            second.write_text("second")
        assert (unfinished.is_dir(), file.is_file()) == (True, True)
        assert names(tmp_path) == sorted(["run", "table.md", unfinished.name, file.name])
    assert names(tmp_path) == ["run", "table.md"]


def test_two_containers_write_under_two_names(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with written_whole(tmp_path / "run") as one, written_whole(tmp_path / "run") as other:
        assert one != other
        (one / "one").write_text("x")
        assert list(other.iterdir()) == []


@pytest.mark.parametrize("marker", [
    {"files": 3}, {"files": [[]]}, {"files": [3]}, {"working": [3]}, {"seal": 3}, {"seal": {"a": 3}},
    {"seal": {"a": {"bytes": "1", "sha256": ""}}}, [], "[" * 100_000, 3,
], ids=lambda marker: str(marker)[:40])  # fmt: skip
def test_the_marker_of_a_stranger_is_one_or_none(tmp_path, marker):
    text = marker if isinstance(marker, str) else json.dumps(marker)
    (tmp_path / MARKER).write_text(text.replace("{", '{"made_by": "optical 9", ', 1))
    (tmp_path / "a").write_text("mine")
    assert not is_ours(tmp_path / "a")
    assert check_sealed(tmp_path, "") is False


def test_what_a_killed_process_left_of_a_marker_goes_and_nobody_elses_write_fails(tmp_path, monkeypatch):
    (tmp_path / ".marker.0badcafe.tmp").write_text("half")
    replace, times = os.replace, []

    def late(source, target):
        times.append(source)
        if len(times) == 1:  # another process took it for left
            source.unlink()
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    write_marker(tmp_path, Marker(frozenset({"a"}), ()))
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
    assert len(times) == 2


def test_a_working_folder_whose_marker_was_being_written_is_gone_on_with(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".marker.0badcafe.tmp").write_text("half")
    working_folder(tmp_path / "work", ["checkpoint-*"])
    assert [path.name for path in (tmp_path / "work").iterdir()] == [MARKER]
