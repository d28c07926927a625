"""The losses of a student fall to the questions that have them, and add up to the net loss."""

from __future__ import annotations

import json

import pytest

from experiments.losses import measure
from optical.errors import DataError


@pytest.fixture
def measured(run):
    """The shared run's questions, and what its results say of them."""
    [questions] = measure.measured(run[0].folder).values()
    [file] = run[0].folder.glob("evaluation/*/results.json")
    return questions, json.loads(file.read_text())["systems"]


def test_losses_add_up_to_the_net_loss_of_the_run(measured):
    questions, systems = measured
    table = {row[0]: row for row in measure.rows(questions)}
    everything = table["all"]
    assert int(everything[1]) == systems["student"]["queries"]
    assert float(everything[4]) == pytest.approx(systems["student"]["mean"]["AP"], abs=5e-5)
    classes = [row for name, row in table.items() if name.startswith(("a word", "rarest", "every word"))]
    assert sum(int(row[1]) for row in classes) == int(everything[1])
    assert sum(float(row[5]) for row in classes) == pytest.approx(float(everything[5]), abs=0.03)


def test_a_question_belongs_to_its_rarest_word():
    seen = measure.Counter({"maji": 12, "ni": 900, "soko": 2})
    assert measure.question("Maji ni Soko", seen, 1.0, 0.5, 0.25)[:3] == (2, 3, True)
    assert measure.question("Maji ni simba?", seen, 1.0, 0.5, 0.25)[:3] == (0, 3, False)


def test_a_run_without_figures_is_refused(run, tmp_path):
    (tmp_path / "recipe.toml").write_text((run[0].folder / "recipe.toml").read_text())
    with pytest.raises(DataError, match="measure the run first"):
        measure.measured(tmp_path)
