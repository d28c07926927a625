"""Bars: 80 columns, total, rate, time left; none where none are wanted, and none of the libraries'."""

from __future__ import annotations

import pytest

import optical
from optical.progress import bar, quiet_libraries
from tests.chain import PAIRS
from tests.conftest import bert


@pytest.fixture(autouse=True)
def _bars_are_on(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")


def test_a_bar_has_total_rate_and_time_left_within_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    with bar("Documents", 400, "doc", wanted=True, begun=100) as shown:
        shown.set_postfix({"loss": "0.1234", "dev MAP": "0.5678"})
        shown.update(100)
        shown.refresh()
    last = capsys.readouterr().err.replace("\n", "").split("\r")[-1]
    assert "200/400" in last
    assert "doc/s" in last or "s/doc" in last
    assert "<" in last  # elapsed<left
    assert len(last) <= 80


def test_no_bar_where_none_is_wanted_or_the_environment_says_so(monkeypatch, capsys):
    with bar("Documents", 4, "doc", wanted=False) as shown:
        shown.update(4)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with bar("Documents", 4, "doc", wanted=True) as shown:
        shown.update(4)
    assert capsys.readouterr().err == ""


def test_bars_of_libraries_come_back_afterwards():
    from transformers.utils import logging

    logging.enable_progress_bar()
    with quiet_libraries():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()


def test_the_python_api_without_progress_is_silence(tmp_path, capfd):
    bert(tmp_path / "teacher")
    capfd.readouterr()
    training = {"steps": 2, "batch_size": 6, "min_words": 1}
    optical.distill(
        str(tmp_path / "teacher"), bitext=PAIRS, folder=tmp_path / "student", training=training, progress=False
    )
    out, err = capfd.readouterr()
    assert out + err == ""


def test_the_bars_of_documents_and_of_the_bitext_know_their_totals(tmp_path, teacher, capfd):
    from optical.embeddings.cache import document_vectors, teacher_vectors

    document_vectors(teacher, ["a", "b"], ["i drink water .", "she cooks rice ."], tmp_path, progress=True)
    teacher_vectors(teacher, ["i drink water .", "she cooks rice .", "rain falls ."], tmp_path, progress=True)
    err = capfd.readouterr().err
    assert "2/2" in err
    assert "3/3" in err
