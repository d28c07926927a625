"""Logistic regression on pairs of vectors."""

from __future__ import annotations

import numpy as np

from optical.evaluation.frozen_classifier import features, fit


def test_features_are_both_vectors_their_distance_and_their_product():
    u, v = np.array([[1.0, -2.0]]), np.array([[0.5, 3.0]])
    assert features(u, v).tolist() == [[1.0, -2.0, 0.5, 3.0, 0.5, 5.0, 0.5, -6.0]]


def test_it_learns_whether_two_vectors_are_alike_and_hardly_anything_from_noise():
    random = np.random.default_rng(0)
    u, other = random.normal(size=(2, 300, 8))
    alike = random.integers(0, 2, 300)
    v = np.where(alike[:, None] == 1, u + 0.1 * other, other)
    learnt = fit(features(u[:200], v[:200]), alike[:200], np.arange(200))
    assert learnt.score(features(u[200:], v[200:]), alike[200:]) > 0.95
    shuffled = fit(features(u[:200], v[:200]), random.permutation(alike[:200]), np.arange(200))
    assert 0.3 < shuffled.score(features(u[200:], v[200:]), alike[200:]) < 0.7


def test_what_is_constant_in_the_pairs_learnt_from_decides_no_answer():
    random = np.random.default_rng(0)
    gold = random.integers(0, 2, 200)
    u, v = random.normal(size=(2, 200, 5)).astype(np.float32)
    v = np.where(gold[:, None] == 1, u, v)
    u[:, 4] = v[:, 4] = 1e-20 * random.normal(size=200)
    learnt = fit(features(u[:100], v[:100]), gold[:100], np.arange(100))
    u[100:, 4] += 0.01 * np.arange(100) / 100
    assert learnt.score(features(u[100:], v[100:]), gold[100:]) > 0.9


def test_two_groups_are_enough():
    u = np.array([[1.0], [0.9], [-1.0], [-0.9]])
    assert fit(features(u, u), np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])).predict(features(u, u)).tolist() == [
        1,
        1,
        0,
        0,
    ]
