"""Exact late interaction in memory: every document is scored by MaxSim.

This is the reference for approximate search, and fast enough for some 10^5 documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from optical.errors import DataError, RecipeError
from optical.models.tokens import Tokens, maxsim

SIMILARITIES_AT_ONCE = 2**25  # token pairs compared in one step: 128 MB of float32, held some three times over


@torch.no_grad()
def search(
    queries: Tokens, documents: Tokens, ids: Sequence[str], k: int, *, block: int = 1024
) -> list[list[tuple[str, float]]]:
    """Find the k documents with the highest MaxSim for each query, exactly.

    Documents are scored in blocks, on the device of the queries and in float32 at least, and only the k best so far are
    kept: memory is bounded whatever the size of the collection, which may stay on the CPU and in half precision. The
    size of the block changes at most the last bits of a score. Equal scores are in the order of ``documents``.

    Args:
        queries: ``(q, n, d)`` token matrices. A query without any real token finds nothing.
        documents: ``(b, m, d)`` token matrices. A document without any real token is never found.
        ids: b document ids.
        k: How many documents a query gets at most.
        block: Most documents scored at once; fewer are where texts are long.

    Returns:
        For each query ``(document id, score)``, best first.

    Raises:
        DataError: ids and documents differ in number, queries and documents in dimension, or a token holds NaN or
            infinity.
        RecipeError: k or block is below 1.
    """
    _check(queries, documents, ids, k, block)
    queries = Tokens(_full(queries.vectors), queries.mask)
    _check_finite(queries, lambda row: f"query number {row + 1}")
    pairs = max(1, queries.mask.shape[1] * documents.mask.shape[1])  # token pairs of one query and one document
    block = min(block, max(1, SIMILARITIES_AT_ONCE // pairs))
    together = max(1, SIMILARITIES_AT_ONCE // (block * pairs))  # queries
    best = [_nothing(part) for part in _parts(queries, together)]
    for start in range(0, len(ids), block):
        stop = start + block
        part = Tokens(
            documents.vectors[start:stop].to(queries.vectors), documents.mask[start:stop].to(queries.mask.device)
        )
        _check_finite(part, lambda row, start=start: f"document {ids[start + row]!r}")
        for number, some in enumerate(_parts(queries, together)):
            best[number] = _merge(best[number], maxsim(some, part), start, k)
    scores = torch.cat([part for part, _ in best])  # (q, l), the l best of each query
    rows = torch.cat([part for _, part in best])
    return [
        _answer(some, where, ids) if mask.any() else []
        for mask, some, where in zip(queries.mask, scores, rows, strict=True)
    ]


def _full(vectors: Tensor) -> Tensor:
    """Half precision cast to float32; float64 stays."""
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def _parts(queries: Tokens, size: int) -> list[Tokens]:
    pairs = zip(queries.vectors.split(size), queries.mask.split(size), strict=True)
    return [Tokens(vectors, mask) for vectors, mask in pairs]


def _nothing(queries: Tokens) -> tuple[Tensor, Tensor]:
    scores = queries.vectors.new_empty(len(queries.mask), 0)
    return scores, torch.empty_like(scores, dtype=torch.int64)


def _merge(
    best: tuple[Float[Tensor, "q l"], Int[Tensor, "q l"]], scores: Float[Tensor, "q b"], start: int, k: int
) -> tuple[Tensor, Tensor]:
    """The k best of those so far and a new block, whose first document has the number ``start``."""
    rows = torch.arange(start, start + scores.shape[1], device=scores.device).expand_as(scores)
    scores, rows = torch.cat([best[0], scores], dim=1), torch.cat([best[1], rows], dim=1)
    # A stable sort, not topk: earlier documents come first, so equal scores keep the order of the documents.
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    return scores[:, :k], rows.gather(1, order[:, :k])


def _answer(scores: Float[Tensor, " l"], rows: Int[Tensor, " l"], ids: Sequence[str]) -> list[tuple[str, float]]:
    return [
        (ids[int(row)], score) for score, row in zip(scores.tolist(), rows.tolist(), strict=True) if score > -torch.inf
    ]


def _check(queries: Tokens, documents: Tokens, ids: Sequence[str], k: int, block: int) -> None:
    if len(ids) != len(documents.mask):
        raise DataError(
            f"every document needs one token matrix; got {len(ids)} ids and {len(documents.mask)} matrices; "
            "embed the collection again"
        )
    if queries.vectors.shape[-1] != documents.vectors.shape[-1]:
        raise DataError(
            f"query and document tokens must have the same dimension; got {queries.vectors.shape[-1]} and "
            f"{documents.vectors.shape[-1]}; encode the queries with a student of the teacher of the documents"
        )
    for name, value in (("k", k), ("block", block)):
        if value < 1:
            raise RecipeError(f"{name} counts documents and must be at least 1; got {value}; leave it out or raise it")


def _check_finite(tokens: Tokens, name: Callable[[int], str]) -> None:
    """Refuse NaN and infinity in real tokens; ``name`` gives the name of the text of a row."""
    broken = (~tokens.vectors.isfinite().all(dim=-1) & tokens.mask).any(dim=-1)  # (b,)
    if broken.any():
        raise DataError(
            f"a token vector holds NaN or infinity; the first is of {name(int(broken.nonzero()[0]))}; "
            "encode the texts again, in float32 if this was half precision"
        )
