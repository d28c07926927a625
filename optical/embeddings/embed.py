"""Embed a collection of any size into a folder of shards: options, their checks, and the call that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optical.embeddings.encode import COMPUTES, Compute, agreement, encoded_batches
from optical.embeddings.ranks import Ranks, ranks_of_environment
from optical.embeddings.reuse import Earlier
from optical.embeddings.shard import PRECISIONS, Batch, Precision, Stored, hashes_of
from optical.embeddings.shards import Shards
from optical.embeddings.workers import worker_processes
from optical.embeddings.write_shards import Document, ShardPlan, make_shards
from optical.errors import RecipeError
from optical.models.encoders import Encoder, fingerprint, is_multi_vector
from optical.models.precision import check_precision
from optical.progress import bar

SENTENCES_A_SHARD, TOKENS_A_SHARD = 50_000, 10_000  # documents; some 77 MB and 1 GB at 384 dimensions
COMPARED = 64  # documents that are also encoded in float32, to measure what bfloat16 costs


class EmbedOptions(NamedTuple):
    """Options of encoding and storing documents; None takes the default.

    Attributes:
        precision: Of what is stored: float32 (default of sentences), float16 (default of tokens) or int8 with a scale
            for each vector. The manifest has the cosine of what is stored with what was encoded, min and mean.
        compute: Precision of the encoder's matrix products. bfloat16 takes about .6 of the time on a processor that has
            instructions for it, less on a GPU; the manifest has the cosine of some vectors with those made in float32.
        shard_size: Documents of a shard; 50,000, or 10,000 for late interaction.
        batch_size: Texts encoded at once; they are of about one length.
        batch_tokens: Tokens encoded at once at most, padding counted. Without either, 1,024 on a CPU, where the
            activations of a layer stay in the cache, and 32,768 on an accelerator.
        keep_empty: Encode a document without text as the tokenizer's empty sequence. Otherwise it is left out, so that
            no query finds it, and counted: ``manifest["empty"]``, and the first ids in its shard's manifest.
        total: Documents, where they are counted already: for the bar.
        workers: Processes of this machine that encode, each with a share of the threads; on a processor only.
        earlier: Folders of other collections; the vectors of a text that one of them has, by the same encoder in the
            same precision, are copied from there.
    """

    precision: Precision | None = None
    compute: Compute = "float32"
    shard_size: int | None = None
    batch_size: int | None = None
    batch_tokens: int | None = None
    keep_empty: bool = False
    total: int | None = None
    workers: int = 1
    earlier: Sequence[Path] = ()


DEFAULTS = EmbedOptions()


def embed_collection(
    encoder: Encoder,
    documents: Iterable[Document] | Callable[[], Iterable[Document]],
    folder: str | Path,
    options: EmbedOptions = DEFAULTS,
    *,
    ranks: Ranks | None = None,
    replace: bool = False,
    progress: bool = False,
) -> Shards:
    """Embed a collection of any size into a folder of shards; the same call goes on where an earlier one stopped.

    Memory holds one shard: its texts, ids and vectors. A shard that is there, whole and of the same texts, is not
    encoded again. Under ``accelerate launch`` or ``torchrun`` every rank makes its own shards, and all return when the
    collection is complete; machines without a common disk copy their shards into one folder and call
    :func:`optical.embeddings.write_shards.finish`.

    Args:
        encoder: The teacher: single-vector gives unit sentence vectors, late interaction unit token vectors.
        documents: ``(id, text)`` pairs, or a function that gives them anew. Ids are single words, each used once.
        folder: Of this collection and encoder alone.
        options: How documents are encoded and stored.
        ranks: This process among those that share the work, by default as RANK and WORLD_SIZE of the environment say.
        replace: Make shards anew whose documents have changed since; otherwise they are refused.
        progress: Show a bar.

    Raises:
        DataError: Documents, folder or disk do not allow it; see :func:`optical.embeddings.write_shards.make_shards`.
        RecipeError: An option is out of its range, or bfloat16 is asked for on a processor without it.
    """
    options = _with_defaults(encoder, options)
    _check(options)
    check_precision(options.compute, encoder.device.type)
    plan = _plan(encoder, options)
    stream = iter(documents() if callable(documents) else documents)
    if options.compute != "float32":
        first = list(islice(stream, COMPARED))
        plan = plan._replace(agreement=agreement(encoder, [text for _, text in first], options.compute))
        stream = chain(first, stream)
    with (
        _encoding(encoder, options) as encode,
        bar("Documents", options.total, "doc", wanted=progress) as shown,
    ):
        return make_shards(
            stream,
            Path(folder),
            _or_copied(encode, Earlier(options.earlier, plan.facts())),
            plan,
            ranks=ranks or ranks_of_environment(),
            replace=replace,
            done=shown.update,
        )


def new_texts(encoder: Encoder, texts: Sequence[str], options: EmbedOptions) -> int:
    """Count the texts that none of the folders ``options.earlier`` has a vector of."""
    earlier = Earlier(options.earlier, _plan(encoder, _with_defaults(encoder, options)).facts())
    stream, missing = iter(texts), 0
    while some := list(islice(stream, SENTENCES_A_SHARD)):
        missing += int((~earlier.known(hashes_of(some))).sum())
    return missing


def _with_defaults(encoder: Encoder, options: EmbedOptions) -> EmbedOptions:
    tokens = is_multi_vector(encoder)
    return options._replace(
        precision=options.precision or ("float16" if tokens else "float32"),
        shard_size=options.shard_size or (TOKENS_A_SHARD if tokens else SENTENCES_A_SHARD),
    )


@contextmanager
def _encoding(encoder: Encoder, options: EmbedOptions) -> Iterator[Callable[[Sequence[str]], Iterator[Batch]]]:
    """A function that encodes texts, in this process or in others."""
    limits = options.batch_size, options.batch_tokens, options.compute
    if options.workers > 1:
        with worker_processes(encoder, options.workers, limits) as encode:
            yield encode
    else:
        yield lambda texts: encoded_batches(encoder, texts, *limits)


def _or_copied(
    encode: Callable[[Sequence[str]], Iterator[Batch]], earlier: Earlier
) -> Callable[[list[str]], Iterator[Batch | Stored]]:
    """A function that gives the vectors of texts, from earlier collections where they are there."""

    def encoded(texts: list[str]) -> Iterator[Batch | Stored]:
        left = np.ones(len(texts), dtype=bool)
        for stored in earlier.stored(hashes_of(texts)):
            left[list(stored.rows)] = False
            yield stored
        rows = np.flatnonzero(left).tolist()
        for batch in encode([texts[row] for row in rows]):
            yield batch._replace(rows=[rows[k] for k in batch.rows])

    return encoded


def _plan(encoder: Encoder, options: EmbedOptions) -> ShardPlan:
    assert options.precision, "defaults are filled in before"
    assert options.shard_size
    kind = "tokens" if is_multi_vector(encoder) else "sentences"
    by = fingerprint(encoder, "document")
    return ShardPlan(by, kind, options.precision, options.shard_size, options.keep_empty, options.compute)


def _check(options: EmbedOptions) -> None:
    choices = (("precision", options.precision, PRECISIONS), ("compute", options.compute, COMPUTES))
    for name, chosen, known in choices:
        if chosen not in known:
            raise RecipeError(f"{name} must be one of {', '.join(known)}; got {chosen!r}; leave it out, or choose")
    for name in ("shard_size", "batch_size", "batch_tokens", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise RecipeError(f"{name} must be at least 1; got {value}; leave it out, or raise it")
