"""A whole run whose student starts from another encoder: other dimensions, tokenizer and prompts than the teacher."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense

from optical.config.prompts import Prompts
from optical.config.recipe import load_recipe
from optical.embeddings.cache import document_vectors
from optical.errors import DataError
from optical.evaluation import report
from optical.models.encoders import encode_queries, fingerprint
from optical.models.load import load_encoder
from optical.models.onnx_encoder import OnnxEncoder
from optical.pipeline import answer
from optical.pipeline.embed import load_student, load_teacher
from optical.pipeline.export import export_onnx
from optical.pipeline.index import index_run
from optical.training.callbacks import Interrupted
from tests.chain import MUCH_TO_LEARN, mean_loss, recipe_of, uncased, unigram
from tests.runs import distilled, evaluated
from tests.training.test_checkpoints import ctrl_c_at

PROMPTS = {"query": "where is ", "document": "the river "}
ASKED = ["Nani anatoa maziwa?", "Soko liko wapi?"]


@pytest.fixture(scope="module", params=["single", "late"])
def run(request, tmp_path_factory, data):
    """The recipe of a finished run, its report, and what it said."""
    folder = tmp_path_factory.mktemp(request.param)
    uncased(folder / "made").save(str(folder / "teacher"))
    body = unigram(folder / "other", dim=24)
    body.prompts = PROMPTS
    body.save(str(folder / "body"))
    more = {"late_interaction": True} if request.param == "late" else MUCH_TO_LEARN
    named = {"student": str(folder / "body"), **more}
    recipe, said = recipe_of(folder, data, folder / "teacher", **named), []
    return recipe, distilled(recipe, said.append, progress=False), said


def test_the_student_learns_and_answers(run):
    recipe, found, said = run
    ap = {system: scores.mean["AP"] for system, scores in found.scores.items()}
    assert recipe.late_interaction or ap[report.STUDENT] > ap[report.ZERO_SHOT] + 0.2
    losses = [e for e in json.loads((recipe.folder / "training.json").read_text()) if "loss" in e]
    assert mean_loss(losses[-3:]) < mean_loss(losses[:3])
    (line,) = [line for line in said if line.startswith("linear map")]
    assert "of 24 to 32 dimensions: mean cosine with the teacher on 1 held-out English sentences" in line
    loaded = answer.load_run(recipe)
    assert answer.answer(loaded, "Nani anaandika barua?", 3)
    assert evaluated(load_recipe(recipe.folder / "recipe.toml")).scores == found.scores


def test_the_manifest_names_both_encoders(run):
    recipe, *_ = run
    manifest = json.loads((recipe.folder / "manifest.json").read_text())
    assert (manifest["teacher"], manifest["student_of"]) == (recipe.teacher, recipe.student)
    assert manifest["teacher_fingerprint"] != manifest["student_of_fingerprint"]
    assert manifest["transplant"]["map_sentences"] == 18
    assert -1 <= manifest["transplant"]["map_cosine_held_out"] <= 1


def test_documents_are_the_teachers_and_stay(run, tmp_path):
    recipe, *_ = run
    loaded = answer.load_run(recipe)
    teacher = load_teacher(recipe)
    plain = recipe.model_copy(update={"student": None})
    assert fingerprint(load_teacher(plain)) == fingerprint(teacher)
    docs = loaded.collection.docs
    ids, texts = [doc.id for doc in docs], [doc.full for doc in docs]
    anew = document_vectors(teacher, ids, texts, tmp_path)
    if recipe.late_interaction:
        np.testing.assert_array_equal(np.asarray(loaded.late.embedded.vectors.tokens), np.asarray(anew.tokens))
        return
    manifest = json.loads((recipe.folder / "index" / "optical.json").read_text())
    assert manifest["teacher_fingerprint"] == fingerprint(teacher)
    hits = answer.answer(loaded, ASKED[0], len(docs))
    asked = encode_queries(load_student(recipe), ASKED[:1])[0]
    expected = dict(zip(ids, np.asarray(anew.sentences) @ asked, strict=True))
    assert {hit.doc.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-4)


def test_an_index_by_another_document_prompt_is_not_served(run, tmp_path):
    """Though the prompts of the student are none of its business."""
    recipe, *_ = run
    if recipe.late_interaction:
        pytest.skip("late interaction compares fingerprints")
    copied = recipe.model_copy(update={"out": str(tmp_path / "run")})
    shutil.copytree(recipe.folder, copied.folder)
    answer.load_run(copied)
    index_run(copied.model_copy(update={"teacher_prompts": Prompts(document="the moon ")}))
    with pytest.raises(DataError, match="by another teacher, or with another prompt, than .* run `optical index"):
        answer.load_run(copied)


def test_start_and_student_load_in_the_library_alone_with_their_own_prompts(run):
    recipe, *_ = run
    kind = MultiVectorEncoder if recipe.late_interaction else SentenceTransformer
    for name in ("transplant", "student"):
        plain = kind(str(recipe.folder / name), device="cpu")
        assert {key: plain.prompts[key] for key in PROMPTS} == PROMPTS
        (dense,) = [module for module in plain if isinstance(module, Dense)]
        assert (dense.in_features, dense.out_features, dense.module_input_name) == (24, 32, "token_embeddings")
        for row, vectors in zip(
            encode_queries(load_encoder(recipe.folder / name, "cpu"), ASKED), plain.encode_query(ASKED), strict=True
        ):
            found = np.asarray(vectors)
            assert found.shape[-1] == 32
            np.testing.assert_allclose(row, found / np.linalg.norm(found, axis=-1, keepdims=True), atol=1e-5)


def test_an_export_holds_the_map_and_asks_with_the_students_prompt(run):
    recipe, *_ = run
    if recipe.late_interaction:
        pytest.skip("an export takes seconds, and the map is the same")
    graph = OnnxEncoder.load(export_onnx(recipe, recipe.folder / "onnx", int8=False).folder)
    assert (graph.manifest.prefix, graph.manifest.dimension) == (PROMPTS["query"], 32)
    for row, expected in zip(graph.encode(ASKED), encode_queries(load_student(recipe), ASKED), strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_an_interrupted_run_goes_on_and_ends_the_same(run, tmp_path, monkeypatch):
    recipe, *_ = run
    if recipe.late_interaction:
        pytest.skip("checkpoints are the same of both kinds")
    short = {"training": recipe.training.model_copy(update={"steps": 6, "evaluate_every": 2})}
    whole, halves = (recipe.model_copy(update={**short, "out": str(tmp_path / name)}) for name in ("whole", "halves"))
    expected = distilled(whole, progress=False)
    ctrl_c_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        distilled(halves, progress=False)
    assert not (halves.folder / "student").exists()
    assert distilled(halves, progress=False).scores == expected.scores
    assert fingerprint(load_student(halves)) == fingerprint(load_student(whole))
