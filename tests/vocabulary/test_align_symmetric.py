"""Agreement of two models against a slow reference, against symmetry, and against one model alone."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.align_symmetric import align_symmetric
from optical.vocabulary.subwords import WordParts, letters
from optical.vocabulary.translation_table import Hints
from tests.vocabulary.test_align_ibm1 import no_parts, random_bitext


def slow_agreement(english, foreign, steps):
    """The two models in dictionaries, written from the equations; t(e | f) and the counts."""
    seen = {(f, e) for es, fs in zip(english, foreign, strict=True) for f in fs for e in es}
    forward = {(f, e): 1 / sum(g == f for g, _ in seen) for f, e in seen}
    backward = {(f, e): 1 / sum(d == e for _, d in seen) for f, e in seen}
    counts = {}
    for _ in range(steps):
        counts = defaultdict(float)
        for es, fs in zip(english, foreign, strict=True):
            for e in es:
                for f in fs:
                    p = forward[f, e] / sum(forward[g, e] for g in fs)
                    q = backward[f, e] / sum(backward[f, d] for d in es)
                    counts[f, e] += (p * q) ** 0.5
        forward = {(f, e): c / sum(v for (g, _), v in counts.items() if g == f) for (f, e), c in counts.items()}
        backward = {(f, e): c / sum(v for (_, d), v in counts.items() if d == e) for (f, e), c in counts.items()}
    return forward, counts


def as_dict(table, values):
    return dict(zip(zip(table.foreign.tolist(), table.english.tolist(), strict=True), values.tolist(), strict=True))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_counts_and_probabilities_agree_with_the_slow_reference(steps):
    english, foreign = random_bitext()
    table = align_symmetric(english, foreign, steps=steps)
    probability, counts = slow_agreement(english, foreign, steps)
    assert as_dict(table, table.probability) == pytest.approx(probability, rel=1e-4, abs=1e-6)
    assert as_dict(table, table.counts) == pytest.approx(counts, rel=1e-4, abs=1e-6)


def test_turning_the_sentences_round_turns_the_table_round():
    english, foreign = random_bitext()
    one, other = align_symmetric(english, foreign), align_symmetric(foreign, english)
    turned = {(e, f): value for (f, e), value in as_dict(other, other.counts).items()}
    assert as_dict(one, one.counts) == pytest.approx(turned, rel=1e-4, abs=1e-6)
    plain = [align_ibm1(english, foreign), align_ibm1(foreign, english)]
    assert as_dict(plain[0], plain[0].counts) != pytest.approx(
        {(e, f): v for (f, e), v in as_dict(plain[1], plain[1].counts).items()}, rel=1e-2
    )


def test_both_directions_sum_to_one_and_counts_are_bounded():
    english, foreign = random_bitext()
    table = align_symmetric(english, foreign)
    for ids, values in ((table.foreign, table.probability), (table.english, table.reverse)):
        np.testing.assert_allclose(np.bincount(ids, weights=values)[np.unique(ids)], 1, rtol=1e-5)
    # By Cauchy and Schwarz: the posteriors of a sentence pair add up to n and to m.
    most = sum((len(es) * len(fs)) ** 0.5 for es, fs in zip(english, foreign, strict=True))
    assert 0 < table.counts.sum() <= most


def test_a_word_seen_once_does_not_collect_all_of_its_sentence():
    """X word 3 stands once, beside words 1 and 2, which explain English 1 and 2 but not 7, 8 and 9."""
    english, foreign = [[1, 2, 7, 8, 9], [1], [2]], [[1, 2, 3], [1], [2]]
    tables = {method: method(english, foreign) for method in (align_ibm1, align_symmetric)}
    collected = {method: table.counts[table.foreign == 3].sum() for method, table in tables.items()}
    assert collected[align_ibm1] > 2
    assert collected[align_symmetric] < 1.5


def test_hints_work_in_both_directions():
    spelled = letters(["", "viktoria", "mwaka"]), letters(["lake", "victoria", "year"])
    hinted = align_symmetric([[0, 1, 2]], [[1, 2]], hints=Hints(no_parts(3), spelled))
    assert hinted.english[hinted.foreign == 1][0] == 1
    assert hinted.probability[hinted.foreign == 1][0] > 0.55
    of = np.full((3, 2), -1)
    of[1], of[2] = (0, 2), (1, 2)
    parts = WordParts(
        ["a", "b", "##zungumza"], np.array([9, 9, 2]), of, np.where(of >= 0, [0.1, 0.9], 0).astype(np.float32)
    )
    empty = np.zeros((8, 12), dtype=np.uint64)
    english, foreign = [[5, 7], [5], [5, 6]], [[1, 0], [1], [2]]
    leaned, plain = (
        align_symmetric(english, foreign, hints=Hints(parts, (empty, empty))),
        align_symmetric(english, foreign),
    )
    assert as_dict(leaned, leaned.probability)[2, 5] > as_dict(plain, plain.probability)[2, 5] + 0.05


def test_nothing_meets_and_sides_that_are_not_parallel():
    assert len(align_symmetric([[], [1]], [[2], []]).foreign) == 0
    assert set(align_symmetric([[1], [2] * 5], [[3], [4]], max_length=4).foreign) == {3}
    with pytest.raises(ValueError, match="1 English and 2 X"):
        align_symmetric([[1]], [[1], [2]])
