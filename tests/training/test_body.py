"""A student that starts from another encoder: nearer to the teacher than without the map, in every mode."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from optical.config.objective import Objective
from optical.config.recipe import StudentOptions
from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.errors import DataError
from optical.models.encoders import encode_queries
from optical.models.linear_map import Body, body_for, mapped
from optical.training import body as training_body
from optical.training import start as starting
from optical.training.distillation import train_student
from optical.training.mixture import Mixture
from optical.training.start import make_start
from optical.training.trainer import Workspace
from optical.vocabulary import transplant as transplanting
from tests.chain import PAIRS, uncased, unigram
from tests.models.test_linear_map import drawn_map
from tests.training.distilled import parameters, training

SENTENCES = [Pair(english, foreign) for english, foreign in PAIRS]


@pytest.fixture
def teacher(tmp_path):
    return uncased(tmp_path / "teacher")


@pytest.fixture
def body(tmp_path, teacher) -> Body:
    return _body(tmp_path / "body", teacher)


def _body(folder, teacher) -> Body:
    made = unigram(folder, dim=24)
    made.prompts = {"query": "where is ", "document": "the river "}
    return body_for(made, teacher)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A student of another encoder before training, made once."""
    folder = tmp_path_factory.mktemp("start")
    teacher = uncased(folder / "teacher")
    workspace = Workspace(folder / "run", folder / "cache", False)
    return make_start(teacher, SENTENCES, StudentOptions(), workspace, _body(folder / "body", teacher)).student


def near(student, teacher) -> float:
    english = [pair.english for pair in SENTENCES]
    return float((encode_queries(student, english) * encode_queries(teacher, english)).sum(axis=1).mean())


@pytest.mark.parametrize("mode", ["off", "extend", "trim", "trim+extend", "auto"])
def test_the_start_is_nearer_to_the_teacher_than_an_unfitted_map(tmp_path, teacher, body, mode):
    before = parameters(body.encoder)
    said: list[str] = []
    options = StudentOptions(vocabulary=Vocabulary(mode=mode), training=training(steps=0))
    workspace = Workspace(tmp_path / "run", tmp_path / "cache", False, said.append)
    start = make_start(teacher, SENTENCES, options, workspace, body)
    assert near(start.student, teacher) > near(mapped(body.encoder, teacher, drawn_map(24, 32)), teacher) + 0.3
    assert torch.equal(parameters(body.encoder), before)
    assert start.student.prompts == body.encoder.prompts
    report = start.report()
    assert report["english_cosine_mean"] == pytest.approx(near(start.student, teacher), abs=1e-3)
    assert report["rows_before"] == len(body.encoder.tokenizer)
    assert report["parameters_after"] == sum(p.numel() for p in start.student.parameters())
    assert any(f"{report['map_cosine_held_out']:.3f}" in line for line in said)


def test_english_is_compared_once(tmp_path, teacher, body, monkeypatch):
    """With the teacher: what a body keeps of its own English says nothing yet."""
    compared = []
    for module in (transplanting, starting):
        monkeypatch.setattr(module, "english_cosines", lambda one, *_, **__: compared.append(one) or np.ones(1))
    options = StudentOptions(training=training(steps=0))
    make_start(teacher, SENTENCES, options, Workspace(tmp_path / "run", tmp_path / "cache", False), body)
    assert compared == [teacher]


def test_layers_are_the_bodys_and_the_map_is_fitted_to_those_that_are_left(tmp_path, teacher, body):
    workspace = Workspace(tmp_path / "run", tmp_path / "cache", False)
    start = make_start(teacher, SENTENCES, StudentOptions(layers=1, training=training()), workspace, body)
    assert start.student[0].auto_model.config.num_hidden_layers == 1
    assert near(start.student, teacher) > 0.3
    with pytest.raises(DataError, match="layers"):
        make_start(teacher, SENTENCES, StudentOptions(layers=9, training=training()), workspace, body)


def test_of_many_sentences_some_are_drawn_and_each_is_fitted_once(tmp_path, teacher, body, monkeypatch):
    monkeypatch.setattr(training_body, "SENTENCES", 15)
    workspace, options = Workspace(tmp_path / "run", tmp_path / "cache", False), StudentOptions(training=training())
    few = make_start(teacher, SENTENCES, options, workspace, body)
    assert few.report()["map_sentences"] == 15
    again = make_start(teacher, SENTENCES, options, workspace, body)
    assert torch.equal(parameters(few.student), parameters(again.student))
    monkeypatch.setattr(training_body, "SENTENCES", 100)
    twice = [one for pair in SENTENCES for one in (pair, pair._replace(foreign=f"{pair.foreign} sana"))]
    options = options._replace(vocabulary=Vocabulary(mode="off"))
    found, expected = (make_start(teacher, pairs, options, workspace, body) for pairs in (twice, SENTENCES))
    assert found.report()["map_sentences"] == len(SENTENCES)
    torch.testing.assert_close(parameters(found.student), parameters(expected.student), atol=1e-4, rtol=1e-3)
    with pytest.raises(DataError, match="9 different English sentences are too few"):
        make_start(teacher, SENTENCES[:9], options, workspace, body)


@pytest.mark.parametrize(
    "objective",
    [
        {"ot": 1.0, "masses": "idf", "pooled": 0.0}, {"ot": 0.0, "greedy": 1.0}, {"ot": 0.0, "product": 1.0},
        {"ot": 0.0, "posterior": 1.0}, {"ot": 0.0, "contrastive": 1.0},
    ],
)  # fmt: skip
def test_the_map_is_trained_under_every_objective(tmp_path, teacher, body, start, objective):
    options = StudentOptions(objective=Objective(scores=0.0, epsilon=0.1, **objective), training=training(steps=1))
    workspace = Workspace(tmp_path / "run", tmp_path / "cache", False)
    done = train_student(copy.deepcopy(start), teacher, Mixture(SENTENCES, None, {}), options, workspace)
    weights = [encoder[1].linear.weight.detach().numpy() for encoder in (start, done.encoder)]
    assert np.abs(weights[0] - weights[1]).max() > 5e-4  # Adam's first step is the learning rate, 1e-3
    assert done.encoder.prompts == body.encoder.prompts
    assert [entry["loss"] for entry in done.history if "loss" in entry][0] > 0
