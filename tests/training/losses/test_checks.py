from __future__ import annotations

import pytest
import torch

from optical.models.tokens import Tokens
from optical.training.losses import checks
from tests.training.losses.conftest import ragged


def test_padding_comes_back_as_zero_and_what_is_real_as_it_was():
    x, y = ragged(torch.float32)
    nan = Tokens(x.vectors.masked_fill(~x.mask[..., None], float("nan")), x.mask)
    clean, other = checks.tokens(nan, y)
    assert torch.equal(clean.vectors[x.mask], x.vectors[x.mask])
    assert (clean.vectors[~x.mask] == 0).all()
    assert torch.isnan(nan.vectors[~x.mask]).all()  # the argument was not written to
    assert torch.equal(other.vectors[y.mask], y.vectors[y.mask])


@pytest.mark.parametrize(
    ("given", "expected"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_is_cast_up_and_double_stays(given, expected):
    x, y = ragged(given)
    assert [side.vectors.dtype for side in checks.tokens(x, y)] == [expected] * 2
    assert [side.dtype for side in checks.sentences(x.vectors[:, 0], x.vectors[:, 1])] == [expected] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_a_real_token_that_is_not_finite_is_refused(bad, side):
    pair = ragged()
    pair[side].vectors[1, 0, 3] = bad  # real on both sides
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 4 sentences \(first: sentence 1\).*checkpoint"):
        checks.tokens(*pair)


def test_large_numbers_are_finite_though_their_sum_is_not():
    x, y = ragged(torch.float32)
    large = Tokens(torch.full_like(x.vectors, 3e38), x.mask)
    assert large.vectors[0].sum().isinf()
    checks.tokens(large, y)


@pytest.mark.parametrize("side", [0, 1])
def test_a_sentence_without_any_real_token_is_refused(side):
    pair = ragged()
    pair[side].mask[1:3] = False
    with pytest.raises(ValueError, match=r"none in 2 of 4 \(first: sentence 1\)"):
        checks.tokens(*pair)


def test_masks_that_do_not_fit_are_refused():
    x, y = ragged()
    for mask in (x.mask[:, :5], x.mask[:3], x.mask.long(), x.mask.double()):
        with pytest.raises(ValueError, match=r"student tokens need.*received \(4, 6, 8\) and torch"):
            checks.tokens(Tokens(x.vectors, mask), y)
    with pytest.raises(ValueError, match="teacher tokens need"):
        checks.tokens(x, Tokens(y.vectors[0], y.mask))


def test_other_sentences_another_width_and_no_sentence_are_refused():
    x, y = ragged()
    fewer = Tokens(y.vectors[:3], y.mask[:3])
    narrow = Tokens(y.vectors[..., :7], y.mask)
    for other in (fewer, narrow):
        with pytest.raises(ValueError, match=r"received \(4, 6, 8\) and .*projection"):
            checks.tokens(x, other)
    with pytest.raises(ValueError, match="at least one"):
        checks.tokens(Tokens(x.vectors[:0], x.mask[:0]), Tokens(y.vectors[:0], y.mask[:0]))


def test_sentence_vectors_that_do_not_fit_or_are_not_finite_are_refused():
    x = torch.randn(3, 5)
    for y in (torch.randn(3, 6), torch.randn(2, 5), torch.randn(3, 1, 5)):
        with pytest.raises(ValueError, match=r"received \(3, 5\) and .*projection"):
            checks.sentences(x, y)
    with pytest.raises(ValueError, match="at least one"):
        checks.sentences(x[:0], x[:0])
    broken = x.clone()
    broken[2, 0] = float("nan")
    for pair in ((x, broken), (broken, x)):
        with pytest.raises(ValueError, match="first: sentence 2"):
            checks.sentences(*pair)
