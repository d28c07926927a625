"""Late interaction through lists: exact where all is opened, never wrong about what it scores, and whole on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from optical.errors import DataError, RecipeError
from optical.models.tokens import Tokens
from optical.retrieval.late import index as late_index
from optical.retrieval.late import int4, inverted_lists, maxsim, pooling, products, store
from optical.retrieval.late.store import LateOptions
from tests.retrieval.late.late_documents import EMPTY, D, N, built, flat, ids, unit


def padded(rows: list[np.ndarray], dimension: int = D) -> Tokens:
    width = max(len(row) for row in rows)
    vectors = torch.full((len(rows), width, dimension), 1e3)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for k, row in enumerate(rows):
        vectors[k, : len(row)] = torch.from_numpy(row.astype(np.float32))
        mask[k, : len(row)] = True
    return Tokens(vectors, mask)


def stored(index: late_index.LateIndex) -> list[np.ndarray]:
    """Return the token vectors that the index holds of each document, as float32."""
    tokens = (int4.unpacked(index.tokens) if index.tokens.dtype == torch.uint8 else index.tokens).float()
    tokens = tokens if index.scale is None else tokens * index.scale[:, None]
    tokens = tokens if index.rotation is None else tokens @ index.rotation.T
    return [tokens[a:b].numpy() for a, b in zip(index.start[:-1], index.start[1:], strict=True)]


def assert_same(found: list, expected: list) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert [doc_id for doc_id, _ in ours] == [doc_id for doc_id, _ in theirs]
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], rel=1e-4, abs=1e-4)


@pytest.fixture(params=["whole numbers", "float32"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to multiply, whatever this machine prefers."""
    fast = request.param == "whole numbers"
    monkeypatch.setattr(products, "whole_numbers_are_fast", lambda: fast)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("k", [1, 10, N - len(EMPTY), N + 100])
@pytest.mark.parametrize("lists", [0, 7])
@pytest.mark.parametrize("precision", ["int8", "float16", "int4"])
def test_with_everything_opened_it_is_exhaustive_maxsim(
    tmp_path: Path, documents: list, queries: list, precision: str, lists: int, k: int
) -> None:
    index = late_index.load(built(documents, tmp_path / "index", precision=precision, lists=lists))
    expected = maxsim.search(padded(queries), padded(stored(index)), ids(), k)
    assert_same(late_index.search(index, queries, k, probe=lists or 1, candidates=N), expected)
    assert_same(late_index.search(index, queries, k, exhaustive=True), expected)


@pytest.mark.usefixtures("processor")
def test_scores_are_exact_whatever_is_proposed(tmp_path: Path, documents: list, queries: list) -> None:
    index = late_index.load(built(documents, tmp_path / "index", lists=7))
    exact = [dict(answer) for answer in maxsim.search(padded(queries), padded(stored(index)), ids(), N)]
    for answer, scores in zip(late_index.search(index, queries, 3, probe=1, candidates=3), exact, strict=True):
        assert len(answer) == (3 if scores else 0)
        for doc_id, score in answer:
            assert score == pytest.approx(scores[doc_id], abs=1e-4)
        assert [score for _, score in answer] == sorted((score for _, score in answer), reverse=True)


def test_rounding_is_bounded_and_stated(tmp_path: Path, documents: list, queries: list) -> None:
    index = late_index.load(built(documents, tmp_path / "int8"))
    for kept, given in zip(stored(index), documents, strict=True):
        step = np.abs(given.astype(np.float32)).max(axis=1, keepdims=True, initial=0) / 127 if len(given) else 0
        assert (np.abs(kept - given.astype(np.float32)) <= step / 2 + 1e-6).all()
    rows, kept = flat(documents)[0].astype(np.float32), np.concatenate(stored(index))
    assert index.manifest["token_error"] == pytest.approx(
        np.mean(np.linalg.norm(kept - rows, axis=1) / np.linalg.norm(rows, axis=1)), rel=1e-3
    )
    exact = late_index.load(built(documents, tmp_path / "float16", precision="float16"))
    assert exact.manifest["token_error"] == 0
    for ours, theirs in zip(late_index.search(index, queries, N), late_index.search(exact, queries, N), strict=True):
        assert dict(ours) == pytest.approx(dict(theirs), abs=0.02 * 8)


def test_int4_takes_half_the_bytes_of_a_vector_and_keeps_most_of_it(
    tmp_path: Path, documents: list, queries: list
) -> None:
    generator = np.random.default_rng(5)
    many = [unit(generator.normal(size=(20, 64))).astype(np.float32) for _ in range(200)]
    many[7][3] = 0
    asked = [unit(generator.normal(size=(4, 64)) / 4 + many[k][:4]).astype(np.float32) for k in range(0, 200, 9)]
    whole, half = (
        late_index.load(built(many, tmp_path / precision, precision=precision, lists=16), verify=True)
        for precision in ("int8", "int4")
    )
    assert half.tokens.shape == (4000, 32)
    assert half.tokens.nbytes * 2 == whole.tokens.nbytes
    assert 0.05 < half.manifest["token_error"] < 0.13
    lengths = [one @ two.T for one, two in zip(stored(half)[3], many[3], strict=True)]
    assert lengths == pytest.approx(np.ones(20), abs=1e-5), "a vector's product with itself is kept"
    assert not stored(half)[7][3].any()
    first = [[answer[0][0] for answer in late_index.search(index, asked, 5)] for index in (whole, half)]
    assert first == [[f"doc-{k}é" for k in range(0, 200, 9)]] * 2
    with pytest.raises(RecipeError, match="int4 puts two dimensions in a byte; got 11 of them; take int8"):
        built([one[:, 1:] for one in documents], tmp_path / "odd", precision="int4")
    with pytest.raises(DataError, match=r"must be \(tokens, 64\).* query number 1 is \(3, 12\)"):
        late_index.search(half, queries, 3)


def test_padding_would_win_and_does_not(tmp_path: Path) -> None:
    """All similarities are negative, so a zero anywhere, of padding or of a block that is not full, would be best."""
    generator = np.random.default_rng(2)
    away = [-np.abs(generator.normal(size=(length, D))).astype(np.float32) for length in (5, 1, 3, 9)]
    query = np.abs(generator.normal(size=(3, D))).astype(np.float32)
    index = late_index.load(built(away, tmp_path / "index", lists=2))
    [answer] = late_index.search(index, [query], 4, probe=2)
    assert dict(answer) == pytest.approx(
        {f"doc-{k}é": (query @ one.T).max(axis=1).sum() for k, one in enumerate(away)}, rel=0.01
    )
    assert all(score < 0 for _, score in answer)


def test_a_text_without_tokens_neither_finds_nor_is_found(tmp_path: Path, documents: list, queries: list) -> None:
    found = late_index.search(late_index.load(built(documents, tmp_path / "index", lists=5)), queries, N, probe=5)
    full = N - len(EMPTY)
    assert [len(answer) for answer in found] == [full, full, 0, full, full]
    assert not {f"doc-{row}é" for row in EMPTY} & {doc_id for answer in found for doc_id, _ in answer}


def test_k_documents_are_found_though_few_lists_are_opened(tmp_path: Path, documents: list, queries: list) -> None:
    index = late_index.load(built(documents, tmp_path / "index", lists=30))
    found = late_index.search(index, queries, 35, probe=1)
    assert [len(answer) for answer in found] == [35, 35, 0, 35, 35]


@pytest.mark.parametrize("lists", [0, 3])
def test_equal_documents_score_the_same_and_keep_their_order(tmp_path: Path, lists: int) -> None:
    one = unit(np.random.default_rng(3).normal(size=(4, D))).astype(np.float32)
    index = late_index.load(built([one] * 9, tmp_path / "index", lists=lists))
    [answer] = late_index.search(index, [one[:2]], 5, probe=3, candidates=5)
    assert [doc_id for doc_id, _ in answer] == ids(5)
    assert len({score for _, score in answer}) == 1


def test_the_order_of_documents_does_not_matter(tmp_path: Path, documents: list, queries: list) -> None:
    order = np.random.default_rng(4).permutation(N)
    plain = late_index.load(built(documents, tmp_path / "plain", lists=4))
    late_index.build(
        *flat([documents[i] for i in order]),
        [ids()[i] for i in order],
        tmp_path / "other",
        LateOptions(lists=4),
        manifest={},
    )
    other = late_index.load(tmp_path / "other")
    for ours, theirs in zip(
        late_index.search(plain, queries, N, probe=4), late_index.search(other, queries, N, probe=4), strict=True
    ):
        assert dict(ours) == pytest.approx(dict(theirs), abs=1e-5)


def test_blocks_change_nothing(tmp_path: Path, documents: list, queries: list, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = late_index.load(built(documents, tmp_path / "whole", lists=4))
    expected = late_index.search(whole, queries, 9, probe=2, candidates=12)
    for module, name, value in (
        (store, "ROWS_AT_ONCE", 5), (inverted_lists, "AT_ONCE", 9), (late_index, "SIMILARITIES_AT_ONCE", 20),
        (products, "BLOCK", 16),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    index = late_index.load(built(documents, tmp_path / "index", lists=4))
    assert index.manifest["checksums"] == whole.manifest["checksums"]
    assert_same(late_index.search(index, queries, 9, probe=2, candidates=12), expected)


def test_memory_of_a_query_is_bounded(
    tmp_path: Path, documents: list, queries: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = late_index.load(built(documents, tmp_path / "index"))
    similarities, sizes = products.similarities, []
    monkeypatch.setattr(late_index, "SIMILARITIES_AT_ONCE", 150)
    monkeypatch.setattr(
        late_index,
        "similarities",
        lambda q, v, s, rows, **k: (sizes.append(len(q.vectors) * len(rows)), similarities(q, v, s, rows, **k))[1],
    )
    late_index.search(index, queries, 3)
    longest = max(map(len, documents))
    assert max(sizes) <= max(150, longest * 8)
    assert sum(sizes) == sum(map(len, queries)) * len(index.tokens)


def test_lists_hold_every_token_once_and_near_its_centroid() -> None:
    generator = np.random.default_rng(5)
    centres = unit(generator.normal(size=(6, 16)))
    tokens = unit(np.repeat(centres, 50, axis=0) + 0.02 * generator.normal(size=(300, 16)))
    small, _ = products.as_int8(torch.from_numpy(tokens.astype(np.float32)))
    made = inverted_lists.build(small, np.arange(0, 301, 10), 24)
    assert sorted(made.rows) == list(range(300))
    for number in range(24):
        rows = made.rows[made.start[number] : made.start[number + 1]]
        assert list(rows) == sorted(rows)
        assert len({row // 50 for row in rows}) <= 1, "four centroids for each of six tight groups"
    again = inverted_lists.build(small, np.arange(0, 301, 10), 24)
    np.testing.assert_array_equal(again.centroids, made.centroids)


def test_near_documents_are_found_in_few_lists(tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    themes = unit(generator.normal(size=(20, 32)))
    made = [unit(themes[k % 20] + 0.1 * generator.normal(size=(6, 32))).astype(np.float16) for k in range(400)]
    late_index.build(*flat(made), ids(400), tmp_path / "index", LateOptions(lists=20), manifest={})
    asked = [unit(themes[k] + 0.1 * generator.normal(size=(4, 32))) for k in range(20)]
    index = late_index.load(tmp_path / "index")
    assert late_index.recall(index, asked, 10, probe=4, candidates=40) >= 0.95
    assert late_index.recall(index, asked, 10, probe=20, candidates=400) == 1
    assert np.isnan(late_index.recall(index, [np.zeros((0, 32))], 10))


def test_sizes_and_lists() -> None:
    assert [inverted_lists.how_many(t) for t in (0, 131_071, 131_072, 2_600_000, 10**9)] == [0, 0, 1024, 8192, 65_536]


def test_products_are_exact_to_rounding() -> None:
    generator = np.random.default_rng(7)
    query = products.as_query(generator.normal(size=(5, 40)) * [[1], [1e-3], [1e3], [0], [1]])
    full = torch.from_numpy(generator.normal(size=(70, 40)).astype(np.float32))
    small, scale = products.as_int8(full)
    rows = torch.tensor([3, 69, 0, 0, 41])
    expected = query.vectors.double() @ (small[rows].double() * scale[rows]).T
    length = query.vectors.norm(dim=1, keepdim=True)
    for precise, tolerance in ((True, 1e-4), (False, 5e-2)):
        found = torch.from_numpy(products.similarities(query, small, scale[:, 0], rows, precise=precise))
        assert ((found - expected).abs() <= tolerance * length).all()


def test_pooling_leaves_fewer_tokens_and_every_document(tmp_path: Path, documents: list, queries: list) -> None:
    index = late_index.load(built(documents, tmp_path / "index", pool_factor=2), verify=True)
    assert index.manifest["pool_factor"] == 2
    for kept, given in zip(stored(index), documents, strict=True):
        assert len(kept) == (1 + max(1, (len(given) - 1) // 2) if len(given) > 1 else len(given))
        np.testing.assert_allclose(kept[:1], given[:1], atol=0.01)
        np.testing.assert_allclose(np.linalg.norm(kept, axis=1), 1, atol=0.01)
    full = N - len(EMPTY)
    assert [len(answer) for answer in late_index.search(index, queries, N)] == [full, full, 0, full, full]


def test_pooling_joins_what_is_alike(tmp_path: Path) -> None:
    one, two, three = np.eye(D, dtype=np.float32)[:3]
    folder = tmp_path / "deep" / "index"
    built([np.stack([one, two, three, two, three])], folder, pool_factor=2)
    np.testing.assert_allclose(sorted(stored(late_index.load(folder))[0].tolist()), [three, two, one], atol=1e-6)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["index"]


def test_pooling_refuses_what_it_cannot_pool(tmp_path: Path, documents: list, monkeypatch: pytest.MonkeyPatch) -> None:
    for factor in (0.5, 0, -1, float("nan")):
        with pytest.raises(RecipeError, match=f"must be at least 1, which keeps all tokens; got {factor}; 2 halves"):
            built(documents, tmp_path / "index", pool_factor=factor)
    broken = [*documents[:-2], documents[-2] * np.float16("nan"), documents[-1]]
    with pytest.raises(DataError, match="holds NaN or infinity; the first is of document 'doc-39é'"):
        built(broken, tmp_path / "index", pool_factor=2)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooling, "pooled", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device; at .*; free some space"):
        built(documents, tmp_path / "index", pool_factor=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("precision", ["int8", "float16", "int4"])
def test_a_broken_vector_is_traced_to_its_text(
    tmp_path: Path, documents: list, queries: list, value: float, precision: str
) -> None:
    broken = [one.copy() for one in documents]
    broken[18][-1, 3] = value  # 17, before it, has no tokens
    with pytest.raises(DataError, match="holds NaN or infinity; the first is of document 'doc-18é'; encode"):
        built(broken, tmp_path / "index", precision=precision)
    assert not (tmp_path / "index").exists()
    queries[3][1, 2] = value
    index = late_index.load(built(documents, tmp_path / "index", precision=precision))
    with pytest.raises(DataError, match="query number 4 holds NaN or infinity; encode the queries again"):
        late_index.search(index, queries, 3)


def test_what_does_not_fit_is_refused(tmp_path: Path, documents: list, queries: list) -> None:
    tokens, start = flat(documents)
    folder = tmp_path / "index"
    for wrong, message in (
        ({"tokens": tokens[:, 0]}, r"must be \(tokens, dimensions\); got"),
        ({"ids": ids()[1:]}, "got 42 starts for 40 ids; embed the collection again"),
        ({"tokens": tokens[1:]}, "starts must lead from 0 to the number of tokens"),
        ({"start": np.where(np.arange(N + 1) == 3, 0, start)}, "and never back"),
        ({"ids": ["doc-1é", *ids()[1:]]}, "'doc-1é', number 2, is there twice; rename the document"),
        ({"ids": ["a b", *ids()[1:]]}, "'a b', number 1, is empty or holds white space"),
        ({"tokens": tokens.astype(np.float32) * 1e6, "options": LateOptions("float16")}, "is too large for float16"),
    ):
        with pytest.raises(DataError, match=message):
            late_index.build(
                **({"tokens": tokens, "start": start, "ids": ids(), "folder": folder, "manifest": {}} | wrong)
            )
    for wrong, message in (
        ({"precision": "int2"}, "stored as one of int8, float16, int4; got 'int2'; leave it out"),
        ({"lists": -1}, "got -1"),
        ({"lists": 10**6}, "0"),
    ):
        with pytest.raises(RecipeError, match=message):
            built(documents, folder, **wrong)
    assert not folder.exists()
    index = late_index.load(built(documents, folder))
    with pytest.raises(DataError, match=r"must be \(tokens, 12\).* query number 2 is \(3, 11\); encode the queries"):
        late_index.search(index, [queries[0], queries[0][:, 1:]], 3)
    for wrong in ({"k": 0}, {"k": 3, "probe": 0}, {"k": 3, "candidates": 0}):
        with pytest.raises(RecipeError, match="must be at least 1; got 0; leave it out or raise it"):
            late_index.search(index, queries, **wrong)
