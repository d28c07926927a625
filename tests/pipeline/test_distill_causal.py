"""A decoder with last-token pooling (Qwen3-Embedding) in the whole chain, from the teacher to the ONNX graph."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from optical.errors import DataError
from optical.evaluation import report
from optical.models.encoders import encode_queries
from optical.models.onnx_encoder import OnnxEncoder
from optical.pipeline import answer
from optical.pipeline.embed import load_student
from optical.pipeline.export import export_onnx
from tests.chain import decoder, mean_loss, recipe_of
from tests.runs import distilled, evaluated

QUESTIONS = ["Nani anaandika barua?", "Soko liko wapi?"]
SETTINGS = {"training.word_dropout": 0.2, "training.steps": 40, "training.evaluate_every": 20}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    decoder(folder / "made").save(str(folder / "teacher"))
    return folder / "teacher"


@pytest.fixture(scope="module")
def run(tmp_path_factory, teacher, data):
    """The recipe of a finished run, words added to byte-level pieces and trained with word dropout; and its report."""
    recipe = recipe_of(tmp_path_factory.mktemp("causal"), data, teacher, **SETTINGS)
    return recipe, distilled(recipe, progress=False)


def test_the_student_learns(run):
    recipe, found = run
    assert found.scores[report.CEILING].mean["AP"] > 0.5
    losses = [e for e in json.loads((recipe.folder / "training.json").read_text()) if "loss" in e]
    assert {"ot", "pooled", "scores"} <= losses[-1].keys()
    assert mean_loss(losses[-3:]) < 0.6 * mean_loss(losses[:3])
    development = json.loads((recipe.folder / "manifest.json").read_text())["development"]
    assert development["best"] > development["start"]
    assert evaluated(recipe).scores == found.scores


def test_words_are_found_after_the_instruction(run):
    student = load_student(run[0])
    prompt = student.prompts["query"]
    assert prompt.endswith("Query:")
    tokens = student.tokenizer.tokenize(f"{prompt}{QUESTIONS[0]}")
    assert tokens[: len(student.tokenizer.tokenize(prompt))] == student.tokenizer.tokenize(prompt)
    assert len(tokens) == len(student.tokenizer.tokenize(prompt)) + 4  # three words, and the question mark


def test_other_programs_read_it_the_same(run):
    recipe, _ = run
    plain = SentenceTransformer(str(recipe.folder / "student"), device="cpu")
    expected = plain.encode_query(QUESTIONS)
    np.testing.assert_allclose(encode_queries(load_student(recipe), QUESTIONS), expected, atol=1e-5)
    assert len(answer.answer(answer.load_run(recipe), QUESTIONS[0], 3)) == 3


@pytest.mark.slow
def test_the_graph_pads_on_the_other_side_and_gives_the_same(run):
    recipe, _ = run
    exported = export_onnx(recipe, recipe.folder / "onnx", int8=False)
    graph = OnnxEncoder.load(exported.folder)
    np.testing.assert_allclose(graph.encode(QUESTIONS), encode_queries(load_student(recipe), QUESTIONS), atol=1e-5)


def test_trimmed_extended_and_of_fewer_layers(tmp_path, teacher, data):
    more = {"training.steps": 2, "training.evaluate_every": 2, "layers": 2, "vocabulary.mode": "trim+extend"}
    recipe = recipe_of(tmp_path, data, teacher, **more, **{"objective.masses": "idf"})
    assert distilled(recipe, progress=False) is not None
    assert load_student(recipe)[0].auto_model.config.num_hidden_layers == 2


def test_token_by_token(tmp_path, teacher, data):
    more = {"training.steps": 2, "training.evaluate_every": 2, "late_interaction": True}
    assert distilled(recipe_of(tmp_path, data, teacher, **more), progress=False) is not None
    with pytest.raises(DataError, match="whose mask token is None"):
        distilled(recipe_of(tmp_path, data, teacher, **more, query_length=16, out=str(tmp_path / "other")))
    assert not (tmp_path / "other").exists()
