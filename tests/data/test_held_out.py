from __future__ import annotations

import random

import pytest

from optical.data.bitext import Pair, split
from optical.data.held_out import LEAST, hold_out, in_words
from optical.data.words import fold, split_words


def bitext(count: int, rare: float, longest: int = 12, ends: str = ".") -> list[Pair]:
    """Sentences of common words, of which a share has a word of its own; the English side is a number."""
    draw, names = random.Random(0), random.Random(1)
    pairs = []
    for k in range(count):
        words = [f"w{chr(97 + draw.randrange(20))}" for _ in range(draw.randint(2, longest))]
        own = "".join(names.choices("bcdfgh", k=12))
        pairs.append(Pair(f"sentence {k} {ends}", " ".join([*words, own] if draw.random() < rare else words)))
    return pairs


def unseen(pair: Pair, rest: list[Pair]) -> bool:
    known = {fold(word) for other in rest for word in split_words(other.foreign)}
    return any(fold(word) not in known for word in split_words(pair.foreign))


@pytest.mark.parametrize("rare", [0.05, 0.3])
def test_unseen_sentences_are_one_half_however_rare_they_are(rare):
    pairs = bitext(2000, rare)
    strata, rest = hold_out(pairs, 80, 0)
    held = [pair for kind in strata for pair in kind.pairs]
    assert (len(held), len(rest)) == (80, 1920)
    assert set(held) | set(rest) == set(pairs)
    assert rest == [pair for pair in pairs if pair not in set(held)]
    assert [kind.name for kind in strata] == [
        "short of seen words", "long of seen words", "short with an unseen word", "long with an unseen word",
    ]  # fmt: skip
    assert [kind.weight for kind in strata] == [0.25] * 4
    assert all(len(kind.pairs) == 20 for kind in strata)
    lengths = [sorted({len(pair.foreign.split()) for pair in kind.pairs}) for kind in strata]
    assert max(lengths[0][-1], lengths[2][-1]) < min(lengths[1][0], lengths[3][0])
    for kind in strata:
        assert {unseen(pair, rest) for pair in kind.pairs} == {"unseen" in kind.name}
    told = "20 long of seen words (25 %); 20 short with an unseen word (25 %); 20 long with an unseen word (25 %)"
    assert in_words(strata) == f"20 short of seen words (25 %); {told}"


def test_unseen_sentences_are_as_many_as_in_a_plain_draw_where_they_are_more_than_half():
    pairs = bitext(2000, 0.7)
    strata, rest = hold_out(pairs, 200, 0)
    _, plain = split(pairs, 200, 0)
    share = sum(unseen(pair, [p for p in pairs if p is not pair]) for pair in plain) / 200
    assert share == pytest.approx(0.7, abs=0.1)
    assert [kind.weight for kind in strata] == pytest.approx([(1 - share) / 2] * 2 + [share / 2] * 2)
    assert [len(kind.pairs) / 200 for kind in strata] == pytest.approx([kind.weight for kind in strata], abs=0.01)
    for kind in strata:
        assert {unseen(pair, rest) for pair in kind.pairs} == {"unseen" in kind.name}


def test_a_word_of_two_sentences_that_are_both_held_out_is_unseen():
    """No word is in one sentence alone, so none is drawn as unseen; both sentences of a word may be."""
    words = ["".join(random.Random(k).choices("bcdfgh", k=9)) for k in range(150)]
    twice = [Pair(f"{word} {k} ?", f"wa wb {word}") for k in range(2) for word in words]
    strata, rest = hold_out([*bitext(1200, 0.0), *twice], 140, 0)
    assert [kind.name for kind in strata] == ["of seen words", "with an unseen word"]
    for kind in strata:
        assert {unseen(pair, rest) for pair in kind.pairs} == {"unseen" in kind.name}


def test_questions_come_first_and_the_draw_does_not_depend_on_the_order():
    pairs = [*bitext(1000, 0.2), *(Pair(p.english, f"{p.foreign} swali") for p in bitext(200, 0.2, ends="?"))]
    strata, rest = hold_out(pairs, 60, 0)
    assert all(pair.is_question for kind in strata for pair in kind.pairs)
    turned, left = hold_out(pairs[::-1], 60, 0)
    assert [(kind.name, kind.weight, set(kind.pairs)) for kind in turned] == [
        (kind.name, kind.weight, set(kind.pairs)) for kind in strata
    ]
    assert set(left) == set(rest)
    assert hold_out(pairs, 60, 1)[1] != rest
    few, _ = hold_out(pairs, 100, 0)
    assert not all(pair.is_question for kind in few for pair in kind.pairs)


@pytest.mark.parametrize(
    ("pairs", "count", "names"),
    [
        (bitext(2000, 0.3), 2 * LEAST, ["of seen words", "with an unseen word"]),
        (bitext(2000, 0.3), 2 * LEAST - 1, [""]),
        (bitext(2000, 0.0), 80, ["short", "long"]),
        (bitext(2000, 0.003), 80, ["short", "long"]),
        (bitext(2000, 0.0, longest=2), 80, [""]),
        (bitext(2000, 1.0), 80, ["short", "long"]),
    ],
)
def test_strata_that_are_too_small_are_joined(pairs, count, names):
    strata, rest = hold_out(pairs, count, 0)
    assert [kind.name for kind in strata] == names
    assert sum(kind.weight for kind in strata) == pytest.approx(1)
    assert all(len(kind.pairs) >= min(LEAST, count) for kind in strata)
    assert len(rest) == len(pairs) - count
    if names == [""]:
        assert in_words(strata).startswith("too few or too alike")


def test_few_are_drawn_as_ever():
    pairs = bitext(100, 0.3)
    (only,), rest = hold_out(pairs, 10, 3)
    assert (rest, only.pairs) == split(pairs, 10, 3)


def test_what_may_not_be_held_out_is_kept_and_its_words_are_seen():
    pairs = bitext(600, 0.3)
    others = [Pair(f"menu {k}", pair.foreign.split()[-1]) for k, pair in enumerate(pairs)]
    strata, rest = hold_out([*pairs, *others], 40, 0, pairs)
    assert [kind.name for kind in strata] == ["short", "long"], "every word is in another source too"
    assert set(others) <= set(rest)
    assert len(rest) == len(pairs) + len(others) - 40
