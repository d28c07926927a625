"""Queries and right and wrong passages in, an English teacher out.

Losses, batches without duplicates and the training loop are those of sentence-transformers. Knows an encoder and texts;
knows no collection and no measure (the development score is a function that it is given).
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback

from optical.config.teaching import Teaching
from optical.errors import DataError
from optical.files import checksum, clear_working_folder, working_folder
from optical.models.encoders import DevScore, Encoder, fingerprint, is_multi_vector, score_fingerprint
from optical.models.precision import bfloat16, check_precision
from optical.training.averaging import SHARES, average
from optical.training.callbacks import Interruption, Progress, StopAtNaN
from optical.training.trainer import CHECKPOINTS, Evaluator, switch_off_dropout, train, trainer_classes

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


class Taught(NamedTuple):
    """An encoder and how it came about.

    Attributes:
        encoder: With the best development score; the start itself, where training found nothing better.
        start: Development score before training, NaN without one.
        best: Development score of ``encoder``.
        share: Weight of training in ``encoder``: 1 for the best checkpoint itself, less for an average with the start.
        history: What the trainer logged.
    """

    encoder: Encoder
    start: float
    best: float
    share: float
    history: list[dict[str, float]]


def teach_encoder(
    encoder: Encoder,
    rows: Sequence[Sequence[str]],
    options: Teaching,
    folder: Path,
    *,
    dev: DevScore | None = None,
    progress: bool = True,
) -> Taught:
    """Train an encoder to rank the right passage of each query before the wrong ones of its batch.

    With ``dev``, the result is the best of the start, the best checkpoint and averages of the two.

    The loss is InfoNCE over all passages of the batch (Henderson et al. 2017), under the cosine of sentence vectors or
    under MaxSim (Khattab & Zaharia 2020). No batch holds a passage twice, nor one that was judged to answer the query
    of another row.

    Args:
        encoder: Changed by training; pass a copy to keep it.
        rows: Query, right passage, and the same number of wrong passages in each row.
        options: The loop.
        folder: For checkpoints; emptied of them when training ends well.
        dev: Higher is better; called before training and at every evaluation.
        progress: Show progress bars.

    Raises:
        DataError: No batch without a false negative can be made.
        Diverged: The loss is no number.
        Interrupted: Stopped by Ctrl-C; the checkpoint is in ``folder``.
    """
    check_precision(options.precision, encoder.device.type)
    dataset, claims = _dataset(rows), claimed(rows)
    check_batches(dataset, claims, options)
    start = dev(encoder) if dev is not None else float("nan")
    if options.steps == 0:
        return Taught(encoder, start, start, 0.0, [])
    run = folder / f"checkpoints-{_key(encoder, rows, options, dev)}"
    working_folder(run, CHECKPOINTS)
    if dev is not None:
        torch.save(encoder.state_dict(), run / "start.pt")
    trainer = _trainer(encoder, dataset, claims, options, run, dev, [interruption := Interruption(), StopAtNaN()])
    if progress:
        trainer.add_callback(Progress("Teaching"))
    train(trainer, interruption, run)
    # The trainer leaves its autocast in the model's forward.
    trainer.accelerator.unwrap_model(encoder, keep_fp32_wrapper=False)
    state = trainer.state
    del trainer
    gc.collect()
    best, share = float("nan"), 1.0
    if dev is not None:
        end = state.best_metric if state.best_metric is not None else float("-inf")
        share, best = average(encoder, run / "start.pt", dev, (start, end), SHARES if options.averaging else ())
    if share == 0.0:
        logger.warning("nothing beats the start on the development score (%.4f): the start is kept", start)
    history = [entry for entry in state.log_history if "loss" in entry or "eval_dev" in entry]
    clear_working_folder(run)
    encoder.eval()
    return Taught(encoder, start, best, share, history)


def check_rows(rows: Sequence[Sequence[str]]) -> None:
    """Refuse rows that are no table of texts.

    Raises:
        DataError: None at all, one without a passage, or rows of different lengths; it says which.
    """
    if not rows:
        raise DataError("no row to learn from; give (query, right passage, wrong passages ...) for each")
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str) or len(row) < 2 or len(row) != len(rows[0]) or not all(isinstance(t, str) for t in row):
            raise DataError(
                f"row {number} is {str(row)[:60]!r}; every row is a query, a right passage, and as many wrong passages "
                f"as the first row has ({max(0, len(rows[0]) - 2)}), all of them texts"
            )


def claimed(rows: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """What each row claims for itself in a batch: its texts, and every passage that was judged to answer its query."""
    right: dict[str, list[str]] = {}
    for query, passage, *_ in rows:
        right.setdefault(query, []).append(passage)
    return [{text: text for text in (*row, *right[row[0]])} for row in rows]


def check_batches(dataset: Dataset, claims: list[dict[str, str]], options: Teaching) -> None:
    """Refuse pairs that do not make one batch.

    Raises:
        DataError: With what would do.
    """
    if not options.steps:
        return
    sampler = _batches(dataset, claims=claims, batch_size=options.batch_size, drop_last=True)
    if next(iter(sampler), None) is None:
        raise DataError(
            f"{len(claims)} query-passage pairs do not make one batch of {options.batch_size} whose passages are all "
            f"different and wrong for each other's queries; give more pairs, or set batch_size to "
            f"{max(2, min(options.batch_size // 2, len(claims)))} (negatives = 0 needs fewer passages)"
        )


def _batches(dataset: Dataset, *, claims: list[dict[str, str]], **how: Any) -> NoDuplicatesBatchSampler:
    """The library's batches without duplicates, where a row also claims the other passages judged for its query."""
    sampler = NoDuplicatesBatchSampler(dataset, **how)
    sampler.dataset = claims  # type: ignore[assignment]
    return sampler


def _dataset(rows: Sequence[Sequence[str]]) -> Dataset:
    """The rows in columns, as the losses of the library read them: by place, not by name."""
    from datasets import Dataset

    names = ["query", "positive", *(f"negative_{k}" for k in range(1, len(rows[0]) - 1))]
    return Dataset.from_dict(dict(zip(names, zip(*rows, strict=True), strict=True)))


def _loss(encoder: Encoder, options: Teaching) -> nn.Module:
    """The library's InfoNCE for the class of the encoder; the cached one where batches are cut for memory."""
    from sentence_transformers.multi_vector_encoder import losses as late
    from sentence_transformers.sentence_transformer import losses as single

    multi, cut = is_multi_vector(encoder), options.mini_batch is not None
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): single.MultipleNegativesRankingLoss,
        (False, True): single.CachedMultipleNegativesRankingLoss,
        (True, False): late.MultiVectorMultipleNegativesRankingLoss,
        (True, True): late.CachedMultiVectorMultipleNegativesRankingLoss,
    }
    memory = {"mini_batch_size": options.mini_batch} if cut else {}
    return kinds[multi, cut](encoder, scale=1 / (options.temperature or (1.0 if multi else 0.05)), **memory)


def _trainer(encoder, dataset, claims, options: Teaching, run: Path, dev: DevScore | None, callbacks):
    """The library's trainer for the class of the encoder."""
    if not options.dropout:
        switch_off_dropout(encoder)
    cls, arguments = trainer_classes(encoder)
    every = min(options.evaluate_every, options.steps)
    args = arguments(
        output_dir=str(run),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        dataloader_drop_last=True,
        learning_rate=options.learning_rate,
        warmup_steps=options.warmup,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        bf16=bfloat16(options.precision, encoder.device.type),
        use_cpu=encoder.device.type == "cpu",
        batch_sampler=partial(_batches, claims=claims),
        eval_strategy="steps" if dev is not None else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=dev is not None,
        metric_for_best_model="eval_dev",
        greater_is_better=True,
        logging_steps=max(1, min(10, options.steps // 10)),
        logging_nan_inf_filter=False,
        report_to=options.report_to,
        seed=options.seed,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    if dev is not None:
        callbacks = [*callbacks, EarlyStoppingCallback(options.patience)]
    trainer = cls(
        model=encoder, args=args, train_dataset=dataset, loss=_loss(encoder, options),
        evaluator=Evaluator(dev) if dev is not None else None, callbacks=callbacks,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


def _key(encoder: Encoder, rows: Sequence[Sequence[str]], options: Teaching, dev: DevScore | None) -> str:
    """What a checkpoint belongs to: the start, the rows, the loop and what chooses the best."""
    loop = options.model_dump_json(
        exclude={"collection", "teacher", "test", "test_split", "test_queries", "out", "cache"}
    )
    return checksum([fingerprint(encoder), loop, score_fingerprint(dev), *(text for row in rows for text in row)])[:8]
