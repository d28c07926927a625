"""A run that was loaded once: its answers, the words that matched, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from optical.config.prompts import Prompts
from optical.data.records import Query
from optical.errors import DataError
from optical.models import encoders
from optical.models.save import save_encoder
from optical.pipeline import answer
from optical.pipeline.embed import embed_documents, load_teacher
from optical.retrieval import dense
from optical.retrieval.search import search
from tests.runs import DOCUMENTS, tiny_run


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("late"), late=True)


@pytest.fixture(params=["single", "late"])
def recipe(request):
    return request.getfixturevalue(request.param)


def test_answers_are_those_of_a_search_with_every_document(recipe):
    loaded = answer.load_run(recipe, pytest.fail)
    teacher = load_teacher(recipe)
    _, vectors, ids = embed_documents(recipe, teacher, loaded.collection, False)
    for question in ("who plants maize ?", "the dog", "zebra", ""):
        expected = search(loaded.student, [Query("q", question)], vectors, ids, 6)["q"]
        found = answer.answer(loaded, question, 6)
        np.testing.assert_allclose([one.score for one in found], list(expected.values()), rtol=1e-5, atol=1e-6)
        assert sorted(one.doc.id for one in found) == sorted(expected)
    assert answer.answer(loaded, "who plants maize ?", 1)[0].doc[:3] == DOCUMENTS[0]
    assert len(answer.answer(loaded, "maize", 100)) <= len(DOCUMENTS)


def test_the_words_of_a_question_point_into_the_passage(late):
    found = answer.answer(answer.load_run(late), "who  writes a LETTER?", 1)[0]
    assert found.doc.id == "d2"
    question, passage = "who  writes a LETTER?", found.doc.full
    words = {question[slice(*m.query)]: (passage[slice(*m.passage)], m.similarity) for m in found.matches}
    assert list(words) == ["who", "writes", "a", "LETTER"]
    assert words["LETTER"][0] == "letter"
    assert words["writes"][0] == "writes"
    assert words["LETTER"][1] > 0.8
    assert max(words["who"][1], -1) < words["LETTER"][1]


def test_a_score_is_explained_by_its_tokens(late):
    """Words and what is no word make up the score: nothing is explained that was not counted."""
    loaded = answer.load_run(late)
    question = "the river"
    found = answer.answer(loaded, question, 1)[0]
    query = encoders.encode_queries(loaded.student, [question])[0]
    tokens = loaded.late.embedded.vectors.of(loaded.late.rows[found.doc.id]).astype(np.float32)
    assert found.score == pytest.approx(float((query @ tokens.T).max(axis=1).sum()), abs=1e-4)
    assert sum(m.similarity for m in found.matches) <= found.score + 1e-3


def test_single_vectors_name_no_words(single):
    assert [found.matches for found in answer.answer(answer.load_run(single), "milk", 3)] == [[], [], []]


def test_an_index_in_parts_that_stays_on_disk_answers_as_one_in_memory(single, tmp_path, monkeypatch):
    in_parts = tiny_run(tmp_path, **{"search.index_size": 4, "search.mapped": True})
    assert sorted(path.name for path in (in_parts.folder / "index").glob("part-*")) == [f"part-00{k}" for k in range(3)]
    seen, load = [], answer.partitioned.load
    monkeypatch.setattr(
        answer.partitioned, "load", lambda *a, **options: (seen.append(options), load(*a, **options))[1]
    )
    loaded, one = (answer.load_run(recipe) for recipe in (in_parts, single))
    assert [options["mapped"] for options in seen] == [True, False]
    for question in ("who plants maize ?", "the dog", "zebra"):
        found, expected = (answer.answer(answers, question, 6) for answers in (loaded, one))
        assert [one.doc.text for one in found] == [one.doc.text for one in expected]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
    (in_parts.folder / "index" / "part-001").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="a part of the index is missing: part-001, of 3"):
        answer.load_run(in_parts)


def test_nothing_is_loaded_again_for_a_question(recipe, monkeypatch):
    loaded = answer.load_run(recipe)
    monkeypatch.setattr("optical.models.load._read_config", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr(answer.partitioned, "load", lambda *_: pytest.fail("an index was loaded"))
    monkeypatch.setattr(answer, "embed_documents", lambda *_: pytest.fail("documents were embedded"))
    assert answer.answer(loaded, "milk", 1)[0].doc.id == "d1"


def test_an_index_of_other_documents_is_refused(tmp_path):
    recipe = tiny_run(tmp_path / "other")
    with (tmp_path / "other" / "collection" / "docs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "new", "title": "", "text": "one more"}) + "\n")
    with pytest.raises(DataError, match="is of other documents than .*collection has now; run `optical index"):
        answer.load_run(recipe)


def test_an_index_that_finds_fewer_answers_with_fewer(single, monkeypatch):
    loaded = answer.load_run(single)
    three = answer.answer(loaded, "who plants maize ?", 3)
    full = dense.nearest

    def fewer(*asked):
        scores, rows = full(*asked)
        return dense.Nearest(scores, np.where(np.arange(rows.shape[1]) < 2, rows, -1))

    monkeypatch.setattr(dense, "nearest", fewer)
    assert answer.answer(loaded, "who plants maize ?", 3) == three[:2]


@pytest.mark.parametrize("kind", ["single", "late"])
def test_an_index_by_another_document_prompt_is_not_served(tmp_path, kind):
    recipe = tiny_run(
        tmp_path, late=kind == "late", **{"teacher_prompts.document": "the river ", "search.late_index": "on"}
    )
    loaded = answer.load_run(recipe)
    assert loaded.student.prompts == {"query": "", "document": "the river "}
    folder = recipe.folder / "index"
    manifest = json.loads((folder / dense.MANIFEST).read_text())
    assert manifest["document_prompt"] == "the river "
    other = recipe.model_copy(update={"teacher_prompts": Prompts(document="the moon ")})
    save_encoder(load_teacher(other), recipe.folder / "student")
    if kind == "late":
        assert loaded.late.lists is not None
        assert answer.load_run(other).late.lists is None  # every document is compared instead, by new vectors
        return
    with pytest.raises(
        DataError, match=r"with the prompt 'the river ', and .* puts 'the moon ' before them; run `optical index"
    ):
        answer.load_run(other)


def test_a_question_is_asked_with_its_prompt(tmp_path):
    recipe = tiny_run(tmp_path, **{"teacher_prompts.query": "the cow "})
    loaded = answer.load_run(recipe)
    found = [hit.score for hit in answer.answer(loaded, "gives milk", 3)]
    loaded.student.prompts["query"] = ""
    expected = [hit.score for hit in answer.answer(loaded, "the cow gives milk", 3)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert found != pytest.approx([hit.score for hit in answer.answer(loaded, "gives milk", 3)], abs=1e-3)
