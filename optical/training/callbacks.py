"""What looks on while a student learns: what is logged of the plans, and the end of a run gone wrong.

Callbacks of the library's trainer. They read the loss module; they know no bitext, no teacher and no index.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import TrainerCallback

from optical.training.distillation_loss import Distillation
from optical.training.trainer import Diverged

COLLAPSED = 0.02  # spread of the student's vectors, as a share of the teacher's, below which they are all alike
FOR_STEPS = 10  # in a row: one odd batch is no collapse


class Watch(TrainerCallback):
    """Stops a run whose loss is no number, or whose student gives every sentence the same vector.

    It raises before the trainer saves the step, so the checkpoints that are there are from before.
    """

    def __init__(self, loss: Distillation, run: Path) -> None:
        """Look at ``loss.health`` after every step; checkpoints lie in ``run``."""
        self.loss = loss
        self.run = run
        self.alike = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raise :class:`Diverged` with what is wrong, where, and what to change."""
        health = self.loss.health
        if not health.finite:
            cause = "the loss is not a number"
            remedy = "lower training.learning_rate and training.embedding_learning_rate, or set training.precision"
            remedy += ' = "float32"; NaN in the very first steps points to a damaged teacher or start'
            raise Diverged(self._message(state.global_step, cause, remedy))
        collapsed = not math.isnan(health.spread) and health.spread < COLLAPSED
        self.alike = self.alike + 1 if collapsed else 0
        if self.alike >= FOR_STEPS:
            cause = f"the student gives all sentences nearly the same vector (spread {health.spread:.4f} of the "
            cause += f"teacher's for {FOR_STEPS} steps)"
            remedy = "lower the learning rates, or give more weight to an objective that keeps sentences apart "
            remedy += "(objective.scores, objective.contrastive); check that both sides of the bitext belong together"
            raise Diverged(self._message(state.global_step, cause, remedy))

    def _message(self, step: int, cause: str, remedy: str) -> str:
        good = last_good(self.run)
        kept = f"the last good checkpoint is {good}" if good else "there is no checkpoint before it"
        return f"training diverged at step {step}: {cause}; {kept}; {remedy}"


def last_good(run: Path) -> Path | None:
    """The newest whole checkpoint of a run whose weights are all numbers; None where there is none."""
    whole = sorted(run.glob("checkpoint-*/trainer_state.json"), key=lambda path: -int(path.parent.name.split("-")[-1]))
    for state in whole:
        files = sorted(state.parent.glob("*.safetensors"))
        if files and all(bool(value.isfinite().all()) for f in files for value in load_file(f).values()):
            return state.parent
    return None


class LogPlans(TrainerCallback):
    """Adds the marginal error and the iterations of the last plans to what the trainer logs."""

    def __init__(self, loss: Distillation) -> None:
        """Read ``loss.plan`` at every log."""
        self.loss = loss

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Write into the log and its history."""
        if logs is not None and "ot" in logs:
            logs["plan_error"], logs["plan_steps"] = self.loss.plan
            state.log_history[-1].update(plan_error=self.loss.plan[0], plan_steps=self.loss.plan[1])
