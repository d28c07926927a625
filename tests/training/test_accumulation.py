"""One step is one step, however its pairs are dealt: 8 at once, 4 twice, or 4 in each of two processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from optical.config.objective import Objective
from tests.training.distilled import PAIRS, parameters, trained, training

LOSSES = {
    "tokens": Objective(scores=0.0, pooled=0.0, epsilon=0.1),
    "sentences": Objective(scores=0.0, ot=0.0),
}


def learnt(model) -> dict[str, torch.Tensor]:
    """All weights but the biases of keys: softmax takes no notice of them, so their gradients are rounding alone."""
    return {name: value.detach() for name, value in model.named_parameters() if not name.endswith("key.bias")}


def same(one, other) -> None:
    for step, as_well in zip(one.history, other.history, strict=True):
        for name in ("loss", "grad_norm"):
            assert step[name] == pytest.approx(as_well[name], rel=1e-5), (name, step["step"])
    torch.testing.assert_close(learnt(one.student), learnt(other.student), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_eight_at_once_are_four_twice(student, teacher, tmp_path, name):
    def learn(size):
        how = training(steps=3, batch_size=size, accumulation=len(PAIRS) // size, evaluate_every=50)
        return trained(student, teacher, tmp_path / str(size), objective=LOSSES[name], how=how)

    whole = learn(8)
    assert (parameters(whole.student) - parameters(student)).abs().max() > 1e-4, "something was learnt"
    for size in (4, 2):
        same(learn(size), whole)


@pytest.mark.slow
def test_one_process_is_two_that_have_half_of_the_pairs_each(tmp_path):
    """By gloo, on the processor. The norm of the gradients that is told is of other weights (embedding_rows.py)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def started(name, **of_several):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-m", "tests.training.one_process", str(tmp_path / name)]
        several = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **of_several} if of_several else {}
        return subprocess.Popen(command, env={**os.environ, **several}, cwd=Path(__file__).parents[2])

    two = [started(str(k), RANK=str(k), LOCAL_RANK=str(k), WORLD_SIZE="2") for k in range(2)]
    assert [process.wait(300) for process in (started("alone"), *two)] == [0, 0, 0]
    losses, weights = torch.load(tmp_path / "alone" / "found.pt")
    for name in ("0", "1"):
        told, found = torch.load(tmp_path / name / "found.pt")
        assert told == pytest.approx(losses, rel=1e-5)
        torch.testing.assert_close(found, weights, rtol=0, atol=2e-6)
