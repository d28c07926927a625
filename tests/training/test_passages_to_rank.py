"""The passages that the scores objective ranks: drawn evenly by the seed."""

from __future__ import annotations

import numpy as np
import pytest

from optical.config.objective import Objective
from optical.config.recipe import StudentOptions
from optical.training.distillation import draw_passages


def vectors_among(*counts: int) -> list[np.ndarray]:
    """The vectors of a collection of each size; that of document i of collection k is ``(k, i)``."""
    return [np.stack([np.full(n, k), np.arange(n)], axis=1).astype(np.float32) for k, n in enumerate(counts)]


def ranked(seed: int, *counts: int) -> np.ndarray | None:
    options = StudentOptions(objective=Objective(documents=1000), seed=seed)
    return draw_passages(vectors_among(*counts), options)


def test_passages_to_rank_are_drawn_from_the_whole_collection_by_the_seed():
    rows = ranked(0, 10_000)[:, 1]
    assert len(set(rows)) == len(rows) == 1000
    assert np.histogram(rows, bins=10, range=(0, 10_000))[0] == pytest.approx(100, abs=45)  # five standard errors
    np.testing.assert_array_equal(ranked(0, 10_000)[:, 1], rows)
    assert set(ranked(1, 10_000)[:, 1]) != set(rows)


def test_of_several_collections_as_many_passages_are_drawn():
    found = ranked(0, 10_000, 300, 5_000, 0)
    assert found.dtype == np.float32
    each = [found[found[:, 0] == k, 1] for k in range(4)]
    assert [len(set(rows)) for rows in each] == [len(rows) for rows in each] == [250, 250, 250, 0]
    assert all(rows.max() > 0.9 * n for rows, n in zip(each, (10_000, 300, 5_000), strict=False))


@pytest.mark.parametrize("counts", [(999,), (1000,), (500, 499)])
def test_passages_that_are_few_enough_are_all_ranked_in_their_order(counts):
    np.testing.assert_array_equal(ranked(0, *counts), np.concatenate(vectors_among(*counts)))


def test_passages_that_nobody_has_embedded_are_not_ranked():
    nothing = np.zeros((8, 0), np.float32)
    np.testing.assert_array_equal(draw_passages([nothing, *vectors_among(5)], StudentOptions()), vectors_among(5)[0])
    assert draw_passages([nothing], StudentOptions()) is None
