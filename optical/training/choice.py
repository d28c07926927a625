"""Choose the student: the start, the last checkpoint, the best one, or an average of weights.

Training teaches and forgets; a point on the line between the weights before and after it often does better than either
end (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). But the best of a dozen development scores
is the best by chance as well, so none of them is taken for being the highest alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from optical.evaluation.strata import Stratified, alone, better, by_query
from optical.models.encoders import DevScore, Encoder

SHARES = (0.3, 0.5, 0.7)  # weights of the trained student in the averages tried


class Weights(NamedTuple):
    """Files of the state dicts that are chosen among.

    Attributes:
        start: Before training.
        best: Of the checkpoint with the highest score.
        last: At the end of training; None where the score gives no values by query.
    """

    start: Path
    best: Path
    last: Path | None


class Look(NamedTuple):
    """Weights that were scored.

    Attributes:
        share: Of the trained weights in an average with the start: 0 for the start itself, 1 for a checkpoint.
        trained: File of the trained weights.
        values: The development score.
        looks: How many it is the best of.
    """

    share: float
    trained: Path
    values: Stratified
    looks: int = 1


class Choice(NamedTuple):
    """The start, the look that was taken, and the look that was tested against the start.

    Attributes:
        start: Before training.
        taken: The start itself where nothing is better.
        tested: What was taken, or the last checkpoint where the start is kept.
    """

    start: Look
    taken: Look
    tested: Look

    @property
    def difference(self) -> Stratified:
        """The score of the encoder tested, less that of the start, by query."""
        return self.tested.values.minus(self.start.values)


def choose(
    student: Encoder,
    weights: Weights,
    dev: DevScore,
    start: Stratified,
    best: float,
    looks: int,
    shares: tuple[float, ...],
) -> Choice:
    """Give the student the weights that the development score tells apart from its start.

    In this order, the last checkpoint, the best one, and the best average of the start with whichever of the two is
    held replace what is held, at first the start, where they are better by a paired test
    (:func:`optical.evaluation.strata.better`), whose p-value is multiplied by the number of looks that one is the best
    of. A score that gives no values by query cannot be tested: the highest of start, best checkpoint and averages is
    taken, among equals the first.

    State dicts are read from disk weight by weight: in memory there is one student, not three.

    Args:
        student: Its weights are replaced.
        weights: Where those of start, last and best checkpoint are.
        dev: Higher is better.
        start: Its values before training.
        best: Score of the best checkpoint while training.
        looks: How many checkpoints were scored.
        shares: Weights of the trained student in the averages tried.
    """
    first = held = Look(0.0, weights.best, start)
    if weights.last is not None:
        _move(student, weights.start, weights.last, 1.0)
        challengers = [Look(1.0, weights.last, by_query(dev, student))]
        if best > challengers[0].values.mean:
            _move(student, weights.start, weights.best, 1.0)
            challengers.append(Look(1.0, weights.best, by_query(dev, student), looks))
    else:
        challengers = [Look(1.0, weights.best, alone(best), looks)]
    for look in challengers:
        held = _better(look, held)
    trained = challengers[0] if held is first else held
    averages = []
    for share in shares:
        _move(student, weights.start, trained.trained, share)
        averages.append(Look(share, trained.trained, by_query(dev, student), len(shares)))
    if averages:
        held = _better(max(averages, key=lambda look: look.values.mean), held)
    _move(student, weights.start, held.trained, held.share)
    return Choice(first, held, challengers[0] if held is first else held)


def _better(look: Look, held: Look) -> Look:
    return look if better(look.values, held.values, look.looks) else held


@torch.no_grad()
def _move(student: Encoder, start: Path, trained: Path, share: float) -> None:
    """Move the student a share of the way from start to end; in between, integers and booleans are the start's."""
    one, other = (torch.load(file, map_location="cpu", mmap=True, weights_only=True) for file in (start, trained))
    for name, value in student.state_dict().items():
        if share in (0.0, 1.0) or not value.is_floating_point():
            value.copy_(other[name] if share == 1.0 else one[name])
        else:
            value.copy_(one[name].lerp(other[name], share))
