"""Every input does what it must: no traceback, nothing misread, no hang, no gigabyte."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.hostile.all_cases import all_cases
from tests.hostile.harness import AS_IT_MUST, outcomes

COUNT = Counter((case.kind, case.slow) for case in all_cases())


@pytest.fixture(scope="module")
def quick():
    return outcomes()


@pytest.mark.parametrize("kind", sorted(kind for kind, slow in COUNT if not slow))
def test_every_input_is_refused_or_read_as_it_must_be(quick, kind):
    own = [one for one in quick if one.kind == kind]
    assert not [one for one in own if one.outcome != AS_IT_MUST]
    assert len(own) == COUNT[kind, False]


@pytest.mark.slow
def test_so_are_those_that_take_seconds_where_all_is_well():
    own = outcomes(slow=True)
    assert not [one for one in own if one.outcome != AS_IT_MUST]
    assert len(own) == sum(count for (_, slow), count in COUNT.items() if slow)


def test_there_are_at_least_six_hundred():
    assert COUNT.total() >= 600
