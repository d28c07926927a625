"""A whole run of a teacher that wants prompts: everything that is made of it reads them, and so do later commands."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import MultiVectorEncoder, SentenceTransformer

from optical.config.recipe import load_recipe
from optical.models.encoders import encode_queries
from optical.models.load import load_encoder
from optical.models.onnx_encoder import OnnxEncoder
from optical.pipeline import answer
from optical.pipeline.embed import document_encoder, embed_documents, load_student, load_teacher
from optical.pipeline.export import export_onnx
from tests.chain import recipe_of, uncased, unigram
from tests.runs import distilled, evaluated

PROMPTS = {"query": "where is ", "document": "the river "}
QUESTIONS = ["Nani anatoa maziwa?", "Soko liko wapi?"]
KINDS = {  # how the prompts are known, and which teacher has them
    "own": (uncased, {}),
    "given": (unigram, {f"teacher_prompts.{name}": text for name, text in PROMPTS.items()}),
    "late": (uncased, {"late_interaction": True}),
}


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory, data):
    """The recipe of a finished run and its report."""
    folder = tmp_path_factory.mktemp(request.param)
    make, more = KINDS[request.param]
    teacher = make(folder / "made")
    if request.param != "given":
        teacher.prompts = {"query": PROMPTS["query"], "passage": PROMPTS["document"]}  # as E5 names it
    teacher.save(str(folder / "teacher"))
    recipe = recipe_of(folder, data, folder / "teacher", **more)
    return recipe, distilled(recipe, progress=False)


def test_student_and_transplant_carry_the_prompts_and_are_read_with_them_by_other_programs(run):
    recipe, _ = run
    for name in ("student", "transplant"):
        kind = MultiVectorEncoder if recipe.late_interaction else SentenceTransformer
        plain = kind(str(recipe.folder / name), device="cpu")
        assert {key: plain.prompts[key] for key in PROMPTS} == PROMPTS
        ours = encode_queries(load_encoder(recipe.folder / name, "cpu"), QUESTIONS)
        for row, expected in zip(ours, plain.encode_query(QUESTIONS), strict=True):
            theirs = np.asarray(expected)
            theirs = theirs / np.linalg.norm(theirs, axis=-1, keepdims=True)
            np.testing.assert_allclose(row, theirs, atol=1e-5)


def test_later_commands_give_the_figures_of_the_run(run):
    recipe, found = run
    again = evaluated(load_recipe(recipe.folder / "recipe.toml"))
    assert {name: scores.mean for name, scores in again.scores.items()} == {
        name: scores.mean for name, scores in found.scores.items()
    }


def test_what_is_searched_was_embedded_as_documents_and_asked_as_a_query(run):
    recipe, _ = run
    loaded = answer.load_run(recipe)
    hits = answer.answer(loaded, QUESTIONS[0], 3)
    if recipe.late_interaction:
        assert all(hit.matches for hit in hits)
        folder = recipe.folder / "colbert"  # written by the run, and checked there against the student
        assert load_encoder(folder, "cpu").prompts["query"] == PROMPTS["query"]
        return
    teacher = document_encoder(recipe, loaded.collection)
    texts = [doc.full for doc in loaded.collection.docs]
    plain = SentenceTransformer(str(recipe.folder.parent / "teacher"), device="cpu")
    documents = plain.encode(["the river " + t for t in texts], normalize_embeddings=True)
    embedded = embed_documents(recipe, teacher, loaded.collection, False)
    np.testing.assert_allclose(np.asarray(embedded.vectors.sentences), documents, atol=1e-3)
    plain = SentenceTransformer(str(recipe.folder / "student"), device="cpu")
    asked = plain.encode(["where is " + QUESTIONS[0]], prompt="", normalize_embeddings=True)[0]
    expected = np.sort(documents @ asked)[::-1][:3]
    np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-3)


@pytest.mark.slow
def test_an_export_asks_with_the_prompt(run):
    recipe, _ = run
    exported = export_onnx(recipe, recipe.folder / "onnx", int8=False)
    graph = OnnxEncoder.load(exported.folder)
    assert graph.manifest.prefix == PROMPTS["query"]
    for row, expected in zip(graph.encode(QUESTIONS), encode_queries(load_student(recipe), QUESTIONS), strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_the_teacher_of_a_run_has_its_prompts(run):
    prompts = load_teacher(run[0]).prompts
    assert {name: prompts[name] for name in PROMPTS} == PROMPTS
