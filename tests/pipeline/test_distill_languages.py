"""The chain with one student for two languages: each is learnt, measured and kept apart."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import optical
from optical import cli
from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.errors import DataError, RecipeError
from optical.evaluation import report
from optical.evaluation.tables import page
from optical.models.load import load_encoder
from optical.pipeline import answer, distill, evaluate, index
from optical.retrieval.dense import partitioned
from optical.training import distillation
from tests.chain import DOCUMENTS, MUCH_TO_LEARN, PAIRS, QUESTIONS, SETTINGS, uncased
from tests.runs import evaluated

ASKED = {f"q{i}" for i in (1, 3, 5, 6, 7, 8, 9)}


def other(text: str) -> str:
    """A second language: the first one with other words, some of which are left as they are."""
    return " ".join(word if word.startswith("w") else f"qo{word.lower()}" for word in text.split())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Bitext of two languages, one with half as many pairs, and a collection that asks in both."""
    folder = tmp_path_factory.mktemp("languages")
    for lang, pairs in {"sw": PAIRS, "so": [(en, other(sw)) for en, sw in PAIRS[:12]]}.items():
        (folder / "bitext" / lang).mkdir(parents=True)
        (folder / "bitext" / lang / "a.tsv").write_text("".join(f"{en}\t{x}\n" for en, x in pairs), encoding="utf-8")
    collection = folder / "collection"
    collection.mkdir()
    docs = [{"id": f"d{i}", "title": f"Text {i}", "text": text} for i, text in enumerate(DOCUMENTS)]
    (collection / "docs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs), encoding="utf-8")
    texts = {i: {"en": en, "sw": sw, "so": other(sw)} for i, (en, sw) in QUESTIONS.items()}
    for lang in ("en", "sw", "so"):
        lines = (f"q{i}\t{each[lang]}\n" for i, each in texts.items())
        (collection / f"queries.{lang}.tsv").write_text("".join(lines), encoding="utf-8")
    for split, keep in (("dev", (0, 2, 4)), ("test", (1, 3, 5, 6, 7, 8, 9))):
        (collection / f"qrels.{split}.tsv").write_text("".join(f"q{i} 0 d{i} 1\n" for i in keep), encoding="utf-8")
    uncased(folder / "made").save(str(folder / "teacher"))
    return folder


def recipe_of(data, out, lang: str = "sw,so", **more):
    named = {"out": str(out / "run"), "cache": str(data / "cache"), "teacher": str(data / "teacher"), "lang": lang}
    named |= {"bitext": str(data / "bitext"), "collection": str(data / "collection")}
    return load_recipe(None, {**named, **SETTINGS, **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """The recipe of a finished run, its reports, and what it said."""
    recipe, said = recipe_of(data, tmp_path_factory.mktemp("run"), **MUCH_TO_LEARN), []
    return recipe, distill.distill_run(recipe, said.append, progress=False), said


def ap(found, system: str) -> float:
    return found.scores[system].mean["AP"]


def test_one_student_learns_both(run):
    _, reports, said = run
    assert list(reports) == ["sw", "so"]
    for lang, found in reports.items():
        assert found.lang == lang
        assert found.scores[report.STUDENT].per_query["AP"].keys() == ASKED
        assert ap(found, report.STUDENT) > ap(found, report.ZERO_SHOT) + 0.2
        assert ap(found, report.STUDENT) > ap(found, report.TRANSPLANT) + 0.1
    assert ap(reports["sw"], report.CEILING) == ap(reports["so"], report.CEILING)
    assert [line for line in said if line.startswith(("sw: dev", "so: dev"))] == [
        f"{lang}: development score: MAP of 3 dev queries" for lang in ("sw", "so")
    ]
    assert any(line.startswith("languages and their shares of training: sw 18 pairs, ") for line in said)


def test_results_are_kept_by_language_with_a_summary(run):
    recipe, reports, _ = run
    kept = {folder.name: folder for folder in (recipe.folder / "evaluation").iterdir()}
    name = reports["sw"].collection.replace("/", "-")
    assert kept.keys() == {f"{name}-test-{part}" for part in ("sw", "so", "summary")}
    by_part = {name.rpartition("-")[2]: folder for name, folder in kept.items()}
    for lang, found in reports.items():
        told = json.loads((by_part[lang] / "results.json").read_text(encoding="utf-8"))
        assert told["lang"] == lang
        assert told["systems"][report.STUDENT]["mean"]["AP"] == ap(found, report.STUDENT)
        assert f"| student | {lang} |" in (by_part[lang] / "table.md").read_text(encoding="utf-8")
    summary = json.loads((by_part["summary"] / "results.json").read_text(encoding="utf-8"))
    assert summary["fingerprint"] == json.loads((by_part["sw"] / "results.json").read_text("utf-8"))["fingerprint"]
    shares = [found.share(report.STUDENT) for found in reports.values()]
    assert summary["mean"]["share_of_ceiling"] == pytest.approx(np.mean(shares))
    assert (by_part["summary"] / "table.md").read_text(encoding="utf-8") == page(report.summary_table(reports))


def test_the_manifest_tells_the_languages_apart(run, data):
    recipe, _, _ = run
    manifest = json.loads((recipe.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["pairs"] == 30
    assert {lang: facts["pairs"] for lang, facts in manifest["languages"].items()} == {"sw": 18, "so": 12}
    draws = {"sw": 18 + 2 * 3, "so": 12 + 2 * 2}  # questions are drawn three times
    roots = {lang: n**0.5 for lang, n in draws.items()}
    for lang, root in roots.items():
        assert manifest["languages"][lang]["share_of_draws"] == pytest.approx(root / sum(roots.values()))
    assert manifest["bitext"].keys() == {str(data / "bitext" / lang / "a.tsv") for lang in ("sw", "so")}
    assert manifest["collection"]["sw"] == manifest["collection"]["so"]
    assert "evaluation" in manifest["seconds"]
    assert load_recipe(recipe.folder / "recipe.toml") == recipe


def test_evaluation_gives_the_same_again_and_another_student_its_own_folder(run):
    recipe, reports, _ = run
    again = evaluate.evaluate_run(recipe)
    assert {lang: found.scores for lang, found in again.items()} == {
        lang: found.scores for lang, found in reports.items()
    }
    before = {path: path.read_bytes() for path in (recipe.folder / "evaluation").rglob("*.json")}
    others = evaluate.evaluate_run(recipe, recipe.folder / "transplant")
    assert ap(others["so"], report.STUDENT) == ap(reports["so"], report.TRANSPLANT)
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((recipe.folder / "evaluation").glob("*-summary-transplant"))) == 1


def test_questions_of_both_are_answered(run):
    recipe, reports, _ = run
    loaded = answer.load_run(recipe, pytest.fail)
    for lang, found in reports.items():
        first = next(name for name, value in found.scores[report.STUDENT].per_query["AP"].items() if value == 1.0)
        question = QUESTIONS[int(first[1:])][1]
        answers = answer.answer(loaded, question if lang == "sw" else other(question), 2)
        assert answers[0].doc.id == first.replace("q", "d")
    assert [path.name for path in recipe.folder.glob("index*")] == ["index"]
    assert index.index_run(recipe) == [recipe.folder / "index"]


def test_one_language_of_a_run_can_be_measured_alone(run):
    recipe, reports, _ = run
    alone = evaluated(recipe.model_copy(update={"lang": "so"}))
    assert alone.scores == reports["so"].scores


def test_the_command_line_shows_every_table_and_the_summary(run):
    recipe, reports, _ = run
    shown = CliRunner().invoke(cli.app, ["evaluate", str(recipe.folder)], env={"COLUMNS": "200"}).output
    for lang in reports:
        assert f"7 {lang} queries, 12 English documents" in shown
    assert "MAP by language, one student" in shown


def test_a_language_without_queries_is_trained_but_not_measured(tmp_path, data):
    shutil.copytree(data / "collection", tmp_path / "collection")
    (tmp_path / "collection" / "queries.so.tsv").unlink()
    more = {"training.steps": 2, "training.batch_size": 4, "collection": str(tmp_path / "collection")}
    said = []
    reports = distill.distill_run(recipe_of(data, tmp_path, **more), said.append, progress=False)
    assert list(reports) == ["sw"]
    assert any(line.startswith("so is not measured: ") for line in said)
    assert any(line.startswith("so: development score: 1 held-out") for line in said)


def test_collections_of_their_own_have_an_index_each(tmp_path, data):
    for lang, gone in (("sw", "so"), ("so", "sw")):
        shutil.copytree(data / "collection", tmp_path / lang / "passages")
        (tmp_path / lang / "passages" / f"queries.{gone}.tsv").unlink()
    with (tmp_path / "so" / "passages" / "docs.jsonl").open("a") as file:
        file.write('{"id": "more", "title": "", "text": "one more text"}\n')
    more = {"training.steps": 2, "training.batch_size": 4, "collection": str(tmp_path / "{lang}" / "passages")}
    recipe, said = recipe_of(data, tmp_path, **more), []
    reports = distill.distill_run(recipe, progress=False)
    assert [found.documents for found in reports.values()] == [12, 13]
    assert sorted(path.name for path in recipe.folder.glob("index*")) == ["index-so", "index-sw"]
    assert answer.load_run(recipe, said.append).lang == "sw"
    assert said == ["searching the documents of sw; others: --set lang=..."]
    other_half = answer.load_run(recipe.model_copy(update={"lang": "so"}), pytest.fail)
    assert "more" in {found.doc.id for found in answer.answer(other_half, "maji", 13)}


class Stopped(Exception):
    pass


def test_both_doors_hand_the_weights_to_training(tmp_path, data, monkeypatch):
    handed = []

    def training(student, teacher, mixture, *_):
        handed.append(dict(zip(mixture.pairs, mixture.weights, strict=True)))
        raise Stopped

    monkeypatch.setattr(distillation, "train_student", training)
    with pytest.raises(Stopped):
        distill.distill_run(recipe_of(data, tmp_path, **{"training.language_temperature": 5.0}), progress=False)
    options = {"min_words": 1, "batch_size": 6, "language_temperature": 5.0}
    with pytest.raises(Stopped):
        optical.distill(load_encoder(data / "teacher"), bitext=given("pairs", data), training=options, progress=False)
    small, large = handed[0][Pair(PAIRS[0][0], other(PAIRS[0][1]))], handed[0][Pair(*PAIRS[0])]
    assert small / large == pytest.approx((24 / 16) ** (1 - 1 / 5))  # draws of each, questions three times
    assert handed[0] == handed[1]


def test_a_language_without_bitext_stops_before_any_work(tmp_path, data):
    with pytest.raises(DataError, match="no bitext for 'xx' alone"):
        distill.distill_run(recipe_of(data, tmp_path, "sw,xx", teacher="no teacher needed"))


def given(kind: str, data):
    if kind == "pairs":
        return {"sw": PAIRS, "so": [Pair(en, other(sw)) for en, sw in PAIRS[:12]]}
    return {lang: data / "bitext" / lang for lang in ("sw", "so")} if kind == "paths" else str(data / "bitext")


def test_the_python_api_takes_several_languages(data):
    teacher = load_encoder(data / "teacher")
    options = {"training": {"steps": 6, "batch_size": 6, "word_dropout": 0.0, "min_words": 1}, "progress": False}
    students = [
        optical.distill(teacher, bitext=given("pairs", data), **options),
        optical.distill(teacher, bitext=given("paths", data), **options),
        optical.distill(teacher, bitext=given("path", data), lang="sw,so", **options),
    ]
    words = students[0].tokenizer.get_vocab().keys() - teacher.tokenizer.get_vocab().keys()
    assert {"soko", "qosoko"} <= words
    vectors = [student.encode(["Soko liko wapi?", "qosoko qoliko wapi?"]) for student in students]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[0], vectors[2])
    with pytest.raises(RecipeError, match="pairs do not say which of the languages sw,so they are in"):
        optical.distill(teacher, bitext=PAIRS, lang="sw,so", **options)


def test_an_index_of_one_language_that_was_stopped_is_said_to_be_unfinished(tmp_path, data):
    recipe = recipe_of(data, tmp_path)
    assert index.index_folder(recipe.folder, "sw") == recipe.folder / "index"
    (recipe.folder / ".index-sw.parts" / "part-000").mkdir(parents=True)
    assert index.index_folder(recipe.folder, "sw") == recipe.folder / "index-sw"
    assert index.index_folder(recipe.folder, "so") == recipe.folder / "index"
    with pytest.raises(DataError, match="not finished: 1 of its parts are built; at .*index-sw; build it again"):
        partitioned.load(index.index_folder(recipe.folder, "sw"))


def test_documents_that_nobody_embeds_are_no_index_and_the_other_language_has_its_own(tmp_path, data):
    for lang in ("sw", "so"):
        shutil.copytree(data / "collection", tmp_path / lang / "passages")
    (tmp_path / "so" / "passages" / "docs.jsonl").rename(tmp_path / "so" / "passages" / "docs.fi.jsonl")
    more = {"training.steps": 2, "training.batch_size": 4, "collection": str(tmp_path / "{lang}" / "passages")}
    recipe, said = recipe_of(data, tmp_path, **more), []
    assert list(distill.distill_run(recipe, said.append, progress=False)) == ["sw"]
    assert any(line.startswith("so is not measured: passages has fi documents, which nobody embeds") for line in said)
    assert [path.name for path in recipe.folder.glob("index*")] == ["index"]
    shutil.rmtree(recipe.folder / "index")
    said.clear()
    assert index.index_run(recipe, said.append) == [recipe.folder / "index"]
    assert said == [
        "so is not indexed: passages has fi documents, which nobody embeds: the teacher knows English, the student "
        "sw,so; take English or sw,so documents, or a run in fi"
    ]
    assert answer.load_run(recipe, said.append).lang == "sw"
