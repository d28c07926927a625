"""The grid of an experiment is refused when it is wrong, its cells are kept, and its tables say what was measured."""

from __future__ import annotations

import argparse
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest

from experiments import __main__ as runner
from experiments import expected, fingerprints, grid, held_out, table
from experiments.cell import Setting, _every_language, _start, development, measured, setting
from experiments.grid import FOLDER, Experiment, Row, load, more_of, recipe_of
from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.records import Query
from optical.embeddings.embedded_collection import EmbeddedCollection, unembedded
from optical.embeddings.vectors import Vectors
from optical.errors import DataError, RecipeError
from optical.evaluation.tables import markdown
from optical.models.encoders import encode_sentences, score_fingerprint
from optical.models.towers import Towers
from optical.pipeline.embed import load_teacher
from optical.pipeline.probe_systems import Vectors as SentenceVectors
from tests.chain import PAIRS, uncased, unigram

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
    path.write_text(GOOD.replace(change[0], change[1], 1))
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
    experiment = Experiment(question="?", langs=("sw",), collections=("c",), rows=rows)
    calls = []
    for name in ("bitext/sw/a.tsv", "bitext/so/a.tsv", "clir/c/queries.sw.tsv", "clir/c/queries.so.tsv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)

    def make():
        calls.append(1)
        return {"value": len(calls)}

    def kept(some, row):
        return runner._kept(some, row, "sw", 0, folder, make)["value"]

    assert [kept(experiment, rows[k]) for k in (0, 0, 1, 2, 3)] == [1, 1, 2, 1, 3]
    assert kept(experiment.model_copy(update={"pairs": 3}), rows[0]) == 4
    assert kept(experiment, Row(name="start")) == 5  # the start of a row is not the row
    for name, changes in (("bitext/so/a.tsv", 1), ("clir/c/queries.so.tsv", 1), ("bitext/sw/a.tsv", 6)):
        (folder / name).write_text("other")
        fingerprints._file_checksum.cache_clear()
        assert kept(experiment, rows[0]) == changes
    monkeypatch.setattr(fingerprints, "code", lambda: "other code")
    assert kept(experiment, rows[0]) == 7
    with pytest.raises(DataError, match="no bitext in yo"):
        kept(experiment, Row(name="beside", beside=("yo",)))


def test_code_is_what_a_module_reaches_and_prose_is_none_of_it(folder):
    package = folder / "optical"
    package.mkdir()
    texts = {
        "a": '"""About."""\nfrom optical import b\ndef f():\n    from optical.c import g\n    return g()  # here\n',
        "b": 'x = Field(1, description="one")\ndef h():\n    """Do."""\n    raise ValueError(f"no {x}: " "try")\n',
        "c": "def g():\n    return 1\n", "d": "import optical.a\n",
    }  # fmt: skip

    def after(name: str, old: str, new: str) -> str:
        for other, text in texts.items():
            (package / f"{other}.py").write_text(text.replace(old, new) if other == name else text)
        fingerprints.code.cache_clear()
        return fingerprints.code("optical.a", folder)

    before = after("a", "", "")
    assert [p.stem for p in fingerprints.reached("optical.a", folder)] == ["a", "b", "c"]
    prose = [
        ("a", "About", "Of"),
        ("a", "# here", "# there"),
        ("b", "one", "two"),
        ("b", "Do", "Be"),
        ("b", "no ", "0 "),
    ]
    assert {after(*change) for change in [*prose, ("b", "try", "or"), ("d", "import", "import torch,")]} == {before}
    code = [("a", "g()", "1 + g()"), ("b", "(1", "(2"), ("b", "ValueError", "KeyError"), ("c", "1", "2")]
    assert len({before, *(after(*change) for change in code)}) == 5


def test_the_code_of_a_cell_has_training_and_transplant_in_it_and_no_page():
    found = {path.relative_to(fingerprints.ROOT).as_posix() for path in fingerprints.reached("experiments.cell")}
    assert {"optical/training/losses/ot.py", "optical/vocabulary/rows.py", "experiments/held_out.py"} <= found
    assert not any(name.startswith(("optical/web", "optical/cli")) for name in found)


def test_held_out_pairs_are_judged_by_the_teacher_over_the_passages_of_all_collections(teacher):
    texts = {"a": ["i drink water ."], "b": ["she cooks rice .", "the cat sleeps ."]}
    embedded = []
    for name, some in texts.items():
        vectors = Vectors(np.zeros((0, 1)), np.zeros(len(some) + 1, np.int64), encode_sentences(teacher, some), Path())
        part = EmbeddedCollection(Collection(name, [], {}, {}, "", {}), vectors, [f"d{k}" for k in range(len(some))])
        embedded.append(part)
    pairs = [Pair("the cat sleeps .", "paka analala"), Pair("i drink water .", "ninakunywa maji")]
    found = held_out.as_collections(teacher, {"sentences": pairs}, "sw", embedded)["sentences"]
    assert [(q.doc_id, q.relevance) for q in found.collection.qrels["held-out"]] == [("b-d1", 1), ("a-d0", 1)]
    assert [q.text for q in found.collection.queries["sw"]] == ["paka analala", "ninakunywa maji"]
    setting = Setting("sw", pairs, {}, {}, {}, {"sentences": found}, SentenceVectors())
    assert measured(teacher, setting, lang="en") == {"sentences": {"sentences-0": 1.0, "sentences-1": 1.0}}


def test_held_out_pairs_are_not_those_that_choose_the_checkpoint_and_not_trained_on(folder, teacher, monkeypatch):
    text = "".join(f"is this sentence number {k} ?\tje hii ni {k} ?\n" for k in range(600))
    files = {
        "bitext/sw/a.tsv": text, "clir/c/docs.jsonl": '{"id": "d", "text": "i drink water ."}\n',
        "clir/c/queries.en.tsv": "q\twho drinks ?\n", "clir/c/qrels.tsv": "q 0 d 1\n",
    }  # fmt: skip
    for name, lines in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(lines)
    monkeypatch.setattr("optical.pipeline.embed.teacher_towers", lambda recipe: Towers(teacher, teacher))
    experiment = Experiment(question="?", langs=("sw",), collections=("c",), split="held-out", rows=(Row(name="a"),))
    found = setting(experiment, load_recipe(None, {"lang": "sw"}), folder, print)
    choosing = {pair.foreign for pair in found.held_out["questions"]}
    measuring = {query.text for query in found.measured["questions"].collection.queries["sw"]}
    training = {pair.foreign for pair in found.pairs}
    assert (len(choosing), len(measuring), len(training)) == (150, 150, 300)
    assert len(choosing | measuring | training) == 600


def test_a_row_of_another_encoder_has_a_start_of_its_own_that_is_made_once(tmp_path, monkeypatch):
    uncased(tmp_path / "t").save(str(tmp_path / "teacher"))
    unigram(tmp_path / "b", dim=24).save(str(tmp_path / "body"))
    given = {"lang": "sw", "teacher": str(tmp_path / "teacher"), "cache": str(tmp_path / "cache")}
    plain, other = (load_recipe(None, {**given, **more}) for more in ({}, {"student": str(tmp_path / "body")}))
    teacher, pairs = load_teacher(plain), [Pair(*pair) for pair in PAIRS]
    starts = [_start(recipe, teacher, pairs) for recipe in (plain, other)]
    assert [type(start[1]).__name__ for start in starts] == ["Pooling", "Dense"]
    third = other.model_copy(update={"student": str(tmp_path / "teacher")})
    assert _start(third, teacher, pairs)[1].in_features == 32
    (tmp_path / "words.tsv").write_text("moon\tkibalamwezi\n", encoding="utf-8")
    with_words = load_recipe(None, {**given, "vocabulary.lexicon": str(tmp_path / "words.tsv")})
    assert "kibalamwezi" in _start(with_words, teacher, pairs).tokenizer.get_vocab()
    monkeypatch.setattr("experiments.cell.make_start", lambda *_: pytest.fail("it is made again"))
    np.testing.assert_array_equal(
        encode_sentences(_start(other, teacher, pairs), ["maji"]), encode_sentences(starts[1], ["maji"])
    )
    assert any("student".startswith(name) for name in runner.STARTS)


@pytest.mark.parametrize(
    "change",
    [('[recipe]', 'split = "held-out"\n[recipe]\n"late_interaction" = true\n"objective.scores" = 0.0'),
     ('[recipe]\n', 'split = "held-out"\n[recipe]\n"objective.pooled" = 1.0\n', 'set = {', 'set = { "teacher" = "t",')],
)  # fmt: skip
def test_held_out_pairs_are_judged_by_single_vectors_of_one_teacher(folder, change):
    changed = GOOD.replace(*change[:2]).replace(*change[2:] or ("", ""))
    (folder / "one" / "recipe.toml").write_text(changed)
    with pytest.raises(RecipeError, match="single vectors of one teacher"):
        load("one")
    (folder / "one" / "recipe.toml").write_text(changed.replace("held-out", "test"))
    assert load("one")


def test_a_mixture_has_the_bitext_of_every_language_and_none_of_what_is_measured(folder):
    own = [Pair("a cat", "ein Hund")]
    kept_apart = {"questions": [Pair("what is held out", "was")]}
    (folder / "bitext" / "so").mkdir(parents=True)
    lines = "what is held out\twaa maxay\na goat\tri\nasked\tla weydiiyay\n"
    (folder / "bitext" / "so" / "pairs.tsv").write_text(lines)
    asked = Collection("c", [], {"en": [Query("q", "asked")]}, {}, "", {})
    shared = Setting("de", own, kept_apart, {"c": unembedded(asked)}, {}, {}, SentenceVectors())
    found, weights = _every_language(shared, Row(name="mixed", beside=("so",)), folder)
    assert found == {"de": own, "so": [Pair("a goat", "ri")]}
    assert weights == {}


def test_other_sources_come_beside_the_bitext_with_their_weights(folder, monkeypatch):
    own = [Pair("a cat", "eine Katze"), Pair("a dog", "ein Hund")]
    kept_apart = {"questions": [Pair("what is held out", "was")]}
    lines = {"menus": "Save\tSpeichern\na dog\tein Hund\n", "talk": "what is held out\twas denn\nGo\tGeh\n"}
    for name, text in lines.items():
        (folder / "bitext_more" / "de").mkdir(parents=True, exist_ok=True)
        (folder / "bitext_more" / "de" / f"{name}.tsv").write_text(text)
    shared = Setting("de", own, kept_apart, {}, {}, {}, SentenceVectors())
    row = Row(name="more", more=("menus@0", "talk"))
    found, weights = _every_language(shared, row, folder)
    assert found == {"de": [*own, Pair("Save", "Speichern"), Pair("Go", "Geh")]}
    assert weights == {Pair("Save", "Speichern"): 0.0}, "a pair of the bitext keeps its own"
    assert more_of(row, "so", folder) == {}
    assert len(more_of(Row(name="all", more=("*@0.5",)), "de", folder)) == 2
    with pytest.raises(DataError, match="no source 'menu' of row 'more'"):
        more_of(Row(name="more", more=("menu",)), "de", folder)


def test_a_row_without_a_source_of_its_language_is_the_plain_row(folder, monkeypatch):
    monkeypatch.setattr(runner, "CELLS", folder / "cells")
    for name in ("bitext/sw/a.tsv", "bitext/so/a.tsv", "bitext_more/sw/menus.tsv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    plain, more, words = (Row(name="a", more=some) for some in ((), ("menus",), ("menus@0",)))
    experiment = Experiment(question="?", langs=("sw", "so"), collections=("c",), rows=(plain,))
    at = {
        lang: [runner.kept_at(experiment, row, lang, 0, folder) for row in (plain, more, words)]
        for lang in ("sw", "so")
    }
    assert len(set(at["sw"])) == 3
    assert len(set(at["so"])) == 1
    (folder / "bitext_more/sw/menus.tsv").write_text("other")
    fingerprints._file_checksum.cache_clear()
    assert runner.kept_at(experiment, more, "sw", 0, folder) != at["sw"][1]


def test_a_held_out_set_of_its_own_is_a_development_score_of_its_own(teacher):
    sentences = encode_sentences(teacher, ["i drink water .", "she cooks rice ."])
    vectors = Vectors(np.zeros((0, 1)), np.zeros(3, np.int64), sentences, Path())
    part = EmbeddedCollection(Collection("c", [], {}, {}, "", {}), vectors, ["d0", "d1"])
    questions = [Pair("she cooks rice .", "anapika wali")]
    plain = Setting("sw", [], {"questions": questions}, {"c": part}, {}, {}, SentenceVectors())
    others = [
        plain._replace(held_out={"questions": [Pair("she cooks rice .", "mama anapika")]}),
        plain._replace(searched={"c": part._replace(ids=["d0", "d2"])}),
        plain._replace(searched={"c": part._replace(vectors=vectors._replace(folder=Path("other")))}),
    ]
    key, again, *found = (score_fingerprint(development(one, teacher, False)) for one in (plain, plain, *others))
    assert key == again
    assert len({key, *found}) == 4


SEVERAL = {"a": {"MAP": 0.5, "sd": 0.003}, "b": {"MAP": 0.6, "sd": 0.001}}
STARTS = {"ceiling": 0.9, "start": 0.4}


@pytest.fixture
def kept_figures(folder):
    """The expected figures of an experiment with several seeds."""
    path = folder / "one" / "expected.toml"
    path.write_text(expected.text("here", "abc", SEVERAL, STARTS, 1))
    return path


@pytest.mark.parametrize(
    ("row", "change", "words"),
    [("a", 0.0, "OK OK OK OK"), ("a", 0.002, "OK OK OK OK"), ("b", -0.004, "OK OKish OK OK"),
     ("a", 0.005, "FAIL OK OK OK"), ("b", -0.02, "OK FAIL OK OK")],
)  # fmt: skip
def test_a_changed_figure_fails_where_seeds_do_not_explain_it(kept_figures, capsys, row, change, words):
    figures = {name: {"MAP": f["MAP"] + change * (name == row)} for name, f in SEVERAL.items()}
    assert runner.check(kept_figures, figures, STARTS, None) == ("FAIL" not in words)
    first, *lines = capsys.readouterr().out.splitlines()
    assert "0.0022" in first  # the root of the mean of .003^2 and .001^2
    assert [line.split()[0] for line in lines] == words.split()


def test_what_no_seed_decides_is_expected_to_the_last_digit(kept_figures):
    found = expected.check(kept_figures, SEVERAL, {"ceiling": 0.9, "start": 0.4004})
    assert [v.word for v in found] == ["OK", "OK", "OK", "FAIL"]


def test_a_row_that_was_not_measured_fails(kept_figures):
    assert [v.word for v in expected.check(kept_figures, {"a": SEVERAL["a"]}, {})] == ["OK", "FAIL"]
    assert [v.row for v in expected.check(kept_figures, {"a": SEVERAL["a"]}, {}, ["a"])] == ["a"]
    with pytest.raises(DataError, match="expects none of these rows: c"):
        expected.check(kept_figures, {"c": {"MAP": 1.0}}, {}, ["c"])


def test_one_seed_takes_the_spread_of_other_experiments(kept_figures, folder):
    path = folder / "two" / "expected.toml"
    path.parent.mkdir()
    path.write_text(expected.text("here", "abc", {"a": {"MAP": 0.5, "sd": None}}, {}, 4))
    assert expected.tolerance(path) == pytest.approx((0.000005) ** 0.5 / 2)  # a mean over four languages
    kept_figures.unlink()
    with pytest.raises(DataError, match="no spread is known"):
        expected.tolerance(path)
    with pytest.raises(DataError, match="run the experiment once without --check"):
        expected.tolerance(kept_figures)


def test_every_expected_figure_of_the_project_has_a_tolerance():
    paths = [p for p in FOLDER.glob("*/expected.toml") if "commit = " in p.read_text()]
    assert len(paths) >= 11
    assert all(0 < expected.tolerance(path) < 0.005 for path in paths)


def test_the_runner_measures_every_cell_once_and_writes_the_page(folder, monkeypatch, capsys):
    monkeypatch.setattr(runner, "CELLS", folder / "cells")
    asked_for = []
    for lang in ("sw", "so"):
        (folder / "bitext" / lang).mkdir(parents=True)

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
        assert runner.run(asked)
    assert sorted(asked_for) == sorted(
        (r, lang, s) for r in ("plain", "other") for lang in ("sw", "so") for s in (0, 1)
    )
    page = (folder / "one" / "results.md").read_text()
    assert "By language" in page
    assert "which?" in page
    wanted = tomllib.loads((folder / "one" / "expected.toml").read_text())
    assert wanted["MAP"] == {"plain": 0.65, "other": 0.7}
    assert wanted["sd"] == {"plain": 0.0, "other": 0.0}
    assert wanted["start"] == {"ceiling": 0.9, "zero-shot": 0.5, "start": 0.5}
    asked.check = True
    assert runner.run(asked)
    (folder / "one" / "expected.toml").write_text(expected.text("x", "y", {"plain": {"MAP": 0.66, "sd": 0.001}}, {}, 2))
    assert not runner.run(asked)
    asked.langs = ["sw"]
    with pytest.raises(DataError, match="leave --langs and --seeds out"):
        runner.run(asked)


def test_the_page_tells_the_steps_of_all_rows_and_not_those_of_the_first_alone(folder):
    assert runner._steps(load("one")) == "3 steps"
    (folder / "one" / "recipe.toml").write_text(
        GOOD.replace('name = "plain"\n', 'name = "plain"\nset = { "training.steps" = 0, "objective.pooled" = 1.0 }\n')
    )
    assert runner._steps(load("one")) == "3 or 0 steps"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_says_where_its_cells_are(monkeypatch, folder, sent):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(runner, "run", lambda _: signal.raise_signal(sent))
    monkeypatch.setattr("sys.argv", ["experiments", "one", str(folder)])
    with pytest.raises(SystemExit, match="stopped; the cells that were measured are in runs/experiments/cells"):
        runner.main()
    assert signal.getsignal(signal.SIGTERM) == before


def test_rows_that_do_not_exist_are_refused(folder):
    asked = argparse.Namespace(name="one", data=folder, langs=None, seeds=None, rows=["plane"], check=False)
    with pytest.raises(DataError, match="no row 'plane' in one; it has: plain, other"):
        runner.run(asked)
