"""Errors of every command: one message for what a user can mend, its trace for a bug."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optical.cli.app import overrides_of
from optical.pipeline import distill, evaluate
from optical.training.callbacks import Interruption
from tests.cli.conftest import asked_for, snapshot, write


def test_a_setting_without_a_value(command):
    code, _, err = command("distill", "--lang", "sw", "--set", "training.steps")
    assert code == 2
    assert "NAME=VALUE" in err


@pytest.mark.parametrize("verb", ["search", "evaluate", "index", "export"])
def test_a_folder_that_is_no_run(command, tmp_path, verb):
    code, _, err = command(verb, tmp_path / "none", *(["swali"] if verb == "search" else []))
    assert code == 1
    assert str(tmp_path / "none") in err
    assert "Traceback" not in err


@pytest.mark.parametrize("verb", ["search", "evaluate", "export"])
def test_a_run_without_a_student(command, finished, tmp_path, verb):
    write(tmp_path / "recipe.toml", (finished.folder / "recipe.toml").read_text())
    code, _, err = command(verb, tmp_path, *(["swali"] if verb == "search" else []))
    assert code == 1
    assert str(tmp_path / "student") in err


def disk_full(kind: str):
    """Return the error that a library raises on a full disk; each raises its own."""
    from safetensors import SafetensorError

    return {
        "python": OSError(errno.ENOSPC, "No space left on device", "runs/sw"),
        "numpy": OSError("1024 requested and 0 written"),
        "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        "torch": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        "sqlite": sqlite3.OperationalError("database or disk is full"),
        "tokenizers": Exception("No space left on device (os error 28)"),
    }[kind]


@pytest.mark.parametrize("kind", ["python", "numpy", "safetensors", "torch", "sqlite", "tokenizers"])
def test_a_full_disk_while_the_student_is_saved(kind, command, finished, monkeypatch):
    from sentence_transformers import SentenceTransformer

    def save(self, path, *args, **kwargs):
        (Path(path) / "half").write_text("half of a model")
        raise disk_full(kind)

    monkeypatch.setattr(SentenceTransformer, "save", save)
    before = snapshot(finished.folder)
    # Without steps the trainer does not come in between, which saves checkpoints by the same method.
    code, _, err = command(*asked_for(finished), "--set", "training.steps=0")
    assert code == 1
    assert "space" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert snapshot(finished.folder) == before


def test_a_full_disk_while_teacher_vectors_are_written(command, finished, tmp_path, monkeypatch):
    from optical.embeddings import cache

    def write_all(folder, *_):
        (folder / "tokens.npy").write_bytes(b"half")
        raise disk_full("python")

    monkeypatch.setattr(cache, "_write", write_all)
    before = snapshot(finished.folder)
    code, _, err = command(*asked_for(finished, set=f"cache={tmp_path / 'cache'}"))
    assert code == 1
    assert "No space left" in err
    assert snapshot(finished.folder) == before
    assert [file for file in snapshot(tmp_path / "cache") if not file.startswith("documents-")] == []


def test_a_full_disk_while_a_run_is_written(command, finished, monkeypatch):
    def write_run(*_):
        raise disk_full("python")

    monkeypatch.setattr(evaluate, "write_run", write_run)
    before = snapshot(finished.folder)
    assert command("evaluate", finished.out)[0] == 1
    assert snapshot(finished.folder) == before


@pytest.mark.parametrize(("verb", "room"), [
    ("distill", 20_000), ("embed", 200), ("index", 500), ("evaluate", 800), ("report", 5_000), ("router", 20_000),
    ("clean", 100),
])  # fmt: skip
def test_a_disk_that_takes_no_more_of_a_file(command, finished, tmp_path, verb, room):
    """As any library meets it, also those written in C: the system refuses what goes beyond so many bytes."""
    resource = pytest.importorskip("resource", reason="only Unix has such limits")
    wanted = {
        "distill": [*asked_for(finished), "--set", "training.steps=0"],
        "embed": asked_for(finished, set=f"cache={tmp_path / 'cache'}"),
        "index": ["index", finished.out], "evaluate": ["evaluate", finished.out], "report": ["report", finished.out],
        "router": ["export", finished.out, "--to", "router"],
        "clean": ["bitext", finished.bitext, "--lang", "sw", "--clean", tmp_path / "clean.tsv"],
    }[verb]  # fmt: skip
    before, limits = snapshot(finished.folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        code, _, err = command(*wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith("error:")] == err.splitlines()[-1:]
    assert snapshot(finished.folder) == before
    assert [file for file in snapshot(tmp_path) if "documents-" not in file] == []


def test_ctrl_c_outside_training_says_stopped(command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(distill, "read_inputs", interrupted)
    code, _, err = command("distill", "--lang", "sw")
    assert code == 130
    assert "stopped" in err


def test_sigterm_outside_training_says_stopped(command, monkeypatch):
    monkeypatch.setattr(distill, "read_inputs", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        code, _, err = command("distill", "--lang", "sw")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 143
    assert "stopped" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_training_ends_with_its_own_code(command, monkeypatch, number, code):
    def interrupted(*_):
        interruption = Interruption()
        interruption.asked = number
        interruption.raise_if_interrupted(Path("checkpoints-1a"))

    monkeypatch.setattr(distill, "read_inputs", interrupted)
    found, _, err = command("distill", "--lang", "sw")
    assert found == code
    assert "the same command goes on" in err


def test_a_bug_shows_its_trace(command, monkeypatch):
    def bug(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(distill, "read_inputs", bug)
    with pytest.raises(ZeroDivisionError):
        command("distill", "--lang", "sw")


def test_a_prompt_keeps_the_space_that_it_ends_in():
    assert overrides_of(["teacher_prompts.query=query: ", "training.steps = 100"], {}) == {
        "teacher_prompts.query": "query: ",
        "training.steps": "100",
    }


@pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="this system has no such signal")
def test_a_mapped_file_that_is_cut_ends_the_program_with_a_message(tmp_path):
    np.save(tmp_path / "tokens.npy", np.ones(1_000_000))
    code = f"""
import os, numpy as np
from optical.cli.app import catch_cut_files
catch_cut_files()
tokens = np.load({str(tmp_path / "tokens.npy")!r}, mmap_mode="r")
os.truncate({str(tmp_path / "tokens.npy")!r}, 100)
tokens.sum()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: a file was cut while it was read; run `optical verify RUN`, `optical cache verify`\n"
    )
