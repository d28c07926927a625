"""One door to both kinds of retrieval: exact, in the order of the queries, strictly ordered."""

from __future__ import annotations

import numpy as np
import pytest

from optical.data.records import Query
from optical.embeddings.cache import document_vectors
from optical.errors import DataError, RecipeError
from optical.models.encoders import as_multi_vector, encode_sentences, encode_tokens, is_multi_vector
from optical.retrieval import dense
from optical.retrieval.dense import partitioned
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateOptions
from optical.retrieval.recall import sampled_recall
from optical.retrieval.search import SearchParams, search
from tests.conftest import bert

DOCUMENTS = ["the moon shines .", "i drink water .", "the moon shines .", "she cooks rice", "we sell fish . they sing"]
IDS = ["b", "a", "c", "e", "d"]
QUERIES = [Query("q2", "she cooks rice"), Query("q1", "i drink water ."), Query("q3", "who built this house ?")]


def brute(encoder, depth: int) -> dict[str, list[str]]:
    """The same ranking by two nested loops."""
    found = {}
    for query in QUERIES:
        if not is_multi_vector(encoder):
            q, d = encode_sentences(encoder, [query.text]), encode_sentences(encoder, DOCUMENTS)
            scores = (d @ q[0]).astype(float)
        else:
            (q,) = encode_tokens(encoder, [query.text], query=True)
            scores = [float((q @ d.T).max(1).sum()) for d in encode_tokens(encoder, DOCUMENTS, query=False)]
        found[query.id] = [i for _, i in sorted(zip(np.round(scores, 4) * -1, IDS, strict=True))][:depth]
    return found


@pytest.mark.parametrize("kind", [lambda t: t, as_multi_vector], ids=["single", "late"])
@pytest.mark.parametrize("depth", [1, 3, 100])
def test_it_ranks_as_two_loops_would(teacher, tmp_path, kind, depth):
    encoder = kind(teacher)
    documents = document_vectors(encoder, IDS, DOCUMENTS, tmp_path)
    run = search(encoder, QUERIES, documents, IDS, depth)
    assert list(run) == ["q2", "q1", "q3"]
    assert {len(ranking) for ranking in run.values()} == {min(depth, 5)}
    assert (next(iter(run["q2"])), next(iter(run["q1"]))) == ("e", "a")
    for ranking in run.values():
        scores = list(ranking.values())
        assert all(high > low for high, low in zip(scores, scores[1:], strict=False)), "a tie is left"
    same = {"b": "moon", "c": "moon"}  # two documents are the same text: either may come first, or fall off the end
    for query, ids in brute(encoder, depth).items():
        assert [same.get(i, i) for i in run[query]] == [same.get(i, i) for i in ids]


def test_lists_of_tokens_rank_as_comparing_everything_does(teacher, tmp_path):
    encoder = as_multi_vector(teacher)
    documents = document_vectors(encoder, IDS, DOCUMENTS, tmp_path)
    exact = search(encoder, QUERIES, documents, IDS, 3)
    late_index.build(documents.tokens, documents.start, IDS, tmp_path / "index", LateOptions("float16"), manifest={})
    for params in (SearchParams(), SearchParams(probe=1, candidates=5)):
        run = search(encoder, QUERIES, documents, IDS, 3, tmp_path / "index", params)
        assert list(map(list, run.values())) == list(map(list, exact.values()))
    assert sampled_recall(encoder, QUERIES, documents, tmp_path / "index") == 1.0


def test_search_params_are_handed_to_the_index(teacher, tmp_path):
    documents = document_vectors(teacher, IDS, DOCUMENTS, tmp_path)
    dense.build(documents.sentences, IDS, tmp_path / "index", manifest={})
    with pytest.raises(RecipeError, match="nprobe"):  # a flat index has no clusters to visit
        search(teacher, QUERIES, documents, IDS, 3, tmp_path / "index", SearchParams(probe=2))
    encoder = as_multi_vector(teacher)
    documents = document_vectors(encoder, IDS, DOCUMENTS, tmp_path)
    late_index.build(documents.tokens, documents.start, IDS, tmp_path / "tokens", manifest={})
    with pytest.raises(RecipeError, match="candidates"):
        search(encoder, QUERIES, documents, IDS, 3, tmp_path / "tokens", SearchParams(candidates=0))


def test_an_index_in_parts_ranks_as_comparing_everything_does(teacher, tmp_path, monkeypatch):
    documents = document_vectors(teacher, IDS, DOCUMENTS, tmp_path)
    partitioned.build(documents.sentences, IDS, tmp_path / "index", manifest={}, index_size=2)
    seen, load = [], dense.load
    monkeypatch.setattr(dense, "load", lambda folder, **options: (seen.append(options), load(folder, **options))[1])
    for depth in (1, 5, 9):
        expected = search(teacher, QUERIES, documents, IDS, depth)
        for mapped in (True, False):
            run = search(teacher, QUERIES, documents, IDS, depth, tmp_path / "index", SearchParams(mapped=mapped))
            assert [list(run[query]) for query in ("q2", "q1")] == [list(expected[query]) for query in ("q2", "q1")]
            assert [options["mapped"] for options in seen[-3:]] == [mapped] * 3


def test_equal_texts_are_ordered_by_id(teacher, tmp_path):
    documents = document_vectors(teacher, IDS, DOCUMENTS, tmp_path)
    ranking = list(search(teacher, QUERIES, documents, IDS, 5)["q3"])
    assert ranking.index("c") == ranking.index("b") + 1


def test_with_an_index_and_without_one_the_run_is_the_same(teacher, tmp_path):
    documents = document_vectors(teacher, IDS, DOCUMENTS, tmp_path)
    dense.build(documents.sentences, IDS, tmp_path / "index", manifest={})
    without = search(teacher, QUERIES, documents, IDS, 3)  # at 4 the cut falls between the two equal texts
    with_index = search(teacher, QUERIES, documents, IDS, 3, tmp_path / "index")
    assert {q: list(r) for q, r in with_index.items()} == {q: list(r) for q, r in without.items()}
    for query, ranking in with_index.items():
        np.testing.assert_allclose(list(ranking.values()), list(without[query].values()), atol=1e-5)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_student_of_another_dimension_is_refused(teacher, tmp_path, indexed):
    documents = document_vectors(teacher, IDS, DOCUMENTS, tmp_path)
    dense.build(documents.sentences, IDS, tmp_path / "index", manifest={})
    narrow = bert(tmp_path / "narrow", dim=16)
    with pytest.raises(DataError, match="16"):
        search(narrow, QUERIES, documents, IDS, 4, tmp_path / "index" if indexed else None)
