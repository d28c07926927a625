"""Between the start and the student: the average of their weights that scores best.

Training teaches and forgets; a point on the line between the weights before and after it often does better than either
end (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). Knows encoders and a score; knows no
training.
"""

from __future__ import annotations

from torch import Tensor

from optical.encoders import DevScore, Encoder

SHARES = (0.3, 0.5, 0.7)


def average(
    student: Encoder,
    start: dict[str, Tensor],
    dev: DevScore,
    ends: tuple[float, float],
    shares: tuple[float, ...] = SHARES,
) -> tuple[float, float]:
    """Give the student the best of: the start, its own weights, and the averages in between.

    Args:
        student: Its weights are replaced.
        start: State dict of the start.
        dev: Higher is better.
        ends: Scores of the start and of the student as it is.
        shares: Weights of the trained student in the averages tried.

    Returns:
        The share chosen, 0 for the start and 1 for the student as it was, and its score. Among equals, the smallest.
    """
    trained = {name: value.detach().clone() for name, value in student.state_dict().items()}
    scores = {0.0: ends[0]}
    for share in shares:
        student.load_state_dict(_between(start, trained, share))
        scores[share] = dev(student)
    scores[1.0] = ends[1]
    chosen = max(scores, key=lambda share: scores[share])
    student.load_state_dict(_between(start, trained, chosen))
    return chosen, scores[chosen]


def _between(start: dict[str, Tensor], trained: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The weights at a share of the way; the ends are exact, and what is not a number with fractions is the start's."""
    if share in (0.0, 1.0):
        return start if share == 0.0 else trained
    return {
        name: value.lerp(trained[name], share) if value.is_floating_point() else value for name, value in start.items()
    }
