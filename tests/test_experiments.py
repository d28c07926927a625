"""The grid of an experiment is refused when it is wrong, its cells are kept, and its tables say what was measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from experiments import __main__ as runner
from experiments import grid, table
from experiments.cell import Setting, _every_language, development
from experiments.grid import FOLDER, Experiment, Row, load, recipe_of
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.records import Query
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import Vectors
from optical.errors import RecipeError
from optical.evaluation.tables import markdown
from optical.models.encoders import encode_sentences, score_fingerprint

GOOD = """
question = "which?"
langs = ["sw", "so"]
seeds = [0, 1]
against = "plain"
[recipe]
"training.steps" = 3
[[rows]]
name = "plain"
[[rows]]
name = "other"
set = { "objective.ot" = 0.5 }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An experiments folder with one experiment, and the place where cells are kept."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recipe.toml").write_text(GOOD)
    monkeypatch.setattr(grid, "FOLDER", tmp_path)
    monkeypatch.setattr(runner, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_experiment_of_the_project_can_be_read():
    names = [p.parent.name for p in FOLDER.glob("*/recipe.toml") if "[[rows]]" in p.read_text()]
    assert "objectives" in names
    for name in names:
        assert load(name).rows


@pytest.mark.parametrize(
    ("change", "message"),
    [(('"objective.ot"', '"objective.oot"'), "did you mean objective.ot"),
     (('"plain"\n[recipe]', '"plane"\n[recipe]'), "against"),
     (('name = "other"', 'name = "plain"'), "names of their own"), (("seeds", "seed"), "seed"),
     (("question", "question ="), "not TOML")],
)  # fmt: skip
def test_a_wrong_grid_stops_before_anything_runs(folder, change, message):
    path = folder / "one" / "recipe.toml"
    path.write_text(GOOD.replace(*change, 1))
    assert path.read_text() != GOOD
    with pytest.raises(RecipeError, match=message):
        load("one")


def test_an_unknown_experiment_names_the_known_ones(folder):
    with pytest.raises(RecipeError, match="known: one"):
        load("two")


def test_a_row_is_the_shared_recipe_with_its_own_options(folder):
    experiment = load("one")
    plain, other = (recipe_of(experiment, row, "so", 1) for row in experiment.rows)
    assert (plain.lang, plain.seed, plain.training.steps, plain.objective.ot) == ("so", 1, 3, 1.0)
    assert other.objective.ot == 0.5
    assert other.training == plain.training


def cell(values: dict[str, list[float]], seconds=1.0, dev=0.5):
    ap = {name: {f"q{k}": v for k, v in enumerate(some)} for name, some in values.items()}
    return {"ap": ap, "dev": {"start": 0.4, "best": dev, "share": 1.0}, "seconds": seconds, "pairs": 7}


def base(start, ceiling):
    as_ap = {name: cell({"c": some})["ap"] for name, some in (("start", start), ("ceiling", ceiling))}
    return {**as_ap, "zero-shot": as_ap["start"]}


def test_figures_are_means_over_seeds_and_languages():
    cells = {("a", "sw", 0): cell({"c": [0.5, 0.7]}), ("a", "sw", 1): cell({"c": [0.6, 0.8]})}
    found = table.summary(["sw"], ["a"], [0, 1], cells, {"sw": base([0.5, 0.5], [0.9, 0.9])}, None)["a"]
    assert found["MAP"] == pytest.approx(0.65)
    assert found["sd"] == pytest.approx(np.std([0.6, 0.7], ddof=1))
    assert found["share"] == pytest.approx(0.65 / 0.9)
    assert found["closed"] == pytest.approx(0.15 / 0.4)
    assert found["against start"]["win"] == 2


def test_a_test_counts_a_query_once_however_many_seeds():
    random = np.random.default_rng(0)
    low, high = random.random(40) / 2, random.random(40) / 2 + 0.2
    cells = {("a", "sw", s): cell({"c": low.tolist()}) for s in (0, 1)}
    cells |= {("b", "sw", s): cell({"c": high.tolist()}) for s in (0, 1)}
    found = table.summary(["sw"], ["a", "b"], [0, 1], cells, {"sw": base([0.5] * 40, [0.9] * 40)}, "a")
    assert "against" not in found["a"]
    test = found["b"]["against"]
    assert test["win"] + test["tie"] + test["loss"] == 40
    assert test["difference"] == pytest.approx(float((high - low).mean()))
    text = markdown(table.main_table(found, "a"))
    assert f"{test['difference']:+.4f}" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_perturbed_collections_stay_out_of_the_clean_mean():
    cells = {("a", "sw", 0): cell({"c": [0.8], "c typos@0.2": [0.2]})}
    found = table.summary(["sw"], ["a"], [0], cells, {"sw": base([0.5], [0.9])}, None, ["typos@0.2"])["a"]
    assert found["MAP"] == pytest.approx(0.8)
    assert found["perturbed"] == {"typos@0.2": pytest.approx(0.2)}


def test_pairs_of_rows_are_tested_as_they_are_named(folder):
    cells = {(row, "sw", 0): cell({"c": [value] * 12}) for row, value in (("a", 0.5), ("b", 0.6), ("d", 0.6))}
    first, second = table.comparisons(["sw"], [("b", "a"), ("b", "d")], [0], cells).rows
    assert first[:2] == ["b - a", "+0.1000"]
    assert float(first[3]) == pytest.approx(2 * float(first[2]), abs=1e-4)  # Holm: the smaller of two
    assert second[:3] == ["b - d", "+0.0000", "1.0000"]
    (folder / "one" / "recipe.toml").write_text(GOOD.replace("against", 'compare = [["plain", "others"]]\nagainst'))
    with pytest.raises(RecipeError, match="others"):
        load("one")


def test_a_language_table_has_a_line_for_each_language():
    cells = {("a", lang, 0): cell({"c": [0.6, 0.7]}) for lang in ("sw", "so")}
    bases = {lang: base([0.5, 0.5], [0.9, 0.9]) for lang in ("sw", "so")}
    rows = table.languages(["sw", "so"], ["a"], [0], cells, bases).rows
    assert [row[0] for row in rows] == ["sw", "so"]
    assert "(72.2 %)" in rows[0][5]


def test_a_cell_is_measured_once_and_another_recipe_is_another_cell(folder, monkeypatch):
    monkeypatch.setattr(runner, "CELLS", folder / "cells")
    rows = Row(name="a"), Row(name="a2", set={"seed": 5}), Row(name="as a"), Row(name="beside", beside=("so",))
    experiment = Experiment(question="?", langs=("sw",), rows=rows)
    calls = []

    def make():
        calls.append(1)
        return {"value": len(calls)}

    def kept(some, row):
        return runner._kept(some, row, "sw", 0, make)["value"]

    assert [kept(experiment, rows[k]) for k in (0, 0, 1, 2, 3)] == [1, 1, 2, 1, 3]
    assert kept(experiment.model_copy(update={"pairs": 3}), rows[0]) == 4
    assert kept(experiment, Row(name="start")) == 5  # the start of a row is not the row


def test_a_mixture_has_the_bitext_of_every_language_and_none_of_what_is_measured(folder):
    own = [Pair("a cat", "ein Hund")]
    held_out = {"questions": [Pair("what is held out", "was")]}
    (folder / "bitext" / "so").mkdir(parents=True)
    lines = "what is held out\twaa maxay\na goat\tri\nasked\tla weydiiyay\n"
    (folder / "bitext" / "so" / "pairs.tsv").write_text(lines)
    asked = Collection("c", [], {"en": [Query("q", "asked")]}, {}, "", {})
    measured = Setting("de", own, held_out, {"c": EmbeddedCollection(asked, None, [])}, {})
    found = _every_language(measured, Row(name="mixed", beside=("so",)), folder)
    assert found == {"de": own, "so": [Pair("a goat", "ri")]}


def test_a_held_out_set_of_its_own_is_a_development_score_of_its_own(teacher):
    sentences = encode_sentences(teacher, ["i drink water .", "she cooks rice ."])
    vectors = Vectors(np.zeros((0, 1)), np.zeros(3, np.int64), sentences, Path())
    part = EmbeddedCollection(Collection("c", [], {}, {}, "", {}), vectors, ["d0", "d1"])
    plain = Setting("sw", [], {"questions": [Pair("she cooks rice .", "anapika wali")]}, {"c": part}, {})
    others = [
        plain._replace(held_out={"questions": [Pair("she cooks rice .", "mama anapika")]}),
        plain._replace(searched={"c": part._replace(ids=["d0", "d2"])}),
        plain._replace(searched={"c": part._replace(vectors=vectors._replace(folder=Path("other")))}),
    ]
    key, again, *found = (score_fingerprint(development(one, teacher, False)) for one in (plain, plain, *others))
    assert key == again
    assert len({key, *found}) == 4


def test_figures_are_held_to_what_is_expected(folder, capsys):
    path = folder / "one" / "expected.toml"
    figures = {"a": {"MAP": 0.5}, "b": {"MAP": 0.6}}
    asked = argparse.Namespace(name="one", measured_on="here")
    path.write_text(runner.expected(asked, figures))
    assert runner.check(path, figures)
    assert runner.check(path, {"a": {"MAP": 0.51}, "b": {"MAP": 0.6}})
    assert not runner.check(path, {"a": {"MAP": 0.5}, "b": {"MAP": 0.63}})
    verdicts = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert verdicts == ["OK", "OK", "OKish", "OK", "OK", "FAIL"]


def test_the_runner_measures_every_cell_once_and_writes_the_page(folder, monkeypatch, capsys):
    monkeypatch.setattr(runner, "CELLS", folder / "cells")
    asked_for = []

    def run_cell(experiment, row, seed, setting, data, where, say):
        asked_for.append((row.name, setting.lang, seed))
        return cell({"c": [0.6 + 0.1 * (row.name == "other"), 0.7]})

    monkeypatch.setattr(runner, "setting", lambda experiment, recipe, data, say: argparse.Namespace(lang=recipe.lang))
    monkeypatch.setattr(runner, "run_cell", run_cell)
    monkeypatch.setattr(runner, "baselines", lambda experiment, row, setting, data: base([0.5, 0.5], [0.9, 0.9]))
    asked = argparse.Namespace(
        name="one", data=folder, langs=None, seeds=None, rows=None, check=False, measured_on="here"
    )
    for _ in range(2):
        figures = runner.run(asked)
    assert sorted(asked_for) == sorted(
        (r, lang, s) for r in ("plain", "other") for lang in ("sw", "so") for s in (0, 1)
    )
    assert figures["other"]["MAP"] == pytest.approx(0.7)
    page = (folder / "one" / "results.md").read_text()
    assert "By language" in page
    assert "which?" in page
    assert json.dumps("other") in (folder / "one" / "expected.toml").read_text()
