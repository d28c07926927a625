"""Hostile input through the command line: one message on standard error, exit code 1, no escape sequences, no work."""

from __future__ import annotations

import os

import pytest

from tests.cli.conftest import command  # noqa: F401 - a fixture

DISTILL = "distill --lang sw --bitext a.tsv --out run"
LINES = (
    "distill --lang ../../x", "distill --lang sw --bitext fifo.tsv", f"{DISTILL} --set search.depth=1" + "0" * 30,
    f"{DISTILL} --set seed=4294967296", f"{DISTILL} --set device=cuda", f"{DISTILL} --set training.report_to=nobody",
    f"{DISTILL} --out file", f"{DISTILL} --set cache=file", f"{DISTILL} --docs fifo.tsv", f"{DISTILL} --docs /dev/zero",
    f"{DISTILL} --lexicon /dev/zero", f"{DISTILL} --words /dev/zero", f"{DISTILL} --bitext ~nosuchuser/x",
    f"{DISTILL} --bitext {'a' * 5_000}", f"{DISTILL} --recipe /dev/zero", f"{DISTILL} --recipe fifo.tsv",
    f"{DISTILL} --recipe deep.toml", f"{DISTILL} --recipe escape.toml", f"{DISTILL} --recipe {'a' * 5_000}",
    f"{DISTILL} --set training.steps={'9' * 5_000}", f"{DISTILL} --out {'a' * 5_000}",
    "bitext /dev/zero", "bitext ~nosuchuser/x", "bitext fifo.tsv --lang [red]x", "bitext utf16.tsv",
    "bitext bomb.tsv.gz --lang sw", "bitext escape.tsv --lang sw",
    "evaluate --lang sw --set lang=sw --run /dev/zero --collection docs", "data --lang ../x", "search ~nosuchuser hi",
    "serve /dev/zero", "report fifo.tsv", "teach --collection /dev/zero", "teach --collection ~nosuchuser",
    "pull ../../x", "transplant --lang sw --bitext a.tsv --lexicon fifo.tsv", "embed --lang sw --docs /dev/zero",
    "index /dev/zero", "export fifo.tsv", "align /dev/zero a b",
)  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    import gzip

    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "fifo.tsv")
    (tmp_path / "file").touch()
    (tmp_path / "a.tsv").write_text("I drink.\tNinakunywa.\n", encoding="utf-8")
    (tmp_path / "escape.tsv").write_text("\x1b[31m\ta\tb\n", encoding="utf-8")
    (tmp_path / "utf16.tsv").write_bytes("I drink.\tNinakunywa.\n".encode("utf-16-le"))
    (tmp_path / "bomb.tsv.gz").write_bytes(gzip.compress(b"a" * 1_000_000) * 200)
    (tmp_path / "deep.toml").write_text("lang = " + "[" * 100_000, encoding="utf-8")
    (tmp_path / "escape.toml").write_text('lang = "sw"\n"\\u001b[31mx" = 1\n', encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_one_message_and_nothing_done(line, place, command):
    before = sorted(place.rglob("*"))
    code, out, err = command(*line.split())
    assert code == 1, (out, err)
    assert err.startswith("error: ")
    assert "Traceback" not in out + err
    assert not [c for c in out + err if c != "\n" and not c.isprintable()]
    assert len(err) < 3_000
    assert sorted(place.rglob("*")) == before
