"""The one training loop, of students and of teachers: checkpoints, the development score, averages, clean-up.

The trainers of sentence-transformers do the work; :mod:`optical.training.distillation` and
:mod:`optical.training.teacher` say what is trained on what.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sentence_transformers.base.evaluation import BaseEvaluator
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PrinterCallback, TrainerCallback

from optical.config.teaching import Teaching
from optical.config.training import Training
from optical.errors import DataError
from optical.evaluation.strata import by_query
from optical.files import checksum, clear_working_folder, working_folder
from optical.models.encoders import DevScore, Encoder, fingerprint, is_multi_vector, score_fingerprint
from optical.models.precision import bfloat16
from optical.progress import quiet_libraries, stage
from optical.training.callbacks import EarlyStopping, Interruption, Progress, SaveCheckpoints, wrapped
from optical.training.checkpoints import PATTERNS, START, WEIGHTS, Checkpoint, resumable
from optical.training.choice import SHARES, Choice, Weights, choose
from optical.training.memory import keep_freed_memory
from optical.training.packing import packed

logger = logging.getLogger(__name__)


class Workspace(NamedTuple):
    """Where training writes, and what it shows.

    Attributes:
        folder: Of the checkpoints, which stay until :meth:`Trained.clear_checkpoints`.
        cache: Of the teacher's vectors, shared by all runs.
        progress: Show progress bars.
        say: Called with a sentence about each stage that is done.
        callbacks: Of the caller: functions of a :class:`optical.training.callbacks.TrainingLog`, or the library's.
    """

    folder: Path
    cache: Path
    progress: bool = True
    say: Callable[[str], None] = lambda _: None
    callbacks: Sequence[Any] = ()


class Task(NamedTuple):
    """An encoder to train, and what it is trained on.

    Attributes:
        name: Label of the progress bar.
        encoder: Changed by training.
        dataset: Of the datasets library, in columns that ``loss`` reads.
        loss: Features and labels in, a loss or named losses out.
        arguments: Of the library's trainer, beyond those that students and teachers share.
        seed: Of the order of the rows.
        inputs: All that decides the result beside the encoder and the development score; a checkpoint is resumed only
            where all of it is the same.
        callbacks: Of the library's trainer.
        optimizer: Opened for as long as training lasts; None in it leaves the optimizer to the trainer.
        tokenization: Wraps what turns texts into features, to change them while training.
    """

    name: str
    encoder: Encoder
    dataset: Any
    loss: nn.Module
    arguments: Mapping[str, Any]
    seed: int
    inputs: Sequence[str]
    callbacks: Sequence[TrainerCallback] = ()
    optimizer: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    tokenization: Callable[[Any], Any] | None = None


class Trained(NamedTuple):
    """A trained encoder, its development scores and its log.

    Attributes:
        encoder: What the development score tells apart from the start; the start itself where that is nothing.
        start: Development score before training, NaN without one.
        best: Development score of ``encoder``.
        share: Weight of training in ``encoder``: 1 for a checkpoint itself, less for an average with the start.
        history: What the trainer logged, one dict an entry: losses by name, scores.
        error: Standard error of the difference of ``encoder`` and start, of the last checkpoint and start where the
            start is kept; NaN where the score gives no values by query.
        p_value: Of that difference, by a paired randomisation test, times ``looks``.
        looks: How many scores the one of ``encoder`` is the highest of, which flatters it.
        checkpoints: Folders that it was made from; the same call makes it from them again.
    """

    encoder: Encoder
    start: float
    best: float
    share: float
    history: list[dict[str, float]]
    error: float = math.nan
    p_value: float = math.nan
    looks: int = 1
    checkpoints: tuple[Path, ...] = ()

    def clear_checkpoints(self) -> None:
        """Remove the checkpoints, which nobody needs once all that is made of the encoder is saved."""
        for folder in self.checkpoints:
            clear_working_folder(folder)

    @property
    def facts(self) -> dict[str, float]:
        """The development scores, for a manifest."""
        facts = {"start": self.start, "best": self.best, "share": self.share}
        return facts | {"standard_error": self.error, "p_value": self.p_value, "best_of": self.looks}

    @property
    def sentence(self) -> str:
        """The development scores, and how sure they are."""
        sure = "" if self.share else ", the start is kept"
        if self.share and not math.isnan(self.p_value):
            best = f", as the best of {self.looks}" if self.looks > 1 else ""
            sure = f" (standard error of the difference {self.error:.4f}, p = {self.p_value:.4f}{best})"
        return f"development MAP {self.start:.4f} -> {self.best:.4f}{sure}"

    def after(self, first: Trained) -> Trained:
        """This training and the one that it began with as one.

        Each was tested against its own start: of both together no error is known, unless this one gained nothing.
        """
        history, checkpoints = [*first.history, *self.history], (*first.checkpoints, *self.checkpoints)
        if self.share == 0.0:
            return first._replace(history=history, checkpoints=checkpoints)
        unknown = {"error": math.nan, "p_value": math.nan, "looks": 1}
        return self._replace(start=first.start, history=history, checkpoints=checkpoints, **unknown)


class Evaluator(BaseEvaluator):
    """The development score in the form that the trainer calls."""

    def __init__(self, score: DevScore) -> None:
        """Keep the score; higher is better."""
        super().__init__()
        self.score = score

    def __call__(self, model: Encoder, *_: Any, **__: Any) -> dict[str, float]:
        """Score the model; the trainer logs the result as ``eval_dev``, its standard error as ``eval_dev_error``."""
        was_training = model.training
        with stage("development scores"):
            found = by_query(self.score, model)
        model.train(was_training)
        return {"dev": found.mean} | ({} if math.isnan(found.error) else {"dev_error": found.error})


def trainer_classes(encoder: Encoder) -> tuple[Any, Any]:
    """The library's trainer for the class of the encoder, and the class of its arguments."""
    from sentence_transformers import (
        MultiVectorEncoderTrainer,
        MultiVectorEncoderTrainingArguments,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    if is_multi_vector(encoder):
        return MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments
    return SentenceTransformerTrainer, SentenceTransformerTrainingArguments


def untrained(encoder: Encoder, dev: DevScore | None) -> Trained:
    """The result of zero steps: the encoder as it is, with its score."""
    score = dev(encoder) if dev is not None else float("nan")
    return Trained(encoder, score, score, 0.0, [])


@quiet_libraries()
def train(task: Task, loop: Training | Teaching, workspace: Workspace, dev: DevScore | None) -> Trained:
    """Train, and give the encoder what is better than its start: :func:`optical.training.choice.choose` says what.

    Interrupted (Ctrl-C, SIGTERM) or killed, it leaves a checkpoint; called again with the same arguments it goes on
    from there. A training that had ended is not done again: the choice is made anew from its checkpoints.

    Args:
        task: What is trained.
        loop: Steps, learning rate, checkpoints, precision.
        workspace: Where checkpoints go, in a folder for all that decides the result; the cache is not used.
        dev: Higher is better; called before training and at every evaluation. Without it the last step is the result.

    Raises:
        Interrupted: Stopped by Ctrl-C or SIGTERM; the message names the folder of the checkpoint.
        DataError: Somebody changed the checkpoints meanwhile.
        Diverged: A callback found that nothing can be learnt any more.
    """
    encoder, key = task.encoder, checkpoint_key(task.encoder, task.inputs, dev)
    run = workspace.folder / f"checkpoints-{key[:8]}"
    with stage("development scores"):
        start = by_query(dev, encoder) if dev is not None else None
    working_folder(run, PATTERNS)
    if dev is not None:
        torch.save(encoder.state_dict(), run / START)
    last = resumable(run, key)
    if last is None or not last.ended:
        _train(task, loop, workspace, dev, run, key, last)
        gc.collect()  # the moments of Adam are twice the student, and the trainer is full of circles
        last = resumable(run, key)
    if last is None or not last.ended:
        raise DataError(f"the checkpoints in {run} were changed while training went on; run the same command again")
    state, chosen = last.state, None
    if dev is None or start is None:
        encoder.load_state_dict(torch.load(last.folder / WEIGHTS, map_location="cpu", weights_only=True, mmap=True))
    else:
        measured = last.folder / WEIGHTS if hasattr(dev, "measured") else None
        weights = Weights(run / START, last.best / WEIGHTS, measured)
        best = -math.inf if state["best_metric"] is None else state["best_metric"]
        looks = sum("eval_dev" in entry for entry in state["log_history"])
        with stage("development scores"):
            chosen = choose(encoder, weights, dev, start, best, looks, SHARES if loop.averaging else ())
    history = [entry for entry in state["log_history"] if "loss" in entry or "eval_dev" in entry]
    encoder.eval()
    return _trained(encoder, chosen, history)._replace(checkpoints=(run,))


def _train(
    task: Task,
    loop: Training | Teaching,
    workspace: Workspace,
    dev: DevScore | None,
    run: Path,
    key: str,
    last: Checkpoint | None,
) -> None:
    """Train from a checkpoint or the start; on Ctrl-C or SIGTERM leave a new checkpoint and stop."""
    interruption = Interruption()
    with task.optimizer as optimizer:
        callbacks = [*task.callbacks, *wrapped(workspace.callbacks, task.name)]
        bar = Progress(task.name)
        callbacks += [bar] * workspace.progress + [EarlyStopping(loop.patience)] * (dev is not None)
        callbacks += [SaveCheckpoints(task.encoder, run, key), interruption]
        trainer = _trainer(task, loop, run, dev, optimizer, callbacks)
        if last:
            logger.warning("going on from %s", last.folder)
        if trainer.args.device.type == "cpu":
            keep_freed_memory()
        unpadded = contextlib.nullcontext() if trainer.args.torch_compile else packed(task.encoder)
        with interruption, contextlib.closing(bar), attention_for(trainer.args.device.type), unpadded:
            trainer.train(resume_from_checkpoint=str(last.folder) if last else None)
        interruption.raise_if_interrupted(run)
    # The trainer leaves its autocast in the model's forward: an encoder is used in the precision of its weights.
    trainer.accelerator.unwrap_model(task.encoder, keep_fp32_wrapper=False)


def _trained(encoder: Encoder, chosen: Choice | None, history: list[dict[str, float]]) -> Trained:
    if chosen is None:
        return Trained(encoder, math.nan, math.nan, 1.0, history)
    difference, looks = chosen.difference, chosen.tested.looks
    start, best, share = chosen.start.values.mean, chosen.taken.values.mean, chosen.taken.share
    error = p_value = math.nan
    if difference.testable:
        error, p_value = difference.error, min(1.0, looks * difference.p_value)
    if share == 0.0:
        sure = f", standard error of the difference {error:.4f}, p = {p_value:.4f}" if difference.testable else ""
        logger.warning(
            "nothing beats the start on the development score (%.4f): the start is kept; after training it is %.4f%s",
            start, chosen.tested.values.mean, sure,
        )  # fmt: skip
    return Trained(encoder, start, best, share, history, error, p_value, looks)


def checkpoint_key(encoder: Encoder, inputs: Sequence[str], dev: DevScore | None) -> str:
    """Sixteen hexadecimal digits that change with the start, the inputs or the development score."""
    return checksum([fingerprint(encoder), *inputs, score_fingerprint(dev)])


def _trainer(task: Task, loop: Training | Teaching, run: Path, dev: DevScore | None, optimizer, callbacks):
    """Set up the library's trainer for the class of the encoder."""
    encoder, every = task.encoder, min(loop.evaluate_every, loop.steps)
    if not loop.dropout:
        switch_off_dropout(encoder)
    cls, arguments = trainer_classes(encoder)
    args = arguments(
        output_dir=str(run),
        max_steps=loop.steps,
        per_device_train_batch_size=loop.batch_size,
        learning_rate=loop.learning_rate,
        warmup_steps=loop.warmup,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        bf16=bfloat16(loop.precision, encoder.device.type),
        use_cpu=encoder.device.type == "cpu",
        eval_strategy="steps" if dev is not None else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        metric_for_best_model="eval_dev",
        greater_is_better=True,
        # A checkpoint falls on a log, so that no loss is left out of it where a training is killed and goes on.
        logging_steps=math.gcd(max(1, min(10, loop.steps // 10)), every),
        report_to=loop.report_to,
        seed=task.seed,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        **task.arguments,
    )
    trainer = cls(
        model=encoder, args=args, train_dataset=task.dataset, loss=task.loss,
        evaluator=Evaluator(dev) if dev is not None else None, callbacks=callbacks, optimizers=(optimizer, None),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    if task.tokenization is not None:
        trainer.data_collator.preprocess_fn = task.tokenization(trainer.data_collator.preprocess_fn)
    return trainer


def attention_for(device: str) -> contextlib.AbstractContextManager[Any]:
    """Compute attention by plain products on a CPU, where the backward pass of the fused kernels is far slower."""
    return sdpa_kernel(SDPBackend.MATH) if device == "cpu" else contextlib.nullcontext()


def switch_off_dropout(encoder: Encoder) -> None:
    """Set every dropout of the encoder to 0."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
