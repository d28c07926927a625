"""Documents without judgements: what can be done with them, what is said, and what is refused in one message."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from optical.config.recipe import load_recipe, write_recipe
from optical.data.trec_run import read_run
from optical.errors import DataError
from optical.pipeline import answer, evaluate, export, index
from optical.pipeline.perturb import perturb_run
from optical.pipeline.unmeasured import next_steps, not_measured
from optical.pipeline.verify import note_files

ARTICLES = ["the farmer plants maize .", "the cow gives milk .", "the teacher writes a letter ."]


@pytest.fixture
def documents(run, tmp_path):
    """The recipe of a copy of the finished run, over a folder of articles."""
    folder = tmp_path / "articles"
    folder.mkdir()
    for k, text in enumerate(ARTICLES):
        (folder / f"a {k}.txt").write_text(text, encoding="utf-8")
    row = {"text": "rain falls in april .", "url": "https://example.org/rain"}
    (folder / "rain.jsonl").write_text(json.dumps(row), encoding="utf-8")
    shutil.copytree(run[0].folder, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation", "index"))
    note_files(tmp_path / "run", [])
    return run[0].model_copy(update={"out": str(tmp_path / "run"), "collection": str(folder)})


def test_documents_alone_are_indexed_and_searched(documents):
    assert index.index_run(documents) == [documents.folder / "index"]
    found = answer.answer(answer.load_run(documents), "Mvua inanyesha mwezi wa Aprili", 4)
    assert sorted(hit.doc.id for hit in found) == ["a%200.txt", "a%201.txt", "a%202.txt", "rain.jsonl:1"]
    assert {hit.doc.id: hit.doc.metadata for hit in found if hit.doc.extra} == {
        "rain.jsonl:1": {"url": "https://example.org/rain"}
    }


def test_whatever_measures_refuses_documents_alone_in_one_message(documents):
    says = r"^nothing can be measured on articles, which has no judgements: name a folder with queries\.sw\.tsv and"
    for job in (evaluate.evaluate_run, lambda recipe: perturb_run(recipe, ["typos"], [0.1], seeds=1)):
        with pytest.raises(DataError, match=says):
            job(documents)
    other = documents.folder / "other.trec"
    other.write_text("q1 Q0 d1 1 1.0 x\n", encoding="utf-8")
    with pytest.raises(DataError, match=says):
        evaluate.compare_with(documents, [other], print)
    assert not (documents.folder / "evaluation").exists()


def test_questions_without_judgements_have_runs_and_no_table(documents):
    asked = Path(documents.collection, "queries.sw.tsv")
    asked.write_text("q1\tNani anapanda mahindi?\nq2\tNani anatoa maziwa?\n", encoding="utf-8")
    said = []
    assert evaluate.evaluate_run(documents, say=said.append) == {}
    folder = documents.folder / "evaluation" / "articles-test"
    written = {path.name for path in folder.iterdir() if path.suffix != ""}
    assert {"student.trec", "transplant-untrained.trec", "teacher-as-it-is.trec"} <= written
    assert not {"table.md", "results.json", "ceiling.trec"} & written
    for system in ("student", "transplant-untrained"):
        assert {query: len(found) for query, found in read_run(folder / f"{system}.trec").items()} == {"q1": 4, "q2": 4}
    assert said[-1] == (
        "articles has no judgements, so there is no table: TREC runs of its 2 sw questions are in " + str(folder)
    )


def test_an_export_is_compared_on_sentences_of_the_bitext(documents):
    said = []
    assert export._collection(documents, said.append) is None
    assert said == ["no MAP: articles has no judgements"]


def run_of(folder, lang="sw", collection=None, **development):
    """The recipe of a run of which there is but a manifest."""
    known = {"start": 0.5, "best": 0.625, "share": 1.0, "standard_error": 0.01, "p_value": 0.001, "best_of": 1}
    named = collection and {"name": collection, "checksum": "c0ffee"}
    each = dict.fromkeys(lang.split(","), named) if "," in lang else named
    (folder / "manifest.json").write_text(json.dumps({"collection": each, "development": known | development}))
    return load_recipe(None, {"lang": lang, "out": str(folder), "collection": collection})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "rose to 0.6250 in training, from 0.5000; the standard error of the difference is 0.0100, so that one "
         "below some 0.0200 does not show on so few sentences. It chose the student, and says nothing about real "
         "questions."),
        ({"share": 0.0, "best": 0.5}, "stayed at 0.5000, that of the start; the standard error of the difference is"),
        ({"standard_error": None}, "rose to 0.6250 in training, from 0.5000; there were too few sentences to test it. "
         "It says nothing about"),
    ],
)  # fmt: skip
def test_the_closing_words_say_how_little_the_development_score_shows(tmp_path, more, says):
    said = not_measured(run_of(tmp_path, collection="articles", **more))
    assert said.startswith("Not measured: how well questions find their documents (articles has no judgements). The ")
    assert f"The development score, on sentences held out of the bitext, {says}" in said


def test_the_closing_words_without_a_score_or_documents_or_of_several_languages(tmp_path):
    said = not_measured(run_of(tmp_path, best=None, start=None))
    assert "(no documents were given). There is no development score either: the bitext has too few pairs" in said
    assert "(docs has no judgements)" in not_measured(run_of(tmp_path, "sw,so", "docs"))
    assert "(no documents were given)" in not_measured(run_of(tmp_path, "sw,so"))


def test_no_next_step_is_named_that_cannot_be_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone, searched = run_of(tmp_path), run_of(tmp_path, collection="articles")
    assert next_steps(alone, measured=False) == [
        f"index {tmp_path} --docs FOLDER", f"search {tmp_path} 'your question'",
    ]  # fmt: skip
    assert next_steps(searched, measured=False)[1] == f"serve {tmp_path}"
    assert next_steps(searched, measured=True)[1] == f"evaluate {tmp_path} --collection FOLDER"


def test_the_recipe_of_documents_is_read_again_as_it_was(documents):
    assert load_recipe(documents.folder / "recipe.toml").collection != documents.collection
    index.index_run(documents)
    assert write_recipe(load_recipe(documents.folder / "recipe.toml")) == write_recipe(documents)


def test_next_steps_can_be_pasted_whatever_the_folder_is_called():
    recipe = load_recipe(None, {"lang": "sw", "out": "my run", "collection": "docs"})
    assert next_steps(recipe, measured=False) == ["search 'my run' 'your question'", "serve 'my run'"]
