"""Pairs by chance are told from translations, without a threshold; right pairs stay."""

import numpy as np
import pytest

from optical.retrieval import margin
from optical.retrieval.margin import suspect


def sides(count=400, noise=0.6, seed=0):
    """Two sides that mean the same, all of them near one direction as real encoders' vectors are."""
    draws = np.random.default_rng(seed)
    meant = draws.normal(size=(count, 32)) + 6 * np.eye(32)[0]
    x, y = (meant + noise * draws.normal(size=meant.shape) for _ in range(2))
    return tuple((side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in (x, y))


def texts(order):
    return [(f"e{k}", f"f{one}") for k, one in enumerate(order)]


def exchanged(count, share, seed=1):
    """Rows of the other side, a share of them in a circle, and which these are."""
    order = np.arange(count)
    moved = np.random.default_rng(seed).choice(count, int(share * count), replace=False)
    order[moved] = np.roll(moved, 1)
    return order, order != np.arange(count)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3])
def test_exchanged_sides_are_suspected_and_others_are_not(share):
    x, y = sides()
    order, wrong = exchanged(len(x), share)
    found = suspect(x, y[order], texts(order))
    assert found.reads
    assert found.share == pytest.approx(wrong.mean(), rel=0.5)
    assert (found.suspected & wrong).sum() >= 0.8 * wrong.sum()
    assert (found.suspected & ~wrong).sum() <= 0.25 * wrong.sum()


def test_sides_whose_translation_is_not_in_the_file_are_suspected_as_well():
    x, y = sides()
    strangers = sides(20, seed=9)[1]
    y[:20] = strangers
    found = suspect(x, y, texts(np.arange(len(x))))
    assert found.suspected[:20].sum() >= 16
    assert found.suspected[20:].sum() <= 5


def test_nothing_is_suspected_where_all_pairs_are_right():
    found = suspect(*sides(), texts(np.arange(400)))
    assert not found.suspected.any()
    assert found.share < 0.02


def test_an_encoder_that_does_not_read_a_side_suspects_nothing_and_says_so():
    x, y = sides()
    order = np.random.default_rng(2).permutation(len(x))
    found = suspect(x, y[order], texts(order))
    assert not found.reads
    assert found.share > 0.8
    assert not found.suspected.any()


def test_several_translations_of_a_text_do_not_speak_against_each_other():
    x, y = sides(200)
    again = [("e0", f"f{k}") for k in range(10)] + texts(np.arange(200))[10:]
    x[:10], y[:10] = x[0], y[0]  # ten translations of one sentence, all alike
    found = suspect(x, y, again)
    assert found.margins[:10].min() > 1
    assert not found.suspected[:10].any()


def test_margins_do_not_depend_on_the_blocks(monkeypatch):
    x, y = sides(130)
    whole = suspect(x, y, texts(np.arange(130)))
    monkeypatch.setattr(margin, "NUMBERS_AT_ONCE", 130 * 7)
    np.testing.assert_allclose(suspect(x, y, texts(np.arange(130))).margins, whole.margins, rtol=1e-5)
