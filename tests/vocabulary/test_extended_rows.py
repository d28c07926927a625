"""Which rows of an extended matrix stay the teacher's."""

from __future__ import annotations

import numpy as np

from optical.vocabulary.extended_rows import kept_rows


def test_rows_are_kept_by_how_often_each_side_uses_them():
    foreign = np.array([3, 2, 3, 30, 20, 21, 0, 0])
    english = np.array([0, 0, 3, 1, 10, 10, 0, 5])
    # X's, too seldom, as often in English, X's, twice as often, X's, never in X; the last id is new, not the teacher's.
    assert kept_rows(foreign, english, 7).tolist() == [False, True, True, False, True, False, True, False]
