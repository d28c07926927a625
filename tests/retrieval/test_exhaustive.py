"""Every document is compared a block at a time, with the answers of one pass."""

from __future__ import annotations

import numpy as np
import pytest

from optical.embeddings.cache import document_vectors
from optical.embeddings.vectors import padded
from optical.models.encoders import as_multi_vector, encode_tokens
from optical.retrieval.late import maxsim
from optical.retrieval.search import search
from tests.retrieval.test_search import DOCUMENTS, IDS, QUERIES


@pytest.mark.parametrize("numbers", [1, 100, 2**26])
@pytest.mark.parametrize("depth", [1, 2, 5, 9])
def test_vectors_are_compared_a_block_at_a_time(teacher, tmp_path, monkeypatch, numbers, depth):
    documents = document_vectors(teacher, IDS, DOCUMENTS, tmp_path)
    expected = search(teacher, QUERIES, documents, IDS, depth)
    monkeypatch.setattr("optical.retrieval.exhaustive.NUMBERS_AT_ONCE", numbers)
    monkeypatch.setattr("optical.retrieval.exhaustive.QUERIES_AT_ONCE", 2)
    shapes, one = [], np.argpartition
    monkeypatch.setattr(np, "argpartition", lambda a, *rest, **more: (shapes.append(a.shape), one(a, *rest, **more))[1])
    run = search(teacher, QUERIES, documents, IDS, depth)
    assert all(rows <= 2 and columns <= depth + max(1, numbers // 32) for rows, columns in shapes)
    assert bool(shapes) == (depth < len(IDS))
    assert list(run) == list(expected)
    same = {"b": "moon", "c": "moon"}  # of two equal texts either may be the one before the cut
    for query, ranking in run.items():
        assert [same.get(i, i) for i in ranking] == [same.get(i, i) for i in expected[query]]


@pytest.mark.parametrize("numbers", [1, 700, 2**26])
@pytest.mark.parametrize("depth", [1, 4, 100])
def test_late_interaction_pads_a_block_of_documents_at_a_time(teacher, tmp_path, monkeypatch, numbers, depth):
    encoder = as_multi_vector(teacher)
    texts, ids = DOCUMENTS * 3, [f"{i}{k}" for k in range(3) for i in IDS]  # equal scores lie in different blocks
    made = document_vectors(encoder, ids, texts, tmp_path)
    documents = made._replace(start=np.insert(made.start, 2, made.start[2]))  # number 2 has no token and is not found
    ids.insert(2, "empty")
    queries = padded(encode_tokens(encoder, [query.text for query in QUERIES], query=True))
    everything = padded([documents.of(i) for i in range(len(ids))])
    expected = maxsim.search(queries, everything, ids, depth)
    sizes, one = [], maxsim.search
    monkeypatch.setattr(maxsim, "search", lambda q, d, *rest: (sizes.append(d.vectors.shape), one(q, d, *rest))[1])
    monkeypatch.setattr("optical.retrieval.exhaustive.NUMBERS_AT_ONCE", numbers)
    run = search(encoder, QUERIES, documents, ids, depth)
    largest = everything.vectors[0].numel()
    assert all(np.prod(shape) <= max(numbers, largest) for shape in sizes)
    assert sum(shape[0] for shape in sizes) == len(texts), "every document once, the empty one left out"
    assert len(sizes) == -(-len(texts) // max(1, numbers // largest))
    assert {len(ranking) for ranking in run.values()} == {min(depth, len(texts))}
    for query, found in zip(QUERIES, expected, strict=True):
        same = dict(zip([i for i in ids if i != "empty"], texts, strict=True))  # the last bits may swap equal texts
        assert [same[i] for i in run[query.id]] == [same[i] for i, _ in found]
        np.testing.assert_allclose(list(run[query.id].values()), [score for _, score in found], atol=2e-5)  # untied
