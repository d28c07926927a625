"""Whose side a text is on: English documents are the teacher's, documents in X are each system's own to embed."""

from __future__ import annotations

import json

import pytest

from optical.config.recipe import load_recipe
from optical.data.trec_run import read_run
from optical.errors import DataError
from optical.evaluation import perturbed_results, report
from optical.models import encoders
from optical.models.load import load_encoder, load_student
from optical.pipeline import answer, bm25_rows, evaluate, index
from optical.pipeline.embed import document_encoder, embed_collections, embed_documents, load_teacher
from optical.pipeline.index import index_folder, serves
from optical.pipeline.inputs import run_collections
from optical.pipeline.perturb import perturb_run
from optical.retrieval import dense
from tests.conftest import bert
from tests.runs import by_words, distilled

ENGLISH = [
    "the farmer plants maize .", "the cow gives milk .", "the teacher writes a letter .", "rain falls in april .",
    "the doctor helps the sick .", "a dog guards the door .", "they sing songs .", "the river is long .",
]  # fmt: skip
QUESTIONS = ["who plants maize ?", "the cow ?", "who writes a letter ?", "where is rain ?", "who helps the sick ?"]


def in_x(text: str) -> str:
    """A language that the student reads as the teacher reads English, and the teacher letter by letter."""
    return " ".join(word[::-1] if len(word) > 1 else word for word in text.split())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A teacher, and a student with the same weights whose words are those of X: all that it lacks is English."""
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("models")
    by_words(bert(folder / "made")).save(str(folder / "teacher"))
    encoder = load_encoder(folder / "teacher", "cpu")
    words = (folder / "made" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [w if w.startswith(("[", "##")) else w[::-1] for w in words]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=64)
    encoders.transformer(encoder).processor = tokenizer
    encoder.save(str(folder / "student"))
    encoders.as_multi_vector(encoder).save(str(folder / "late"))
    return folder


def write_collection(folder, docs_lang, queries, unjudged=()):
    """Eight documents; a question's answer has its number."""
    folder.mkdir()
    say = in_x if docs_lang != "en" else str
    rows = (json.dumps({"id": f"d{k}", "title": "", "text": say(text)}) + "\n" for k, text in enumerate(ENGLISH))
    name = "docs.jsonl" if docs_lang == "en" else f"docs.{docs_lang}.jsonl"
    (folder / name).write_text("".join(rows), encoding="utf-8")
    for lang in queries:
        ask = in_x if lang != "en" else str
        lines = "".join(f"q{k}\t{ask(text)}\n" for k, text in enumerate(QUESTIONS))
        (folder / f"queries.{lang}.tsv").write_text(lines, encoding="utf-8")
    judged = "".join(f"q{k} 0 d{k} 1\n" for k in range(len(QUESTIONS)) if k not in unjudged)
    (folder / "qrels.tsv").write_text(judged, encoding="utf-8")
    return str(folder)


@pytest.fixture
def finished(tmp_path, models):
    """A function that makes the recipe of a finished run over a collection, single vectors or late interaction."""

    def make(collection, *, late=False, lang="xx", **more):
        named = {"lang": lang, "teacher": str(models / "teacher"), "collection": collection, "device": "cpu"}
        named |= {"out": str(tmp_path / "run"), "cache": str(tmp_path / "cache"), "late_interaction": late}
        recipe = load_recipe(None, {**named, **more})
        if not recipe.folder.exists():
            recipe.folder.mkdir()
            (recipe.folder / "student").symlink_to(models / ("late" if late else "student"))
        return recipe

    return make


def measured(recipe):
    said = []
    (result,) = evaluate.evaluate_run(recipe, say=said.append).values()
    return result, said


@pytest.mark.parametrize("late", [False, True])
def test_english_queries_over_documents_in_x(tmp_path, finished, late):
    english, _ = measured(finished(write_collection(tmp_path / "english", "en", ["en", "xx"]), late=late))
    recipe = finished(write_collection(tmp_path / "turned", "xx", ["en"]), late=late)
    result, said = measured(recipe)
    assert list(result.scores) == [report.ZERO_SHOT, report.STUDENT]
    assert (result.lang, result.docs_lang, result.documents) == ("en", "xx", 8)
    assert "no ceiling: turned has xx documents and no English version of them" in said
    assert "the teacher embeds the queries, the student the 8 documents" in said
    # The student's documents are where the teacher would put their English.
    ceiling = english.scores[report.CEILING]
    assert result.scores[report.STUDENT].per_query["AP"] == ceiling.per_query["AP"]
    assert ceiling.mean["AP"] > result.scores[report.ZERO_SHOT].mean["AP"]
    assert report.table(result).title == "turned (test): 5 en queries, 8 xx documents"
    folder = evaluate.evaluation_folder(recipe, "turned", "xx", None)
    kept = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert (kept["lang"], kept["docs_lang"], kept["documents"]) == ("en", "xx", 8)
    assert read_run(folder / "student.trec").keys() == {f"q{k}" for k in range(5)}


@pytest.mark.parametrize(
    ("factory", "told"), [("Flat", []), ("IVF2,Flat", ["the index IVF2,Flat finds 100.0 % of the exact first 100"])]
)
def test_an_index_is_opened_once_and_what_it_misses_is_said(tmp_path, finished, monkeypatch, factory, told):
    collection = write_collection(tmp_path / "english", "en", ["en", "xx"])
    recipe = finished(collection, **{"search.factory": factory})
    index.index_run(recipe)
    opened, load = [], dense.load
    monkeypatch.setattr(dense, "load", lambda folder, **more: (opened.append(folder), load(folder, **more))[1])
    result, said = measured(recipe)
    assert len(result.scores) > 2
    assert [folder.name for folder in opened] == ["index"]
    assert [line.removesuffix(" (some questions)") for line in said if "of the exact first" in line] == told


def test_english_documents_are_measured_as_ever(tmp_path, finished):
    recipe = finished(write_collection(tmp_path / "english", "en", ["en", "xx"]))
    result, said = measured(recipe)
    words = [bm25_rows.UNTRANSLATED, bm25_rows.FUSED]
    assert list(result.scores) == [report.CEILING, report.ZERO_SHOT, report.STUDENT, *words]
    assert result.scores[report.CEILING].per_query == result.scores[report.STUDENT].per_query
    assert report.table(result).title == "english (test): 5 xx queries, 8 English documents"
    kept = json.loads((evaluate.evaluation_folder(recipe, "english", "xx", None) / "results.json").read_text())
    assert list(kept) == ["collection", "split", "lang", "documents", "systems", "tests", "fingerprint"]
    assert [line[:4] for line in said if "README.md" not in line] == ["BM25", "runs"]


def test_queries_in_x_over_documents_in_x_are_the_students_alone(tmp_path, finished):
    english, _ = measured(finished(write_collection(tmp_path / "english", "en", ["en", "xx"])))
    result, said = measured(finished(write_collection(tmp_path / "own", "xx", ["xx"])))
    assert (result.lang, result.docs_lang) == ("xx", "xx")
    assert "the student embeds the queries and the 8 documents" in said
    assert result.scores[report.STUDENT].per_query == english.scores[report.CEILING].per_query
    both, _ = measured(finished(write_collection(tmp_path / "both", "xx", ["en", "xx"])))
    assert both.lang == "en"


def test_the_index_over_documents_in_x_is_the_students(tmp_path, finished):
    recipe = finished(write_collection(tmp_path / "turned", "xx", ["en"], unjudged=(1,)))
    exact, said = measured(recipe)
    assert "collection: 1 left out, query without judgement" in said
    assert index.index_run(recipe) == [recipe.folder / "index"]
    (collection,) = run_collections(recipe).values()
    student, teacher = document_encoder(recipe, collection), load_teacher(recipe)
    searched = embed_documents(recipe, student, collection, False)
    assert serves(index_folder(recipe.folder, "xx"), student, searched)
    assert not serves(index_folder(recipe.folder, "xx"), teacher, searched)
    indexed, _ = measured(recipe)
    assert indexed.scores[report.STUDENT].per_query == exact.scores[report.STUDENT].per_query
    assert indexed.scores[report.ZERO_SHOT] == exact.scores[report.ZERO_SHOT]


def test_the_index_of_english_documents_is_the_teachers(tmp_path, finished):
    recipe = finished(write_collection(tmp_path / "english", "en", ["xx"]))
    index.index_run(recipe)
    (collection,) = run_collections(recipe).values()
    teacher = document_encoder(recipe, collection)
    assert encoders.fingerprint(teacher) == encoders.fingerprint(load_teacher(recipe))
    searched = embed_documents(recipe, teacher, collection, False)
    assert serves(index_folder(recipe.folder, "xx"), teacher, searched)
    assert "student_fingerprint" not in json.loads((recipe.folder / "index" / "optical.json").read_text())


def test_a_side_that_is_missing_is_named(tmp_path, finished):
    recipe = finished(write_collection(tmp_path / "finnish", "fi", ["en", "xx"]))
    with pytest.raises(DataError) as caught:
        measured(recipe)
    assert str(caught.value) == (
        "finnish has fi documents, which nobody embeds: the teacher knows English, the student xx; take English or xx"
        " documents, or a run in fi"
    )
    recipe = finished(write_collection(tmp_path / "english", "en", ["en"]))
    with pytest.raises(DataError, match="english has no xx queries, of those wanted only en; add queries.xx.tsv"):
        measured(recipe)


def test_nobody_indexes_or_searches_documents_in_a_third_language(tmp_path, finished):
    recipe = finished(write_collection(tmp_path / "finnish", "fi", ["en", "xx"]))
    for call in (index.index_run, answer.load_run):
        with pytest.raises(DataError, match="^.*finnish has fi documents, which nobody embeds"):
            call(recipe)
    assert not (recipe.folder / "index").exists()


def test_what_only_knows_english_documents_says_so(tmp_path, finished):
    recipe = finished(write_collection(tmp_path / "turned", "xx", ["en", "xx"]))
    with pytest.raises(DataError, match="^the documents of .*turned are in xx, and here they have to be English"):
        embed_collections(recipe)


@pytest.mark.parametrize("late", [False, True])
def test_perturbed_queries_in_x_over_documents_in_x_are_the_students_alone(tmp_path, finished, late):
    recipe = finished(write_collection(tmp_path / "both", "xx", ["en", "xx"], unjudged=(3,)), late=late)
    said = []
    (result,) = perturb_run(recipe, ["case", "drop"], [1.0], seeds=2, say=said.append)
    assert (
        "both is asked in English where nothing is perturbed; here its 4 xx queries are asked, by the student" in said
    )
    own, _ = measured(finished(write_collection(tmp_path / "own", "xx", ["xx"], unjudged=(3,)), late=late))
    clean = result.clean[report.STUDENT]
    assert clean.per_query["AP"] == own.scores[report.STUDENT].per_query["AP"]
    assert clean.mean["AP"] > 0.6
    case, drop = result.outcomes[report.STUDENT]
    assert case.by_seed == [clean.mean["AP"]] * 2  # an uncased student
    assert drop.mean.mean["AP"] < clean.mean["AP"]
    assert (result.lang, result.docs_lang) == ("xx", "xx")
    assert perturbed_results.table(result).title.startswith(
        "both (test): 4 xx queries over xx documents, perturbed with 2 seeds; "
    )
    folder = evaluate.evaluation_folder(recipe, "both", "xx", None)
    assert json.loads((folder / "perturbed.json").read_text(encoding="utf-8"))["docs_lang"] == "xx"


def test_each_system_embeds_documents_in_x_by_itself(tmp_path, models, finished):
    recipe = finished(write_collection(tmp_path / "own", "xx", ["xx"]))
    (recipe.folder / "transplant").symlink_to(models / "teacher")  # reads X letter by letter
    said = []
    (result,) = perturb_run(recipe, ["case"], [1.0], seeds=1, say=said.append)
    reports, _ = measured(recipe)
    for system in (report.TRANSPLANT, report.STUDENT):
        assert result.clean[system].per_query["AP"] == reports.scores[system].per_query["AP"]
    assert result.clean[report.TRANSPLANT] != result.clean[report.STUDENT]
    assert [line for line in said if "English" in line] == []


def test_english_queries_over_documents_in_x_cannot_be_perturbed(tmp_path, finished, monkeypatch):
    recipe = finished(write_collection(tmp_path / "turned", "xx", ["en"]))
    monkeypatch.setattr(encoders, "fingerprint", lambda *_, **__: pytest.fail("it was embedded"))
    with pytest.raises(DataError) as caught:
        perturb_run(recipe, ["typos"])
    assert str(caught.value) == (
        "turned has xx documents and judges only English queries in 'test', while words of xx are perturbed; add "
        "judged queries in queries.xx.tsv, or evaluate without --perturb"
    )


def test_of_several_languages_those_that_can_be_perturbed_are(tmp_path, finished):
    own = write_collection(tmp_path / "at-xx", "xx", ["xx"])
    write_collection(tmp_path / "at-yy", "yy", ["en"])
    recipe = finished(own.replace("at-xx", "at-{lang}"), lang="xx,yy")
    said = []
    (result,) = perturb_run(recipe, ["case"], [1.0], seeds=1, say=said.append)
    assert result.collection == "at-xx"
    assert any(line.startswith("yy is not measured: at-yy has yy documents and judges only English") for line in said)


def test_a_whole_run_over_documents_in_x(tmp_path, finished):
    collection = write_collection(tmp_path / "turned", "xx", ["en"], unjudged=(3,))
    (tmp_path / "turned" / "qrels.dev.tsv").write_text("q3 0 d3 1\n", encoding="utf-8")
    bitext = tmp_path / "bitext.tsv"
    bitext.write_text("".join(f"{text}\t{in_x(text)}\n" for text in [*ENGLISH, "the moon shines ."]), encoding="utf-8")
    settings = {"training.steps": 4, "training.batch_size": 4, "training.evaluate_every": 2, "training.min_words": 1}
    recipe = finished(collection, out=str(tmp_path / "new"), bitext=str(bitext), **settings)
    recipe.folder.joinpath("student").unlink()
    said = []
    result = distilled(recipe, said.append, progress=False)
    assert "development score: MAP of 1 dev queries, 8 xx documents" in said
    assert list(result.scores) == [report.ZERO_SHOT, report.TRANSPLANT, report.STUDENT]
    assert result.scores[report.TRANSPLANT].mean["AP"] > result.scores[report.ZERO_SHOT].mean["AP"]
    manifest = json.loads((recipe.folder / "index" / "optical.json").read_text(encoding="utf-8"))
    student = load_student(recipe.folder / "student", "cpu")
    assert manifest["student_fingerprint"] == encoders.fingerprint(student)


@pytest.mark.parametrize("late", [False, True])
def test_a_question_is_answered_by_documents_in_x(tmp_path, finished, late):
    recipe = finished(write_collection(tmp_path / "turned", "xx", ["en"]), late=late)
    index.index_run(recipe)
    answers = answer.load_run(recipe)
    best = answer.answer(answers, in_x(QUESTIONS[2]), 3)[0]
    assert (best.doc.id, best.doc.text) == ("d2", in_x(ENGLISH[2]))
    assert bool(best.matches) == late


def test_an_index_of_documents_in_x_by_another_student_is_refused(tmp_path, models, finished):
    recipe = finished(write_collection(tmp_path / "turned", "xx", ["en"]))
    index.index_run(recipe)
    (recipe.folder / "student").unlink()
    (recipe.folder / "student").symlink_to(models / "teacher")
    with pytest.raises(DataError, match="index is of another student than .*student is now, .*; run `optical index"):
        answer.load_run(recipe)
