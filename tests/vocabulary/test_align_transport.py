"""Scaling against marginals, a closed form and the solver of this package; the table it gives against known words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from optical.transport.sinkhorn import sinkhorn
from optical.vocabulary import align_transport as module
from optical.vocabulary.align_transport import align_transport, scale
from optical.vocabulary.subwords import letters
from optical.vocabulary.translation_table import Hints
from tests.vocabulary.test_align_ibm1 import no_parts, random_bitext


def problem(rows=5, columns=7, seed=0):
    """A dense cost and masses, one of each side exactly 0."""
    random = np.random.default_rng(seed)
    a, b = random.random(rows), random.random(columns)
    a[2], b[0] = 0.0, 0.0
    return random.random((rows, columns)), a / a.sum(), b / b.sum()


def plan_of(kernel, scaled):
    return scaled.u[:, None] * kernel.toarray() * scaled.v


def test_a_dense_kernel_gives_the_plan_of_the_batched_solver():
    cost, a, b = problem()
    kernel = csr_matrix(np.exp(-cost / 0.1))
    scaled = scale(kernel, a, b, steps=2000)
    tensors = [torch.from_numpy(x)[None] for x in (cost, a, b)]
    reference = sinkhorn(*tensors, epsilon=0.1, tolerance=1e-10, max_steps=5000).coupling[0].numpy()
    np.testing.assert_allclose(plan_of(kernel, scaled), reference, rtol=1e-6, atol=1e-9)
    assert scaled.error < 1e-9


def test_columns_are_exact_zero_mass_stays_zero_and_the_error_is_of_the_rows():
    cost, a, b = problem()
    kernel = csr_matrix(np.exp(-cost / 0.02))
    scaled = scale(kernel, a, b, steps=2)
    plan = plan_of(kernel, scaled)
    np.testing.assert_allclose(plan.sum(axis=0), b, rtol=1e-12)
    assert not plan[2].any()
    assert not plan[:, 0].any()
    assert scaled.error == pytest.approx(np.abs(plan.sum(axis=1) - a).sum(), rel=1e-9)
    assert scaled.error > 1e-3
    assert scale(kernel, 7 * a, 7 * b, steps=2).error == pytest.approx(scaled.error)


def test_factors_of_rows_and_columns_change_no_plan():
    cost, a, b = problem()
    kernel = csr_matrix(np.exp(-cost))
    scaled = csr_matrix(kernel.multiply(np.arange(1, 6)[:, None]).multiply(np.arange(2, 9)))
    one, other = (plan_of(k, scale(k, a, b, steps=500)) for k in (kernel, scaled))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)


def test_forbidden_pairs_get_nothing_and_an_impossible_plan_says_so():
    """Two by two with three entries: only the diagonal can carry equal masses; with one entry, nothing can."""
    triangle = csr_matrix(np.array([[1.0, 1.0], [0.0, 1.0]]))
    half = np.full(2, 0.5)
    plan = plan_of(triangle, scale(triangle, half, half, steps=5000))
    np.testing.assert_allclose(plan, np.diag(half), atol=1e-3)
    alone = csr_matrix(np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert scale(alone, half, half).error == pytest.approx(0.5)


@pytest.mark.parametrize(("shape", "masses", "steps"), [((2, 3), (2, 2), 1), ((2, 2), (2, 2), 0), ((2, 2), (2, 4), 1)])
def test_what_does_not_fit_is_refused(shape, masses, steps):
    a, b = np.full(shape[0], masses[0] / shape[0]), np.full(masses[1], 1.0)
    with pytest.raises(ValueError, match="as much mass on both sides"):
        scale(csr_matrix(np.ones(shape)), a, b, steps=steps)


def test_counts_are_a_plan_between_the_frequencies():
    english, foreign = random_bitext()
    table = align_transport(english, foreign, steps=3000)
    pairs = [(e, f) for e, f in zip(english, foreign, strict=True) if e and f]
    frequency = np.bincount(np.concatenate([e for e, _ in pairs]))
    np.testing.assert_allclose(np.bincount(table.english, weights=table.counts), frequency, rtol=1e-4)
    mass = np.bincount(
        np.concatenate([f for _, f in pairs]), weights=np.concatenate([[len(e) / len(f)] * len(f) for e, f in pairs])
    )
    np.testing.assert_allclose(np.bincount(table.foreign, weights=table.counts), mass, rtol=1e-3)
    for ids, values in ((table.foreign, table.probability), (table.english, table.reverse)):
        np.testing.assert_allclose(np.bincount(ids, weights=values)[np.unique(ids)], 1, rtol=1e-5)


def test_a_smaller_epsilon_is_sharper(monkeypatch):
    english, foreign = random_bitext()
    entropy = []
    for epsilon in (1.0, 0.3):
        monkeypatch.setattr(module, "EPSILON", epsilon)
        share = (counts := align_transport(english, foreign).counts) / counts.sum()
        entropy.append(-(share[share > 0] * np.log(share[share > 0])).sum())
    assert entropy[1] < 0.9 * entropy[0]


def test_known_translations_are_found_and_letters_help():
    english, foreign = [[1, 9], [1, 2], [2, 9], [3, 9], [3, 1]], [[11], [11, 12], [12], [13], [13, 11]]
    table = align_transport(english, foreign)
    assert {f: table.english[table.foreign == f][0] for f in (11, 12, 13)} == {11: 1, 12: 2, 13: 3}
    spelled = letters(["", "viktoria", "mwaka"]), letters(["lake", "victoria", "year"])
    hinted = align_transport([[0, 1, 2]], [[1, 2]], hints=Hints(no_parts(3), spelled))
    assert hinted.english[hinted.foreign == 1][0] == 1
    assert hinted.probability[hinted.foreign == 1][0] > 0.5
    assert np.ptp(align_transport([[0, 1, 2]], [[1, 2]]).probability) < 1e-6


def test_nothing_meets():
    assert len(align_transport([[], [1]], [[2], []]).foreign) == 0
