"""Late interaction for large collections: inverted lists of tokens find candidates, exact MaxSim ranks them.

For each query token the lists of the nearest centroids are opened, and all query tokens are compared with all tokens in
the opened lists. A document gets, for each query token, its best similarity there, but at least the mean of these over
the documents: tokens that were not seen are imputed (as in Lee et al. 2023, XTR, and Scheerer et al. 2025, WARP, with
another value). The documents with the highest sums are then compared by all of their tokens. Nothing is padded, so no
padding can win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from optical.embeddings.shards import Matrix
from optical.errors import DataError, RecipeError
from optical.files import check_replaceable
from optical.retrieval.late import cascade, inverted_lists, pooling, store
from optical.retrieval.late.products import QueryTokens, as_query, similarities, whole_products
from optical.retrieval.late.store import LateIndex, LateOptions

PROBE = 16
DEFAULTS = LateOptions()
SIMILARITIES_AT_ONCE = 2**22  # query tokens times document tokens in one product: 16 MB


def build(
    tokens: Matrix,
    start: Int[np.ndarray, " n_plus_1"],
    ids: Sequence[str],
    folder: Path,
    options: LateOptions = DEFAULTS,
    *,
    manifest: dict[str, Any],
) -> None:
    """Write an index of token vectors; an earlier index there stays until this one is whole.

    Args:
        tokens: Token vectors of all documents one after another, ``(t, d)``: an array, a memory map or the vectors of
            :mod:`optical.embeddings`, of any float type. Unit vectors are usual; lists go by direction, scores
            by the vectors as they are.
        start: Document i has the rows ``start[i]`` to ``start[i + 1]``; a document without rows is never found.
        ids: n document ids, different from each other and without white space.
        folder: Written anew; one that exists must be empty or hold an index.
        options: How tokens are stored.
        manifest: What to store beside the index: ``teacher_fingerprint``, checksum of the collection, ...; anything
            that JSON holds.

    Raises:
        DataError: Tokens, start, ids and folder do not fit the above.
        RecipeError: No such precision, number of lists or pool factor.
    """
    folder = Path(folder)
    start = np.asarray(start)
    _check_documents(tokens, start, ids)
    _check_options(options, tokens.shape[1])
    check_replaceable(folder)
    if options.pool_factor > 1:
        tokens, start = _pooled(tokens, start, ids, options.pool_factor, folder)
        manifest = {**manifest, "pool_factor": options.pool_factor}
    lists = inverted_lists.how_many(len(tokens)) if options.lists is None else options.lists
    if not 0 <= lists <= len(tokens):
        raise RecipeError(
            f"tokens can be put into no list (0) or up to as many as there are; got {lists} for {len(tokens)} tokens; "
            "leave it out"
        )
    store.write(tokens, start, ids, folder, options._replace(lists=lists), manifest)


def load(folder: Path, *, teacher: str | None = None, verify: bool = False) -> LateIndex:
    """Open an index; vectors stay on disk until a search reads them.

    Args:
        folder: As :func:`build` wrote it.
        teacher: Fingerprint of the teacher whose queries will be asked; it must be ``teacher_fingerprint`` of the
            manifest, where both are given.
        verify: Compare checksums of the large files too, which reads all of them.

    Raises:
        DataError: The folder or one of its files is missing, cut off or changed, they disagree, or another teacher made
            the vectors.
    """
    index = store.read(Path(folder), verify=verify)
    made_by = index.manifest.get("teacher_fingerprint")
    if teacher is not None and made_by is not None and made_by != teacher:
        raise DataError(
            f"the tokens of this index are of another teacher: {made_by}, not {teacher}; at {folder}; build the index "
            "with this teacher, or search it with the student of that one"
        )
    return index


def search(
    index: LateIndex,
    queries: Sequence[Float[np.ndarray, "n_i d"]],
    k: int,
    *,
    probe: int = PROBE,
    candidates: int | None = None,
    exhaustive: bool = False,
) -> list[list[tuple[str, float]]]:
    """Find the k documents with the highest MaxSim for each query.

    Scores are exact for the tokens as stored; only the choice of the documents to score is approximate. Equal scores
    are in the order of the index. With all lists and all candidates the answer is that of an exhaustive search.

    Args:
        index: As :func:`load` gives it.
        queries: Token vectors of each query, without padding. A query without tokens finds nothing.
        k: How many documents a query gets; fewer only where fewer have tokens.
        probe: Lists opened for each query token. More find more and take longer.
        candidates: Documents scored exactly; left out: :func:`default_candidates`, and with compiled loops fewer where
            the scores so far leave others hardly a chance.
        exhaustive: Score all documents.

    Returns:
        For each query ``(document id, score)``, best first.

    Raises:
        DataError: A query has another dimension than the index, or holds NaN or infinity.
        RecipeError: k, probe or candidates is below 1.
    """
    fewer, candidates = candidates is None, default_candidates(k) if candidates is None else candidates
    for name, value in (("k", k), ("probe", probe), ("candidates", candidates)):
        if value < 1:
            raise RecipeError(f"{name} must be at least 1; got {value}; leave it out or raise it")
    for number, query in enumerate(queries):
        _check_query(index, query, number)
    scored = partial(_scored_compiled, fewer=fewer) if cascade.serves(index) else _scored
    return [_one(index, scored, query, k, probe, None if exhaustive else max(k, candidates)) for query in queries]


def default_candidates(k: int) -> int:
    """Number of documents scored exactly for k answers, so that the first hundred are nearly always all there."""
    return 200 + 3 * k


def recall(
    index: LateIndex,
    queries: Sequence[Float[np.ndarray, "n_i d"]],
    k: int = 100,
    *,
    probe: int = PROBE,
    candidates: int | None = None,
    exact: Sequence[Sequence[tuple[str, float]]] | None = None,
) -> float:
    """Share of the exact k best that a search finds: the mean over queries with tokens, NaN without any.

    Args:
        index: As for :func:`search`.
        queries: As for :func:`search`.
        k: How many documents a query gets.
        probe: As for :func:`search`.
        candidates: As for :func:`search`.
        exact: The k best of each query, found elsewhere. Left out, an exhaustive search of the stored tokens finds
            them, which does not see what rounding and pooling lost; it compares each query with every token.
    """
    found = search(index, queries, k, probe=probe, candidates=candidates)
    exact = search(index, queries, k, exhaustive=True) if exact is None else exact
    shares = [
        len({doc_id for doc_id, _ in some} & {doc_id for doc_id, _ in best}) / len(best)
        for some, best in zip(found, exact, strict=True)
        if best
    ]
    return float(np.mean(shares)) if shares else float("nan")


def _pooled(
    tokens: Matrix, start: np.ndarray, ids: Sequence[str], factor: float, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    store.check_finite(tokens, start, ids)  # clustering would fail on NaN without naming the document
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return pooling.pooled(tokens, start, factor, folder.parent)
    except OSError as error:
        raise store.unwritable(folder, error) from error


def _one(
    index: LateIndex,
    scored: Callable[..., cascade.Found],
    vectors: np.ndarray,
    k: int,
    probe: int,
    candidates: int | None,
) -> list[tuple[str, float]]:
    if not len(vectors) or not len(index.tokens):
        return []
    rows, scores = scored(index, vectors, k, probe, candidates)
    best = _first(scores, k)
    return [(index.ids[row], float(score)) for row, score in zip(rows[best], scores[best], strict=True)]


def _scored_compiled(
    index: LateIndex, vectors: np.ndarray, k: int, probe: int, candidates: int | None, *, fewer: bool
) -> cascade.Found:
    turned = vectors if index.rotation is None else as_query(vectors, index.rotation).vectors.numpy()
    return cascade.search(index, turned, k, probe, candidates, fewer=fewer)


def _scored(index: LateIndex, vectors: np.ndarray, k: int, probe: int, candidates: int | None) -> cascade.Found:
    query = as_query(vectors, index.rotation)
    if index.lists is None or candidates is None:
        rows = np.flatnonzero(np.diff(index.start))
    else:
        rows = _candidates(index, query, k, probe, candidates)
    return rows, _scores(index, query, rows)


def _candidates(index: LateIndex, query: QueryTokens, k: int, probe: int, count: int) -> Int[np.ndarray, " c"]:
    """Documents to be scored, in the order of the index; more lists are opened while they hold fewer than k."""
    lists = index.lists
    assert lists is not None
    centroids = torch.from_numpy(lists.coarse[0])
    near = whole_products(query.digits, centroids)[: len(query.vectors)]  # (n, l)
    while True:
        probe = min(probe, len(centroids))
        opened = np.unique(near.topk(probe, dim=1).indices.numpy())
        rows, of = (
            np.sort(np.concatenate([entries[lists.start[i] : lists.start[i + 1]] for i in opened]))
            for entries in (lists.rows, lists.documents)  # tokens lie in the order of their documents
        )
        first = np.flatnonzero(np.diff(of, prepend=-1))
        if len(first) >= k or probe == len(centroids):
            break
        probe *= 4
    seen = of[first]
    if len(seen) <= count:
        return seen
    best = _best(index, query, rows, first, precise=False)  # (n, documents seen)
    scores = np.maximum(best, best.mean(axis=1, keepdims=True)).sum(axis=0)
    return np.sort(seen[_first(scores, count)])


def _scores(index: LateIndex, query: QueryTokens, documents: Int[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
    """Exact MaxSim of documents that have tokens."""
    if not len(documents):
        return np.zeros(0, dtype=np.float32)
    lengths = index.start[documents + 1] - index.start[documents]
    first = np.cumsum(lengths) - lengths
    rows = np.arange(lengths.sum()) + np.repeat(index.start[documents] - first, lengths)
    return _best(index, query, rows, first, precise=True).sum(axis=0)


def _best(
    index: LateIndex, query: QueryTokens, rows: np.ndarray, first: np.ndarray, *, precise: bool
) -> Float[np.ndarray, "n c"]:
    """For each query token the highest similarity in each group of rows; groups begin at ``first``, none is empty."""
    found = []
    for part, groups in _blocks(rows, first, max(1, SIMILARITIES_AT_ONCE // len(query.vectors))):
        compared = similarities(query, index.tokens, index.scale, torch.from_numpy(part), precise=precise)
        found.append(np.maximum.reduceat(compared, groups, axis=1))
    return np.concatenate(found, axis=1)


def _blocks(rows: np.ndarray, first: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of whole groups, of at most ``size`` rows unless a single group has more."""
    ends = np.append(first[1:], len(rows))
    group = 0
    while group < len(first):
        after = max(group + 1, int(np.searchsorted(ends, first[group] + size, side="right")))
        yield rows[first[group] : ends[after - 1]], first[group:after] - first[group]
        group = after


def _first(scores: Float[np.ndarray, " c"], k: int) -> Int[np.ndarray, " k"]:
    """Positions of the k highest scores, best first; equal scores in the order of their positions."""
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = np.flatnonzero(scores >= least)
    else:
        chosen = np.arange(len(scores))
    return chosen[np.argsort(-scores[chosen], kind="stable")][:k]


def _check_documents(tokens: Matrix, start: np.ndarray, ids: Sequence[str]) -> None:
    if len(tokens.shape) != 2 or not tokens.shape[1]:
        raise DataError(
            f"document tokens must be (tokens, dimensions); got {tokens.shape}; embed the collection token by token"
        )
    if len(start) != len(ids) + 1:
        raise DataError(
            f"every document needs a start, and the last one an end; got {len(start)} starts for {len(ids)} ids; embed "
            "the collection again"
        )
    if start[0] != 0 or start[-1] != len(tokens) or (np.diff(start) < 0).any():
        raise DataError(
            f"starts must lead from 0 to the number of tokens, {len(tokens)}, and never back; got {start[0]} to "
            f"{start[-1]}; embed the collection again"
        )
    seen: set[str] = set()
    for position, doc_id in enumerate(ids):
        if doc_id.split() != [doc_id] or doc_id in seen:
            fault = "is there twice" if doc_id in seen else "is empty or holds white space"
            raise DataError(
                f"document ids must be different words; {doc_id!r}, number {position + 1}, {fault}; rename the document"
            )
        seen.add(doc_id)


def _check_options(options: LateOptions, dimension: int) -> None:
    if options.precision not in store.PRECISIONS:
        known = ", ".join(store.PRECISIONS)
        raise RecipeError(f"tokens are stored as one of {known}; got {options.precision!r}; leave it out for int8")
    if options.precision == "int4" and dimension % 2:
        raise RecipeError(f"int4 puts two dimensions in a byte; got {dimension} of them; take int8")
    if not options.pool_factor >= 1:
        raise RecipeError(
            f"pool_factor must be at least 1, which keeps all tokens; got {options.pool_factor}; 2 halves them"
        )


def _check_query(index: LateIndex, query: np.ndarray, number: int) -> None:
    dimension = index.manifest["dimension"]
    if query.ndim != 2 or query.shape[1] != dimension:
        raise DataError(
            f"query tokens must be (tokens, {dimension}), as the documents of this index; query number {number + 1} is "
            f"{query.shape}; encode the queries with a student of the teacher "
            f"{index.manifest.get('teacher', 'of the index')!r}"
        )
    if not np.isfinite(query).all():
        raise DataError(
            f"a token vector of query number {number + 1} holds NaN or infinity; encode the queries again, in float32 "
            "if this was half precision"
        )
