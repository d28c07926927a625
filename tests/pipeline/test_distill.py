"""The whole chain on a few sentences with a tiny teacher, asserting numbers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.collection import read_collection
from optical.data.trec_run import read_run
from optical.errors import DataError
from optical.evaluation import report
from optical.models.composing import query_words
from optical.models.load import load_encoder, load_student
from optical.models.save import NOTE
from optical.pipeline import answer, bm25_rows, inputs
from optical.pipeline.distill import transplant_run
from optical.training import distillation
from optical.training.callbacks import Interrupted
from tests.chain import DOCUMENTS, OWN, PAIRS, cased, mean_loss, recipe_of, uncased, unigram
from tests.conftest import ENGLISH, bert
from tests.runs import distilled, evaluated


def test_the_student_beats_zero_shot_and_its_start(run):
    recipe, found, _ = run
    ap = {system: scores.mean["AP"] for system, scores in found.scores.items()}
    words = [bm25_rows.UNTRANSLATED, bm25_rows.BY_LEXICON, bm25_rows.PSQ, bm25_rows.FUSED]
    assert list(ap) == [report.CEILING, report.ZERO_SHOT, report.TRANSPLANT, report.STUDENT, *words]
    assert ap[report.STUDENT] > ap[report.ZERO_SHOT] + 0.3
    assert ap[report.STUDENT] > ap[report.TRANSPLANT] + 0.3
    assert found.share(report.STUDENT) > 0.7
    development = json.loads((recipe.folder / "manifest.json").read_text())["development"]
    assert development["best"] > development["start"] + 0.3


def test_the_loss_falls_and_is_logged_by_objective(run):
    history = json.loads((run[0].folder / "training.json").read_text())
    losses = [entry for entry in history if "loss" in entry]
    assert losses[-1]["loss"] < 0.5 * losses[0]["loss"]
    assert {"ot", "pooled", "scores", "plan_error", "plan_steps"} <= losses[-1].keys()
    assert all(0 <= entry["plan_error"] < 0.1 for entry in losses)
    assert [entry["step"] for entry in history if "eval_dev" in entry] == [20, 40, 60]


def test_every_file_of_a_run_is_there(run):
    recipe, found, said = run
    folder = recipe.folder
    assert (folder / "recipe.toml").is_file()
    assert load_recipe(folder / "recipe.toml") == recipe
    evaluation = folder / "evaluation" / OWN
    words = [bm25_rows.UNTRANSLATED, bm25_rows.BY_LEXICON, bm25_rows.PSQ, bm25_rows.FUSED]
    for system, scores in found.scores.items():
        trec = read_run(evaluation / f"{system.replace(', ', '-').replace(' ', '-')}.trec")
        if system in words[:3]:
            assert set().union(*trec.values()) <= {f"d{k}" for k in range(len(DOCUMENTS))}
            continue
        assert trec.keys() == scores.per_query["AP"].keys() == {f"q{i}" for i in (1, 3, 5, 6, 7, 8, 9)}
        assert all(len(ranking) == len(DOCUMENTS) for ranking in trec.values())
    kept = json.loads((evaluation / "results.json").read_text(encoding="utf-8"))
    student = kept["systems"][report.STUDENT]
    assert np.mean(list(student["per_query"]["AP"].values())) == pytest.approx(student["mean"]["AP"], abs=1e-6)
    assert kept["tests"].keys() == {f"student - {s}" for s in (report.ZERO_SHOT, report.TRANSPLANT, *words)}
    table = (evaluation / "table.md").read_text(encoding="utf-8")
    assert f"| student | sw | {student['mean']['AP']:.4f} |" in table
    assert any(str(evaluation) in line for line in said)
    assert not list(folder.glob("checkpoints-*")), "checkpoints stay behind"
    assert not list(folder.rglob("*.tmp"))


def test_the_manifest_says_what_the_run_was_made_of(run, data):
    manifest = json.loads((run[0].folder / "manifest.json").read_text(encoding="utf-8"))
    bitext = data / "bitext.tsv"
    assert manifest["bitext"] == {str(bitext): hashlib.sha256(bitext.read_bytes()).hexdigest()}
    (source,) = manifest["text"]["sources"]
    assert source.items() >= {"lang": "sw", "name": "bitext", "path": str(bitext), "licence": None}.items()
    assert (source["pairs"], source["weight"]) == (len(PAIRS), 1.0)
    checksum = read_collection(data / "collection", ["en", "sw"]).checksum
    assert manifest["collection"] == {"name": "sample/collection", "checksum": checksum}
    assert manifest["seed"] == 0
    assert manifest["pairs"] == len(PAIRS)
    assert manifest["transplant"]["tokens_per_word_after"] is None  # of 18 pairs none is held out
    assert any("tokens per word not measured: too few pairs" in line for line in run[2])
    assert manifest["transplant"]["english_cosine_mean"] >= 0.98
    assert any("English sentences: mean 1.000, least 1.000" in line for line in run[2])
    assert len(manifest["teacher_fingerprint"]) == 16
    assert manifest["packages"]["torch"] == torch.__version__
    stages = {
        "read",
        "documents",
        "transplant",
        "teacher vectors",
        "training",
        "development scores",
        "lexicons",
        "index",
    }
    assert stages | {"evaluation", "report"} <= manifest["seconds"].keys() == manifest["processor_seconds"].keys()


def test_pairs_equal_to_a_query_are_left_out_and_said(run):
    recipe, _, said = run
    pairs = inputs.read_inputs(recipe, lambda _: None).pairs
    assert pairs == [Pair(*p) for p in PAIRS]
    assert "bitext: 2 pairs left out, a side is a query of the collection" in said
    assert any("wrong number of columns" in line and "bitext.tsv:21" in line for line in said)


def test_evaluate_gives_the_same_table_again(run):
    recipe, found, _ = run
    again = evaluated(recipe)
    assert report.table(again) == report.table(found)
    assert again.scores == found.scores


def test_evaluate_takes_another_student(run, tmp_path):
    recipe, found, _ = run
    shutil.copytree(recipe.folder, tmp_path / "run")
    recipe = recipe.model_copy(update={"out": str(tmp_path / "run")})
    own = recipe.folder / "evaluation" / OWN
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    other = evaluated(recipe, recipe.folder / "transplant")
    words = [bm25_rows.UNTRANSLATED, bm25_rows.BY_LEXICON, bm25_rows.PSQ, bm25_rows.FUSED]
    assert list(other.scores) == [report.CEILING, report.ZERO_SHOT, report.STUDENT, *words]
    assert other.scores[report.STUDENT] == found.scores[report.TRANSPLANT]
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before, "the run's own results were overwritten"
    kept = json.loads((own.with_name(f"{OWN}-transplant") / "results.json").read_text(encoding="utf-8"))
    assert kept["systems"][report.STUDENT]["mean"] == other.scores[report.STUDENT].mean


def test_a_question_is_answered_with_documents(run):
    found = answer.answer(answer.load_run(run[0]), "Nani anaandika barua?", 3)
    assert len(found) == 3
    assert found[0].doc.id == "d2"
    assert found[0].doc.title == "Text 2"
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_an_index_of_other_documents_is_refused(run, data, tmp_path):
    shutil.copytree(data / "collection", tmp_path / "collection")
    with (tmp_path / "collection" / "docs.jsonl").open("a") as file:
        file.write('{"id": "new", "title": "", "text": "a new one"}\n')
    recipe = run[0].model_copy(update={"collection": str(tmp_path / "collection")})
    with pytest.raises(DataError, match="optical index"):
        answer.load_run(recipe)


def test_an_index_by_another_teacher_is_not_searched(run, tmp_path):
    recipe, found, _ = run
    bert(tmp_path / "made", text="other words " + ENGLISH).save(str(tmp_path / "teacher"))
    other = evaluated(recipe.model_copy(update={"teacher": str(tmp_path / "teacher")}))
    fresh = recipe.model_copy(update={"teacher": str(tmp_path / "teacher"), "out": str(tmp_path / "fresh")})
    expected = evaluated(fresh, recipe.folder / "student")
    assert other.scores[report.CEILING] == expected.scores[report.CEILING]
    evaluated(recipe)


@pytest.mark.parametrize("kind", [cased, unigram])
def test_other_architectures_go_the_same_way(kind, tmp_path, data):
    kind(tmp_path / "made").save(str(tmp_path / "teacher"))
    recipe = recipe_of(tmp_path, data, tmp_path / "teacher")
    found = distilled(recipe, progress=False)
    ap = {system: scores.mean["AP"] for system, scores in found.scores.items()}
    assert ap[report.STUDENT] > ap[report.ZERO_SHOT] + 0.2
    losses = [e for e in json.loads((recipe.folder / "training.json").read_text()) if "loss" in e]
    assert mean_loss(losses[-3:]) < mean_loss(losses[:3])
    development = json.loads((recipe.folder / "manifest.json").read_text())["development"]
    assert development["best"] >= development["start"]
    assert evaluated(recipe).scores == found.scores


@pytest.mark.parametrize("kind", [uncased, unigram])
def test_a_trimmed_student_of_fewer_layers_goes_the_same_way(kind, tmp_path, data):
    kind(tmp_path / "made").save(str(tmp_path / "teacher"))
    more = {"training.steps": 4, "layers": 1, "vocabulary.mode": "trim", "training.averaging": False}
    recipe, said = recipe_of(tmp_path, data, tmp_path / "teacher", **more), []
    distilled(recipe, said.append, progress=False)
    student = load_encoder(recipe.folder / "student")
    facts = json.loads((recipe.folder / "manifest.json").read_text())["transplant"]
    assert student[0].auto_model.config.num_hidden_layers == 1
    assert len(student.tokenizer) == facts["rows_after"] <= facts["rows_before"]
    assert facts["parameters_after"] == sum(p.numel() for p in student.parameters())
    assert any(f"0 words added, {facts['rows_before']} -> {facts['rows_after']} rows" in line for line in said)


def test_without_a_collection_nothing_is_measured(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    words = tmp_path / "words.tsv"
    words.write_text("moon\tmwezi\n", encoding="utf-8")
    recipe = recipe_of(tmp_path, data, tmp_path / "teacher", **{"training.steps": 2, "vocabulary.lexicon": str(words)})
    said = []
    assert distilled(recipe.model_copy(update={"collection": None}), said.append, progress=False) is None
    manifest = json.loads((recipe.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["dictionary"] == {str(words): hashlib.sha256(words.read_bytes()).hexdigest()}
    assert (recipe.folder / "student" / "modules.json").is_file()
    assert any("held-out" in line for line in said)


def test_a_collection_with_one_split_needs_no_dev(tmp_path, data):
    shutil.copytree(data / "collection", tmp_path / "collection")
    (tmp_path / "collection" / "qrels.dev.tsv").unlink()
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    more = {"training.steps": 2, "collection": str(tmp_path / "collection")}
    assert distilled(recipe_of(tmp_path, data, tmp_path / "teacher", **more), progress=False) is not None


def test_names_of_the_documents_keep_the_teacher_s_pieces_in_the_students_folders(tmp_path, data):
    shutil.copytree(data / "collection", tmp_path / "collection")
    with (tmp_path / "collection" / "docs.jsonl").open("a") as file:
        file.write('{"id": "new", "title": "", "text": "the river is near Vitabuni, they say ."}\n')
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    recipe, said = recipe_of(tmp_path, data, tmp_path / "teacher", collection=str(tmp_path / "collection")), []
    start = transplant_run(recipe, said.append, progress=False)
    assert start.report()["names_of_documents"] == 1
    assert any(line.startswith("names: 1 of the documents") for line in said)
    words = query_words(load_student(recipe.folder / "transplant"))
    assert words.seen.names == ["vitabuni"]
    assert [bool(made) for made in words.compositions(["Vitabuni", "vitabuni", "Vitabu"])] == [False, True, False]
    off = recipe.model_copy(update={"vocabulary": recipe.vocabulary.model_copy(update={"compose": "off"})})
    assert "names_of_documents" not in transplant_run(off, progress=False).report()


def test_a_split_that_is_not_there_stops_before_any_work(tmp_path, data):
    with pytest.raises(DataError, match="no split 'train', only dev, test"):
        distilled(recipe_of(tmp_path, data, tmp_path / "no teacher needed", **{"search.split": "train"}))


def test_an_interrupted_chain_goes_on_and_ends_the_same(tmp_path, data, monkeypatch):
    """Ctrl-C in the middle leaves a checkpoint and nothing else; the same call ends as if never interrupted."""
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    whole = recipe_of(tmp_path, data, tmp_path / "teacher", out=str(tmp_path / "whole"))
    expected = distilled(whole, progress=False)
    halved = recipe_of(tmp_path, data, tmp_path / "teacher")
    original = distillation.DistillationLoss.forward
    calls = []

    def forward(self, features, labels):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, features, labels)

    monkeypatch.setattr(distillation.DistillationLoss, "forward", forward)
    with pytest.raises(Interrupted, match="the same command goes on"):
        distilled(halved, progress=False)
    assert len(calls) == 4
    assert [p.name.split("-")[0] for p in halved.folder.iterdir()] == ["checkpoints"]
    found = distilled(halved, progress=False)
    assert len(calls) == 12, "training began anew"
    assert found.scores == expected.scores


def test_the_cards_of_start_and_student_say_what_the_teacher_s_weights_are(tmp_path, data):
    teacher = uncased(tmp_path / "made")
    setattr(teacher[0].auto_model.config, NOTE, "These weights have 4 bits.")
    teacher.save(str(tmp_path / "teacher"))
    recipe = recipe_of(tmp_path, data, tmp_path / "teacher", **{"training.steps": 2, "training.evaluate_every": 2})
    distilled(recipe, progress=False)
    for name in ("transplant", "student"):
        assert "These weights have 4 bits." in (recipe.folder / name / "README.md").read_text(encoding="utf-8")
