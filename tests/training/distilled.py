"""A student trained on eight sentences, for the tests of training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from optical.config.objective import Objective
from optical.config.recipe import StudentOptions
from optical.config.training import Training
from optical.data.bitext import Pair
from optical.evaluation.strata import Stratified, Stratum
from optical.models.encoders import Encoder
from optical.training.distillation import train_student
from optical.training.mixture import Mixture, usable
from optical.training.trainer import Workspace

PAIRS = [
    Pair("i drink water .", "ninakunywa maji"),
    Pair("the children read books .", "watoto wanasoma vitabu vyao"),
    Pair("where is the market ?", "soko liko wapi"),
    Pair("the farmer plants maize .", "mkulima anapanda mahindi shambani leo"),
    Pair("she cooks rice .", "anapika wali"),
    Pair("the cow gives milk .", "ng'ombe anatoa maziwa mengi sana"),
    Pair("who built this house ?", "nani alijenga nyumba hii"),
    Pair("rain falls in april .", "mvua inanyesha mwezi wa aprili"),
]
OBJECTIVE = Objective(scores=0.0, epsilon=0.1)


def training(**more) -> Training:
    usual = {
        "steps": 4, "batch_size": 4, "learning_rate": 1e-3, "embedding_learning_rate": 1e-3, "warmup": 0.0,
        "min_words": 1, "question_repeats": 1, "evaluate_every": 2, "averaging": False,
        "precision": "float32",
    }  # fmt: skip
    return Training(**{**usual, **more})


class ByQuery:
    """A development score of twenty queries: what ``score`` says, a little more for some and less for others."""

    fingerprint = "by query"

    def __init__(self, score):
        self.score = score

    def measured(self, student) -> Stratified:
        values = self.score(student) + 0.01 * np.linspace(-1, 1, 20)
        return Stratified((Stratum(0.5, values[:8]), Stratum(0.5, values[8:])))

    def __call__(self, student) -> float:
        return self.measured(student).mean


class Result(NamedTuple):
    """A copy of the student after training, and everything else that came out."""

    student: Encoder
    start: float
    best: float
    share: float
    history: list[dict[str, float]]
    error: float
    p_value: float
    looks: int
    checkpoints: tuple[Path, ...]
    pairs: int


def trained(student, teacher, folder, *, how=None, objective=OBJECTIVE, pairs=PAIRS, weights=None, **more) -> Result:
    """Train a copy; ``more``: robustness, seed, documents, dev."""
    how = how or training()
    options = StudentOptions(objective=objective, training=how)._replace(
        **{name: more.pop(name) for name in ("robustness", "seed") if name in more}
    )
    mixture, workspace = Mixture(list(pairs), weights, {}), Workspace(folder, folder.parent / "cache", progress=False)
    passages, dev = more.pop("documents", None), more.pop("dev", None)
    assert not more
    found = train_student(copy.deepcopy(student), teacher, mixture, options, workspace, passages, dev)
    return Result(*found, len(usable(pairs, how)))


def parameters(model) -> torch.Tensor:
    return torch.cat([value.detach().flatten().double() for value in model.state_dict().values()])
