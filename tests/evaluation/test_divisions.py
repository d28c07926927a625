"""Items are divided whole: nothing that is asked was learnt from."""

from __future__ import annotations

import pytest

from optical.data.labelled_pairs import LabelledPair
from optical.errors import DataError
from optical.evaluation.divisions import asked, divide, groups_of


def items(*pairs: tuple[str, str]) -> dict[str, LabelledPair]:
    return {str(k): LabelledPair(0, *pair) for k, pair in enumerate(pairs)}


def test_items_that_share_a_sentence_are_of_one_group_and_so_are_those_that_others_link():
    groups = groups_of(
        items(("I drink.", "I eat."), ("i drink", "It rains."), ("A dog.", "it rains!"), ("A cat.", "?"))
    )
    assert groups["0"] == groups["1"] == groups["2"] != groups["3"]


def test_every_item_is_asked_once_a_seed_and_never_by_what_learnt_its_group():
    groups = {str(k): k // 3 for k in range(36)}
    for seed in (4, 5):
        divisions = divide(groups, [seed], 3)
        asked = [name for one in divisions for name in one.test]
        assert sorted(asked) == sorted(groups)
        for one in divisions:
            assert {groups[name] for name in one.train}.isdisjoint(groups[name] for name in one.test)
            assert (len(one.train), len(one.test), one.seed) == (24, 12, seed)


def test_the_seed_draws_and_the_same_seed_draws_the_same():
    groups = {str(k): k for k in range(30)}
    first, again, other = (divide(groups, [seed], 3) for seed in (0, 0, 1))
    asked = [[one.test for one in some] for some in (first, again, other)]
    assert first == again
    assert asked[0] != asked[2]


def test_a_large_group_does_not_make_a_part_of_twice_the_size():
    groups = dict.fromkeys(map(str, range(10)), 0) | {str(k): k for k in range(10, 30)}
    assert {len(one.test) for one in divide(groups, [0], 3)} == {10}


def test_rows_bound_what_is_learnt_from_and_only_the_first_part_may_be_asked():
    groups = {str(k): k for k in range(30)}
    (one,) = divide(groups, [0], 3, rows=7, only_first=True)
    assert (len(one.train), len(one.test)) == (7, 10)


def test_whole_groups_are_drawn_up_to_so_many_items():
    groups = {str(k): k // 3 for k in range(30)}
    first, again, other = (asked(groups, 8, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 6
    assert len({groups[name] for name in first}) == 2
    assert len(asked(groups, 2, 0)) == 3, "one group at least"


def test_fewer_groups_than_parts_are_refused():
    with pytest.raises(
        DataError, match="4 items of 2 groups that share a sentence cannot be divided into 3 parts; give"
    ):
        divide({"a": 0, "b": 0, "c": 1, "d": 1}, [0], 3)
