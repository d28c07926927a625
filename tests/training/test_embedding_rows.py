"""Embedding rows: fitted alone before the course, pulled to their start the more, the more seldom they were seen."""

from __future__ import annotations

import copy

import pytest
import torch

from optical.errors import RecipeError
from optical.training import embedding_rows
from optical.training.callbacks import Interrupted
from optical.training.distillation_loss import DistillationLoss
from optical.training.embedding_rows import added_rows, row_pull, takes_rows_in_use
from tests.training.distilled import PAIRS, parameters, trained, training
from tests.training.test_checkpoints import ctrl_c_at


@pytest.fixture
def student(student):
    """A student with some words of X."""
    student.tokenizer.add_tokens(["maji", "wali", "nyumba", "sana"])
    student[0].auto_model.resize_token_embeddings(len(student.tokenizer), mean_resizing=False)
    return student


def rows_and_body(student) -> tuple[torch.Tensor, torch.Tensor]:
    weight = student[0].auto_model.get_input_embeddings().weight
    body = [p.detach().flatten() for p in student.parameters() if p is not weight]
    return weight.detach(), torch.cat(body)


@pytest.fixture(params=["rows in use", "dense"])
def optimizer(request, monkeypatch):
    """Adam on the rows in use, or the trainer's own, as on a GPU."""
    if request.param == "dense":
        monkeypatch.setattr(embedding_rows, "takes_rows_in_use", lambda *_: False)


def test_several_processes_leave_the_optimizer_to_the_trainer(student, monkeypatch):
    """Gradients of some rows cannot be exchanged between processes that read others."""
    assert takes_rows_in_use(student, training())
    assert not takes_rows_in_use(student, training(compile=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not takes_rows_in_use(student, training())


@pytest.mark.parametrize("penalty", [0.0, 100.0])
def test_training_on_rows_in_use_is_training_on_all_rows(student, teacher, tmp_path, monkeypatch, penalty):
    how = training(steps=6, row_penalty=penalty)
    few = trained(student, teacher, tmp_path / "few", how=how)
    monkeypatch.setattr(embedding_rows, "takes_rows_in_use", lambda *_: False)
    every = trained(student, teacher, tmp_path / "every", how=how)
    moved = (parameters(every.student) - parameters(student)).norm()
    assert (parameters(every.student) - parameters(few.student)).norm() < 0.01 * moved


def test_the_rows_stage_moves_the_rows_of_added_words_alone(student, teacher, tmp_path, optimizer):
    how = training(steps=0, rows_steps=6, rows_learning_rate=1e-2, word_dropout=0.0)
    found = trained(student, teacher, tmp_path / "run", how=how)
    (rows, body), (before, same) = rows_and_body(found.student), rows_and_body(student)
    added = added_rows(student)
    assert int(added.sum()) == 4
    assert torch.equal(body, same)
    assert torch.equal(rows[~added], before[~added])
    assert (rows[added] != before[added]).any(dim=1).all()
    assert all(p.requires_grad for p in found.student.parameters()), "the course after it trains everything"
    losses = [entry["ot"] for entry in found.history if "ot" in entry]
    assert losses[-1] < losses[0]


def test_the_course_goes_on_from_the_fitted_rows(student, teacher, tmp_path):
    scores = iter([0.1, 0.2, 0.3, 0.3, 0.4, 0.5])
    alone = trained(student, teacher, tmp_path / "rows", how=training(steps=0, rows_steps=4))
    after = trained(alone.student, teacher, tmp_path / "after", how=training(steps=4))
    both = trained(student, teacher, tmp_path / "both", how=training(steps=4, rows_steps=4))
    torch.testing.assert_close(parameters(both.student), parameters(after.student))
    assert len(both.history) == len(alone.history) + len(after.history)
    judged = trained(
        student, teacher, tmp_path / "judged", how=training(steps=4, rows_steps=4), dev=lambda _: next(scores)
    )
    assert (judged.start, judged.best) == (0.1, 0.5)


@pytest.mark.parametrize("call", [2, 6])  # within the rows' stage, and after it
def test_both_stages_go_on_after_ctrl_c_to_the_bit(student, teacher, tmp_path, monkeypatch, call):
    how = training(steps=4, rows_steps=4, row_penalty=50.0)
    expected = trained(student, teacher, tmp_path / "whole", how=how)
    ctrl_c_at(monkeypatch, call)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "halves", how=how)
    found = trained(student, teacher, tmp_path / "halves", how=how)
    assert torch.equal(parameters(found.student), parameters(expected.student))


def test_a_stage_of_rows_without_added_words_is_refused_before_training(student, teacher, tmp_path, monkeypatch):
    plain = copy.deepcopy(teacher)
    monkeypatch.setattr(DistillationLoss, "forward", None)
    with pytest.raises(RecipeError, match=r"training.rows_steps = 3 .* this student has none; set it to 0"):
        trained(plain, teacher, tmp_path / "run", how=training(rows_steps=3))


def test_the_pull_is_the_penalty_over_the_occurrences(student):
    pull = row_pull(student, [*PAIRS, PAIRS[0]], 12.0)
    ids = student.tokenizer.convert_tokens_to_ids(["maji", "wali", "market"])
    assert pull is not None
    assert pull[ids].tolist() == [6.0, 12.0, 12.0], "twice, once, never"
    assert len(pull) == len(student[0].auto_model.get_input_embeddings().weight)
    assert row_pull(student, PAIRS, 0.0) is None


def test_a_penalty_keeps_rows_nearer_to_their_start(student, teacher, tmp_path, optimizer):
    far = []
    for penalty in (0.0, 100.0, 1e6):
        how = training(steps=6, row_penalty=penalty, word_dropout=0.0)
        found = trained(student, teacher, tmp_path / str(penalty), how=how)
        far.append(float((rows_and_body(found.student)[0] - rows_and_body(student)[0]).norm()))
    assert 0 < far[2] < 0.6 * far[1] < 0.6 * far[0]  # the last step is never pulled back
