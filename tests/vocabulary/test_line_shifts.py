"""Lines whose translation stands elsewhere are found without a model, and no others."""

import random

import numpy as np
import pytest

from optical.data.bitext import Pair, read_bitext
from optical.vocabulary import line_shifts
from optical.vocabulary.line_shifts import Shift, align_lines
from optical.vocabulary.line_similarity import OFFSETS, REACH, tokens


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Some 340 pairs of the sample."""
    files = ("farming", "geography", "water-and-energy")
    return read_bitext([f"data/sample/sw/bitext/{name}.tsv" for name in files], "sw").pairs


def late(pairs: list[Pair], first: int, end: int, by: int) -> list[Pair]:
    """The same lines with the other side ``by`` lines too late from ``first`` on, in place again at ``end``."""
    english, foreign = (list(side) for side in zip(*pairs, strict=True))
    moved = foreign[:first] + ["Hapana."] * by + foreign[first : end - by] + foreign[end:]
    return [Pair(*sides) for sides in zip(english, moved, strict=True)]


def early(pairs: list[Pair], first: int, by: int) -> list[Pair]:
    english, foreign = (list(side) for side in zip(*pairs, strict=True))
    return [
        Pair(*sides)
        for sides in zip(english[: len(english) - by], foreign[:first] + foreign[first + by :], strict=True)
    ]


def only(shifts: list[Shift]) -> Shift:
    assert len(shifts) == 1
    return shifts[0]


def test_a_file_in_place_has_no_shift(pairs):
    assert align_lines([pairs])[0].shifts == []


@pytest.mark.parametrize("by", [1, 2, 7])
def test_lines_whose_translation_comes_late(pairs, by):
    first, last, found = only(align_lines([late(pairs, 100, 200, by)])[0].shifts)
    assert found == by
    assert abs(first - 100) <= 3
    assert abs(last - (199 - by)) <= max(3, by)  # the lines after it have lost their translations


def test_a_translation_that_is_missing_shifts_all_lines_after_it(pairs):
    lines = early(pairs, 60, 1)
    first, last, by = only(align_lines([lines])[0].shifts)
    assert (last, by) == (len(lines) - 1, -1)
    assert abs(first - 61) <= 3


def test_a_whole_file_may_be_shifted(pairs):
    lines = early(pairs, 0, 2)
    first, last, by = only(align_lines([lines])[0].shifts)
    assert by == -2
    assert first <= 3
    assert last == len(lines) - 1


def test_files_share_their_words_and_not_their_lines(pairs):
    short = late(pairs[:40], 10, 40, 1)
    whole, found = align_lines([pairs[40:], short])
    assert whole.shifts == []
    assert only(found.shifts).by == 1
    assert len(found.offsets) == 40


def test_pairs_in_no_order_are_not_called_shifted(pairs):
    foreign = [pair.foreign for pair in pairs]
    random.Random(1).shuffle(foreign)
    assert align_lines([[Pair(p.english, f) for p, f in zip(pairs, foreign, strict=True)]])[0].shifts == []


def test_a_pair_that_belongs_together_has_more_evidence(pairs):
    lines = list(pairs)
    wrong = list(range(5, len(lines), 20))
    for i, j in zip(wrong, [*wrong[1:], wrong[0]], strict=True):
        lines[i] = Pair(pairs[i].english, pairs[j].foreign)
    evidence = align_lines([lines])[0].evidence
    assert evidence[wrong].mean() < 0 < np.delete(evidence, wrong).mean()


def test_empty_sides_say_nothing_and_empty_files_have_no_line(pairs):
    lines = [Pair(p.english, "") if k % 9 == 4 else p for k, p in enumerate(late(pairs, 100, 250, 1))]
    assert only(align_lines([lines])[0].shifts).by == 1
    nothing, empty = align_lines([[], [Pair("", "")] * 5])
    assert (nothing.shifts, empty.shifts) == ([], [])
    assert align_lines([[]])[0].shifts == align_lines([[Pair("?", "!")]])[0].shifts == []


def test_a_script_without_spaces(pairs):
    letters: dict[str, str] = {}
    lines = [
        Pair(p.english, "".join(letters.setdefault(w, chr(0x4E00 + len(letters))) for w in p.english.split()))
        for p in pairs
    ]
    assert align_lines([lines])[0].shifts == []
    assert only(align_lines([late(lines, 100, 200, 1)])[0].shifts).by == 1


def test_numbers_are_the_same_in_all_digits():
    assert tokens("Since 2019, ng'ombe १२") == ["since", "2019", "ng", "ombe", "12"]


def test_the_best_path_changes_only_where_that_pays():
    evidence = np.zeros((40, len(OFFSETS)))
    evidence[:, REACH] = 2.0
    evidence[10:20, REACH + 1] = 4.5  # a gain of 25 nats, and two changes cost 24
    evidence[30:35, REACH - 1] = 6.0  # 20 nats
    path = line_shifts._best_path(evidence) - REACH
    assert path.tolist() == [0] * 10 + [1] * 10 + [0] * 20
