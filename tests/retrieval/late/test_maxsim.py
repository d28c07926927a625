"""Exact late interaction: the blocks, the padding and the precision of the documents change no answer."""

from __future__ import annotations

import pytest
import torch

from optical.errors import DataError, RecipeError
from optical.models.tokens import Tokens
from optical.retrieval.late import maxsim as maxsim_late

N, D = 23, 6


def drawn(count: int, length: int, seed: int, empty: int | None = None) -> Tokens:
    """Token matrices of lengths from 1 to ``length``, with large numbers and NaN where padding is."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, length, D, generator=generator)
    lengths = torch.randint(1, length + 1, (count,), generator=generator)
    lengths[0] = length
    if empty is not None:
        lengths[empty] = 0
    mask = torch.arange(length) < lengths[:, None]
    vectors = vectors.masked_fill(~mask[..., None], 1e3)
    vectors[:, -1] = vectors[:, -1].masked_fill(~mask[:, -1:], float("nan"))
    return Tokens(vectors, mask)


@pytest.fixture
def queries() -> Tokens:
    return drawn(5, 4, seed=0, empty=3)


@pytest.fixture
def documents() -> Tokens:
    return drawn(N, 9, seed=1, empty=17)


IDS = [f"d{number}" for number in range(N)]


def one_by_one(queries: Tokens, documents: Tokens, k: int) -> list[list[tuple[str, float]]]:
    """MaxSim as the formula has it, in double precision, one query and one document at a time."""
    answers = []
    for query, query_mask in zip(*queries, strict=True):
        scored = []
        for doc_id, document, mask in zip(IDS, *documents, strict=True):
            if query_mask.any() and mask.any():
                similarity = query[query_mask].double() @ document[mask].double().T
                scored.append((doc_id, similarity.amax(dim=1).sum().item()))
        answers.append(sorted(scored, key=lambda item: -item[1])[:k])
    return answers


def assert_same(found: list[list[tuple[str, float]]], expected: list[list[tuple[str, float]]]) -> None:
    assert [[doc_id for doc_id, _ in answer] for answer in found] == [
        [doc_id for doc_id, _ in answer] for answer in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("k", [1, 7, N, N + 50])
@pytest.mark.parametrize("block", [1, 4, N - 1, N, 1024])
def test_any_block_finds_what_the_formula_finds(queries: Tokens, documents: Tokens, k: int, block: int) -> None:
    assert_same(maxsim_late.search(queries, documents, IDS, k, block=block), one_by_one(queries, documents, k))


@pytest.mark.parametrize("pairs", [1, 36, 36 * 5, 36 * 3 * 2, 36 * N * 2])
def test_memory_is_bounded(queries: Tokens, documents: Tokens, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    maxsim = maxsim_late.maxsim

    def watched(q: Tokens, d: Tokens) -> torch.Tensor:
        sizes.append(q.mask.numel() * d.mask.numel())
        return maxsim(q, d)

    monkeypatch.setattr(maxsim_late, "maxsim", watched)
    monkeypatch.setattr(maxsim_late, "SIMILARITIES_AT_ONCE", pairs)
    assert_same(maxsim_late.search(queries, documents, IDS, 7), one_by_one(queries, documents, 7))
    assert max(sizes) <= max(pairs, 36), "36 token pairs are one query and one document"
    assert sum(sizes) == queries.mask.numel() * documents.mask.numel()


def test_padding_has_no_effect(queries: Tokens, documents: Tokens) -> None:
    longer = Tokens(
        torch.cat([documents.vectors, torch.full((N, 3, D), 1e6)], dim=1),
        torch.cat([documents.mask, torch.zeros(N, 3, dtype=torch.bool)], dim=1),
    )
    assert_same(maxsim_late.search(queries, longer, IDS, N), maxsim_late.search(queries, documents, IDS, N))


def test_a_text_without_tokens_neither_finds_nor_is_found(queries: Tokens, documents: Tokens) -> None:
    found = maxsim_late.search(queries, documents, IDS, N)
    assert [len(answer) for answer in found] == [N - 1, N - 1, N - 1, 0, N - 1]
    assert all("d17" not in dict(answer) for answer in found)


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_equal_scores_keep_the_order_of_the_documents(block: int) -> None:
    ones = Tokens(torch.ones(8, 2, D), torch.ones(8, 2, dtype=torch.bool))
    ones.vectors[5] = 2.0
    [answer] = maxsim_late.search(
        Tokens(torch.ones(1, 3, D), torch.ones(1, 3, dtype=torch.bool)), ones, IDS[:8], 4, block=block
    )
    assert answer == [("d5", 36.0), ("d0", 18.0), ("d1", 18.0), ("d2", 18.0)]


def test_half_precision_is_cast_up(queries: Tokens, documents: Tokens) -> None:
    half = Tokens(documents.vectors.half(), documents.mask)
    expected = one_by_one(queries, half, N)
    assert_same(maxsim_late.search(queries, half, IDS, N), expected)
    small = Tokens(queries.vectors.half(), queries.mask)
    assert_same(maxsim_late.search(small, half, IDS, N), one_by_one(small, half, N))


def test_double_precision_stays() -> None:
    mask = torch.ones(2, 1, dtype=torch.bool)
    near = Tokens(torch.tensor([[[1.0]], [[1.0 + 1e-12]]], dtype=torch.float64), mask)  # equal in float32
    [answer] = maxsim_late.search(Tokens(near.vectors[:1], mask[:1]), near, ["low", "high"], 2)
    assert [doc_id for doc_id, _ in answer] == ["high", "low"]


def test_arguments_are_left_alone(queries: Tokens, documents: Tokens) -> None:
    before = [field.clone() for field in (*queries, *documents)]
    maxsim_late.search(queries, documents, IDS, 3)
    for field, copy in zip((*queries, *documents), before, strict=True):
        torch.testing.assert_close(field, copy, rtol=0, atol=0, equal_nan=True)


def test_no_graph_is_recorded(queries: Tokens, documents: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []
    maxsim = maxsim_late.maxsim
    monkeypatch.setattr(maxsim_late, "maxsim", lambda q, d: (scored.append(maxsim(q, d)), scored[-1])[1])
    maxsim_late.search(Tokens(queries.vectors.requires_grad_(), queries.mask), documents, IDS, 3)
    assert [scores.requires_grad for scores in scored] == [False]


def test_no_query_and_no_document(queries: Tokens, documents: Tokens) -> None:
    none = Tokens(queries.vectors[:0], queries.mask[:0])
    assert maxsim_late.search(none, documents, IDS, 3) == []
    assert maxsim_late.search(queries, Tokens(documents.vectors[:0], documents.mask[:0]), [], 3) == [[]] * 5


@pytest.mark.parametrize(("block", "pairs"), [(1024, 2**25), (4, 36 * 4 * 2), (1, 1)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_vector_is_traced_to_its_text(
    queries: Tokens, documents: Tokens, block: int, pairs: int, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maxsim_late, "SIMILARITIES_AT_ONCE", pairs)
    broken = documents.vectors.clone()
    broken[20, 0, 0] = value
    with pytest.raises(DataError, match="NaN or infinity; the first is of document 'd20'; encode"):
        maxsim_late.search(queries, Tokens(broken, documents.mask), IDS, 3, block=block)
    broken = queries.vectors.clone()
    broken[4, 0, 0] = value
    with pytest.raises(DataError, match="NaN or infinity; the first is of query number 5; encode"):
        maxsim_late.search(Tokens(broken, queries.mask), documents, IDS, 3, block=block)


def test_what_does_not_fit_is_refused(queries: Tokens, documents: Tokens) -> None:
    with pytest.raises(DataError, match="got 22 ids and 23 matrices; embed the collection again"):
        maxsim_late.search(queries, documents, IDS[1:], 3)
    with pytest.raises(DataError, match="must have the same dimension; got 5 and 6; encode the queries"):
        maxsim_late.search(Tokens(queries.vectors[..., 1:], queries.mask), documents, IDS, 3)
    with pytest.raises(RecipeError, match="k counts documents and must be at least 1; got 0; "):
        maxsim_late.search(queries, documents, IDS, 0)
    with pytest.raises(RecipeError, match="block counts documents and must be at least 1; got 0; "):
        maxsim_late.search(queries, documents, IDS, 3, block=0)
