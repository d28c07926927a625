"""IBM model 1 against known translations and a slow reference."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.subwords import WordParts, letters
from optical.vocabulary.translation_table import Hints


def slow_model_1(english, foreign, steps):
    """Model 1 in dictionaries, written from the equations."""
    seen = defaultdict(set)
    for es, fs in zip(english, foreign, strict=True):
        for f in fs:
            seen[f].update(es)
    t = {(f, e): 1 / len(es) for f, es in seen.items() for e in es}
    for _ in range(steps):
        counts = defaultdict(float)
        for es, fs in zip(english, foreign, strict=True):
            for e in es:
                total = sum(t[f, e] for f in fs)
                for f in fs:
                    counts[f, e] += t[f, e] / total
        mass = defaultdict(float)
        for (f, _), c in counts.items():
            mass[f] += c
        t = {(f, e): c / mass[f] for (f, e), c in counts.items()}
    return t


def random_bitext(sentences=40, seed=0):
    rng = np.random.default_rng(seed)
    sides = [[rng.integers(low, low + 12, rng.integers(0, 7)).tolist() for _ in range(sentences)] for low in (3, 0)]
    return [*sides[0], [3, 3, 4]], [*sides[1], [7, 7]]


def no_parts(size):
    return WordParts([], np.zeros(0, dtype=np.int64), np.full((size, 2), -1), np.zeros((size, 2), dtype=np.float32))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_probabilities_agree_with_the_slow_reference(steps):
    english, foreign = random_bitext()
    table = align_ibm1(english, foreign, steps=steps)
    expected = slow_model_1(english, foreign, steps)
    found = dict(zip(zip(table.foreign.tolist(), table.english.tolist(), strict=True), table.probability, strict=True))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[k] for k in expected], list(expected.values()), rtol=1e-4, atol=1e-7)


def test_known_translations_are_found():
    english, foreign = [[1, 9], [1, 2], [2, 9], [3, 9], [3, 1]], [[11], [11, 12], [12], [13], [13, 11]]
    table = align_ibm1(english, foreign, steps=10)
    best = {f: table.english[table.foreign == f][0] for f in (11, 12, 13)}
    assert best == {11: 1, 12: 2, 13: 3}


def test_no_warning_for_ids_that_do_not_occur(recwarn):
    align_ibm1([[5]], [[900]])
    assert not recwarn.list


def test_words_that_look_alike_align_at_once():
    """Seen once, "viktoria" could be any of the three English words."""
    spelled = letters(["", "viktoria", "mwaka"]), letters(["lake", "victoria", "year"])
    plain = align_ibm1([[0, 1, 2]], [[1, 2]])
    hinted = align_ibm1([[0, 1, 2]], [[1, 2]], hints=Hints(no_parts(3), spelled))
    assert np.ptp(plain.probability) < 1e-6
    assert hinted.english[hinted.foreign == 1][0] == 1
    assert hinted.probability[hinted.foreign == 1][0] > 0.5


def test_rare_words_lean_on_the_parts_they_share():
    """Word 2 is seen once, with English 5 and 6; its stem is that of word 1, which means 5."""
    english, foreign = [[5, 7], [5, 8], [5, 9], [5, 6]], [[1, 3], [1, 4], [1, 0], [2]]
    of = np.full((5, 2), -1)
    of[1], of[2] = (0, 2), (1, 2)
    parts = WordParts(
        ["ana", "ali", "##zungumza"], np.array([9, 9, 2]), of, np.where(of >= 0, [0.1, 0.9], 0).astype(np.float32)
    )
    nothing = np.zeros((10, 12), dtype=np.uint64)
    plain = align_ibm1(english, foreign)
    hinted = align_ibm1(english, foreign, hints=Hints(parts, (nothing, nothing)))
    probability = [float(t.probability[(t.foreign == 2) & (t.english == 5)][0]) for t in (plain, hinted)]
    assert probability[0] == pytest.approx(0.5)
    assert probability[1] > 0.55
