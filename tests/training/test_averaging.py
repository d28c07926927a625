from __future__ import annotations

import copy

import pytest
import torch

from optical.training.averaging import average


@pytest.fixture
def saved(tmp_path):
    """Writes a state dict where the average reads it."""

    def write(state):
        torch.save(state, tmp_path / "start.pt")
        return tmp_path / "start.pt"

    return write


@pytest.fixture
def ends(teacher):
    """A start and a student that moved away from it by 1 in every weight."""
    start = copy.deepcopy(teacher.state_dict())
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(1.0)
    return start, teacher


def moved(student, start) -> float:
    """Distance of the weights from the start, as a share of the way to the student."""
    distances = [(v - start[k]).mean() for k, v in student.state_dict().items() if v.is_floating_point()]
    return float(torch.stack(distances).mean())


@pytest.mark.parametrize("best", [0.3, 0.5, 0.7])
def test_the_best_point_between_is_taken(ends, best, saved):
    start, student = ends
    share, score = average(student, saved(start), lambda m: 1 - abs(moved(m, start) - best), (0.0, 0.1))
    assert share == best
    assert score == pytest.approx(1.0, abs=1e-4)
    assert moved(student, start) == pytest.approx(best, abs=1e-4)


def test_either_end_can_win_and_is_exact(ends, saved):
    start, student = ends
    trained = copy.deepcopy(student.state_dict())
    assert average(student, saved(start), lambda _: 0.5, (0.2, 0.9)) == (1.0, 0.9)
    assert all(torch.equal(v, trained[k]) for k, v in student.state_dict().items())
    assert average(student, saved(start), lambda _: 0.5, (0.8, 0.7)) == (0.0, 0.8)
    assert all(torch.equal(v, start[k]) for k, v in student.state_dict().items())


def test_among_equals_the_one_nearest_to_the_start_is_taken(ends, saved):
    start, student = ends
    assert average(student, saved(start), lambda _: 0.5, (0.5, 0.5)) == (0.0, 0.5)


def test_without_shares_only_the_ends_are_compared(ends, saved):
    start, student = ends
    assert average(student, saved(start), lambda _: 1 / 0, (0.1, 0.2), ()) == (1.0, 0.2)
