"""Bars: 80 columns, total, rate, time left; none where none are wanted, and none of the libraries'."""

from __future__ import annotations

import contextlib

import pytest

import optical
from optical import progress
from optical.progress import Clock, bar, quiet_libraries, stage
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


@pytest.fixture
def passing(monkeypatch):
    """Let seconds pass: of the clock, and half as many of the processor."""
    now = [100.0]
    monkeypatch.setattr(progress, "_now", lambda: (now[0], now[0] / 2))

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_stages_within_others_are_taken_off_them_and_those_of_one_name_add_up(passing):
    with Clock() as clock:
        passing(1)
        with stage("training"):
            passing(10)
            with stage("scores"):
                passing(3)
                with stage("files"):
                    passing(0.5)
                passing(0.25)
            passing(20)
            with stage("scores"):
                passing(4)
        passing(2)
        clock("all else")
        passing(5)
        progress.clock()("all else")
    assert clock.seconds == {"files": 0.5, "scores": 7.25, "training": 30.0, "all else": 8.0}
    assert clock.processor == {name: seconds / 2 for name, seconds in clock.seconds.items()}
    assert sum(clock.seconds.values()) == 45.75


def test_a_stage_that_fails_is_timed_and_leaves_the_clock_right(passing):
    with Clock() as clock:
        with contextlib.suppress(ZeroDivisionError), stage("training"):
            passing(3)
            raise ZeroDivisionError
        passing(1)
        clock("after")
    assert clock.seconds == {"training": 3.0, "after": 1.0}


def test_a_stage_without_a_clock_is_timed_by_nobody(passing):
    with Clock() as clock:
        pass
    with stage("training"):
        passing(3)
    assert clock.seconds == {}


def test_a_clock_begins_with_the_process(passing):
    clock = Clock(begun=90.0)
    clock("start")
    assert clock.facts() == {"seconds": {"start": 10.0}, "processor_seconds": {"start": 50.0}}


def test_the_clock_that_runs_is_taken_up_and_goes_on_afterwards(passing):
    with Clock() as outer:
        with progress.clock() as inner, stage("training"):
            passing(2)
        with stage("index"):
            passing(1)
    assert inner is outer
    assert outer.seconds == {"training": 2.0, "index": 1.0}
    with progress.clock() as alone, stage("training"):
        passing(2)
    assert alone.seconds == {"training": 2.0}
