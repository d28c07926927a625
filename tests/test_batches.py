from __future__ import annotations

import numpy as np
import pytest

from optical.batches import length_grouped, padding


def lengths(n: int = 3000) -> np.ndarray:
    return np.random.default_rng(1).integers(5, 60, n)


def grouped(lengths, repeats=None, seed=0, **how):
    repeats = np.ones(len(lengths), dtype=int) if repeats is None else repeats
    return length_grouped(lengths, repeats, np.random.default_rng(seed), **{"batch_size": 8} | how)


@pytest.mark.parametrize(("n", "size"), [(1000, 8), (37, 4), (400, 7), (8, 8), (3, 8), (0, 8)])
def test_a_count_fills_every_batch_and_leaves_out_less_than_one(n, size):
    batches = grouped(lengths(n), batch_size=size)
    assert {len(batch) for batch in batches} <= {size}
    assert len(batches) == n // size


@pytest.mark.parametrize("batch_tokens", [None, 400])
def test_every_row_is_drawn_as_often_as_asked(batch_tokens):
    repeats = np.random.default_rng(2).integers(1, 4, 1000)
    batches = grouped(lengths(1000), repeats, batch_tokens=batch_tokens)
    missing = repeats - np.bincount(np.concatenate(batches), minlength=1000)
    assert (missing >= 0).all()
    assert missing.sum() < 8 if batch_tokens is None else missing.sum() == 0


def test_batches_are_of_about_one_length_but_come_in_no_order_of_it():
    rows = lengths()
    batches = grouped(rows)
    assert padding(rows, batches) < 0.05 < 0.2 < padding(rows, np.arange(3000).reshape(-1, 8).tolist())
    means = np.array([rows[batch].mean() for batch in grouped(lengths(400))])  # sorted together, all of them
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.5


def test_a_budget_of_tokens_counts_padding_and_is_nearly_used_up():
    rows = lengths()
    sizes = [len(batch) * rows[batch].max() for batch in grouped(rows, batch_tokens=400)]
    assert max(sizes) <= 400
    assert np.mean(sizes) > 0.85 * 400
    short, long = (np.mean([len(b) for b in grouped(np.full(500, n), batch_tokens=400)]) for n in (5, 40))
    assert short > 7 * long


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own():
    rows = np.array([5, 500, 6, 7, 500, 8])
    batches = grouped(rows, batch_tokens=32)
    assert [1] in batches
    assert [4] in batches
    assert sorted(np.concatenate(batches)) == list(range(6))


def test_other_seeds_other_batches():
    assert grouped(lengths()) == grouped(lengths())
    assert grouped(lengths()) != grouped(lengths(), seed=1)
