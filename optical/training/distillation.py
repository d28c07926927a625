"""Bitext and a teacher in, a student out, by the trainer of sentence-transformers.

The teacher's vectors of the English side are read from disk, the student runs over the X side, the objectives compare
the two, and the library's trainer does the rest: precision, accumulation, several GPUs, checkpoints, logging, the hub.
Knows objectives, encoders and pairs; knows no collection and no index (the development score is a function it is
given).
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback

from optical.config.recipe import WEIGHTS, Objective, Robustness, Training
from optical.data.bitext import Pair
from optical.data.words import split_words
from optical.embeddings.cache import teacher_vectors
from optical.embeddings.vectors import Vectors
from optical.errors import DataError, RecipeError
from optical.files import checksum, clear_working_folder, working_folder
from optical.models.encoders import (
    DevScore,
    Encoder,
    fingerprint,
    is_multi_vector,
    score_fingerprint,
    token_counts,
    transformer,
)
from optical.models.precision import bfloat16, check_precision
from optical.training.augmentation import Augment, read_synonyms
from optical.training.averaging import SHARES, average
from optical.training.batches import length_grouped
from optical.training.callbacks import Interruption, LogPlans, Progress, StopWhenDiverged
from optical.training.distillation_loss import Distillation, Rarity, idf
from optical.training.row_adam import RowAdamW, rows_in_use
from optical.training.trainer import CHECKPOINTS, Evaluator, switch_off_dropout, train, trainer_classes
from optical.training.word_dropout import WordDropout
from optical.vocabulary.lexicon import bitext_lexicon
from optical.vocabulary.tokenizer import token_ids

logger = logging.getLogger(__name__)


class Distilled(NamedTuple):
    """A student and how it came about.

    Attributes:
        student: The encoder with the best development score.
        start: Development score before training, NaN without a development score.
        best: Development score of ``student``.
        share: Weight of training in ``student``: 1 for the best checkpoint itself, less for an average with the start.
        history: What the trainer logged, one dict an entry: losses by objective, marginal error of the plans, scores.
        pairs: Sentence pairs trained on, repeats not counted.
    """

    student: Encoder
    start: float
    best: float
    share: float
    history: list[dict[str, float]]
    pairs: int


def distill_student(
    student: Encoder,
    teacher: Encoder,
    pairs: Sequence[Pair],
    *,
    objective: Objective,
    training: Training,
    folder: Path,
    cache: Path,
    robustness: Robustness | None = None,
    weights: Sequence[float] | None = None,
    documents: np.ndarray | None = None,
    dev: DevScore | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Distilled:
    """Train a student (usually a transplant) to put sentences of X where the teacher puts their translations.

    Interrupted (Ctrl-C), it writes a checkpoint and stops; called again with the same arguments it goes on from there.
    With ``dev``, the result is the best of the start, the best checkpoint and averages of the two, so never worse than
    the start.

    Args:
        student: Changed by training; pass a copy to keep it.
        teacher: Stays as it is.
        pairs: Bitext.
        objective: Which objectives with which weights.
        training: The loop.
        folder: For checkpoints; emptied of them when training ends well.
        cache: For the teacher's vectors.
        robustness: Training on perturbed input; none by default.
        weights: How often each pair is drawn, for one draw of the others; all alike by default.
        documents: Sentence vectors of English passages, ``(n, e)``, unit length, for the ``scores`` objective; without
            them that objective is left out.
        dev: Higher is better; called before training and at every evaluation. A checkpoint is gone on with only under a
            score of the same ``fingerprint`` (see :class:`optical.models.encoders.NamedScore`), or of the same name.
        seed: Of the order of the pairs.
        progress: Show progress bars.

    Raises:
        DataError: Fewer usable pairs than one optimizer step takes, or a file of synonyms that cannot be used.
        RecipeError: The only objective is to rank passages, and there are none; bfloat16 on a processor without it.
        Diverged: The loss is no number, or all vectors are alike; the last good checkpoint is in ``folder``.
        Interrupted: Stopped by Ctrl-C; the checkpoint is in ``folder``.
    """
    check_enough(pairs, training)
    check_precision(training.precision, student.device.type)
    _check_asked(objective, is_multi_vector(student) or documents is None)
    chosen = usable(pairs, training)
    robustness = robustness or Robustness()
    repeats = _repeats(pairs, weights, training)
    augment = _replacements(robustness, pairs)
    start = dev(student) if dev is not None else float("nan")
    if training.steps == 0:
        return Distilled(student, start, start, 0.0, [], 0)
    vectors = teacher_vectors(teacher, [p.english for p in chosen], cache, progress=progress)
    ranked = documents if objective.scores and not is_multi_vector(student) else None
    loss = Distillation(
        student, vectors, ranked, objective, robustness=robustness,
        rarity=_rarity(student, teacher, chosen, vectors) if objective.masses == "idf" else None, seed=seed,
    )  # fmt: skip
    settings = [*(option.model_dump_json() for option in (objective, robustness, training)), str(seed)]
    key = _key(student, chosen, vectors, settings, repeats, ranked, dev)
    run = folder / f"checkpoints-{key}"
    working_folder(run, CHECKPOINTS)
    if dev is not None:
        torch.save(student.state_dict(), run / "start.pt")
    with _optimizer(student, training) as optimizer:
        callbacks = [
            interruption := Interruption(),
            StopWhenDiverged(loss, run),
            LogPlans(loss),
            *[Progress("Distilling")] * progress,
        ]
        trainer = _trainer(student, loss, chosen, repeats, training, run, dev, seed, callbacks, optimizer)
        if augment:
            collator: Any = trainer.data_collator
            collator.preprocess_fn = Augment(collator.preprocess_fn, augment, robustness.rate, seed)
        train(trainer, interruption, run)
    # The trainer leaves its autocast in the model's forward: a student is used in the precision of its weights.
    trainer.accelerator.unwrap_model(student, keep_fp32_wrapper=False)
    state = trainer.state
    del trainer, optimizer
    gc.collect()  # the moments of Adam are twice the student, and the trainer is full of circles
    best, share = float("nan"), 1.0
    if dev is not None:
        end = state.best_metric if state.best_metric is not None else float("-inf")
        share, best = average(student, run / "start.pt", dev, (start, end), SHARES if training.averaging else ())
    if share == 0.0:
        logger.warning("nothing beats the start on the development score (%.4f): the start is kept", start)
    history = [entry for entry in state.log_history if "loss" in entry or "eval_dev" in entry]
    clear_working_folder(run)
    student.eval()
    return Distilled(student, start, best, share, history, len(chosen))


def usable(pairs: Sequence[Pair], training: Training) -> list[Pair]:
    """Pairs whose X side has the length that training asks for; the order stays."""
    return [p for p in pairs if _fits(p, training)]


def _fits(pair: Pair, training: Training) -> bool:
    return training.min_words <= len(split_words(pair.foreign)) <= training.max_words


def check_enough(pairs: Sequence[Pair], training: Training) -> None:
    """Refuse fewer usable pairs than one optimizer step takes.

    Raises:
        DataError: With the batch size that would do.
    """
    count, need = len(usable(pairs, training)), training.batch_size * training.accumulation
    if training.steps and count < need:
        raise DataError(
            f"{count} sentence pairs of {training.min_words} to {training.max_words} words are fewer than one "
            f"step takes ({need} = batch_size x accumulation); give more bitext, or set training.batch_size to "
            f"{max(1, count // (2 * training.accumulation))}"
        )


def _check_asked(objective: Objective, without_ranking: bool) -> None:
    if without_ranking and not any(getattr(objective, name) for name in WEIGHTS if name != "scores"):
        raise RecipeError(
            "objective.scores is the only objective, and there is nothing to rank: it needs a collection and single "
            "vectors; give both, or a weight to another objective, such as objective.ot = 1"
        )


def _repeats(pairs: Sequence[Pair], weights: Sequence[float] | None, training: Training) -> np.ndarray:
    """How often each usable pair is drawn in an epoch."""
    given = [1] * len(pairs) if weights is None else weights
    drawn = [w * (training.question_repeats if p.is_question else 1) for p, w in zip(pairs, given, strict=True)]
    return np.array([r for p, r in zip(pairs, drawn, strict=True) if _fits(p, training)])


def _replacements(robustness: Robustness, pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """What augmentation puts in the place of words; empty where there is no augmentation."""
    if robustness.method != "augment":
        return {}
    return read_synonyms(robustness.synonyms) if robustness.synonyms else bitext_lexicon(pairs)


def _rarity(student: Encoder, teacher: Encoder, chosen: Sequence[Pair], vectors: Vectors) -> Rarity:
    """How rare tokens are among the sentences trained on, on either side.

    Raises:
        DataError: The teacher's tokens are not those of its tokenizer.
    """
    foreign = idf(token_ids(student.tokenizer, [p.foreign for p in chosen]), len(student.tokenizer))
    special = torch.tensor(student.tokenizer.all_special_ids)
    limit = teacher.max_seq_length
    ids = [teacher.tokenizer(p.english, truncation=limit is not None, max_length=limit)["input_ids"] for p in chosen]
    english = idf(ids, len(teacher.tokenizer))
    rows = [english[row] for row in ids]
    if any(len(row) != len(vectors.of(k)) for k, row in enumerate(rows)):
        raise DataError(
            'objective.masses = "idf" needs a teacher that keeps every token of its tokenizer; this one leaves some '
            'out or adds some; take "uniform" or "norm"'
        )
    weights = torch.from_numpy(foreign).index_fill(0, special, float(foreign.min()))
    return Rarity(weights, rows)


class _LengthGrouped(DefaultBatchSampler):
    """The batches of :func:`optical.training.batches.length_grouped`, as the trainer asks for them."""

    def __init__(self, dataset: Any, *, batch_size: int, seed: int, **how: Any) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=True, seed=seed)
        self.how = {key: how[key] for key in ("lengths", "repeats", "batch_tokens")}

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        yield from length_grouped(**self.how, random=random, batch_size=self.batch_size)

    def __len__(self) -> int:
        return len(list(iter(self)))


def _trainer(student, loss, chosen, repeats, training, run, dev, seed, callbacks, optimizer):
    """The library's trainer for the class of the student, set up from the recipe."""
    from datasets import Dataset

    dataset = Dataset.from_dict({"foreign": [p.foreign for p in chosen], "label": list(range(len(chosen)))})
    lengths = token_counts(student, [p.foreign for p in chosen])
    if not training.dropout:
        switch_off_dropout(student)
    cls, arguments = trainer_classes(student)
    args = arguments(
        output_dir=str(run),
        max_steps=training.steps,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        learning_rate_mapping={_embedding_pattern(student): training.embedding_learning_rate},
        warmup_steps=training.warmup,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        bf16=bfloat16(training.precision, student.device.type),
        torch_compile=training.compile,
        # RowAdamW clips: it alone sees the gradient of the rows in use.
        max_grad_norm=1.0 if optimizer is None else float("inf"),
        use_cpu=student.device.type == "cpu",
        batch_sampler=partial(_LengthGrouped, lengths=lengths, repeats=repeats, batch_tokens=training.batch_tokens),
        eval_strategy="steps" if dev is not None else "no",
        eval_steps=min(training.evaluate_every, training.steps),
        save_strategy="steps",
        save_steps=min(training.evaluate_every, training.steps),
        save_total_limit=2,
        load_best_model_at_end=dev is not None,
        metric_for_best_model="eval_dev",
        greater_is_better=True,
        logging_steps=max(1, min(10, training.steps // 10)),
        report_to=training.report_to,
        push_to_hub=training.hub_model_id is not None,
        hub_model_id=training.hub_model_id,
        seed=seed,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    if dev is not None:
        callbacks = [*callbacks, EarlyStoppingCallback(training.patience)]
    evaluator = Evaluator(dev) if dev is not None else None
    trainer = cls(
        model=student, args=args, train_dataset=dataset, loss=loss, evaluator=evaluator, callbacks=callbacks,
        optimizers=(optimizer, None),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    if training.word_dropout:
        collator: Any = trainer.data_collator
        collator.preprocess_fn = WordDropout(collator.preprocess_fn, student.tokenizer, training.word_dropout, seed)
    return trainer


def _embedding_pattern(student: Encoder) -> str:
    """A regular expression for the name of the token embeddings, as the trainer's learning rates want it."""
    weight = transformer(student).auto_model.get_input_embeddings().weight
    name = next(name for name, parameter in student.named_parameters() if parameter is weight)
    return re.escape(name) + "$"


def _optimizer(student: Encoder, training: Training) -> contextlib.AbstractContextManager[RowAdamW | None]:
    """Adam on the embedding rows in use, where that is faster: on a processor. None leaves Adam to the trainer."""
    model = transformer(student).auto_model
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1 and not training.compile
    if student.device.type != "cpu" or not alone or type(model.get_input_embeddings()) is not nn.Embedding:
        return contextlib.nullcontext()
    parameters = [p for p in student.parameters() if p.requires_grad]
    return rows_in_use(model, parameters, lr=training.learning_rate, embedding_lr=training.embedding_learning_rate)


def _key(
    student: Encoder,
    chosen: Sequence[Pair],
    vectors: Vectors,
    settings: Sequence[str],
    repeats: np.ndarray,
    ranked: np.ndarray | None,
    dev: DevScore | None,
) -> str:
    """What a checkpoint belongs to.

    The start, the sentences, how often each is drawn, the targets, the settings, the passages ranked and the
    development set.
    """
    passages = "" if ranked is None else hashlib.sha256(np.ascontiguousarray(ranked).data).hexdigest()
    shape = "" if ranked is None else str(ranked.shape)
    inputs = [vectors.folder.name, *settings, str(repeats.tolist()), passages, shape, score_fingerprint(dev)]
    return checksum([fingerprint(student), *(p.foreign for p in chosen), *inputs])[:8]
