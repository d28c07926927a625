"""The student is chosen by the development scores of its looks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from optical.evaluation.strata import Stratified, Stratum, alone
from optical.training.choice import SHARES, Weights, choose

NOISE = np.random.default_rng(0).normal(size=100)
NOISE -= NOISE.mean()


@pytest.fixture
def ends(teacher):
    """A start, and a student whose last weights are 1 away from it and whose best ones 2."""
    start = copy.deepcopy(teacher.state_dict())
    return start, teacher, *(at(teacher, start, far) for far in (1.0, 2.0))


def at(student, start, far: float) -> dict[str, torch.Tensor]:
    """Move the student so far from the start in every weight; a copy of its weights."""
    with torch.no_grad():
        for name, value in student.state_dict().items():
            if value.is_floating_point():
                value.copy_(start[name] + far)
    return copy.deepcopy(student.state_dict())


def moved(student, start) -> float:
    """The distance of the weights from the start."""
    distances = [(v - start[k]).mean() for k, v in student.state_dict().items() if v.is_floating_point()]
    return round(float(torch.stack(distances).mean()), 3)


class Dev:
    """Values of a hundred queries whose mean depends on how far the student is from its start."""

    def __init__(self, start, means, noise=0.0):
        self.start, self.means, self.noise, self.asked = start, means, noise, []

    def measured(self, student) -> Stratified:
        far = moved(student, self.start)
        self.asked.append(far)
        values = 0.3 + self.means.get(far, 0.0) + self.noise * (far + 1) * NOISE
        return Stratified((Stratum(1.0, values),))

    def __call__(self, student) -> float:
        return self.measured(student).mean


def files(ends, folder, last: bool = True) -> Weights:
    """The weights of start, last and best checkpoint on disk."""
    start, _, *trained = ends
    for name, weights in zip(("start.pt", "last.pt", "best.pt"), (start, *trained), strict=True):
        torch.save(weights, folder / name)
    return Weights(folder / "start.pt", folder / "best.pt", folder / "last.pt" if last else None)


def chosen(ends, folder, dev, shares=SHARES, looks=6):
    """Choose by values of queries; the student begins with its best weights."""
    start, student, *_ = ends
    at(student, start, 2.0)
    best, first = dev.means.get(2.0, 0.0) + 0.3, Stratified((Stratum(1.0, 0.3 + dev.noise * NOISE),))
    return choose(student, files(ends, folder), dev, first, best, looks, shares)


@pytest.mark.parametrize(
    ("means", "far"),
    [
        ({1.0: 0.1, 2.0: 0.12}, 1.0),  # the best is no better than the last beyond chance
        ({1.0: 0.1, 2.0: 0.3}, 2.0),
        ({1.0: 0.02, 2.0: 0.05}, 0.0),
        ({1.0: -0.1, 2.0: -0.1}, 0.0),
        ({1.0: -0.1, 2.0: 0.3}, 2.0),
        ({1.0: 0.1, 0.5: 0.3}, 0.5),
        ({1.0: 0.1, 0.5: 0.12}, 1.0),
        ({1.0: 0.01, 0.7: 0.3}, 0.7),  # an average alone beats the start
        ({1.0: 0.1, 2.0: 0.3, 1.4: 0.5}, 1.4),  # of the best, where that is held
    ],
)
def test_the_last_stays_unless_another_is_better_beyond_chance(ends, tmp_path, means, far):
    start, student, last, best = ends
    dev = Dev(start, means, noise=0.3)
    found = chosen(ends, tmp_path, dev)
    assert moved(student, start) == far
    expected = {0.0: start, 1.0: last, 2.0: best}.get(far, student.state_dict())
    assert all(torch.equal(value, expected[name]) for name, value in student.state_dict().items()), "ends are exact"
    assert found.taken.share == {0.0: 0, 0.5: 0.5, 0.7: 0.7, 1.4: 0.7}.get(far, 1.0)
    assert found.taken.values.mean == pytest.approx(dev.measured(student).mean)
    assert found.tested == (found.taken if far else found.tested)
    assert found.difference.mean == pytest.approx(found.tested.values.mean - found.start.values.mean)
    assert dev.asked[0] == 1.0, "the last is scored first"


@pytest.mark.parametrize(("looks", "far"), [(1, 2.0), (6, 0.0)])
def test_the_best_of_many_looks_needs_a_smaller_p_value(ends, tmp_path, looks, far):
    start, student, *_ = ends
    dev = Dev(start, {1.0: -0.3, 2.0: 0.09}, noise=0.2)
    found = chosen(ends, tmp_path, dev, shares=(), looks=looks)
    at(student, start, 2.0)
    assert 0.05 / 6 < dev.measured(student).minus(found.start.values).p_value < 0.05
    assert found.taken.share == min(far, 1.0)


@pytest.mark.parametrize("best", [0.3, 0.5, 0.7])
def test_a_score_alone_takes_the_highest(ends, tmp_path, best):
    start, student, *_ = ends
    found = choose(
        student,
        files(ends, tmp_path, last=False),
        lambda m: 1 - abs(moved(m, start) / 2 - best),
        alone(0.0),
        0.1,
        6,
        SHARES,
    )
    assert found.taken.share == best
    assert found.taken.values.mean == pytest.approx(1.0, abs=1e-3)
    assert moved(student, start) == pytest.approx(2 * best, abs=1e-3)


@pytest.mark.parametrize(
    ("first", "best", "share"), [(0.2, 0.9, 1.0), (0.8, 0.7, 0.0), (0.5, 0.5, 0.0), (0.1, -np.inf, 0.5)]
)
def test_of_scores_alone_either_end_can_win_and_is_exact(ends, tmp_path, first, best, share):
    start, student, _, trained = ends
    found = choose(student, files(ends, tmp_path, last=False), lambda _: 0.5, alone(first), best, 6, (0.5,))
    assert (found.taken.share, found.taken.values.mean) == (share, max(first, best, 0.5))
    if share in (0.0, 1.0):
        expected = trained if share else start
        assert all(torch.equal(v, expected[k]) for k, v in student.state_dict().items())


def test_without_shares_nothing_between_is_scored(ends, tmp_path):
    start, student, *_ = ends
    assert (
        choose(student, files(ends, tmp_path, last=False), lambda _: 1 / 0, alone(0.1), 0.2, 6, ()).taken.share == 1.0
    )
