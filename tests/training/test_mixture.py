"""Several languages in one list of pairs: every pair is there, and drawn as often as its language should be."""

from __future__ import annotations

from collections import Counter

import pytest

from optical.config.training import Training
from optical.data.bitext import Pair
from optical.errors import DataError
from optical.training.mixture import Mixture, left_out, mix


def pairs(lang: str, count: int, questions: int = 0, words: int = 3) -> list[Pair]:
    """So many pairs, the first of them questions."""
    ends = ["?" if k < questions else "." for k in range(count)]
    return [Pair(f"Sentence {k} of {lang}{end}", f"{lang} " * (words - 1) + "abc"[k % 3]) for k, end in enumerate(ends)]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_languages_are_drawn_by_the_root_of_what_they_would_be_drawn(temperature):
    training = Training(language_temperature=temperature, question_repeats=3)
    given = {"sw": pairs("sw", 50, questions=20), "so": pairs("so", 7), "tl": pairs("tl", 1, questions=1)}
    mixture = mix(given, training)
    drawn = Counter()
    for pair, weight in zip(mixture.pairs, mixture.weights, strict=True):
        lang = next(lang for lang, own in given.items() if pair in own)
        drawn[lang] += weight * (3 if pair.english.endswith("?") else 1)
    roots = {"sw": 90 ** (1 / temperature), "so": 7 ** (1 / temperature), "tl": 3 ** (1 / temperature)}
    assert sum(drawn.values()) == pytest.approx(90 + 7 + 3)
    expected = {lang: root / sum(roots.values()) for lang, root in roots.items()}
    assert mixture.shares == pytest.approx(expected)
    assert {lang: n / 100 for lang, n in drawn.items()} == pytest.approx(expected)


def test_only_pairs_that_can_be_trained_on_count():
    long = pairs("sw", 30, words=9)
    given = {"sw": pairs("sw", 10) + long, "so": pairs("so", 10)}
    mixture = mix(given, Training(max_words=5))
    assert mixture.weights == pytest.approx([1.0] * 50)
    assert mixture.shares == pytest.approx({"sw": 0.5, "so": 0.5})
    assert Counter(mixture.pairs) == Counter(given["sw"] + given["so"]), "the transplant reads all"


def test_languages_take_turns_as_long_as_they_last():
    given = {"sw": pairs("sw", 4), "so": pairs("so", 2), "tl": pairs("tl", 3)}
    order = [pair.foreign.split()[0] for pair in mix(given, Training()).pairs]
    assert order == ["sw", "so", "tl", "sw", "so", "tl", "sw", "tl", "sw"]
    assert [pair for pair in mix(given, Training()).pairs if pair in given["tl"]] == given["tl"]


def test_one_language_is_as_it_was():
    given = pairs("sw", 5, questions=2)
    assert mix({"sw": given}, Training()) == (given, None, {"sw": 1.0})
    assert mix({"sw": []}, Training()).pairs == []


def test_pairs_are_drawn_by_weights_of_their_own():
    own, training = pairs("sw", 6, questions=1), Training(question_repeats=3)
    weights = {own[0]: 0.5, own[1]: 2.0, own[2]: 0.0}
    mixture = mix({"sw": own}, training, weights)
    assert mixture.pairs == own, "the transplant reads all"
    assert mixture.trained(training) == [(own[0], 1.5), (own[1], 2.0), *((pair, 1.0) for pair in own[3:])]
    both = mix({"sw": own, "so": pairs("so", 4)}, training, weights)
    draws = dict(both.trained(training))
    assert own[2] not in draws
    assert draws[own[0]] == pytest.approx(1.5 * draws[own[3]])
    assert sum(draws.values()) == pytest.approx(1.5 + 2 + 3 + 4)
    assert both.shares["sw"] == pytest.approx(6.5**0.5 / (6.5**0.5 + 2))


def test_each_pair_is_drawn_by_its_weight_and_as_a_question():
    own = pairs("sw", 3, questions=1, words=2)
    own += [own[0], *pairs("so", 1, words=4)]  # two languages may share a pair
    mixture = Mixture(own, [0.0, 1.0, 2.0, 3.0, 4.0], {})
    assert [draws for _, draws in mixture.trained(Training(question_repeats=3))] == [1, 2, 9, 4]
    assert [draws for _, draws in mixture.trained(Training(max_words=3))] == [1, 2, 9]
    assert [draws for _, draws in mixture._replace(weights=None).trained(Training(max_words=3))] == [3, 1, 1, 3]


def test_a_language_with_nothing_to_train_on_is_named():
    with pytest.raises(DataError, match="no so pair to train on: of 3 pairs none has 2 to 24 words; give more bitext"):
        mix({"sw": pairs("sw", 4), "so": pairs("so", 3, words=1)}, Training())


def test_pairs_that_are_not_trained_on_are_counted_by_the_option():
    given = [*pairs("sw", 5), *pairs("sw", 2, words=9), *pairs("sw", 1, words=1)]
    assert left_out(given, Training(min_words=2, max_words=8)) == [
        "2 of 8 longer than 8 words: training.max_words", "1 of 8 shorter than 2 words: training.min_words",
    ]  # fmt: skip
    assert left_out(given[:5], Training()) == []
