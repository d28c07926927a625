"""Recall is counted against the exact search, of the tokens as they were embedded."""

from __future__ import annotations

import numpy as np
import pytest

from optical.embeddings.cache import document_vectors
from optical.models.encoders import as_multi_vector, encode_sentences, encode_tokens
from optical.retrieval import dense
from optical.retrieval.dense import partitioned
from optical.retrieval.late import index as late_index
from optical.retrieval.late.store import LateOptions
from optical.retrieval.recall import sampled_recall
from optical.retrieval.search import SearchParams, search
from tests.retrieval.test_search import DOCUMENTS, QUERIES


def test_the_share_that_lists_of_tokens_find_counts_what_pooling_and_rounding_lost(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("optical.retrieval.recall.DEPTH", 3)
    encoder = as_multi_vector(teacher)
    texts = [f"{a} {b}" for a in DOCUMENTS for b in ("they sing", "who built this house ?", "we sell fish", "q")]
    ids = [f"d{k}" for k in range(len(texts))]
    documents = document_vectors(encoder, ids, texts, tmp_path)
    late_index.build(
        documents.tokens, documents.start, ids, tmp_path / "index", LateOptions(pool_factor=6), manifest={}
    )
    asked = encode_tokens(encoder, [query.text for query in QUERIES], query=True)
    assert late_index.recall(late_index.load(tmp_path / "index"), asked, 3) == 1.0
    exact = search(encoder, QUERIES, documents, ids, 3)
    found = search(encoder, QUERIES, documents, ids, 3, tmp_path / "index")
    share = np.mean([len(found[query].keys() & exact[query].keys()) / 3 for query in exact])
    assert sampled_recall(encoder, QUERIES, documents, tmp_path / "index") == pytest.approx(share)
    assert 0 < share < 1
    monkeypatch.setattr("optical.retrieval.recall.TOKENS_COMPARED", 1)
    monkeypatch.setattr("optical.retrieval.recall.LEAST_QUERIES", 1)
    one = len(found["q2"].keys() & exact["q2"].keys()) / 3
    assert sampled_recall(encoder, QUERIES, documents, tmp_path / "index") == pytest.approx(one)
    assert one != share


def test_the_share_that_an_index_of_single_vectors_finds(teacher, tmp_path):
    texts = [f"{a} {b}" for a in DOCUMENTS for b in ("they sing", "who built this house ?", "we sell fish", "q")]
    ids = [f"d{k}" for k in range(len(texts))]
    documents = document_vectors(teacher, ids, texts, tmp_path)
    partitioned.build(documents.sentences, ids, tmp_path / "index", "IVF4,Flat", manifest={})
    assert sampled_recall(teacher, QUERIES, documents, tmp_path / "index", SearchParams(probe=4)) == 1.0
    few = sampled_recall(teacher, QUERIES, documents, tmp_path / "index", SearchParams(probe=1))
    vectors = encode_sentences(teacher, [query.text for query in QUERIES])
    found = dense.nearest(dense.load(tmp_path / "index", nprobe=1), vectors, 100).rows
    assert few == pytest.approx(np.mean([(row >= 0).sum() / 20 for row in found]))
    assert 0 < few < 1
    assert np.isnan(sampled_recall(teacher, [], documents, tmp_path / "index"))
