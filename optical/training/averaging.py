"""Weight averaging: between the start and the student, the average of their weights that scores best.

Training teaches and forgets; a point on the line between the weights before and after it often does better than either
end (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
"""

from __future__ import annotations

from pathlib import Path

import torch

from optical.models.encoders import DevScore, Encoder

SHARES = (0.3, 0.5, 0.7)  # weights of the trained student in the averages tried


def average(
    student: Encoder, start: Path, dev: DevScore, ends: tuple[float, float], shares: tuple[float, ...] = SHARES
) -> tuple[float, float]:
    """Give the student the best of the start, its own weights and the averages in between.

    Both ends are read from disk weight by weight: in memory there is one student, not three.

    Args:
        student: Its weights are replaced.
        start: State dict of the start, as ``torch.save`` writes it. The student's is left beside it, as ``end.pt``.
        dev: Higher is better.
        ends: Scores of the start and of the student as it is.
        shares: Weights of the trained student in the averages tried.

    Returns:
        The share chosen, 0 for the start and 1 for the student as it was, and its score. Among equals, the smallest.
    """
    end = start.with_name("end.pt")
    torch.save(student.state_dict(), end)
    scores = {0.0: ends[0]}
    for share in shares:
        _move(student, start, end, share)
        scores[share] = dev(student)
    scores[1.0] = ends[1]
    chosen = max(scores, key=lambda share: scores[share])
    _move(student, start, end, chosen)
    return chosen, scores[chosen]


@torch.no_grad()
def _move(student: Encoder, start: Path, end: Path, share: float) -> None:
    """Move the student a share of the way from start to end; in between, integers and booleans are the start's."""
    one, other = (torch.load(path, map_location="cpu", mmap=True, weights_only=True) for path in (start, end))
    for name, value in student.state_dict().items():
        if share in (0.0, 1.0) or not value.is_floating_point():
            value.copy_(other[name] if share == 1.0 else one[name])
        else:
            value.copy_(one[name].lerp(other[name], share))
