"""Runs by the program of commit 71a3547 (data/old-run/README.md) do all that a run of today does."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from optical.config.recipe import load_recipe
from optical.data.trec_run import read_run
from optical.models import encoders
from optical.models.load import load_encoder
from optical.models.onnx_encoder import OnnxEncoder
from optical.pipeline import answer
from tests.cli.conftest import command, snapshot  # noqa: F401 - command is a fixture

RESULTS = "evaluation/old-run-collection-test"
QUESTION = ("q1", "Nani anatoa maziwa?")
OWN_ROWS = ["teacher, English queries", "teacher as it is", "transplant, untrained", "student"]


@pytest.fixture(params=["single", "late"])
def run(request, tmp_path, monkeypatch):
    """A copy of an old run, in the current folder, from which its recipe names teacher, collection and cache."""
    shutil.copytree(Path(__file__).parent / "data" / "old-run", tmp_path / "old-run")
    monkeypatch.chdir(tmp_path / "old-run")
    return Path(request.param)


def best(run: Path, k: int) -> dict[str, float]:
    """The k best documents of the question and their scores, as the old program found them."""
    found = read_run(run / RESULTS / "student.trec")[QUESTION[0]]
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:k])


def results(run: Path) -> dict[str, dict]:
    """The measures of each system."""
    return json.loads((run / RESULTS / "results.json").read_text())["systems"]


def succeed(command, *arguments) -> str:
    code, out, err = command(*arguments)
    assert code == 0, err
    return out


def test_is_searched(command, run):
    cached = snapshot(Path("cache"))
    found = re.findall(r"^\d\. Text \d+  (\w+)  (\S+)$", succeed(command, "search", run, QUESTION[1], "-k", 4), re.M)
    assert [name for name, _ in found] == list(best(run, 4))
    assert [float(score) for _, score in found] == pytest.approx(list(best(run, 4).values()), abs=2e-4)
    assert snapshot(Path("cache")) == cached  # its vectors are read, no document is embedded again


def test_is_searched_by_its_own_index(run):
    loaded = answer.load_run(load_recipe(run / "recipe.toml"))
    index = loaded.dense_index or loaded.late.lists
    assert index.manifest == json.loads((run / "index" / "optical.json").read_text())
    assert index.manifest["count"] == 12


def test_is_served(run):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from fastapi.testclient import TestClient

    from optical.web.endpoints import create_app
    from optical.web.facts import about

    recipe = load_recipe(run / "recipe.toml")
    with answer.opened(recipe) as answers:
        facts = about(recipe, answers.lang, answers.collection, late=answers.late)
        client = TestClient(create_app(answers.answer_all, facts))
        assert client.get("/").status_code == 200
        told = client.get("/api/search", params={"q": QUESTION[1], "k": 4}).json()
    found = {one["id"]: one["score"] for one in told["results"]}
    assert list(found) == list(best(run, 4))
    assert found == pytest.approx(best(run, 4), abs=1e-4)
    assert told["language"] == "sw"


def test_is_measured_as_it_was(command, run):
    pytest.importorskip("bm25s", reason="the extra bm25-lite is not installed")
    before, cached = results(run), snapshot(Path("cache"))
    shutil.rmtree(run / RESULTS)
    succeed(command, "evaluate", run)
    after = results(run)
    assert after.keys() == before.keys()
    for system in before:
        assert after[system]["mean"] == pytest.approx(before[system]["mean"], abs=1e-6), system
        assert after[system]["per_query"]["AP"] == pytest.approx(before[system]["per_query"]["AP"], abs=1e-6), system
    assert before["student"]["mean"]["AP"] > before["transplant, untrained"]["mean"]["AP"] + 0.1  # not all the same
    assert snapshot(Path("cache")) == cached


def test_is_measured_over_its_own_results(command, run):
    before = results(run)
    (run / RESULTS / "comparison.md").write_text("kept")
    succeed(command, "evaluate", run, "--set", "search.bm25=off")
    assert {name: results(run)[name]["mean"]["AP"] for name in OWN_ROWS} == pytest.approx(
        {name: before[name]["mean"]["AP"] for name in OWN_ROWS}, abs=1e-6
    )
    assert (run / RESULTS / "comparison.md").read_text() == "kept"


@pytest.mark.slow
def test_is_exported_as_onnx(command, run):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    succeed(command, "export", run, "--no-int8")
    (vectors,) = OnnxEncoder.load(run / "onnx").encode([QUESTION[1]])
    (expected,) = encoders.encode_queries(load_encoder(run / "student", "cpu"), [QUESTION[1]])
    assert vectors == pytest.approx(np.asarray(expected), abs=1e-4)


@pytest.mark.parametrize("run", ["late"], indirect=True)
def test_is_exported_for_colbert(command, run):
    weights = (run / "colbert" / "model.safetensors").read_bytes()
    (run / "colbert" / "model.safetensors").unlink()
    succeed(command, "export", run, "--to", "colbert")
    assert (run / "colbert" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(("run", "chosen", "file"), [
    ("single", "search.factory=HNSW32", "index"), ("late", "search.late_precision=float16", "tokens.npy"),
], indirect=["run"])  # fmt: skip
def test_is_indexed_again(command, run, chosen, file):
    before = snapshot(run / "index")
    succeed(command, "index", run, "--set", chosen)
    after = snapshot(run / "index")
    assert ".optical.json" in after
    assert after["docid"] == before["docid"]
    assert after[file] != before[file]
    found = succeed(command, "search", run, QUESTION[1], "-k", 1)
    assert next(iter(best(run, 1))) in found


def test_is_distilled_again_into_the_same_folder(command, run):
    names = {path for path in snapshot(run) if not path.startswith("evaluation/")}
    weights = (run / "student" / "model.safetensors").read_bytes()
    cached = snapshot(Path("cache"))
    (run / "thesis.doc").write_text("years of work")
    again = ["--set", "training.steps=2", "--set", "training.evaluate_every=2", "--set", "search.bm25=off"]
    succeed(command, "distill", "--recipe", run / "recipe.toml", *again)
    assert (run / "student" / "model.safetensors").read_bytes() != weights
    assert "steps = 2" in (run / "recipe.toml").read_text()
    assert (run / "thesis.doc").read_text() == "years of work"
    gone = names - snapshot(run).keys() - {"index/documents.npy"}  # which an index of late interaction has no more
    assert gone == {"lexicon-sw.tsv"}, "without BM25 there is none, and the earlier is not kept"
    after = snapshot(Path("cache"))
    assert {name: after[name] for name in after if not name.endswith(".optical.json")} == cached  # used, nothing added


@pytest.mark.parametrize("name", ["thesis.doc", "student/thesis.doc", "index/thesis.doc"])
def test_what_the_user_put_into_its_folders_is_not_replaced(command, run, name):
    (run / name).write_text("years of work")
    code, _, err = command("index", run)
    refused = name.startswith("index/")
    assert (code, (run / name).read_text()) == (int(refused), "years of work")
    assert ("optical did not write it" in err) == refused


def test_a_folder_without_a_manifest_is_not_taken_for_a_run(command, run):
    (run / "manifest.json").unlink()
    before = snapshot(run)
    code, _, err = command("distill", "--recipe", run / "recipe.toml")
    assert code == 1
    assert "optical did not write it" in err
    assert snapshot(run) == before
