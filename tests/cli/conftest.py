"""The program as a shell calls it, and the finished run to call it on."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import sys
from pathlib import Path

import pytest

from optical import cli
from optical.pipeline.verify import note_files


@pytest.fixture
def command(monkeypatch, capsys):
    """Call the program as a shell does: (exit code, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["optical", *map(str, arguments)])
        monkeypatch.setattr(cli.console, "width", 200)
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        else:
            code = 0
        out, err = capsys.readouterr()
        # The libraries' bars are switched off by the environment before they are imported; here they are imported.
        return code or 0, out, "\n".join(part for part in re.split(r"[\r\n]+", err) if part and "/s]" not in part)

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TQDM_DISABLE", "")  # --quiet sets it, and levels are set by --quiet and -v, for the process
    logs = [logging.getLogger(name) for name in ("", "optical", "transformers", "sentence_transformers", "datasets")]
    levels = [log.level for log in logs]
    yield call
    for log, level in zip(logs, levels, strict=True):
        log.setLevel(level)


@pytest.fixture
def finished(run):
    """The recipe of the finished run, whose further evaluations are removed again."""
    kept = run[0].folder / "evaluation"
    before = set(kept.iterdir())
    yield run[0]
    if more := set(kept.iterdir()) - before:
        for folder in more:
            shutil.rmtree(folder)
        note_files(run[0].folder, [])


def snapshot(folder: Path) -> dict[str, str]:
    """Every file of a folder with its checksum."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def asked_for(recipe, **instead) -> list[str]:
    """Arguments of ``optical distill`` into the folder of the finished run."""
    named = {"lang": "sw", "teacher": recipe.teacher, "bitext": recipe.bitext, "collection": recipe.collection}
    named |= {"out": recipe.out, "set": f"cache={recipe.cache}"}
    named |= instead
    more = ["--set", "training.steps=2", "--set", "training.batch_size=6"]
    return ["distill", *more, *(word for name, value in named.items() for word in (f"--{name}", value))]


def write(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)
