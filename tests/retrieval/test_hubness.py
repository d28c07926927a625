"""Penalties follow their formulas, however the documents are read, and bring down what is near every question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from optical.embeddings.vectors import Vectors
from optical.errors import DataError
from optical.retrieval import exhaustive, hubness
from optical.retrieval.hubness import EPSILON, METHODS, penalised, penalties
from optical.transport.sinkhorn import sinkhorn

N, M, D = 37, 23, 32


def unit(rows: int, seed: int, towards: np.ndarray | float = 0.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, D)) + towards
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


ALL_ALIKE = np.eye(D)[0] * 4  # questions point one way, as E5's do
BANK, QUERIES = unit(M, 0, ALL_ALIKE), unit(5, 1, ALL_ALIKE)
DOCUMENTS = unit(N, 2)
HUB = 3
DOCUMENTS[HUB] = np.eye(D)[0]


def ranked(scores: np.ndarray) -> list[list[int]]:
    return np.argsort(-scores, axis=1, kind="stable").tolist()


def as_vectors(documents: np.ndarray) -> Vectors:
    return Vectors(np.zeros((0, 1), np.float16), np.zeros(len(documents) + 1, np.int64), documents, Path())


def test_csls_ranks_by_twice_the_product_less_the_mean_of_the_ten_highest():
    r = np.sort(DOCUMENTS @ BANK.T, axis=1)[:, -10:].mean(axis=1)
    assert ranked(QUERIES @ DOCUMENTS.T - penalties("csls", BANK, DOCUMENTS)) == ranked(2 * QUERIES @ DOCUMENTS.T - r)


def test_centre_ranks_as_queries_less_the_mean_of_the_bank():
    found = ranked(QUERIES @ DOCUMENTS.T - penalties("centre", BANK, DOCUMENTS))
    assert found == ranked((QUERIES - BANK.mean(axis=0)) @ DOCUMENTS.T)


def test_sinkhorn_takes_off_the_potential_of_the_plan_between_documents_and_bank():
    C = torch.from_numpy(-DOCUMENTS @ BANK.T)[None].double()
    a, b = torch.full((1, N), 1 / N).double(), torch.full((1, M), 1 / M).double()
    P = sinkhorn(C, a, b, EPSILON, tolerance=1e-6, max_steps=5000).coupling[0].numpy()
    f = -penalties("sinkhorn", BANK, DOCUMENTS).astype(np.float64)
    with np.errstate(divide="ignore"):
        potentials = EPSILON * np.log(P * N * M) + C[0].numpy()  # f_i + g_j, where there is mass
    certain = P > 1e-8
    column = int(certain.sum(axis=0).argmax())
    rows = certain[:, column]
    assert rows.sum() > 5
    difference = potentials[rows, column] - f[rows]
    np.testing.assert_allclose(difference, difference[0], atol=5e-3)  # of the solver's default tolerance
    assert f.std() > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_a_document_near_every_question_comes_down_and_scores_stay_where_they_were(method):
    found = penalties(method, BANK, DOCUMENTS)
    assert found.argmax() == HUB
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(0, abs=1e-6)
    plain, less = QUERIES @ DOCUMENTS.T, QUERIES @ DOCUMENTS.T - found
    assert (plain.argmax(axis=1) == HUB).sum() > (less.argmax(axis=1) == HUB).sum()


@pytest.mark.parametrize("method", METHODS)
def test_documents_are_read_a_block_at_a_time(method, monkeypatch):
    expected = penalties(method, BANK, DOCUMENTS)
    monkeypatch.setattr(hubness, "NUMBERS_AT_ONCE", 5 * M)
    np.testing.assert_allclose(penalties(method, BANK, DOCUMENTS), expected, atol=1e-6)


def test_potentials_are_solved_for_some_documents_and_follow_for_the_others(monkeypatch):
    expected = penalties("sinkhorn", BANK, DOCUMENTS)
    monkeypatch.setattr(hubness, "SOLVED_ON", N // 2)
    found = penalties("sinkhorn", BANK, DOCUMENTS)
    assert not np.array_equal(found, expected)
    assert np.corrcoef(found, expected)[0, 1] > 0.8


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_an_exhaustive_search_takes_penalties_off(dtype):
    documents = penalised("csls", BANK, as_vectors(DOCUMENTS.astype(dtype)))
    assert documents.sentences.shape == (N, D + 1)
    scores, rows = exhaustive.nearest(QUERIES, documents, 6)
    expected = QUERIES @ DOCUMENTS.astype(dtype).astype(np.float32).T - penalties("csls", BANK, DOCUMENTS)
    np.testing.assert_allclose(np.sort(scores), np.sort(expected)[:, -6:], atol=1e-3 if dtype == np.float16 else 1e-6)
    assert [set(row) for row in rows.tolist()] == [set(row[:6]) for row in ranked(expected)]


def test_queries_of_another_dimension_are_refused():
    with pytest.raises(DataError, match="queries have 31 dimensions"):
        exhaustive.nearest(QUERIES[:, :31], penalised("centre", BANK, as_vectors(DOCUMENTS)), 3)


def test_a_bank_that_is_too_small_is_refused():
    with pytest.raises(DataError, match=r"at least 20 questions or sentences of the bitext; there are 19; set"):
        penalties("csls", BANK[:19], DOCUMENTS)
