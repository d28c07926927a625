"""A damaged checkpoint is not gone on from: the one before is, or training begins; and nothing in it is executed."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from optical.files import file_checksum
from optical.training.checkpoints import LIST, STATE, WEIGHTS, resumable
from tests.conftest import bert
from tests.training.distilled import ByQuery, parameters, trained, training
from tests.training.test_checkpoints import Killed, killed_at

HOW = training(steps=6, evaluate_every=2)
FILES = [
    "model.safetensors", WEIGHTS, "optimizer.pt", "scheduler.pt", "rng_state.pth", STATE, LIST, "config.json",
    "modules.json", "tokenizer.json", "1_Pooling/config.json",
]  # fmt: skip


def moved(student, sign: int = 1) -> ByQuery:
    """A score that rises, or falls, with every step: how far the weights are from their start."""
    start = parameters(student)
    return ByQuery(lambda encoder: sign * float((parameters(encoder) - start).abs().mean()))


def cut(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path, other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def missing(path: Path, other: Path) -> None:
    path.unlink()


def flipped(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def of_another_training(path: Path, other: Path) -> None:
    shutil.copy(other, path)


KINDS = [cut, emptied, zeroed, missing, flipped, of_another_training]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Student and teacher, the undisturbed student, a training killed in its fifth step, and another such training."""
    folder = tmp_path_factory.mktemp("killed")
    torch.manual_seed(0)
    teacher, student = bert(folder / "teacher"), bert(folder / "student")
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    expected = trained(student, teacher, folder / "whole", how=HOW, dev=moved(student))
    with pytest.MonkeyPatch.context() as patch:
        for k, name in enumerate(("halves", "other")):
            killed_at(patch, 5)
            with pytest.raises(Killed):
                trained(student, teacher, folder / name, how=HOW, dev=moved(student), seed=k)
    return student, teacher, expected, *(next((folder / name).iterdir()) for name in ("halves", "other"))


def again(made, folder, monkeypatch) -> int:
    """How many steps the same training still takes, which ends as an undisturbed one."""
    student, teacher, expected, *_ = made
    calls = killed_at(monkeypatch, 0)
    found = trained(student, teacher, folder, how=HOW, dev=moved(student))
    assert torch.equal(parameters(found.student), parameters(expected.student)), "another student"
    assert str([entry.get("loss") for entry in found.history]) == str([e.get("loss") for e in expected.history])
    return len(calls)


@pytest.fixture
def halves(made, tmp_path):
    """A copy of the killed training."""
    return Path(shutil.copytree(made[3], tmp_path / "run" / made[3].name))


def test_without_damage_it_goes_on_from_the_newest(made, halves, monkeypatch):
    assert again(made, halves.parent, monkeypatch) == 2


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("wrong", KINDS)
def test_a_damaged_file_is_seen(made, halves, caplog, wrong, name):
    file, other = halves / "checkpoint-4" / name, made[4] / "checkpoint-4" / name
    before = file.read_bytes()
    key = json.loads((halves / "checkpoint-2" / LIST).read_text())["training"]
    if wrong is of_another_training and other.read_bytes() == before:
        pytest.skip("it is the same file in every training with this teacher")
    wrong(file, other)
    assert not file.exists() or file.read_bytes() != before, "nothing was damaged"
    assert resumable(halves, key).folder == halves / "checkpoint-2"
    assert "checkpoint-4 is not used" in caplog.text
    assert [path.name for path in halves.glob("checkpoint-*")] == ["checkpoint-2"]


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (cut, "model.safetensors"), (missing, "optimizer.pt"), (missing, "scheduler.pt"), (emptied, "rng_state.pth"),
        (flipped, WEIGHTS), (zeroed, STATE), (of_another_training, "optimizer.pt"), (missing, LIST),
    ],
)  # fmt: skip
def test_training_goes_on_from_the_checkpoint_before(made, halves, monkeypatch, caplog, wrong, name):
    wrong(halves / "checkpoint-4" / name, made[4] / "checkpoint-4" / name)
    assert again(made, halves.parent, monkeypatch) == 4
    assert f"going on from {halves / 'checkpoint-2'}" in caplog.text


def test_a_file_too_many_sends_it_to_the_checkpoint_before(made, halves, monkeypatch, caplog):
    (halves / "checkpoint-4" / "pytorch_model.bin").write_bytes(b"x")
    assert again(made, halves.parent, monkeypatch) == 4
    assert "pytorch_model.bin does not belong to it" in caplog.text


def test_where_none_is_whole_training_begins(made, halves, monkeypatch, caplog):
    for folder in halves.glob("checkpoint-*"):
        cut(folder / "optimizer.pt", folder)
    assert again(made, halves.parent, monkeypatch) == 6
    assert [name for name in ("checkpoint-2 is not used", "checkpoint-4 is not used") if name in caplog.text]
    assert "training begins anew" in caplog.text


def test_a_checkpoint_without_the_best_before_it_is_not_used(made, tmp_path, monkeypatch, caplog):
    """The score falls, so that the best is checkpoint-2, and the student is chosen from its weights."""
    student, teacher, *_ = made
    falls = moved(student, -1)
    expected = trained(student, teacher, tmp_path / "whole", how=HOW, dev=falls)
    calls = killed_at(monkeypatch, 5)
    with pytest.raises(Killed):
        trained(student, teacher, tmp_path / "run", how=HOW, dev=falls)
    (run,) = (tmp_path / "run").iterdir()
    shutil.rmtree(run / "checkpoint-2")
    found = trained(student, teacher, tmp_path / "run", how=HOW, dev=falls)
    assert len(calls) == 5 + 6
    assert torch.equal(parameters(found.student), parameters(expected.student))
    assert "checkpoint-2, the best before it, is gone or damaged" in caplog.text


def test_the_checkpoints_of_another_training_are_not_taken(made, tmp_path, monkeypatch, caplog):
    shutil.copytree(made[4], tmp_path / "run" / made[3].name)
    assert again(made, tmp_path / "run", monkeypatch) == 6
    assert "another training wrote it" in caplog.text


class Touch:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("name", [WEIGHTS, "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_a_stranger_is_never_executed(made, halves, tmp_path, monkeypatch, name, zipped):
    """Not even where the stranger wrote the list as well."""
    for folder in halves.glob("checkpoint-*"):
        if zipped:
            torch.save(Touch(tmp_path / "executed"), folder / name)
        else:
            (folder / name).write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
        kept = json.loads((folder / LIST).read_text())
        kept["files"][name] = file_checksum(folder / name)
        (folder / LIST).write_text(json.dumps(kept))
    assert again(made, halves.parent, monkeypatch) == (2 if name == "training_args.bin" else 6)
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Touch(tmp_path / "executed")))
    assert (tmp_path / "executed").exists(), "it was harmless"
