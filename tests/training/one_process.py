"""A process of a training: ``python -m tests.training.one_process FOLDER``, with torch's RANK and WORLD_SIZE or alone.

It teaches with its share of eight pairs a step, and leaves the losses and the weights of the student in FOLDER.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from tests.conftest import bert
from tests.training.distilled import PAIRS, trained, training
from tests.training.test_accumulation import LOSSES, learnt


def main(folder: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    teacher, student = bert(folder / "teacher"), bert(folder / "student")
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    how = training(steps=3, batch_size=len(PAIRS) // int(os.environ.get("WORLD_SIZE", "1")), evaluate_every=50)
    found = trained(student, teacher, folder / "run", objective=LOSSES["tokens"], how=how)
    torch.save(([step["loss"] for step in found.history], learnt(found.student)), folder / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
