"""A run made again has the same bits; what differs is told in figures, with what was otherwise."""

from __future__ import annotations

import shutil

import pytest
import torch

from optical.errors import DataError
from optical.pipeline.rerun import rerun
from tests.cli.conftest import command, snapshot  # noqa: F401 - a fixture
from tests.pipeline.test_damage import RESULTS


@pytest.fixture
def copy(run, tmp_path):
    shutil.copytree(run[0].folder, tmp_path / "run")
    return run[0].model_copy(update={"out": str(tmp_path / "run")})


def test_the_same_recipe_gives_the_same_bits_and_the_run_is_not_changed(copy):
    before = snapshot(copy.folder)
    outcome = rerun(copy, progress=False)
    assert (outcome.different, outcome.figures, outcome.circumstances) == ([], {}, {})
    assert {"student/model.safetensors", "index/index", RESULTS} <= set(outcome.same)
    assert snapshot(copy.folder) == before


def test_another_seed_is_told_by_files_and_figures_and_so_are_other_threads(copy, command):
    other = copy.model_copy(update={"seed": 1})
    torch.set_num_threads(2)
    try:
        outcome = rerun(other, progress=False)
    finally:
        torch.set_num_threads(1)
    assert {"student/model.safetensors", RESULTS} <= set(outcome.different)
    assert outcome.circumstances["threads"] == (1, 2)
    run, again = outcome.figures[RESULTS.split("/")[1], "student"]
    assert min(run, again) > 0


def test_a_run_without_checksums_cannot_be_compared(copy):
    (copy.folder / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="no checksums to compare with"):
        rerun(copy)


def test_the_verb_says_the_same_bits(copy, command):
    code, out, err = command("rerun", copy.folder)
    assert code == 0, err
    assert "the same bits" in out
