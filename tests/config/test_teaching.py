"""Options of teaching are read as those of a run are."""

from __future__ import annotations

from pathlib import Path

import pytest

from optical.config.teaching import Teaching
from optical.config.toml import load_options, write_options
from optical.errors import RecipeError


def test_what_is_written_reads_back_as_the_same(tmp_path):
    teaching = load_options(Teaching, None, {"collection": "2024", "steps": "7", "mini_batch": 4, "out": "runs/t"})
    assert (teaching.collection, teaching.steps, teaching.folder) == ("2024", 7, Path("runs/t"))
    (tmp_path / "teaching.toml").write_text(write_options(teaching), encoding="utf-8")
    assert load_options(Teaching, tmp_path / "teaching.toml") == teaching


def test_faults_name_the_option():
    with pytest.raises(
        RecipeError, match="collection is missing; give --collection, .*: folder or irds:<id> with English queries"
    ):
        load_options(Teaching)
    with pytest.raises(RecipeError, match=r"unknown option step; did you mean steps\?"):
        load_options(Teaching, None, {"collection": "c", "step": 1})
