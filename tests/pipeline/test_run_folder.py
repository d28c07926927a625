"""Jobs of a run change it at their end, at once, and their messages and files name the places of the end."""

from __future__ import annotations

import pytest

from optical.config.recipe import load_recipe
from optical.data.trec_run import write_run
from optical.errors import DataError
from optical.pipeline import evaluate, index
from optical.pipeline.html_report import report_runs
from optical.pipeline.run_folder import kept, next_generation
from tests.runs import tiny_run


@pytest.fixture
def recipe(tmp_path):
    return tiny_run(tmp_path / "made")


def snapshot(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_evaluation_that_stops_halfway_leaves_the_run_as_it_was(recipe, monkeypatch):
    before, written = snapshot(recipe.folder), []

    def full(run, path, name):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        write_run(run, path, name)

    monkeypatch.setattr(evaluate, "write_run", full)
    with pytest.raises(OSError, match="No space left"):
        evaluate.evaluate_run(recipe)
    assert len(written) == 2
    assert snapshot(recipe.folder) == before


def test_an_index_that_stops_halfway_leaves_the_run_as_it_was(recipe, monkeypatch):
    before = snapshot(recipe.folder)

    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(index, "write_recipe", stopped)
    other = recipe.model_copy(update={"search": recipe.search.model_copy(update={"factory": "IVF2,Flat"})})
    with pytest.raises(KeyboardInterrupt):
        index.index_run(other)
    assert snapshot(recipe.folder) == before


def test_what_is_written_and_said_names_the_places_of_the_end(recipe):
    said = []
    assert index.index_run(recipe, said.append) == [recipe.folder / "index"]
    evaluate.evaluate_run(recipe, say=said.append)
    assert report_runs([recipe], say=said.append) == recipe.folder / "report.html"
    assert any(str(recipe.folder / "evaluation") in line for line in said)
    assert not [line for line in said if ".next" in line]
    assert [path for path, data in snapshot(recipe.folder).items() if b".next" in data] == []
    assert load_recipe(kept(recipe.folder)) == recipe
    assert list(recipe.folder.glob(".*")) == [recipe.folder / ".optical.json"]


def test_an_error_names_the_places_of_the_end(recipe):
    (recipe.folder / "student").rename(recipe.folder.parent / "moved")
    with pytest.raises(DataError) as error:
        evaluate.evaluate_run(recipe)
    assert ".next" not in str(error.value)
    assert str(recipe.folder / "student") in str(error.value)


def test_a_job_within_a_job_is_part_of_it(recipe):
    with next_generation(recipe, print) as (made, _):
        assert made.folder != recipe.folder == made.home == made.of("sw").home
        with next_generation(made, print) as (inner, say):
            assert (inner, say) == (made, print)
        with pytest.raises(DataError, match="is being written by process"):
            index.index_run(recipe)
