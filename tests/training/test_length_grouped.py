"""The batches that a student is trained on."""

from __future__ import annotations

import numpy as np
import pytest

from optical.training import distillation
from optical.training.distillation import _LengthGrouped
from optical.training.distillation_loss import DistillationLoss
from tests.training.distilled import parameters, trained, training


class _InOrder(_LengthGrouped):
    """The eight pairs as they are, so that one batch of eight is two of four: the usual one groups by length."""

    def __iter__(self):
        rows = list(range(len(self.how["lengths"])))
        for k in range(0, len(rows), self.batch_size):
            yield rows[k : k + self.batch_size]


@pytest.mark.parametrize("smaller", [(4, 2), (2, 4)])
def test_accumulating_small_batches_is_one_large_batch(student, teacher, tmp_path, monkeypatch, smaller):
    monkeypatch.setattr(distillation, "_LengthGrouped", _InOrder)
    batch, accumulation = smaller
    whole = trained(student, teacher, tmp_path / "whole", how=training(steps=3, batch_size=8))
    parts = trained(
        student, teacher, tmp_path / "parts", how=training(steps=3, batch_size=batch, accumulation=accumulation)
    )
    other = trained(student, teacher, tmp_path / "other", how=training(steps=3, batch_size=batch))
    # Adam divides by the size of a gradient: entries whose gradient is rounding error alone move by their sign.
    apart = (parameters(whole.student) - parameters(parts.student)).abs()
    moved = (parameters(whole.student) - parameters(student)).abs()
    assert apart.quantile(0.99) < 1e-5
    assert apart.norm() < 0.02 * moved.norm()
    assert (parameters(whole.student) - parameters(other.student)).norm() > 0.2 * moved.norm()


class TestLengthGrouped:
    def sampler(self, n=1000, batch_size=8, seed=0, batch_tokens=None):
        random = np.random.default_rng(1)
        how = {"lengths": random.integers(5, 200, n), "repeats": random.integers(1, 4, n), "batch_tokens": batch_tokens}
        return _LengthGrouped(range(n), batch_size=batch_size, seed=seed, **how)

    @pytest.mark.parametrize("batch_tokens", [None, 1000])
    def test_there_are_as_many_batches_as_promised(self, batch_tokens):
        for n, size in ((1000, 8), (37, 4), (400, 7)):
            sampler = self.sampler(n, size, batch_tokens=batch_tokens)
            assert len(list(sampler)) == len(sampler) > 1

    def test_epochs_differ_and_can_be_repeated(self):
        first, again = self.sampler(), self.sampler()
        other = list(self.sampler(seed=1))
        epoch = list(first)
        assert epoch == list(again)
        assert epoch != other
        first.set_epoch(1)
        assert list(first) != epoch

    def test_questions_are_drawn_more_often(self, student, teacher, tmp_path, monkeypatch):
        seen = []
        original = DistillationLoss.forward

        def forward(self, features, labels):
            seen.extend(labels.tolist())
            return original(self, features, labels)

        monkeypatch.setattr(DistillationLoss, "forward", forward)
        how = training(steps=6, batch_size=2, question_repeats=3)  # 6 statements + 2 questions x 3 = 12 rows, one epoch
        trained(student, teacher, tmp_path / "run", how=how)
        assert np.bincount(seen).tolist() == [1, 1, 3, 1, 1, 1, 3, 1]


def test_a_budget_of_tokens_replaces_the_count_of_sentences(student, teacher, tmp_path, monkeypatch):
    seen = []
    original = DistillationLoss.forward

    def forward(self, features, labels):
        seen.append(tuple(features[0]["input_ids"].shape))
        return original(self, features, labels)

    monkeypatch.setattr(DistillationLoss, "forward", forward)
    trained(student, teacher, tmp_path / "run", how=training(batch_tokens=90, word_dropout=0.0))
    assert all(rows * width <= 90 or rows == 1 for rows, width in seen)
    assert len({rows for rows, _ in seen}) > 1
