"""The mean of tokens, which is written to Qdrant beside the tokens of a document."""

from __future__ import annotations

import numpy as np
import pytest

from optical.retrieval.qdrant.write import mean_token


def test_a_mean_of_tokens_has_length_one():
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((7, 5)).astype(np.float16)
    assert np.linalg.norm(mean_token(tokens)) == pytest.approx(1.0, abs=1e-6)
    assert mean_token(np.array([[1.0, 0.0], [-1.0, 0.0]])).tolist() == [0.0, 0.0]
