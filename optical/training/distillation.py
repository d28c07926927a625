"""Distillation: a teacher and bitext in, a student out.

The teacher's vectors of the English side are read from disk, the student runs over the X side, and the objectives
(:mod:`optical.training.distillation_loss`) compare the two in the loop of :mod:`optical.training.trainer`.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch import nn

from optical.config.recipe import WEIGHTS, Objective, Robustness, StudentOptions, Training
from optical.data.bitext import Pair
from optical.embeddings.cache import teacher_vectors
from optical.embeddings.shards import Rows
from optical.embeddings.vectors import Vectors
from optical.errors import DataError, RecipeError
from optical.files import checksum
from optical.models.encoders import (
    DevScore,
    Encoder,
    fingerprint,
    is_multi_vector,
    score_fingerprint,
    token_counts,
    transformer,
)
from optical.models.layers import keep_layers
from optical.models.precision import check_precision
from optical.training.augmentation import Augment, read_synonyms
from optical.training.batches import length_grouped
from optical.training.callbacks import LogPlans, StopWhenDiverged
from optical.training.distillation_loss import Distillation, Rarity, idf
from optical.training.mixture import Mixture, fits, mix, usable
from optical.training.row_adam import RowAdamW, rows_in_use
from optical.training.trainer import Task, Trained, Workspace, train, untrained
from optical.training.word_dropout import WordDropout
from optical.vocabulary.lexicon import bitext_lexicon
from optical.vocabulary.tokenizer import token_ids
from optical.vocabulary.transplant import Transplant, size_of, transplant


class Distilled(NamedTuple):
    """A student and how it came about.

    Attributes:
        student: The encoder with the best development score.
        start: The encoder before training.
        transplant: What the transplant reports; empty where ``start`` was given.
        trained: Development scores, and what the trainer logged.
        mixture: The pairs that it was made from.
        pairs: How many of them, repeats not counted, were trained on.
        seconds: Stage -> wall time: transplant, training.
    """

    student: Encoder
    start: Encoder
    transplant: dict[str, Any]
    trained: Trained
    mixture: Mixture
    pairs: int
    seconds: dict[str, float]


def distill(
    teacher: Encoder,
    pairs: Mapping[str, Sequence[Pair]],
    options: StudentOptions,
    workspace: Workspace,
    *,
    passages: Sequence[np.ndarray | Rows] = (),
    dev: DevScore | None = None,
    start: Encoder | None = None,
) -> Distilled:
    """Make a student of a teacher: give it the words of X, then train it to put sentences where the teacher does.

    Interrupted (Ctrl-C), it leaves a checkpoint; called again with the same arguments it goes on from there. With
    ``dev``, the student is the best of the start, the best checkpoint and averages of the two, so never worse than the
    start.

    Args:
        teacher: Stays as it is.
        pairs: Language -> bitext; one student is made for all languages.
        options: Vocabulary, objectives, robustness, loop, layers, seed.
        workspace: Where checkpoints and the teacher's vectors go, and who is told what.
        passages: Sentence vectors of English passages, one array ``(n, e)`` of unit rows a collection, that the
            ``scores`` objective ranks; ``objective.documents`` of them are drawn by the seed. Without any, that
            objective is left out.
        dev: Higher is better; called before training and at every evaluation. A checkpoint is gone on with only under a
            score of the same ``fingerprint`` (see :class:`optical.models.encoders.NamedScore`), or of the same name.
        start: The student before training, where it is there already; stays as it is.

    Raises:
        DataError: No or too few usable pairs, or a file of synonyms that cannot be used.
        RecipeError: The only objective is to rank passages, and there are none; bfloat16 on a processor without it.
        Diverged: The loss is no number, or all vectors are alike; the last good checkpoint is in the workspace.
        Interrupted: Stopped by Ctrl-C; the checkpoint is in the workspace.
    """
    mixture = mix(pairs, options.training)
    check_enough(mixture.pairs, options.training)
    if len(pairs) > 1:
        drawn = (f"{lang} {len(own)} pairs, {100 * mixture.shares[lang]:.1f} %" for lang, own in pairs.items())
        workspace.say(f"languages and their shares of training: {'; '.join(drawn)}")
    begun = time.perf_counter()
    facts: dict[str, Any] = {}
    if start is None:
        grown = make_start(teacher, mixture.pairs, options, workspace.say)
        start, facts = grown.student, grown.report()
    made = time.perf_counter()
    ranked = draw_passages(passages, options)
    trained = train_student(copy.deepcopy(start), teacher, mixture, options, workspace, ranked, dev)
    seconds = {"transplant": round(made - begun, 1), "training": round(time.perf_counter() - made, 1)}
    count = len(usable(mixture.pairs, options.training)) if options.training.steps else 0
    workspace.say(f"training: {count} pairs, development MAP {trained.start:.4f} -> {trained.best:.4f}")
    return Distilled(trained.encoder, start, facts, trained, mixture, count, seconds)


def make_start(
    teacher: Encoder, pairs: Sequence[Pair], options: StudentOptions, say: Callable[[str], None]
) -> Transplant:
    """The student before training: the words of X, and the layers that are asked for."""
    start = transplant(teacher, pairs, options.vocabulary, seed=options.seed)
    if options.layers is not None:
        shallow = keep_layers(start.student, options.layers)
        start = start._replace(student=shallow, size_after=size_of(shallow))
    say(
        f"vocabulary: {start.added} words added, {start.size_before.rows} -> {start.size_after.rows} rows, from "
        f"{len(pairs)} pairs in {start.seconds:.0f} s; {start.fertility()}; cosine of teacher and student on English "
        f"sentences: mean {start.english.mean():.3f}, least {start.english.min():.3f}"
    )
    return start


def draw_passages(passages: Sequence[np.ndarray | Rows], options: StudentOptions) -> np.ndarray | None:
    """The vectors that the ``scores`` objective ranks, as many of each collection; None where there are none."""
    there = [vectors for vectors in passages if vectors.shape[1]]
    if not there:
        return None
    random = np.random.default_rng(options.seed)
    each = max(1, options.objective.documents // len(there))
    drawn = [draw_rows(vectors, each, random) for vectors in there]
    return drawn[0] if len(drawn) == 1 else np.concatenate(drawn)


def draw_rows(vectors: np.ndarray | Rows, count: int, random: np.random.Generator) -> np.ndarray:
    """``count`` different rows in their order, each as likely as any other; all of them where there are no more."""
    if len(vectors) <= count:
        return vectors[:]
    return vectors[np.sort(random.choice(len(vectors), count, replace=False))]


def train_student(
    student: Encoder,
    teacher: Encoder,
    mixture: Mixture,
    options: StudentOptions,
    workspace: Workspace,
    passages: np.ndarray | None = None,
    dev: DevScore | None = None,
) -> Trained:
    """Train a student, usually a transplant, which is changed; arguments and errors are those of :func:`distill`."""
    objective, robustness, training, seed = options.objective, options.robustness, options.training, options.seed
    check_enough(mixture.pairs, training)
    check_precision(training.precision, student.device.type)
    _check_asked(objective, is_multi_vector(student) or passages is None)
    if training.steps == 0:
        return untrained(student, dev)
    chosen, repeats = usable(mixture.pairs, training), _repeats(mixture, training)
    words = _replacements(robustness, mixture.pairs)
    vectors = teacher_vectors(teacher, [p.english for p in chosen], workspace.cache, progress=workspace.progress)
    ranked = passages if objective.scores and not is_multi_vector(student) else None
    loss = Distillation(
        student, vectors, ranked, objective, robustness=robustness,
        rarity=_rarity(student, teacher, chosen, vectors) if objective.masses == "idf" else None, seed=seed,
    )  # fmt: skip
    settings = [*(option.model_dump_json() for option in (objective, robustness, training)), str(seed)]
    key = _key(student, chosen, vectors, settings, repeats, ranked, dev)
    run = workspace.folder / f"checkpoints-{key}"
    optimizer = _optimizer(student, training)
    task = Task(
        "Distilling", student, _dataset(chosen), loss,
        _arguments(student, chosen, repeats, training, clips=not isinstance(optimizer, contextlib.nullcontext)), seed,
        callbacks=[StopWhenDiverged(loss, run), LogPlans(loss)], optimizer=optimizer,
        tokenization=partial(_changed_tokenization, student, options, words),
    )  # fmt: skip
    return train(task, training, run, dev=dev, progress=workspace.progress)


def _dataset(chosen: Sequence[Pair]) -> Any:  # noqa: ANN401 - datasets is imported where it is used
    from datasets import Dataset

    return Dataset.from_dict({"foreign": [p.foreign for p in chosen], "label": list(range(len(chosen)))})


def _arguments(
    student: Encoder, chosen: Sequence[Pair], repeats: np.ndarray, training: Training, *, clips: bool
) -> dict[str, Any]:
    """What the trainer is told beyond what every training has; ``clips`` says that the optimizer clips gradients."""
    lengths = token_counts(student, [p.foreign for p in chosen])
    return {
        "gradient_accumulation_steps": training.accumulation,
        "learning_rate_mapping": {_embedding_pattern(student): training.embedding_learning_rate},
        "torch_compile": training.compile,
        # RowAdamW clips: it alone sees the gradient of the rows in use.
        "max_grad_norm": float("inf") if clips else 1.0,
        "batch_sampler": partial(_LengthGrouped, lengths=lengths, repeats=repeats, batch_tokens=training.batch_tokens),
        "push_to_hub": training.hub_model_id is not None,
        "hub_model_id": training.hub_model_id,
    }


def _changed_tokenization(
    student: Encoder, options: StudentOptions, words: dict[str, list[str]], preprocess: Callable[..., Any]
) -> Callable[..., Any]:
    """Tokenization while training: added words fall apart now and then, words are replaced where that is asked."""
    if options.training.word_dropout:
        preprocess = WordDropout(preprocess, student.tokenizer, options.training.word_dropout, options.seed)
    if words:
        preprocess = Augment(preprocess, words, options.robustness.rate, options.seed)
    return preprocess


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


def _repeats(mixture: Mixture, training: Training) -> np.ndarray:
    """How often each usable pair is drawn in an epoch."""
    given = [1] * len(mixture.pairs) if mixture.weights is None else mixture.weights
    drawn = zip(mixture.pairs, given, strict=True)
    return np.array([w * (training.question_repeats if p.is_question else 1) for p, w in drawn if fits(p, training)])


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
