"""Distillation: a teacher and bitext in, a student out.

The teacher's vectors of the English side are read from disk, the student encodes the X side, and the objectives
(:mod:`optical.training.distillation_loss`) compare the two in the loop of :mod:`optical.training.trainer`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sentence_transformers.base.sampler import DefaultBatchSampler

from optical.config.objective import WEIGHTS, Objective
from optical.config.recipe import StudentOptions
from optical.config.training import Robustness, Training
from optical.data.bitext import Pair
from optical.embeddings.cache import teacher_vectors
from optical.embeddings.shards import Rows
from optical.embeddings.vectors import Vectors
from optical.errors import DataError, RecipeError
from optical.models.composing import query_words
from optical.models.encoders import DevScore, Encoder, is_multi_vector, token_counts
from optical.models.linear_map import Body
from optical.models.precision import check_precision
from optical.models.prompts import query_prompt
from optical.models.reading import reading
from optical.progress import clock, stage
from optical.training.augmentation import Augment, read_synonyms
from optical.training.batches import length_grouped
from optical.training.callbacks import LogPlans, StopWhenDiverged
from optical.training.distillation_loss import DistillationLoss
from optical.training.embedding_rows import fit_rows, row_pull, train_rows_too
from optical.training.mixture import Mixture, left_out, mix
from optical.training.plan_terms import plan_terms
from optical.training.start import choose_start
from optical.training.trainer import Task, Trained, Workspace, train, untrained
from optical.training.unseen import choose_composing
from optical.training.word_dropout import WordDropout
from optical.vocabulary.lexicon import bitext_lexicon


class Distilled(NamedTuple):
    """A distilled student, its start, and what is reported of both.

    Attributes:
        student: The encoder that the development score chose.
        start: The encoder before training.
        transplant: What the start reports; empty where it was given.
        trained: Development scores, and what the trainer logged.
        mixture: The pairs that the student was made from.
        pairs: How many of them were trained on, repeats not counted.
    """

    student: Encoder
    start: Encoder
    transplant: dict[str, Any]
    trained: Trained
    mixture: Mixture
    pairs: int


def distill(
    teacher: Encoder,
    pairs: Mapping[str, Sequence[Pair]],
    options: StudentOptions,
    workspace: Workspace,
    *,
    passages: Sequence[np.ndarray | Rows] = (),
    dev: DevScore | None = None,
    start: Encoder | Body | None = None,
) -> Distilled:
    """Make a student of a teacher: give it the words of X, then train it to reproduce the teacher's vectors.

    Interrupted (Ctrl-C), it leaves a checkpoint; called again with the same arguments it goes on from there. With
    ``dev``, the student is the start unless a checkpoint or an average of weights is better beyond chance
    (:mod:`optical.training.choice`).

    Args:
        teacher: Is not changed.
        pairs: Language -> bitext; one student is made for all languages.
        options: Vocabulary, objectives, robustness, loop, layers, seed.
        workspace: Where checkpoints and the teacher's vectors go.
        passages: Sentence vectors of English passages, one array ``(n, e)`` of unit rows a collection, that the
            ``scores`` objective ranks; ``objective.documents`` of them are drawn by the seed. Without any, that
            objective is left out.
        dev: Higher is better; called before training and at every evaluation. Only a score with a method ``measured``
            (encoder -> :class:`optical.evaluation.strata.Stratified`) can be tested. A checkpoint is resumed only with
            one of the same ``fingerprint`` (see :class:`optical.models.encoders.NamedScore`), or of the same name.
        start: The student before training, where it was made already, or the encoder that it is made of instead of the
            teacher; is not changed.

    Raises:
        DataError: No or too few usable pairs, or a file of synonyms that cannot be used.
        RecipeError: The only objective is to rank passages, and there are none; bfloat16 on a CPU without it.
        Diverged: The loss is not a number, or all vectors are alike; the message names the last good checkpoint.
        Interrupted: Stopped by Ctrl-C; the checkpoint is in the workspace.
    """
    mixture = mix(pairs, options.training, options.weights)
    check_enough(mixture, options.training)
    if len(pairs) > 1:
        drawn = (f"{lang} {len(own)} pairs, {100 * mixture.shares[lang]:.1f} %" for lang, own in pairs.items())
        workspace.say(f"languages and their shares of training: {'; '.join(drawn)}")
    if _steps(options.training) and (unfit := left_out(mixture.pairs, options.training)):
        workspace.say(f"pairs that the transplant reads and training does not: {'; '.join(unfit)}")
    if start is None or isinstance(start, Body):
        start, facts = choose_start(teacher, mixture.pairs, options, workspace, start, dev)
    else:
        start = copy.deepcopy(start)
        facts = choose_composing(start, options.vocabulary, dev, workspace.say)
    clock()("transplant")
    ranked = draw_passages(passages, options)
    with stage("training"):
        trained = train_student(copy.deepcopy(start), teacher, mixture, options, workspace, ranked, dev)
    count = len(mixture.trained(options.training)) if _steps(options.training) else 0
    workspace.say(f"training: {count} pairs, {trained.sentence}")
    return Distilled(trained.encoder, start, facts, trained, mixture, count)


def draw_passages(passages: Sequence[np.ndarray | Rows], options: StudentOptions) -> np.ndarray | None:
    """Draw the vectors that the ``scores`` objective ranks, equally many of each collection; None without vectors."""
    there = [vectors for vectors in passages if vectors.shape[1]]
    if not there:
        return None
    random = np.random.default_rng(options.seed)
    each = max(1, options.objective.documents // len(there))
    drawn = [_draw_rows(vectors, each, random) for vectors in there]
    return drawn[0] if len(drawn) == 1 else np.concatenate(drawn)


def _draw_rows(vectors: np.ndarray | Rows, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw ``count`` different rows evenly, in their order; all of them where there are no more."""
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
    """Train a student in place; arguments and errors are those of :func:`distill`."""
    objective, robustness, training, seed = options.objective, options.robustness, options.training, options.seed
    check_enough(mixture, training)
    check_precision(training.precision, student.device.type)
    ranked = None if is_multi_vector(student) else passages
    _check_objective(objective, ranked)
    if not _steps(training):
        return untrained(student, dev)
    drawn = mixture.trained(training)
    chosen, repeats = [pair for pair, _ in drawn], np.array([draws for _, draws in drawn])
    words = _replacements(robustness, mixture.pairs)
    with stage("teacher vectors"):
        vectors = teacher_vectors(teacher, [p.english for p in chosen], workspace.cache, progress=workspace.progress)
    lengths = token_counts(student, [p.foreign for p in chosen])
    _say_cut(student, [p.foreign for p in chosen], lengths, vectors, workspace.say)
    ranked = ranked if objective.scores else None
    terms = plan_terms(objective, student, teacher, chosen, vectors)
    loss = DistillationLoss(student, vectors, ranked, objective, robustness=robustness, terms=terms, seed=seed)
    task = Task(
        "Distilling", student, _dataset(chosen), loss, _arguments(student, lengths, repeats, training), seed,
        _inputs(chosen, vectors, options, repeats, ranked), callbacks=[StopWhenDiverged(loss), LogPlans(loss)],
        tokenization=partial(_changed_tokenization, student, options, words),
    )  # fmt: skip
    pull = row_pull(student, chosen, training.row_penalty)
    fitted = fit_rows(task, training, pull, workspace, dev) if training.rows_steps else None
    if fitted is not None and not training.steps:
        return fitted
    trained = train(train_rows_too(task, training, pull), training, workspace, dev)
    if fitted is None:
        return trained
    workspace.say(f"after the rows: {trained.sentence}")
    return trained.after(fitted)


def _say_cut(
    student: Encoder, foreign: Sequence[str], lengths: np.ndarray, vectors: Vectors, say: Callable[[str], None]
) -> None:
    """Say how many sentences of the bitext are longer than teacher and student read, where there are any."""
    read = reading(student, foreign, lengths.tolist(), query_prompt(student))
    english = vectors.reading.said("English sentences", "teacher") if vectors.reading else ""
    for line in (english, read.said("sentences of X", "student")):
        if line:
            say(line)


def _dataset(chosen: Sequence[Pair]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"foreign": [p.foreign for p in chosen], "label": list(range(len(chosen)))})


def _arguments(student: Encoder, lengths: np.ndarray, repeats: np.ndarray, training: Training) -> dict[str, Any]:
    """Arguments of the trainer for distillation alone, but those of the embedding rows."""
    return {
        "gradient_accumulation_steps": training.accumulation,
        "prompts": query_prompt(student) or None,  # X sentences are read as queries are
        "torch_compile": training.compile,
        "batch_sampler": partial(_LengthGrouped, lengths=lengths, repeats=repeats, batch_tokens=training.batch_tokens),
        "push_to_hub": training.hub_model_id is not None,
        "hub_model_id": training.hub_model_id,
    }


def _changed_tokenization(
    student: Encoder, options: StudentOptions, words: dict[str, list[str]], preprocess: Callable[..., Any]
) -> Callable[..., Any]:
    """Add word dropout and augmentation to tokenization, where the options ask for them."""
    if options.training.word_dropout:
        dropout, composing = options.training.word_dropout, query_words(student)
        preprocess = WordDropout(preprocess, student.tokenizer, dropout, options.seed, composing)
    if words:
        preprocess = Augment(preprocess, words, options.robustness.rate, options.seed)
    return preprocess


def check_enough(mixture: Mixture, training: Training) -> None:
    """Refuse an epoch of fewer pairs than one optimizer step takes.

    Raises:
        DataError: There are fewer; the message gives a batch size that would do.
    """
    drawn, need = mixture.trained(training), training.batch_size * training.accumulation
    count = min(len(drawn), int(sum(draws for _, draws in drawn)))
    if _steps(training) and count < need:
        raise DataError(
            f"{count} sentence pairs of {training.min_words} to {training.max_words} words"
            f"{'' if mixture.weights is None else ', drawn by their weights,'} are fewer than one step takes "
            f"({need} = batch_size x accumulation); give more bitext, or set training.batch_size to "
            f"{max(1, count // (2 * training.accumulation))}"
        )


def _steps(training: Training) -> int:
    """Optimizer steps of all stages."""
    return training.rows_steps + training.steps


def _check_objective(objective: Objective, ranked: np.ndarray | None) -> None:
    if ranked is None and not any(getattr(objective, name) for name in WEIGHTS if name != "scores"):
        raise RecipeError(
            "objective.scores is the only objective, and there is nothing to rank: it needs a collection and single "
            "vectors; give both, or a weight to another objective, such as objective.ot = 1"
        )


def _replacements(robustness: Robustness, pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """Folded word -> what augmentation replaces it with; empty without augmentation."""
    if robustness.method != "augment":
        return {}
    return read_synonyms(robustness.synonyms) if robustness.synonyms else bitext_lexicon(pairs)


class _LengthGrouped(DefaultBatchSampler):
    """The batches of :func:`optical.training.batches.length_grouped` as a sampler of the library."""

    def __init__(self, dataset: Any, *, batch_size: int, seed: int, **how: Any) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=True, seed=seed)
        self.how = {key: how[key] for key in ("lengths", "repeats", "batch_tokens")}

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        yield from length_grouped(**self.how, random=random, batch_size=self.batch_size)

    def __len__(self) -> int:
        return len(list(iter(self)))


def _inputs(
    chosen: Sequence[Pair], vectors: Vectors, options: StudentOptions, repeats: np.ndarray, ranked: np.ndarray | None
) -> list[str]:
    """All that decides the student beside its start: sentences, targets, options, draws and passages ranked."""
    settings = [option.model_dump_json() for option in (options.objective, options.robustness, options.training)]
    passages = "" if ranked is None else hashlib.sha256(np.ascontiguousarray(ranked).data).hexdigest()
    shape = "" if ranked is None else str(ranked.shape)
    foreign = [p.foreign for p in chosen]
    return [*foreign, vectors.folder.name, *settings, str(options.seed), str(repeats.tolist()), passages, shape]
