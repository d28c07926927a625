"""A whole run of a teacher with two encoders: queries are distilled from one, documents embedded by the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize

from optical.config.recipe import load_recipe
from optical.evaluation import report
from optical.models.encoders import fingerprint
from optical.models.load import load_encoder
from optical.pipeline import answer, qdrant
from optical.pipeline.embed import document_encoder, embed_collections, embed_documents, load_teacher, teacher_towers
from optical.pipeline.export import export_router
from optical.pipeline.index import index_folder, index_run, serves
from optical.pipeline.perturb import perturb_run
from optical.retrieval.qdrant.place import Place
from tests.chain import DOCUMENTS, PAIRS, QUESTIONS, recipe_of
from tests.cli.conftest import snapshot
from tests.runs import distilled, evaluated
from tests.towers import PROMPTS, by_hand, saved_pair, saved_router, two_encoders

ASKED = [f"q{k}" for k in (1, 3, 5, 6, 7, 8, 9)]
FULL = [f"Text {k} {text}" for k, text in enumerate(DOCUMENTS)]


@pytest.fixture(scope="module", params=["pair", "router"])
def run(request, tmp_path_factory, data):
    """The recipe of a finished run, its report, and the teacher's files before it."""
    folder = tmp_path_factory.mktemp(request.param)
    made = folder / "teacher"
    teacher = saved_pair(made) if request.param == "pair" else saved_router(made, Normalize())
    before = snapshot(made)
    recipe = recipe_of(folder, data, Path(teacher), device="cpu")
    return recipe, distilled(recipe, progress=False), before


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The two encoders that the teachers were made of, which no run has seen."""
    return two_encoders(tmp_path_factory.mktemp("again"))


def ranks(queries: np.ndarray, documents: np.ndarray) -> dict[str, float]:
    """AP of the judged questions, each of which has one right document: one by its rank."""
    found = queries @ documents.T
    return {name: 1 / (1 + int((row > row[int(name[1:])]).sum())) for name, row in zip(ASKED, found, strict=True)}


def test_every_row_asks_by_one_encoder_and_searches_what_the_other_embedded(run, made):
    recipe, found, _ = run
    documents = by_hand(made[1], PROMPTS["document"], FULL)
    english, swahili = ([QUESTIONS[int(name[1:])][k] for name in ASKED] for k in (0, 1))
    asking = {name: SentenceTransformer(str(recipe.folder / name), device="cpu") for name in ("transplant", "student")}
    rows = {report.CEILING: (made[0], english), report.ZERO_SHOT: (made[0], swahili)}
    rows |= {report.TRANSPLANT: (asking["transplant"], swahili), report.STUDENT: (asking["student"], swahili)}
    expected = {name: ranks(by_hand(one, PROMPTS["query"], texts), documents) for name, (one, texts) in rows.items()}
    assert {name: found.scores[name].per_query["AP"] for name in rows} == {
        name: pytest.approx(values) for name, values in expected.items()
    }
    mixed_up = ranks(by_hand(made[0], PROMPTS["query"], english), by_hand(made[0], PROMPTS["document"], FULL))
    assert mixed_up != expected[report.CEILING]


def test_the_student_learnt_the_encoder_of_queries(run, made):
    student = SentenceTransformer(str(run[0].folder / "student"), device="cpu")
    pairs = [by_hand(encoder, PROMPTS["query"], [pair[0] for pair in PAIRS]) for encoder in made]
    learnt = student.encode_query([pair[1] for pair in PAIRS], normalize_embeddings=True)
    near, far = ((learnt * target).sum(axis=1).mean() for target in pairs)
    assert near > far + 0.2
    assert {name: student.prompts[name] for name in PROMPTS} == PROMPTS


def test_the_teacher_is_as_it_was_to_the_last_bit_and_the_manifest_names_both(run):
    recipe, _, before = run
    assert snapshot(recipe.folder.parent / "teacher") == before
    towers = teacher_towers(recipe)
    manifest = json.loads((recipe.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["teacher"] == recipe.teacher
    assert manifest["teacher_fingerprint"] == fingerprint(towers.queries) == fingerprint(load_teacher(recipe))
    assert manifest["teacher_documents_fingerprint"] == fingerprint(towers.documents)
    index = json.loads((recipe.folder / "index" / "optical.json").read_text(encoding="utf-8"))
    assert index["teacher_fingerprint"] == fingerprint(towers.documents)
    cached = {path.name.rsplit("-", 1)[0] for path in Path(recipe.cache).glob("*-*") if path.is_dir()}
    assert f"teacher-{fingerprint(towers.queries, 'query')}" in cached
    embedded = {name for name in cached if name.startswith("documents-")}
    assert embedded == {f"documents-{fingerprint(towers.documents, 'document')}"}


def test_later_commands_embed_with_the_same_encoder(run, made, tmp_path):
    recipe, found, _ = run
    recipe = load_recipe(recipe.folder / "recipe.toml").model_copy(update={"cache": str(tmp_path / "cache")})
    again = evaluated(recipe)
    assert {name: scores.mean for name, scores in again.scores.items()} == {
        name: scores.mean for name, scores in found.scores.items()
    }
    loaded = answer.load_run(recipe)
    embedder = document_encoder(recipe, loaded.collection)
    assert fingerprint(embedder) == fingerprint(teacher_towers(recipe).documents)
    documents = by_hand(made[1], PROMPTS["document"], FULL)
    for vectors in embed_collections(recipe):
        np.testing.assert_allclose(np.asarray(vectors.sentences), documents, atol=1e-5)
    assert index_run(recipe) == [recipe.folder / "index"]
    embedded = embed_documents(recipe, embedder, loaded.collection, False)
    assert serves(index_folder(recipe.folder, "sw"), embedder, embedded)
    asked = by_hand(loaded.student, PROMPTS["query"], [QUESTIONS[1][1]])
    best = np.sort((asked @ documents.T)[0])[::-1][:3]
    np.testing.assert_allclose([hit.score for hit in answer.answer(loaded, QUESTIONS[1][1], 3)], best, atol=1e-5)
    assert {path.name.split("-")[1] for path in (tmp_path / "cache").glob("documents-*")} == {
        fingerprint(embedder, "document")
    }
    (perturbed,) = perturb_run(recipe, ["case"], [0.1], seeds=1)
    assert perturbed.clean[report.STUDENT].mean["AP"] == found.scores[report.STUDENT].mean["AP"]


def test_qdrant_has_what_the_encoder_of_documents_made(run, made, tmp_path):
    pytest.importorskip("qdrant_client")
    recipe, place = run[0], Place(None, tmp_path / "qdrant", "towers")
    assert qdrant.export_qdrant(recipe, place).written == len(DOCUMENTS)
    documents = by_hand(made[1], PROMPTS["document"], FULL)
    with qdrant.opened(recipe, place) as there:
        asked = by_hand(there.asking.student, PROMPTS["query"], [QUESTIONS[1][1]])
        scores = [hit.score for hit in qdrant.answer(there, QUESTIONS[1][1], 3)]
    np.testing.assert_allclose(scores, np.sort((asked @ documents.T)[0])[::-1][:3], atol=1e-5)


def test_documents_in_x_are_embedded_by_the_student_and_by_the_encoder_of_documents(run, made, tmp_path):
    recipe, _, _ = run
    (tmp_path / "turned").mkdir()
    lines = (json.dumps({"id": f"d{k}", "text": pair[1]}) + "\n" for k, pair in enumerate(PAIRS))
    (tmp_path / "turned" / "docs.sw.jsonl").write_text("".join(lines), encoding="utf-8")
    asked = "".join(f"{name}\t{PAIRS[int(name[1:])][0]}\n" for name in ASKED)
    (tmp_path / "turned" / "queries.en.tsv").write_text(asked, encoding="utf-8")
    (tmp_path / "turned" / "qrels.test.tsv").write_text("".join(f"{q} 0 d{q[1:]} 1\n" for q in ASKED))
    found = evaluated(recipe.model_copy(update={"collection": str(tmp_path / "turned")}))
    queries = by_hand(made[0], PROMPTS["query"], [PAIRS[int(name[1:])][0] for name in ASKED])
    student = load_encoder(recipe.folder / "student", "cpu")
    for name, encoder in ((report.ZERO_SHOT, made[1]), (report.STUDENT, student)):
        documents = by_hand(encoder, PROMPTS["document"], [pair[1] for pair in PAIRS])
        assert found.scores[name].per_query["AP"] == pytest.approx(ranks(queries, documents))


def test_one_folder_for_both_sides(run, made, tmp_path):
    recipe, said = run[0], []
    folder = export_router(recipe, tmp_path / "router", said.append)
    plain = SentenceTransformer(str(folder), device="cpu")
    student = load_encoder(recipe.folder / "student", "cpu")
    asked = [QUESTIONS[int(name[1:])][1] for name in ASKED]
    assert "vectors of 7 queries differ by " in said[0]
    assert "those of 12 documents by " in said[0]
    np.testing.assert_allclose(plain.encode_query(asked), by_hand(student, PROMPTS["query"], asked), atol=1e-5)
    np.testing.assert_allclose(plain.encode_document(FULL), by_hand(made[1], PROMPTS["document"], FULL), atol=1e-5)
    again = teacher_towers(recipe.model_copy(update={"teacher": str(folder)}))
    assert fingerprint(again.documents, "document") == fingerprint(teacher_towers(recipe).documents, "document")
    assert fingerprint(again.queries, "query") == fingerprint(student, "query")
