"""Students of a grid judged by inference pairs: who is asked, in which languages, and what the tables test."""

from __future__ import annotations

import pytest

from experiments import probes
from experiments.grid import Experiment, Row, load, recipe_of
from optical.pipeline import probe_systems
from optical.pipeline.probe_systems import Vectors
from tests.conftest import bert

WORDS = ("water", "milk", "rice", "fish", "letter", "house", "river", "market", "door", "moon")
LABELS = ("entailment", "neutral", "contradiction")


@pytest.fixture
def folder(tmp_path):
    """Thirty pairs in three languages, the same words in each; the second word tells the class."""
    made = tmp_path / "nli"
    made.mkdir()
    for lang in ("en", "sw", "de"):
        lines = [f"{label}\tthe {word}\t{word} {k} {k}\n" for word in WORDS for k, label in enumerate(LABELS)]
        (made / f"dev.{lang}.tsv").write_text("".join(lines))
    return made


def test_a_student_is_asked_in_the_languages_that_a_folder_has(folder, tmp_path):
    encoder = bert(tmp_path / "made")
    found = probes.probed(encoder, encoder, ("sw", "de", "am"), [folder, tmp_path / "none"], Vectors())
    assert list(found) == ["nli sw", "nli de"]
    one = found["nli sw"]
    assert len(one["right"]) == len(one["groups"]) == 30
    assert len(set(one["groups"].values())) == len(WORDS), "pairs of one premise are one group"
    assert set(one["right"].values()) <= {0.0, 1.0}
    assert 1 / 3 <= one["commonest"] <= 1
    assert found["nli sw"]["right"] == found["nli de"]["right"], "the same sentences in both"


def test_what_the_teacher_reads_is_read_once_for_all_students(folder, tmp_path, monkeypatch):
    teacher, *students = (bert(tmp_path / "made") for _ in range(3))
    for k, student in enumerate(students):
        next(student.parameters()).data += 0.1 * (k + 1)
    vectors, read, encode = Vectors(), [], probe_systems.encode_sentences
    monkeypatch.setattr(probe_systems, "encode_sentences", lambda one, texts: read.append(one) or encode(one, texts))
    found = [probes.probed(student, teacher, ("sw",), [folder], vectors, items=9)["nli sw"] for student in students]
    assert [read.count(one) > 0 for one in (teacher, *students)] == [True] * 3
    first = read.index(students[1])
    assert teacher in read[:first]
    assert teacher not in read[first:]
    assert len(found[0]["right"]) == 9
    assert list(found[0]["right"]) == list(found[1]["right"]), "the same items of every student"


def cell(right, name="nli sw"):
    items = {f"{k}": value for k, value in enumerate(right)}
    groups = {item: float(int(item) // 2) for item in items}
    return {"probe": {name: {"right": items, "groups": groups, "commonest": 0.5}}}


def test_tables_test_each_row_against_one_and_keep_watched_languages_apart():
    def both(right):
        return {"probe": cell(right)["probe"] | cell(right[::-1], "nli de")["probe"]}

    cells = {("none", "sw", 0): both([0.0] * 40), ("none", "sw", 1): both([0.0] * 40)}
    cells |= {("ot", "sw", 0): both([1.0] * 40), ("ot", "sw", 1): both([0.0] * 20 + [1.0] * 20)}
    own, watched = probes.tables(["sw"], ["none", "ot"], [0, 1], cells, "none")
    assert [row[:5] for row in own.rows] == [
        ["sw", "nli sw", "none", "0.0000", "50 %"],
        ["sw", "nli sw", "ot", "0.7500", "50 %"],
    ]
    assert [row[1] for row in watched.rows] == ["nli de", "nli de"]
    assert own.rows[1][5] == "+0.7500"
    assert own.rows[1][7] == own.rows[1][8], "one comparison has nothing to correct"
    assert float(own.rows[1][7]) < 0.01
    assert own.rows[1][9] == "40 / 0"
    assert {len(row) for row in own.rows} == {len(own.head)}


def test_the_rows_of_transfer_train_what_they_are_named_by():
    experiment = load("transfer")
    made = {row.name: recipe_of(experiment, row, "sw", 0) for row in experiment.rows}
    assert made.pop("none").training.steps == 0
    assert {recipe.vocabulary.mode for recipe in made.values()} == {"off"}
    assert {recipe.teacher for recipe in made.values()} == {"multilingual-e5-small"}
    asked = {
        name: (recipe.objective.ot, recipe.objective.posterior, recipe.objective.contrastive, recipe.robustness.method)
        for name, recipe in made.items()
    }
    assert len(set(asked.values())) == len(made) == 7
    assert isinstance(experiment, Experiment)
    assert all(isinstance(row, Row) for row in experiment.rows)
