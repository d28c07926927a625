from __future__ import annotations

import numpy as np
import pytest

from optical.training.batches import language_weights, length_grouped


def lengths(n: int = 3000) -> np.ndarray:
    return np.random.default_rng(1).integers(5, 60, n)


def grouped(lengths, repeats=None, seed=0, **how):
    repeats = np.ones(len(lengths), dtype=int) if repeats is None else repeats
    return length_grouped(lengths, repeats, np.random.default_rng(seed), **{"batch_size": 8} | how)


def padding(lengths, batches) -> float:
    """Share of the places in the batches that hold padding."""
    places = sum(len(batch) * lengths[batch].max() for batch in batches)
    return 1.0 - sum(lengths[batch].sum() for batch in batches) / places


@pytest.mark.parametrize(("n", "size"), [(1000, 8), (37, 4), (400, 7), (8, 8), (3, 8), (0, 8)])
def test_a_count_fills_every_batch_and_leaves_out_less_than_one(n, size):
    batches = grouped(lengths(n), batch_size=size)
    assert {len(batch) for batch in batches} <= {size}
    assert len(batches) == n // size


def test_every_row_is_trained_on_in_some_epoch_the_longest_too():
    rows, random = lengths(100), np.random.default_rng(0)
    epochs = [length_grouped(rows, np.ones(100, dtype=int), random, batch_size=64) for _ in range(200)]
    drawn = np.bincount(np.concatenate([batch for batches in epochs for batch in batches]), minlength=100)
    # 200 draws of a coin of .64: five standard errors are 34.
    assert drawn.min() > 128 - 34, f"rows drawn least: {np.sort(drawn)[:40]}"
    assert drawn.max() < 128 + 34


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


def test_whole_repeats_give_the_same_batches_whatever_their_type():
    repeats = np.random.default_rng(2).integers(0, 4, 1000)
    assert grouped(lengths(1000), repeats.astype(float)) == grouped(lengths(1000), repeats)


def test_whole_repeats_give_the_batches_they_always_gave():
    assert grouped(np.array([3, 9, 4, 9, 5, 2]), np.array([1, 3, 1, 0, 2, 1]), seed=3, batch_size=2) == [
        [2, 4], [5, 0], [4, 1], [1, 1],
    ]  # fmt: skip


def test_a_fraction_of_a_repeat_is_the_probability_of_one_more():
    repeats = np.tile([0.0, 0.25, 1.0, 2.7], 500)
    drawn = np.zeros(2000)
    for seed in range(20):
        counts = np.bincount(np.concatenate(grouped(lengths(2000), repeats, seed, batch_tokens=400)), minlength=2000)
        assert set(counts[0::4]) == {0}
        assert set(counts[1::4]) == {0, 1}
        assert set(counts[2::4]) == {1}
        assert set(counts[3::4]) == {2, 3}
        drawn += counts / 20
    # 10,000 draws of a coin: three standard errors are .015.
    assert drawn.reshape(-1, 4).mean(axis=0) == pytest.approx([0.0, 0.25, 1.0, 2.7], abs=0.015)
    assert drawn[1::4].std() > 0, "the same rows in every epoch"


def shares(counts, temperature):
    """Share of the draws of each language in one epoch of weighted batches."""
    weights = language_weights(counts, temperature)
    langs = np.repeat(list(counts), list(counts.values()))
    repeats = np.array([weights[lang] for lang in langs])
    rows = np.concatenate(grouped(lengths(len(langs)), repeats, batch_tokens=400))
    return {lang: (langs[rows] == lang).mean() for lang in counts}, len(rows)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0, 1e6])
def test_languages_are_drawn_by_the_root_of_their_counts(temperature):
    counts = {"sw": 9000, "so": 1000, "tl": 40}
    found, draws = shares(counts, temperature)
    roots = {lang: n ** (1 / temperature) for lang, n in counts.items()}
    expected = {lang: root / sum(roots.values()) for lang, root in roots.items()}
    assert found == pytest.approx(expected, abs=0.01)
    assert draws == pytest.approx(sum(counts.values()), rel=0.01)
    weights = language_weights(counts, temperature)
    assert sum(weights[lang] * n for lang, n in counts.items()) == pytest.approx(10_040, rel=1e-12)


def test_temperature_one_leaves_pairs_as_they_are_and_one_language_too():
    assert language_weights({"sw": 7, "so": 3}, 1.0) == pytest.approx({"sw": 1.0, "so": 1.0})
    assert language_weights({"sw": 7}, 2.0) == pytest.approx({"sw": 1.0})
    assert language_weights({"sw": 900, "so": 100}, 2.0) == pytest.approx({"sw": 1000 / 1200, "so": 2.5})


@pytest.mark.parametrize(("counts", "temperature"), [({"sw": 3, "so": 0}, 2.0), ({"sw": 3}, 0.5), ({"sw": 3}, np.nan)])
def test_languages_without_pairs_and_odd_temperatures_are_refused(counts, temperature):
    with pytest.raises(ValueError, match="must be positive and the temperature at least 1"):
        language_weights(counts, temperature)
