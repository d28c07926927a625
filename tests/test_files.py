"""Files and folders are there whole or not at all."""

from __future__ import annotations

import os
import signal

import pytest

from optical import files
from optical.errors import DataError
from optical.files import (
    check_replaceable,
    checksum,
    file_checksum,
    file_written_whole,
    held_alone,
    take_place,
    written_whole,
)


def names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with written_whole(tmp_path / "deep" / "new") as unfinished:
        (unfinished / "file").write_text("x")
        assert not (tmp_path / "deep" / "new").exists()
    assert names(tmp_path) == ["deep", "deep/new", "deep/new/file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_folder_that_was_there_stays_when_the_new_one_fails(tmp_path, error):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("kept")

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
    for name in (".run.parts", ".run.old", *(["run"] if there else [])):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("x")
    take_place(tmp_path / ".run.parts", tmp_path / "run")
    assert names(tmp_path) == ["run", "run/.run.parts"]


def test_a_folder_that_was_there_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("gone")
    with written_whole(tmp_path / "run") as unfinished:
        (unfinished / "new").write_text("x")
        assert names(tmp_path / "run") == ["old"]
    assert names(tmp_path) == ["run", "run/new"]


def test_a_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("kept")
    rename = files.Path.rename

    def fail(self, target):
        if self.name.endswith(".tmp"):
            raise OSError("no")
        return rename(self, target)

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


def test_only_folders_of_our_own_kind_are_replaced(tmp_path):
    check_replaceable(tmp_path / "none", "modules.json")
    check_replaceable(tmp_path, "modules.json")
    (tmp_path / "checkpoints-1a").mkdir()
    check_replaceable(tmp_path, "modules.json")
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"letter\.txt"):
        check_replaceable(tmp_path, "modules.json")
    with pytest.raises(DataError, match=r"letter\.txt"):
        check_replaceable(tmp_path / "letter.txt", "modules.json")
    (tmp_path / "modules.json").write_text("[]")
    check_replaceable(tmp_path, "modules.json")
