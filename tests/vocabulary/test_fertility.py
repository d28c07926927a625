"""The fit of a vocabulary to sentences of X that it was not made from."""

from __future__ import annotations

import pytest

from optical.data.bitext import Pair
from optical.vocabulary.fertility import LEAST, MOST, fit, held_out_fit


def pairs_of(count):
    return [
        Pair(f"water {n}", f"maji{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}") for n in range(count)
    ]


@pytest.mark.parametrize(("count", "held_out"), [(LEAST, 1), (100, 5), (20 * MOST + 1000, MOST)])
def test_the_vocabulary_is_made_without_the_held_out_sentences(bert, count, held_out):
    pairs, given = pairs_of(count), []

    before, after = held_out_fit(bert.tokenizer, pairs, lambda away: given.append(away) or bert.tokenizer, seed=3)
    [away] = given
    assert len(set(away) & set(pairs)) == len(away) == held_out
    assert before == after == fit(bert.tokenizer, [pair.foreign for pair in away])


def test_a_held_out_sentence_that_stands_in_another_pair_too_is_left_out_there(bert):
    """Every X sentence occurs twice, in pairs with different English sides."""
    pairs = [Pair(f"{side} {p.english}", p.foreign) for p in pairs_of(40) for side in ("cold", "hot")]
    given = []
    held_out_fit(bert.tokenizer, pairs, lambda away: given.extend(away) or bert.tokenizer)
    assert len(given) == 2 * len({pair.foreign for pair in given})
    assert len(given) in range(4, 9)  # 4 pairs held out, of 2 to 4 sentences


def test_other_seeds_hold_out_other_sentences(bert):
    given = {}
    for seed in (0, 0, 1):
        again = given.get(seed)
        held_out_fit(
            bert.tokenizer,
            pairs_of(100),
            lambda away, seed=seed: given.__setitem__(seed, away) or bert.tokenizer,
            seed=seed,
        )
        assert again is None or given[seed] == again
    assert given[0] != given[1]


def test_too_few_pairs_or_no_words_give_nothing(bert):
    def make(*_):
        raise AssertionError("nothing is to be measured")

    assert held_out_fit(bert.tokenizer, pairs_of(LEAST - 1), make) is None
    assert held_out_fit(bert.tokenizer, [Pair(f"{n}", f"{n}") for n in range(50)], make) is None
    assert held_out_fit(bert.tokenizer, [Pair(f"water {n}", "maji") for n in range(50)], make) is None
