"""Hard negatives: for each query, wrong passages that the start ranks high."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from optical.config.teaching import Teaching
from optical.errors import DataError
from optical.files import checksum, file_written_whole
from optical.marker import check_sealed
from optical.models.encoders import Encoder, fingerprint, is_multi_vector
from optical.models.precision import bfloat16
from optical.models.prompts import document_prompt, query_prompt
from optical.training.teacher_data import TeachingData, name_hash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SCORES_AT_ONCE = 2**26  # of queries and passages while mining: 256 MB of float32
MINING = {"negatives", "margin", "precision"}  # options that change what is mined
TextPair = tuple[str, str]  # a query and a right passage


def mine(start: Encoder, data: TeachingData, options: Teaching, cache: Path) -> tuple[list[list[str]], int]:
    """Make rows (query, right passage, wrong passages ...); wrong are those that the start ranks highest.

    A wrong passage was not judged to answer the query, and scores less than the right one by the margin (TopK-PercPos
    of Moreira et al., NV-Retriever, 2024), so that unjudged answers are seldom taken. Where the start finds
    too few such passages, which it does for the queries that it answers worst, any are drawn by hash. It searches with
    its sentence vectors, a late-interaction one with the mean of its token vectors. Kept in the cache.

    Returns:
        The rows, and how many of them have passages drawn by hash.

    Raises:
        DataError: Fewer wrong passages than each query is to have, or what is kept of them is damaged.
    """
    pairs = list(dict.fromkeys((example.query.text, example.doc.full) for example in data.examples))
    if not options.negatives:
        return [[*pair] for pair in pairs], 0
    corpus = [doc.full for doc in data.others]
    texts = [text for pair in pairs for text in pair]
    name = checksum([options.model_dump_json(include=MINING), *texts, *corpus])
    file = cache / f"negatives-{fingerprint(start)}-{name}.json"
    if not file.is_file():
        found = _search(start, pairs, corpus, options)
        with file_written_whole(file, sealed=True) as unfinished:
            unfinished.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    rows = {(query, passage): [query, passage, *wrong] for query, passage, *wrong in _read(file)}
    rest = [pair for pair in pairs if pair not in rows]
    drawn = _drawn(rest, pairs, list(dict.fromkeys([*corpus, *(passage for _, passage in pairs)])), options.negatives)
    return [rows.get(pair) or drawn[pair] for pair in pairs], len(rest)


def _drawn(
    rest: Sequence[TextPair], pairs: Sequence[TextPair], passages: list[str], count: int
) -> dict[TextPair, list[str]]:
    """Rows whose wrong passages are the next ones from a place among the passages that the hash of the query gives."""
    right: dict[str, set[str]] = {}
    for query, passage in pairs:
        right.setdefault(query, set()).add(passage)
    rows = {}
    for query, passage in rest:
        place = int.from_bytes(name_hash(query)[:8], "big") % len(passages)
        around = itertools.islice(itertools.cycle(passages), place, place + len(passages))
        wrong = list(itertools.islice((text for text in around if text not in right[query]), count))
        if len(wrong) < count:
            raise DataError(
                f"{query!r} has {len(wrong)} wrong passages among {len(passages)}; negatives = {count} asks for more; "
                f"give more passages, or set negatives to {len(wrong)}"
            )
        rows[query, passage] = [query, passage, *wrong]
    return rows


def _read(file: Path) -> list[list[str]]:
    check_sealed(file, "remove this file; it is made again", full=True)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: mined passages cannot be read ({error}); remove this file; it is made again"
        ) from error


def _search(start: Encoder, pairs: Sequence[TextPair], corpus: list[str], options: Teaching) -> list[list[str]]:
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    queries, passages = zip(*pairs, strict=True)
    half = bfloat16(options.precision, start.device.type)
    with torch.autocast(start.device.type, torch.bfloat16, enabled=half):
        found: Any = mine_hard_negatives(
            Dataset.from_dict({"query": queries, "positive": passages}),
            single_vector(start),
            corpus=corpus,
            query_prompt=query_prompt(start),
            corpus_prompt=document_prompt(start),
            relative_margin=options.margin,
            num_negatives=options.negatives,
            output_format="n-tuple",
            faiss_batch_size=max(1, SCORES_AT_ONCE // (len(corpus) + len(pairs))),
            verbose=False,
        )
    return [list(row.values()) for row in found]


def single_vector(encoder: Encoder) -> SentenceTransformer:
    """The encoder itself, or the means of the token vectors of a late-interaction one."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    if not is_multi_vector(encoder):
        return encoder  # pyright: ignore[reportReturnType] - what is not multi-vector is this
    pooling = Pooling(encoder.get_embedding_dimension() or 0, pooling_mode="mean")
    return SentenceTransformer(modules=[*encoder, pooling], device=str(encoder.device))
