"""Cutting words in two, and what the halves lend."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from optical.vocabulary.subwords import borrow, cut, letters, likeness, parts_of

VERBS = [p + s for p in ("ana", "wana", "ali") for s in ("tengeneza", "zungumza", "andika")]


def test_words_fall_into_prefix_and_stem():
    cuts = cut(VERBS)
    assert cuts["alizungumza"] == ("ali", "zungumza")
    # "wana" starts three words and "ana" three others: no letter is taken from either.
    assert cuts["wanaandika"] == ("wana", "andika")


def test_suffixing_languages_are_cut_too():
    words = [stem + end for stem in ("talo", "koulu", "kirja") for end in ("ssa", "lla", "sta")]
    assert cut(words)["koulussa"] == ("koulu", "ssa")


def test_both_parts_must_be_shared_and_one_of_them_long():
    assert cut(["zebra", "tango"]) == {}
    assert cut(["aba", "abo", "oba", "obo"]) == {}
    assert cut(VERBS, min_types=4) == {}
    # "ali" starts two words and "zungumza" ends three; then the other way round.
    assert "alizungumza" not in cut(["alizungumza", "anazungumza", "tunazungumza", "alipika"], min_types=3)
    assert "koulussa" not in cut(["koulussa", "koululla", "koulusta", "talossa"], min_types=3)


def test_the_rarer_half_weighs_more():
    words = ["alizungumza", "waliandika", "alitengeneza", "alipika", "kuzungumza", "kuandika"]
    parts = parts_of([(k + 5, w) for k, w in enumerate(words)], 20)
    names = [[parts.names[k] for k in row] for row in parts.of[5:11]]
    assert names[0] == ["ali", "##zungumza"]
    assert names[4] == ["ku", "##zungumza"]
    prefix, suffix = (int(parts.types[k]) for k in parts.of[5])
    np.testing.assert_allclose(parts.share[5], [suffix / (prefix + suffix), prefix / (prefix + suffix)], rtol=1e-6)
    # Ids without a spelling, and words that share nothing, are not cut.
    assert parts.of[:5].max() == parts.of[11:].max() == -1
    assert not parts.share[:5].any()


def test_borrowed_probability_agrees_with_a_slow_reference():
    parts = parts_of(list(enumerate(VERBS)), len(VERBS) + 1)
    rng = np.random.default_rng(0)
    key = np.unique(rng.integers(0, (len(VERBS) + 1) * 6, 40))
    f, e, counts = key // 6, key % 6, rng.random(len(key)).astype(np.float32)
    together, alone = defaultdict(float), defaultdict(float)
    for i, j, c in zip(f, e, counts, strict=True):
        for side in (0, 1):
            if parts.of[i, side] >= 0:
                together[parts.of[i, side], j] += c
                alone[parts.of[i, side]] += c
    expected = [
        sum(
            parts.share[i, s] * together[parts.of[i, s], j] / alone[parts.of[i, s]]
            for s in (0, 1)
            if parts.of[i, s] >= 0
        )
        for i, j in zip(f, e, strict=True)
    ]
    np.testing.assert_allclose(borrow(parts, f, e)(counts), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "dice"),
    [
        ("viktoria", "victoria", 12 / 16),
        ("nairobi", "nairobi", 1.0),
        ("maji", "water", 0.0),
        ("the", "the", 0.0),
        ("éé!é", "ôôôô", 1.0),
    ],
)
def test_likeness_is_the_dice_coefficient_of_letter_pairs(a, b, dice):
    """Words under four letters resemble nothing; characters outside a to z count as one."""
    value = likeness(letters([a]), letters([b]), np.array([0]), np.array([0]))
    np.testing.assert_allclose(value, [dice], rtol=1e-6)
