"""Teaching: queries with right and wrong passages in, an English teacher out.

Losses and batches without duplicates are those of sentence-transformers; the loop is
:mod:`optical.training.trainer`.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch import nn

from optical.config.teaching import Teaching
from optical.errors import DataError, RecipeError
from optical.models.encoders import DevScore, Encoder, as_multi_vector, encode_sentences, is_multi_vector
from optical.models.precision import check_precision
from optical.models.projection import projected
from optical.models.prompts import document_prompt, query_prompt
from optical.training.callbacks import StopAtNaN
from optical.training.hard_negatives import single_vector
from optical.training.trainer import Task, Trained, Workspace, train, untrained

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLE = 500  # passages whose tokens give the projection its directions: some 60,000 tokens


def teach(
    start: Encoder,
    rows: Sequence[Sequence[str]],
    options: Teaching,
    workspace: Workspace,
    *,
    dev: DevScore | None = None,
    ranking: Float[np.ndarray, "r k"] | None = None,
) -> Trained:
    """Train a copy of an encoder to rank the right passage of each query before the wrong ones.

    With ``dev``, the result is the start unless a checkpoint or an average of weights is better beyond chance
    (:mod:`optical.training.choice`).

    ``options.loss`` is InfoNCE over all passages of the batch (Henderson et al. 2017), or the divergence from a given
    ranking of the passages of a row (Santhanam et al., ColBERTv2, NAACL 2022, section 3.2); under the cosine of
    sentence vectors or under MaxSim (Khattab & Zaharia 2020). No batch holds a passage twice, nor one that was judged
    to answer the query of another row.

    Args:
        start: What training begins with (see :func:`beginning`); stays as it is.
        rows: Query, right passage, and the same number of wrong passages in each row.
        options: The loop.
        workspace: Where checkpoints go; the cache is not used.
        dev: Higher is better; called before training and at every evaluation.
        ranking: Scores of the k passages of each row (:func:`ranking_of`); needed by the loss ``ranking`` alone.

    Raises:
        DataError: No batch without a false negative can be made.
        Diverged: The loss is not a number.
        Interrupted: Stopped by Ctrl-C; the checkpoint is in the folder of the workspace.
    """
    check_precision(options.precision, start.device.type)
    dataset, claims = _dataset(rows, ranking if options.loss == "ranking" else None), claimed(rows)
    check_batches(dataset, claims, options)
    encoder = copy.deepcopy(start)
    with at_most_tokens(encoder, options.max_tokens):
        if options.steps == 0:
            return untrained(encoder, dev)
        arguments = {
            "dataloader_drop_last": True, "batch_sampler": partial(_batches, claims=claims),
            "logging_nan_inf_filter": False, "prompts": _prompts(encoder, _columns(rows)),
        }  # fmt: skip
        task = Task(
            "Teaching", encoder, dataset, _loss(encoder, options), arguments, options.seed, _inputs(rows, options),
            callbacks=[StopAtNaN()],
        )  # fmt: skip
        return train(task, options, workspace, dev)


@contextlib.contextmanager
def at_most_tokens(encoder: Encoder, most: int | None) -> Iterator[None]:
    """Cut texts to ``most`` tokens for as long as this is open; None changes nothing."""
    limit = encoder.max_seq_length
    encoder.max_seq_length = min((length for length in (limit, most) if length), default=None)
    try:
        yield
    finally:
        encoder.max_seq_length = limit


def beginning(start: Encoder, passages: Sequence[str], options: Teaching, name: str = "the encoder given") -> Encoder:
    """Prepare what training begins with: the start, or for late interaction its tokens, projected where that is asked.

    Args:
        start: Any encoder; stays as it is.
        passages: Texts whose tokens give the projection its directions; the first ``SAMPLE`` different ones are read.
        options: Whether late interaction is taught, and the dimension of its token vectors.
        name: What an error message calls the start.

    Raises:
        RecipeError: A late-interaction encoder where sentence vectors are asked for.
    """
    if is_multi_vector(start) and not options.late_interaction:
        raise RecipeError(
            f"{name} is a late-interaction encoder; late_interaction = false asks for sentence vectors; set "
            "late_interaction = true, or begin with a single-vector encoder"
        )
    if not options.late_interaction or is_multi_vector(start):
        return start
    if not options.dimension:
        return as_multi_vector(start)
    with at_most_tokens(start, options.max_tokens):
        encoder = projected(start, list(dict.fromkeys(passages[: 10 * SAMPLE]))[:SAMPLE], options.dimension)
    encoder.max_seq_length = start.max_seq_length
    return encoder


def ranking_of(start: Encoder, rows: Sequence[Sequence[str]]) -> Float[np.ndarray, "r k"]:
    """Score the k passages of each row as an encoder does, by its own sentence vectors: cosines, ``(len(rows), k)``.

    A late-interaction encoder has the means of its token vectors for them.
    """
    encoder = single_vector(start)
    queries = list(dict.fromkeys(row[0] for row in rows))
    passages = list(dict.fromkeys(passage for row in rows for passage in row[1:]))
    of_query = dict(zip(queries, encode_sentences(encoder, queries), strict=True))
    of_passage = dict(zip(passages, encode_sentences(encoder, passages, query=False), strict=True))
    return np.stack([np.stack([of_passage[passage] for passage in row[1:]]) @ of_query[row[0]] for row in rows])


def check_rows(rows: Sequence[Sequence[str]]) -> None:
    """Refuse rows that are not a table of texts.

    Raises:
        DataError: No row, one without a passage, or rows of different lengths; the message names the row.
    """
    if not rows:
        raise DataError("there is no row to learn from; give rows of query, right passage, wrong passages ...")
    width = len(rows[0]) if isinstance(rows[0], Sequence) else 0
    for number, row in enumerate(rows, start=1):
        texts = isinstance(row, Sequence) and not isinstance(row, str) and all(isinstance(text, str) for text in row)
        if not texts or len(row) < 2 or len(row) != width:
            raise DataError(
                f"row {number} is {str(row)[:60]!r}; every row is a query, a right passage, and as many wrong passages "
                f"as the first row has ({max(0, width - 2)}), all of them texts"
            )


def claimed(rows: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Texts that no other row of a batch may have: a row's own, and every passage judged to answer its query."""
    right: dict[str, list[str]] = {}
    for query, passage, *_ in rows:
        right.setdefault(query, []).append(passage)
    return [{text: text for text in (*row, *right[row[0]])} for row in rows]


def check_batches(dataset: Dataset, claims: list[dict[str, str]], options: Teaching) -> None:
    """Refuse pairs that do not make one batch.

    Raises:
        DataError: They do not; the message says which batch size could.
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
    """The library's batches without duplicates, where a row's texts are all that it claims (:func:`claimed`)."""
    sampler = NoDuplicatesBatchSampler(dataset, **how)
    sampler.dataset = claims  # pyright: ignore[reportAttributeAccessIssue] - it reads rows, whatever holds them
    return sampler


def _dataset(rows: Sequence[Sequence[str]], ranking: Float[np.ndarray, "r k"] | None = None) -> Dataset:
    """Put the rows into columns; the library's losses read them by place, not by name."""
    from datasets import Dataset

    scores = {} if ranking is None else {"label": ranking.tolist()}
    return Dataset.from_dict(dict(zip(_columns(rows), zip(*rows, strict=True), strict=True)) | scores)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["query", "positive", *(f"negative_{k}" for k in range(1, len(rows[0]) - 1))]


def _prompts(encoder: Encoder, columns: Sequence[str]) -> dict[str, str] | None:
    """Column -> the encoder's prompt, of a query for the first and of a document for the others; None without any."""
    query, document = query_prompt(encoder), document_prompt(encoder)
    return {name: query if k == 0 else document for k, name in enumerate(columns)} if query or document else None


def _loss(encoder: Encoder, options: Teaching) -> nn.Module:
    """The library's loss for the class of the encoder; the cached InfoNCE where batches are cut for memory."""
    from sentence_transformers.multi_vector_encoder import losses as late
    from sentence_transformers.sentence_transformer import losses as single
    from sentence_transformers.util import pairwise_cos_sim

    multi, cut = is_multi_vector(encoder), options.mini_batch is not None
    temperature = options.temperature or (1.0 if multi else 0.05)
    memory = {"mini_batch_size": options.mini_batch} if cut else {}
    if options.loss == "ranking":
        ranked: Any = late.MultiVectorDistillKLDivLoss if multi else single.DistillKLDivLoss
        own = memory if multi else {"similarity_fct": pairwise_cos_sim}
        return ranked(encoder, student_temperature=temperature, teacher_temperature=options.ranking_temperature, **own)
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): single.MultipleNegativesRankingLoss,
        (False, True): single.CachedMultipleNegativesRankingLoss,
        (True, False): late.MultiVectorMultipleNegativesRankingLoss,
        (True, True): late.CachedMultiVectorMultipleNegativesRankingLoss,
    }
    return kinds[multi, cut](encoder, scale=1 / temperature, **memory)


def _inputs(rows: Sequence[Sequence[str]], options: Teaching) -> list[str]:
    """The options that change training, and the texts; prompts are in the fingerprint of the encoder."""
    elsewhere = {"collection", "teacher", "test", "test_split", "test_queries", "out", "cache", "teacher_prompts"}
    return [options.model_dump_json(exclude=elsewhere), *(text for row in rows for text in row)]
