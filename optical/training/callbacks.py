"""Callbacks of the trainer: early stopping, checkpoints, Ctrl-C, diverged runs, log of plans, progress bar.

And those of whoever calls :func:`optical.distill`: plain functions of a :class:`TrainingLog`.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

from optical.config.arguments import takes_one
from optical.errors import OpticalError, RecipeError
from optical.models.encoders import Encoder
from optical.progress import bar
from optical.training.checkpoints import STATE, WEIGHTS, last_good, seal
from optical.training.distillation_loss import DistillationLoss

COLLAPSED = 0.02  # spread of the student's vectors, as a share of the teacher's, below which they are all alike
FOR_STEPS = 10  # in a row: one odd batch is no collapse


class Diverged(OpticalError):
    """Training diverged: the loss is not a number, or all vectors are alike."""


class Interrupted(OpticalError):
    """Training was stopped by the user and can go on from its last checkpoint."""


class Interruption(TrainerCallback):
    """On the first Ctrl-C or SIGTERM, finish the step, save a checkpoint and stop; on the second, stop at once."""

    def __init__(self) -> None:
        """Start without a request to stop."""
        self.asked = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        """Take over SIGINT and SIGTERM, in the main thread only: Python delivers signals nowhere else."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {one: signal.signal(one, self._ask) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Give both back."""
        for one, handler in self._previous.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked:
            raise SystemExit(128 + number)
        self.asked = number

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Turn the request into a checkpoint."""
        control.should_save |= bool(self.asked)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """End training with the checkpoint; not before, since whatever else ends it is noted in the checkpoint."""
        control.should_training_stop |= bool(self.asked)
        return control

    def raise_if_interrupted(self, folder: Path) -> None:
        """Raise :class:`Interrupted` if the user asked to stop."""
        if self.asked:
            error = Interrupted(f"stopped; the checkpoint is in {folder}; the same command goes on from it")
            error.exit_code = 128 + self.asked
            raise error


class SaveCheckpoints(TrainerCallback):
    """Make a checkpoint whole as soon as the trainer has written it, with the weights as a state dict beside its files.

    It comes after all callbacks that end training, whose last step is saved in any case.
    """

    def __init__(self, encoder: Encoder, run: Path, key: str) -> None:
        """Of a training of ``encoder`` in the folder ``run``, with its key."""
        self.encoder, self.run, self.key = encoder, run, key
        self.saved = -1

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Let the step be saved that training ends with."""
        control.should_save |= control.should_training_stop and self.saved < state.global_step
        return control

    on_log = on_evaluate = on_epoch_end = on_step_end

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Add the weights and write the list of the files."""
        self.saved = state.global_step
        folder = self.run / f"checkpoint-{self.saved}"
        _wait_for_other_processes()  # each writes the state of its random numbers, the first one all else
        if not (folder / STATE).exists():  # one that shares no folder with the first
            state.save_to_json(str(folder / STATE))
        elif not state.is_world_process_zero:
            return _wait_for_other_processes()
        torch.save(self.encoder.state_dict(), folder / WEIGHTS)
        seal(folder, self.key, ended=control.should_training_stop)
        return _wait_for_other_processes()


def _wait_for_other_processes() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


class EarlyStopping(TrainerCallback):
    """Stop after so many development scores without a new best.

    They are counted in the log, which a checkpoint has, so that a training that was stopped counts on.
    """

    def __init__(self, patience: int) -> None:
        """Keep the number of scores."""
        self.patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Count the scores since the first of the highest."""
        scores = np.nan_to_num([entry["eval_dev"] for entry in state.log_history if "eval_dev" in entry], nan=-np.inf)
        control.should_training_stop |= len(scores) - 1 - int(np.argmax(scores)) >= self.patience
        return control


class StopWhenDiverged(TrainerCallback):
    """Stop a run whose loss is not a number, or whose student gives every sentence the same vector.

    It raises before the trainer saves the step, so every checkpoint is of an earlier one.
    """

    def __init__(self, loss: DistillationLoss) -> None:
        """Read ``loss.health`` after every step."""
        self.loss = loss
        self.alike = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raise :class:`Diverged` with what is wrong, where, and what to change."""
        health = self.loss.health
        if not health.finite:
            cause = "the loss is not a number"
            remedy = "lower training.learning_rate and training.embedding_learning_rate, or set training.precision"
            remedy += ' = "float32"; NaN in the very first steps points to a damaged teacher or start'
            raise _diverged(args, state, cause, remedy)
        collapsed = not math.isnan(health.spread) and health.spread < COLLAPSED
        self.alike = self.alike + 1 if collapsed else 0
        if self.alike >= FOR_STEPS:
            cause = f"the student gives all sentences nearly the same vector (spread {health.spread:.4f} of the "
            cause += f"teacher's for {FOR_STEPS} steps)"
            remedy = "lower the learning rates, or give more weight to an objective that keeps sentences apart "
            remedy += "(objective.scores, objective.contrastive); check that both sides of the bitext belong together"
            raise _diverged(args, state, cause, remedy)


def _diverged(args: Any, state: Any, cause: str, remedy: str) -> Diverged:
    good = last_good(Path(args.output_dir))
    kept = f"the last good checkpoint is {good}" if good else "there is no checkpoint before it"
    return Diverged(f"training diverged at step {state.global_step}: {cause}; {kept}; {remedy}")


class PullRows(TrainerCallback):
    """Pull the rows of an embedding matrix to their start, where the trainer's own optimizer trains them.

    Before each step, a row's way from its start is multiplied by ``exp(-pull lr)``, as
    :class:`optical.training.row_adam.RowAdamW` does it.
    """

    def __init__(self, weight: Tensor, pull: Tensor) -> None:
        """Keep a copy of the matrix ``(v, d)`` as the start, and how strongly each row is pulled, ``(v,)``."""
        self.weight, self.pull, self.start = weight, pull, weight.detach().clone()

    @torch.no_grad()
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        """Pull all rows, by the learning rate that the step will have for them."""
        rate = next(g["lr"] for g in optimizer.param_groups if any(p is self.weight for p in g["params"]))
        self.weight.lerp_(self.start, -torch.expm1(-self.pull * rate)[:, None])


class LogPlans(TrainerCallback):
    """Log the marginal error and the iterations of the last batch's transport plans."""

    def __init__(self, loss: DistillationLoss) -> None:
        """Read ``loss.plan`` at every log."""
        self.loss = loss

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Add them to the log and its history."""
        if logs is not None and "ot" in logs:
            logs["plan_error"], logs["plan_steps"] = self.loss.plan
            state.log_history[-1].update(plan_error=self.loss.plan[0], plan_steps=self.loss.plan[1])


class StopAtNaN(TrainerCallback):
    """Stop a run whose logged loss is not a number."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Raise :class:`Diverged` at the first log whose loss is not a number."""
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise Diverged(
                f"teaching diverged by step {state.global_step}: the loss is not a number; earlier checkpoints are in "
                f"{args.output_dir}; lower learning_rate, or raise temperature"
            )


class Progress(TrainerCallback):
    """Show one bar for the whole training, with the last loss and the last development score."""

    def __init__(self, label: str) -> None:
        """Keep the label of the bar, which opens when training begins."""
        self.label = label
        self.bar: Any = None
        self.shown: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the bar at the step that the run goes on from."""
        if state.is_world_process_zero:
            self.bar = bar(self.label, state.max_steps, "step", wanted=True, begun=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Show the last numbers."""
        names = {"loss": "loss", "eval_dev": "dev MAP"}
        self.shown |= {names[k]: f"{float(v):.4f}" for k, v in (logs or {}).items() if k in names}
        if self.bar is not None:
            self.bar.set_postfix(self.shown)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, so that a message has a line of its own."""
        if self.bar is not None:
            self.bar.close()


class TrainingLog(NamedTuple):
    """The state of a training, as a function among ``callbacks`` is told it at every log and development score.

    Attributes:
        stage: ``Distilling``, ``Fitting rows`` (``training.rows_steps``) or ``Teaching``.
        step: Optimizer steps of the stage that are done.
        steps: How many it has.
        values: Name -> number: ``loss`` and each objective by its name, ``learning_rate``; or ``dev``, the development
            score, with ``dev_error`` where its standard error is known.
        encoder: The student, in training; a function may encode with it and must not change it.
    """

    stage: str
    step: int
    steps: int
    values: dict[str, float]
    encoder: Encoder


class Told(TrainerCallback):
    """Tell a plain function of every log; where it returns True, the stage ends with this step."""

    def __init__(self, function: Callable[[TrainingLog], object], stage: str) -> None:
        """Keep the function, and the name of the stage."""
        self.function, self.stage = function, stage

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> Any:
        """Call the function; to stop, the step is scored and saved as the last one is."""
        values = {name.removeprefix("eval_"): float(value) for name, value in (logs or {}).items() if _is_told(name)}
        if not {"loss", "dev"} & values.keys():
            return control  # the summary at the end
        log = TrainingLog(self.stage, state.global_step, state.max_steps, values, more["model"])
        training = log.encoder.training
        answer = self.function(log)
        if isinstance(answer, bool | np.bool_) and answer:
            control.should_training_stop = control.should_save = True
            control.should_evaluate = args.eval_strategy != "no" and "dev" not in values
        log.encoder.train(training)
        return control


def _is_told(name: str) -> bool:
    return name in ("eval_dev", "eval_dev_error") or not name.startswith(("eval_", "epoch", "total_flos", "train_"))


def check_callbacks(given: Any) -> Sequence[Any]:
    """Callbacks as a list, where each is a function of one argument or an object of the class of transformers.

    Raises:
        RecipeError: Something else is among them.
    """
    listed = [given] if callable(given) or isinstance(given, TrainerCallback) else given
    if isinstance(listed, str) or not isinstance(listed, Iterable):
        raise RecipeError(f"callbacks = {given!r}: give a list of functions of one argument, or of TrainerCallbacks")
    listed = list(listed)
    for one in listed:
        if isinstance(one, TrainerCallback):
            continue
        if isinstance(one, type) and issubclass(one, TrainerCallback):
            raise RecipeError(f"callbacks: {one.__name__} is a class; give an object of it, {one.__name__}()")
        if not takes_one(one):
            raise RecipeError(
                f"callbacks: {getattr(one, '__name__', repr(one))} cannot be called with one argument; write a "
                "function of a log: def told(log): print(log.step, log.values)"
            )
    return listed


def wrapped(given: Sequence[Any], stage: str) -> list[TrainerCallback]:
    """The callbacks of the caller, functions among them, as the trainer takes them."""
    return [one if isinstance(one, TrainerCallback) else Told(one, stage) for one in given]
