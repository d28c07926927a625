"""A run folder is wholly old or wholly new, wherever the process that writes it is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optical import files, generation
from optical.errors import DataError
from optical.files import write_text, written_whole
from optical.generation import LOCK, NEXT, READY, next_generation, read_whole, settle

PARTS = ["student", "index", "results", "recipe.toml", "manifest.json"]
CALLS = ("replace", "rename", "unlink", "rmdir", "link", "open", "mkdir")  # of os, through pathlib too


def snapshot(run: Path) -> dict[str, str]:
    """Names and contents of what a user sees of a run, and of what was left unfinished."""
    there = (file for file in sorted(run.rglob("*")) if file.is_file() and file.name not in (".optical.json", LOCK))
    return {file.relative_to(run).as_posix(): file.read_text() for file in there}


def write(folder: Path, word: str, *parts: str) -> None:
    for name in parts or ("one", "two", "pooling/config"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{word} {name}")


def write_run(run: Path, word: str, names: tuple[str, ...] = ()) -> None:
    """Write a student, results of it and a recipe, as a job does."""
    with written_whole(run / "student") as student:
        write(student, word, *names)
    write_text(run / "results" / "test" / "results.json", word)
    write_text(run / "recipe.toml", word)


@pytest.fixture
def run(tmp_path):
    """A finished run with an index that later jobs may leave, and files of its user at the top and in a part."""
    run = tmp_path / "sw"
    with next_generation(run, PARTS) as made:
        write_run(made, "old", ("one", "two", "gone"))
        with written_whole(made / "index") as index:
            write(index, "old", "vectors")
    write(run, "mine", "notes.txt", "results/notes.txt", "papers/recipe.toml")
    return run


def again(run: Path, word: str = "new") -> None:
    with next_generation(run, PARTS, ["student", "results", "recipe.toml"]) as made:
        write_run(made, word)
        if (run / "manifest.json").is_file():
            write_text(made / "manifest.json", word)


MINE = {name: f"mine {name}" for name in ("notes.txt", "results/notes.txt", "papers/recipe.toml")}
INDEX = {"index/vectors": "old vectors"}
OLD = MINE | INDEX | {"student/one": "old one", "student/two": "old two", "student/gone": "old gone"}
OLD |= {"results/test/results.json": "old", "recipe.toml": "old"}
NEW = MINE | INDEX | {f"student/{name}": f"new {name}" for name in ("one", "two", "pooling/config")}
NEW |= {"results/test/results.json": "new", "recipe.toml": "new"}


NEWER = {name: text.replace("new", "newer") for name, text in NEW.items()}


def test_a_job_replaces_what_it_made_and_nothing_else(run):
    assert snapshot(run) == OLD
    again(run)
    assert snapshot(run) == NEW
    assert not {NEXT, READY, LOCK} & set(os.listdir(run))


def fail(run: Path, work: Callable[[Path], None] = lambda _: None) -> None:
    """A job that fails after some work."""
    with next_generation(run, PARTS) as made:
        work(made)
        raise ZeroDivisionError


def test_a_job_that_fails_changes_nothing(run):
    def work(made):
        write_run(made, "new")
        (made / "index" / "vectors").unlink()

    with pytest.raises(ZeroDivisionError):
        fail(run, work)
    assert snapshot(run) == OLD
    again(run)
    assert snapshot(run) == NEW


def killed_at(run: Path, k: int) -> bool:
    """Whether a process that is killed at its k-th call of the system is killed before it has written a run anew."""
    child = os.fork()
    if child == 0:
        left, opening = k, os.open

        def counted(call):
            def calling(*arguments, **options):
                nonlocal left
                left -= call is not opening or bool(arguments[1] & os.O_CREAT)  # what is only read changes nothing
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return calling

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        again(run)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def serve() -> None:
    """Answer lines of a number and a run by whether a process was killed at that call."""
    for line in sys.stdin:
        k, run = line.split(maxsplit=1)
        sys.stdout.write(f"{killed_at(Path(run.strip()), int(k))}\n")
        sys.stdout.flush()


@pytest.fixture
def killed():
    """killed_at in a small process of its own: that of the tests holds gigabytes by now, and takes long to fork."""
    command = [sys.executable, "-c", "from tests.test_generation import serve; serve()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def asked(run: Path, k: int) -> bool:
            server.stdin.write(f"{k} {run}\n")
            server.stdin.flush()
            return {"True\n": True, "False\n": False}[server.stdout.readline()]

        yield asked
        server.stdin.close()


def test_wherever_it_is_killed_a_run_is_wholly_old_or_wholly_new(run, tmp_path, killed):
    k, found, was_killed = 0, [], True
    while was_killed:
        copy = tmp_path / f"copy-{k}" / "sw"
        shutil.copytree(run, copy)
        was_killed = killed(copy, k)
        settle(copy)
        left = {name: text for name, text in snapshot(copy).items() if not name.startswith(NEXT)}
        assert left in (OLD, NEW), f"killed at call {k}"
        found.append(left == NEW)
        again(copy, "newer")
        assert snapshot(copy) == NEWER
        shutil.rmtree(copy)
        k += 1
    assert found == sorted(found), "once new, always new"
    assert found.count(False) > 20
    assert found.count(True) > 20


def test_moving_that_is_killed_again_and_again_ends_well(run, monkeypatch):
    monkeypatch.setattr(generation, "settle", lambda _: None)
    with next_generation(run, PARTS, ["student", "results", "recipe.toml"]) as made:
        write_run(made, "new")
    monkeypatch.undo()
    replace, moved = os.replace, []

    def one_more(source, target):
        if len(moved) % 2:
            moved.append(None)
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", one_more)
    for _ in range(40):
        try:
            settle(run)
        except KeyboardInterrupt:
            continue
        break
    assert len(moved) > 10
    assert snapshot(run) == NEW


def test_a_folder_that_cannot_be_completed_is_refused_in_one_message(run, monkeypatch):
    monkeypatch.setattr(generation, "settle", lambda _: None)
    with next_generation(run, PARTS) as made:
        write_run(made, "new")
    monkeypatch.undo()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(DataError, match=r"sw was written anew.*Permission denied.*who may write there"):
            settle(run)
    settle(run)
    assert snapshot(run)["recipe.toml"] == "new"


@pytest.mark.parametrize("moves", [
    {"view": "sw", "new": [], "gone": ["../precious"]}, {"view": "sw", "new": ["../precious"], "gone": []},
    {"view": "sw", "new": [], "gone": ["{outside}"]}, {"view": "../sw", "new": ["precious"], "gone": []},
    {"view": "sw", "new": [], "gone": ["away/precious"]}, {"view": "sw", "new": ["away/precious"], "gone": []},
    {"view": "sw", "new": [3], "gone": []}, {"view": "sw", "new": ["a\0"], "gone": []}, {"view": "sw", "new": 3},
    [], "{", "[" * 100_000,
], ids=lambda moves: str(moves)[:60])  # fmt: skip
def test_a_strangers_list_moves_and_removes_nothing_outside_the_run(run, moves):
    outside = run.parent / "precious"
    outside.write_text("years of work")
    (run / "away").symlink_to(run.parent)
    (run / READY / "sw" / "away").mkdir(parents=True)
    for place in (run, run / READY / "sw" / "away", run / READY / "sw"):
        (place / "precious").write_text("hostile")
    text = moves if isinstance(moves, str) else json.dumps(moves).replace("{outside}", str(outside))
    (run / READY / "moves.json").write_text(text)
    with pytest.raises(DataError, match=r"moves\.json is not what this program writes, or leads out of the run"):
        settle(run)
    assert outside.read_text() == "years of work"


def test_a_file_that_came_into_the_way_stays_and_nothing_is_lost(run):
    def job():
        with next_generation(run, PARTS, ["student", "results", "recipe.toml"]) as made:
            write_run(made, "new")
            (run / "recipe.toml").unlink()
            (run / ".optical.json").unlink()
            write(run, "mine", "recipe.toml")

    with pytest.raises(DataError, match=r"recipe\.toml is in the way.*what was made is in .*sw-1$"):
        job()
    assert snapshot(run)["recipe.toml"] == "mine recipe.toml"
    assert snapshot(run)["student/one"] == "old one"
    assert snapshot(run.with_name("sw-1"))["student/one"] == "new one"


def test_finished_parts_of_an_index_outlive_a_job_that_is_stopped(run):
    for word in ("one", "two"):

        def work(made, word=word):
            assert (made / ".index.parts").is_dir() == (word == "two")
            write(made / ".index.parts", word, f"part-{word}")

        with pytest.raises(ZeroDivisionError):
            fail(run, work)
    assert {path.name for path in (run / ".index.parts").iterdir()} == {"part-one", "part-two"}


def test_nothing_is_left_of_a_folder_that_was_made_for_a_job_that_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_is_on_the_disk_before_it_counts(run, monkeypatch):
    done = []
    flush, rename = files.flush, Path.rename
    monkeypatch.setattr(generation, "flush", lambda *paths: [done.append(path) for path in paths] and flush(*paths))
    monkeypatch.setattr(Path, "rename", lambda self, to: (done.append(Path(to)), rename(self, to))[1])
    again(run)
    before = {path.name for path in done[: done.index(run / READY)]}
    assert {"one", "two", "config", "pooling", "student", "results.json", "recipe.toml", "moves.json", NEXT} <= before
    after = done[done.index(run / READY) + 1 :]
    assert {run, run / "student", run / "results" / "test"} <= set(after)


def test_a_second_job_is_refused_with_who_is_at_it(run):
    with next_generation(run, PARTS) as made:
        with pytest.raises(DataError, match=rf"written by process {os.getpid()} on .+ since \d{{4}}-\d\d-\d\d"):
            again(run)
        write_text(made / "recipe.toml", "first")
    assert snapshot(run)["recipe.toml"] == "first"


def test_a_job_that_was_killed_keeps_nobody_out(run):
    code = f"""
import os, signal
from pathlib import Path
from optical.generation import next_generation
from optical.files import write_text
with next_generation(Path({str(run)!r}), {PARTS!r}) as made:
    write_text(made / "recipe.toml", "lost")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert {LOCK, NEXT} <= set(os.listdir(run))
    again(run)
    assert snapshot(run) == NEW
    assert not {LOCK, NEXT} & set(os.listdir(run))


def test_what_is_read_while_a_run_is_replaced_is_read_again(run):
    read = []

    def both():
        found = [(run / "student" / "one").read_text()]
        if not read:
            again(run)
        read.append([*found, (run / "recipe.toml").read_text()])
        if read[-1] == ["old one", "new"]:
            raise DataError("the recipe is of another student")
        return read[-1]

    with next_generation(run, PARTS) as made:
        write_text(made / "manifest.json", "old")
    assert read_whole(run, both) == ["new one", "new"]
    assert read == [["old one", "new"], ["new one", "new"]]
    with pytest.raises(ZeroDivisionError):
        read_whole(run, lambda: 1 / 0)


def test_what_is_read_while_files_are_moved_is_read_again(run, monkeypatch):
    read = []

    def half():
        if not read:
            with monkeypatch.context() as patch:
                patch.setattr(generation, "settle", lambda _: None)
                again(run)
            os.replace(run / READY / "sw" / "recipe.toml", run / "recipe.toml")
        read.append([(run / "student" / "one").read_text(), (run / "recipe.toml").read_text()])
        return read[-1]

    with next_generation(run, PARTS) as made:
        write_text(made / "manifest.json", "old")
    assert read_whole(run, half) == ["new one", "new"]
    assert read == [["old one", "new"], ["new one", "new"]]
