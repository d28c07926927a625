"""The tutorial and the notebook, run from the first command to the last."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

from optical.web import server
from tests.chain import uncased
from tests.cli.conftest import command  # noqa: F401 - a fixture
from tests.test_readme import HAS_MINILM, ROOT, snippets

TUTORIAL = [ROOT / "docs" / "tutorial.md"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_every_command_of_the_tutorial_runs(command, tmp_path, monkeypatch, capsys):
    """In order, on the sample, with a tiny teacher and two steps; make says what it would run, ``setup`` left out."""
    monkeypatch.chdir(tmp_path)
    for name in ("Makefile", "data", "pyproject.toml", "constraints.txt"):
        Path(name).symlink_to(ROOT / name)
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    for name in ("MAKEFLAGS", "MAKELEVEL", "OUT", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEACHER", str(tmp_path / "teacher"))
    monkeypatch.setenv("SET", f"training.steps=2 training.batch_size=8 cache={tmp_path / 'cache'} search.bm25=bm25s")
    monkeypatch.setattr("optical.web.server.serve", lambda application, own: None)  # there is nobody for Ctrl-C
    monkeypatch.setattr("optical.web.server.bind", lambda host, port, bind=server.bind: bind(host, 0))
    ran = []
    for snippet in sorted(snippets("sh", TUTORIAL) + snippets("python", TUTORIAL), key=lambda one: one.line):
        if snippet.language == "python":
            exec(compile(snippet.text, str(snippet), "exec"), {})
            continue
        for line in made(snippet.text):
            words = shlex.split(line, comments=True)
            if words[0].endswith("optical"):
                code, out, err = command(*words[1:])
                assert code == 0, f"{line}\n{out}\n{err}"
                ran.append(words[1])
            else:
                subprocess.run(["bash", "-c", line], check=True, capture_output=True)
    for snippet in snippets("python", [ROOT / "docs" / "serving.md"]):  # the exported student of runs/sw, without torch
        exec(compile(snippet.text, str(snippet), "exec"), {})
    assert ran == ["doctor", "distill", "search", "align", "serve", "export", "evaluate", "distill", "report"]


def made(script: str) -> Iterator[str]:
    """Lines of a shell snippet, in place of ``make`` what it would run of optical."""
    for line in script.splitlines():
        if not line.startswith("make"):
            yield line
        elif not line.startswith("make setup"):
            planned = subprocess.run(["make", "-n", *shlex.split(line)[1:]], check=True, capture_output=True, text=True)
            yield from (one for one in planned.stdout.replace("\\\n", " ").splitlines() if "bin/optical " in one)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MINILM, reason="the default teacher is not installed (extra `teacher`)")
@pytest.mark.parametrize("snippet", snippets("python", [ROOT / "docs" / "own-data.md"]), ids=str)
def test_python_of_own_data_runs(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(snippet.text, str(snippet), "exec"), names)
    assert names["student"].encode(["Soko liko wapi?"]).shape[0] == 1


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MINILM, reason="the default teacher is not installed (extra `teacher`)")
def test_snippets_of_the_page_for_python_run_in_order(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/sw").symlink_to(run[0].folder.resolve())
    names: dict[str, Any] = {}
    for snippet in snippets("python", [ROOT / "docs" / "python.md"]):
        exec(compile(snippet.text, str(snippet), "exec"), names)
    assert 3 <= len(names["losses"]) <= 4
    assert [len(hits) for hits in names["answers"]] == [5, 5]
    assert names["report"] == run[1]


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MINILM, reason="the default teacher is not installed (extra `teacher`)")
def test_the_notebook_runs_and_its_student_finds_more_than_its_teacher():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "docs/notebook.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ceiling, untaught, student = map(float, re.findall(r"^[a-z ]+ (\d\.\d\d)$", done.stdout, re.MULTILINE))
    assert untaught < student <= ceiling


def test_the_notebook_is_one_of_at_most_forty_cells():
    cells = (ROOT / "docs" / "notebook.py").read_text(encoding="utf-8").split("# %%")[1:]
    assert 10 < len(cells) <= 40
    assert sum(cell.startswith(" [markdown]") for cell in cells) > 5
