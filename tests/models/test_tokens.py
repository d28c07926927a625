from __future__ import annotations

import torch

from optical.models.tokens import Tokens, maxsim, pool, unit


def ragged():
    vectors = torch.randn(3, 4, 5)
    return Tokens(vectors, torch.tensor([[True] * 4, [True, True, False, False], [False] * 4]))


def test_pool_is_the_mean_of_the_real_tokens():
    tokens = ragged()
    pooled = pool(tokens)
    torch.testing.assert_close(pooled[1], tokens.vectors[1, :2].mean(0))
    assert (pooled[2] == 0).all()


def test_unit_gives_length_one_and_zero_padding():
    tokens = unit(ragged())
    torch.testing.assert_close(tokens.vectors[1, :2].norm(dim=-1), torch.ones(2))
    assert (tokens.vectors[1, 2:] == 0).all()


def test_maxsim_is_the_sum_over_query_tokens_of_the_best_document_token():
    queries, documents = ragged(), Tokens(torch.randn(2, 3, 5), torch.tensor([[True] * 3, [True, False, False]]))
    scores = maxsim(queries, documents)
    expected = (queries.vectors[1, :2] @ documents.vectors[0].T).amax(-1).sum()
    torch.testing.assert_close(scores[1, 0], expected)
    torch.testing.assert_close(scores[0, 1], (queries.vectors[0] @ documents.vectors[1, :1].T).sum())


def test_a_masked_document_token_cannot_win_against_negative_similarities():
    query = Tokens(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[True]]))
    document = Tokens(torch.tensor([[[-0.5, 0.0], [0.0, 0.0]]]), torch.tensor([[True, False]]))
    assert maxsim(query, document).item() == -0.5


def test_empty_sides():
    queries = ragged()
    empty = Tokens(torch.randn(1, 3, 5), torch.zeros(1, 3, dtype=torch.bool))
    assert (maxsim(queries, empty) == float("-inf")).all()
    full = Tokens(torch.randn(1, 3, 5), torch.ones(1, 3, dtype=torch.bool))
    assert maxsim(queries, full)[2, 0] == 0
