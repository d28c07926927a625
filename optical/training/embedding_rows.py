"""Train the embedding rows of a student: their optimizer, the pull to their start, a stage of their own.

Rows of words of X are seen seldom, each in few sentences, while the body is seen in all. So they may be fitted before
the body is trained, and pulled back to where they started the more, the fewer sentences they were seen in.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from optical.config.training import Training
from optical.data.bitext import Pair
from optical.errors import RecipeError
from optical.models.encoders import DevScore, Encoder, transformer
from optical.models.prompts import query_prompt
from optical.training.callbacks import PullRows
from optical.training.row_adam import rows_in_use
from optical.training.trainer import Task, Trained, Workspace, train
from optical.training.word_dropout import pieces_of_words
from optical.vocabulary.token_ids import token_ids


def train_rows_too(task: Task, training: Training, pull: Tensor | None = None, frozen: Tensor | None = None) -> Task:
    """Let a task train the embedding rows: by Adam on the rows in use where it can, else by the trainer's optimizer.

    Args:
        task: Of a student.
        training: Its learning rates.
        pull: How strongly each row is pulled to its start, ``(v,)``; None for not at all.
        frozen: Rows that stay as they are, ``(v,)``; None for none.
    """
    student, arguments, callbacks = task.encoder, dict(task.arguments), list(task.callbacks)
    model, weight = transformer(student).auto_model, _matrix(student)
    name = next(name for name, parameter in student.named_parameters() if parameter is weight)
    arguments["learning_rate_mapping"] = {re.escape(name) + "$": training.embedding_learning_rate}
    arguments["max_grad_norm"] = 1.0
    if not takes_rows_in_use(student, training):
        callbacks += [] if pull is None else [PullRows(weight, pull)]
        optimizer = contextlib.nullcontext() if frozen is None else _without_gradient(weight, frozen)
    else:
        arguments["max_grad_norm"] = float("inf")  # RowAdamW clips: it alone sees the gradient of the rows in use
        body = [parameter for parameter in student.parameters() if parameter.requires_grad]
        rates = {"lr": training.learning_rate, "embedding_lr": training.embedding_learning_rate}
        optimizer = rows_in_use(model, body, **rates, frozen=frozen, pull=pull)
    return task._replace(arguments=arguments, callbacks=callbacks, optimizer=optimizer)


def takes_rows_in_use(student: Encoder, training: Training) -> bool:
    """Whether Adam can be given the rows in use alone: in a single process on a CPU, not compiled."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1 and not training.compile
    plain = type(transformer(student).auto_model.get_input_embeddings()) is nn.Embedding
    return student.device.type == "cpu" and alone and plain


def fit_rows(
    task: Task, training: Training, pull: Tensor | None, workspace: Workspace, dev: DevScore | None
) -> Trained:
    """Train the rows of the words of X with all else frozen, by the objectives of the recipe.

    A row learns the vector with which the frozen body puts its word where the teacher's tokens of the English sentence
    are. That is Token Distillation (Dobler, Elliott & de Melo, arXiv 2505.20133; section could not be confirmed) with
    the translation's hidden states in place of those of the word's own pieces, and the plan of ``ot`` in place of one
    position.

    Raises:
        RecipeError: No word was added.
        Interrupted: Stopped by Ctrl-C; the same call goes on.
    """
    student = task.encoder
    trained = added_rows(student)
    if not trained.any():
        raise RecipeError(
            f"training.rows_steps = {training.rows_steps} fits the rows of added words, and this student has none; set "
            'it to 0, or vocabulary.mode to "extend" or "trim+extend"'
        )
    rate = training.rows_learning_rate
    loop = training.model_copy(
        update={"steps": training.rows_steps, "learning_rate": rate, "embedding_learning_rate": rate}
    )
    with _all_frozen_but(student, _matrix(student)):
        task = task._replace(name="Fitting rows", inputs=[*task.inputs, "rows alone"])
        fitted = train(train_rows_too(task, loop, pull, ~trained.to(student.device)), loop, workspace, dev)
    workspace.say(f"rows of {int(trained.sum())} tokens fitted: {fitted.sentence}")
    return fitted


def added_rows(student: Encoder) -> Bool[Tensor, " v"]:
    """Which rows are those of added words: of words of X, pieces of the teacher that are words of X among them."""
    added = torch.zeros(len(_matrix(student)), dtype=torch.bool)
    added[list(pieces_of_words(student.tokenizer))] = True
    return added


def row_pull(student: Encoder, pairs: Sequence[Pair], penalty: float) -> Float[Tensor, " v"] | None:
    """Give the pull of each row to its start, the penalty over the row's occurrences on the X sides; None without one.

    A row that they do not have counts as seen once. It does not move, unless word dropout reads it as a piece.
    """
    if not penalty:
        return None
    prompt, size = query_prompt(student), len(_matrix(student))
    ids = token_ids(student.tokenizer, [prompt + pair.foreign for pair in pairs])
    seen = torch.bincount(torch.from_numpy(np.concatenate(ids)), minlength=size)
    return (penalty / seen.clamp(min=1).float()).to(student.device)


def _matrix(student: Encoder) -> nn.Parameter:
    return transformer(student).auto_model.get_input_embeddings().weight


@contextlib.contextmanager
def _all_frozen_but(student: Encoder, weight: nn.Parameter) -> Iterator[None]:
    """Give no other parameter a gradient, while open."""
    others = [p for p in student.parameters() if p is not weight and p.requires_grad]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def _without_gradient(weight: nn.Parameter, frozen: Tensor) -> Iterator[None]:
    """Set the gradient of frozen rows to 0, while open; AdamW does not move a row that never had another."""
    handle = weight.register_hook(lambda gradient: gradient.masked_fill(frozen[:, None], 0.0))
    try:
        yield
    finally:
        handle.remove()
