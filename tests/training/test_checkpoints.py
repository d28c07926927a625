"""An interruption costs nothing, and only a checkpoint of the same run is resumed."""

from __future__ import annotations

import copy
import os
import re
import signal

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from optical.config.objective import Objective
from optical.config.recipe import StudentOptions
from optical.config.training import Robustness
from optical.data.bitext import Pair
from optical.models.encoders import NamedScore
from optical.pipeline.run_folder import threads_begun
from optical.training.callbacks import Interrupted
from optical.training.distillation import train_student
from optical.training.distillation_loss import DistillationLoss
from optical.training.mixture import Mixture
from optical.training.trainer import Trained, Workspace
from tests.training.distilled import OBJECTIVE, PAIRS, ByQuery, parameters, trained, training


@pytest.mark.parametrize("method", ["fgm", "noise"])
def test_training_on_worse_input_goes_on_after_ctrl_c_to_the_bit(student, teacher, tmp_path, monkeypatch, method):
    robust = Robustness(method=method)
    expected = trained(student, teacher, tmp_path / "whole", robustness=robust)
    ctrl_c_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "halves", robustness=robust)
    found = trained(student, teacher, tmp_path / "halves", robustness=robust)
    assert torch.equal(parameters(found.student), parameters(expected.student))
    assert any("robust" in entry for entry in found.history)


def ctrl_c_at(monkeypatch, call: int) -> list[int]:
    """SIGINT to this process while the given forward pass runs; the list grows with every pass."""
    return signal_at(monkeypatch, call, signal.SIGINT)


def signal_at(monkeypatch, call: int, number: int) -> list[int]:
    """Any signal."""
    original, calls = DistillationLoss.forward, []

    def forward(self, features, labels):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(self, features, labels)

    monkeypatch.setattr(DistillationLoss, "forward", forward)
    return calls


@pytest.mark.parametrize("how", [{}, {"accumulation": 2, "batch_size": 2}, {"dropout": True}, {"evaluate_every": 50}])
def test_two_steps_ctrl_c_and_two_more_are_four_to_the_bit(student, teacher, tmp_path, monkeypatch, how):
    how = training(steps=4, **how)
    expected = trained(student, teacher, tmp_path / "whole", how=how)
    calls = ctrl_c_at(monkeypatch, 2 * how.accumulation)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=re.escape(str(tmp_path / "halves" / "checkpoints-"))):
        trained(student, teacher, tmp_path / "halves", how=how)
    assert len(calls) == 2 * how.accumulation
    assert signal.getsignal(signal.SIGINT) is before
    (run,) = (tmp_path / "halves").iterdir()
    assert "checkpoint-2" in [p.name for p in run.iterdir()]
    assert threads_begun(tmp_path / "halves") == torch.get_num_threads()
    found = trained(student, teacher, tmp_path / "halves", how=how)
    assert len(calls) == 4 * how.accumulation, "training began anew"
    assert torch.equal(parameters(found.student), parameters(expected.student))


def test_an_interruption_with_a_development_score_resumes_too(student, teacher, tmp_path, monkeypatch):
    scores = iter([0.0, 0.1, 0.2, 0.0, 0.2, 0.2, 0.2])
    calls = ctrl_c_at(monkeypatch, 3)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "run", how=training(evaluate_every=2), dev=lambda _: next(scores))
    found = trained(student, teacher, tmp_path / "run", how=training(evaluate_every=2), dev=lambda _: next(scores))
    assert len(calls) == 4
    assert found.best > 0


@pytest.mark.parametrize("call", [2, 4])
def test_an_interruption_with_values_by_query_resumes_to_the_bit(student, teacher, tmp_path, monkeypatch, call):
    def near(model):  # falls while training, so that best and last differ
        return 1 - float((parameters(model) - parameters(student)).abs().mean())

    how = training(evaluate_every=1, averaging=True)
    expected = trained(student, teacher, tmp_path / "whole", how=how, dev=ByQuery(lambda m: -near(m)))
    ctrl_c_at(monkeypatch, call)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "halves", how=how, dev=ByQuery(lambda m: -near(m)))
    found = trained(student, teacher, tmp_path / "halves", how=how, dev=ByQuery(lambda m: -near(m)))
    assert expected.share == 1.0
    assert torch.equal(parameters(found.student), parameters(expected.student))
    assert (found.best, found.error, found.p_value) == (expected.best, expected.error, expected.p_value)


@pytest.mark.parametrize("dev", [None, lambda m: float(parameters(m).abs().mean()), ByQuery(lambda m: 0.5)])
def test_a_training_that_has_ended_is_not_done_again(student, teacher, tmp_path, monkeypatch, dev):
    calls = ctrl_c_at(monkeypatch, 0)
    first, again = (trained(student, teacher, tmp_path / "run", dev=dev) for _ in range(2))
    assert len(calls) == 4, "training was done twice"
    assert torch.equal(parameters(again.student), parameters(first.student))
    assert str(again[1:]) == str(first[1:])  # NaN is NaN
    (run,) = (tmp_path / "run").iterdir()
    assert first.checkpoints == (run,)


def test_checkpoints_go_when_all_is_saved(student, teacher, tmp_path):
    found = trained(student, teacher, tmp_path / "run")
    Trained(found.student, 0.0, 0.0, 1.0, [], checkpoints=found.checkpoints).clear_checkpoints()
    assert list((tmp_path / "run").iterdir()) == []


class Killed(BaseException):
    """Nothing of the program runs after it."""


def killed_at(monkeypatch, call: int) -> list[int]:
    """The given forward pass does not end; the list grows with every pass."""
    original, calls = DistillationLoss.forward, []

    def forward(self, features, labels):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(self, features, labels)

    monkeypatch.setattr(DistillationLoss, "forward", forward)
    return calls


def test_patience_goes_on_where_it_was(student, teacher, tmp_path, monkeypatch):
    """The best is the first score, so that training ends after the third."""

    def dev(model):
        return -float((parameters(model) - parameters(student)).abs().mean())

    how = training(steps=10, evaluate_every=2, patience=2)
    expected = trained(student, teacher, tmp_path / "whole", how=how, dev=dev)
    calls = killed_at(monkeypatch, 5)
    with pytest.raises(Killed):
        trained(student, teacher, tmp_path / "halves", how=how, dev=dev)
    for _ in range(2):  # the second time, training has ended
        found = trained(student, teacher, tmp_path / "halves", how=how, dev=dev)
        assert len(calls) == 5 + 2, "it began to count anew"
        assert found.history[-1]["step"] == expected.history[-1]["step"] == 6


def test_the_log_of_a_killed_training_is_that_of_another(student, teacher, tmp_path, monkeypatch):
    how = training(steps=20, evaluate_every=3)  # a log every second step, if nobody cared
    expected = trained(student, teacher, tmp_path / "whole", how=how)
    killed_at(monkeypatch, 5)
    with pytest.raises(Killed):
        trained(student, teacher, tmp_path / "halves", how=how)
    assert trained(student, teacher, tmp_path / "halves", how=how).history == expected.history


def test_a_callback_that_ends_training_leaves_its_last_step(student, teacher, tmp_path):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = state.global_step == 3

    workspace = Workspace(tmp_path / "run", tmp_path / "cache", False, callbacks=[Stop()])
    mixture, options = Mixture(PAIRS, None, {}), StudentOptions(objective=OBJECTIVE, training=training())
    first, again = (
        train_student(copy.deepcopy(student), teacher, mixture, options, workspace).encoder for _ in range(2)
    )
    assert torch.equal(parameters(first), parameters(again))
    shorter = trained(student, teacher, tmp_path / "three", how=training(steps=4))
    assert not torch.equal(parameters(first), parameters(shorter.student))
    assert "checkpoint-3" in [p.name for p in next((tmp_path / "run").iterdir()).iterdir()]


def test_sigterm_ends_as_ctrl_c_does(student, teacher, tmp_path, monkeypatch):
    expected = trained(student, teacher, tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)
    calls = signal_at(monkeypatch, 3, signal.SIGTERM)
    with pytest.raises(Interrupted, match="the same command goes on") as caught:
        trained(student, teacher, tmp_path / "halves")
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    found = trained(student, teacher, tmp_path / "halves")
    assert len(calls) == 4
    assert torch.equal(parameters(found.student), parameters(expected.student))


def test_a_checkpoint_that_was_cut_short_is_passed_over(student, teacher, tmp_path, monkeypatch):
    calls = ctrl_c_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "run")
    (run,) = (tmp_path / "run").iterdir()
    (run / "checkpoint-3").mkdir()
    (run / "checkpoint-3" / "config.json").write_text("{")
    trained(student, teacher, tmp_path / "run")
    assert len(calls) == 4


def test_a_second_ctrl_c_stops_at_once(student, teacher, tmp_path, monkeypatch):
    original = DistillationLoss.forward

    def forward(self, features, labels):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, features, labels)

    monkeypatch.setattr(DistillationLoss, "forward", forward)
    with pytest.raises(KeyboardInterrupt):
        trained(student, teacher, tmp_path / "run")


def test_a_checkpoint_of_other_settings_or_sentences_is_not_resumed(student, teacher, tmp_path, monkeypatch):
    calls = ctrl_c_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "run")
    trained(student, teacher, tmp_path / "run", how=training(learning_rate=2e-3))
    assert len(calls) == 2 + 4
    other = [*PAIRS[:-1], Pair(PAIRS[-1].english, "mvua nyingi")]
    trained(student, teacher, tmp_path / "run", pairs=other)
    assert len(calls) == 2 + 4 + 4


def passages(seed: int, count: int = 5) -> np.ndarray:
    vectors = torch.randn(count, 32, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@pytest.mark.parametrize(("other", "resumed"), [(passages(1), True), (passages(2), False), (passages(1, 4), False)])
def test_a_checkpoint_of_other_passages_is_not_resumed(student, teacher, tmp_path, monkeypatch, other, resumed):
    calls = ctrl_c_at(monkeypatch, 2)
    ranking = Objective(scores=1.0)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "run", objective=ranking, documents=passages(1))
    trained(student, teacher, tmp_path / "run", objective=ranking, documents=other)
    assert len(calls) == 4 if resumed else len(calls) == 2 + 4


def test_passages_that_no_objective_ranks_do_not_matter_to_a_checkpoint(student, teacher, tmp_path, monkeypatch):
    calls = ctrl_c_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "run", documents=passages(1))
    trained(student, teacher, tmp_path / "run", documents=passages(2))
    assert len(calls) == 4


def another_score(_) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("other", "resumed"),
    [
        (NamedScore(lambda _: 0.5, "a"), True),
        (NamedScore(lambda _: 0.5, "b"), False),
        (another_score, False),
        (None, False),
    ],
)
def test_a_checkpoint_of_another_development_set_is_not_resumed(
    student, teacher, tmp_path, monkeypatch, other, resumed
):
    calls = ctrl_c_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        trained(student, teacher, tmp_path / "run", dev=NamedScore(lambda _: 0.5, "a"))
    trained(student, teacher, tmp_path / "run", dev=other)
    assert len(calls) == 4 if resumed else len(calls) == 2 + 4
