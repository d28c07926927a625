"""A run that goes wrong stops with a diagnosis, and what was good is kept."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from optical.config.training import Robustness
from optical.training.callbacks import FOR_STEPS, Diverged, Progress, StopWhenDiverged
from optical.training.checkpoints import LIST, WEIGHTS, last_good
from optical.training.distillation_loss import DistillationLoss, Health
from tests.training.distilled import trained, training


class _Loss:
    health = Health()


class _State:
    global_step = 7


class _Arguments(NamedTuple):
    output_dir: str


def test_one_odd_batch_is_no_collapse_and_a_row_of_them_is(tmp_path):
    loss = _Loss()
    watch, args = StopWhenDiverged(loss), _Arguments(str(tmp_path))
    for k in range(3 * FOR_STEPS):
        loss.health = Health(spread=0.001 if k % FOR_STEPS else 0.9)
        watch.on_step_end(args, _State, None)
    loss.health = Health(spread=0.9)
    watch.on_step_end(args, _State, None)
    loss.health = Health(spread=0.001)
    for _ in range(FOR_STEPS - 1):
        watch.on_step_end(args, _State, None)
    with pytest.raises(Diverged, match="step 7: the student gives all sentences nearly the same vector"):
        watch.on_step_end(args, _State, None)


def test_batches_of_one_sentence_are_no_collapse(tmp_path):
    loss = _Loss()
    loss.health = Health(spread=float("nan"))
    watch, args = StopWhenDiverged(loss), _Arguments(str(tmp_path))
    for _ in range(2 * FOR_STEPS):
        watch.on_step_end(args, _State, None)


def loss_that_breaks(monkeypatch, call: int) -> list[int]:
    """From the given forward pass on, the loss is not a number."""
    original, calls = DistillationLoss._losses, []

    def losses(self, *args):
        calls.append(1)
        factor = float("nan") if len(calls) >= call else 1.0
        return {name: factor * value for name, value in original(self, *args).items()}

    monkeypatch.setattr(DistillationLoss, "_losses", losses)
    return calls


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_last_good_checkpoint(
    student,
    teacher,
    tmp_path,
    monkeypatch,
):
    loss_that_breaks(monkeypatch, 4)
    with pytest.raises(Diverged, match="diverged at step 4: the loss is not a number") as caught:
        trained(student, teacher, tmp_path / "run", how=training(steps=8, evaluate_every=2))
    (run,) = (tmp_path / "run").iterdir()
    assert last_good(run) == run / "checkpoint-2"
    assert str(run / "checkpoint-2") in str(caught.value)
    assert "learning_rate" in str(caught.value)


def test_without_a_checkpoint_the_message_says_so(student, teacher, tmp_path, monkeypatch):
    loss_that_breaks(monkeypatch, 1)
    with pytest.raises(Diverged, match="no checkpoint before it"):
        trained(student, teacher, tmp_path / "run")


def test_a_checkpoint_with_weights_that_are_no_numbers_is_not_good(tmp_path):
    for step, value in ((2, 1.0), (4, float("nan")), (6, 1.0)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        torch.save({"w": torch.full((3,), value)}, folder / WEIGHTS)
        if step < 6:  # the last one was cut short
            (folder / LIST).write_text("{}")
    assert last_good(tmp_path) == tmp_path / "checkpoint-2"


def test_a_collapsed_student_stops_the_run(student, teacher, tmp_path):
    with torch.no_grad():
        student[0].auto_model.get_input_embeddings().weight.zero_()
        for parameter in student[0].auto_model.embeddings.parameters():
            parameter.zero_()
    how = training(steps=40, learning_rate=1e-12, embedding_learning_rate=1e-12)
    with pytest.raises(Diverged, match="nearly the same vector"):
        trained(student, teacher, tmp_path / "run", how=how)


def test_the_recipe_of_a_run_decides_whether_its_checkpoint_is_resumed(student, teacher, tmp_path, monkeypatch):
    loss_that_breaks(monkeypatch, 4)
    for robustness in (Robustness(), Robustness(method="noise")):
        with pytest.raises(Diverged):
            trained(student, teacher, tmp_path / "run", how=training(steps=8, evaluate_every=2), robustness=robustness)
    assert len(list((tmp_path / "run").iterdir())) == 2


class _AtStepFour:
    is_world_process_zero = True
    max_steps = 10
    global_step = 4


def test_the_bar_begins_where_the_run_goes_on_and_shows_the_last_numbers():
    bar = Progress("Teaching")
    bar.on_step_end(None, _AtStepFour, None)  # before there is one
    bar.on_train_begin(None, _AtStepFour, None)
    bar.on_log(None, _AtStepFour, None, logs={"loss": 0.5, "epoch": 3.0})
    bar.on_log(None, _AtStepFour, None, logs={"eval_dev": 0.25})
    assert (bar.bar.n, bar.bar.total, bar.bar.desc) == (4, 10, "Teaching")
    assert bar.shown == {"loss": "0.5000", "dev MAP": "0.2500"}
    bar.on_train_end(None, _AtStepFour, None)
