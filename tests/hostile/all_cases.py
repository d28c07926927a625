"""All inputs, in a fixed order."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from tests.hostile.case import Case
from tests.hostile.document_files import document_files
from tests.hostile.every_format import every_format
from tests.hostile.json_xml import json_xml
from tests.hostile.options import options
from tests.hostile.values import values


def all_cases() -> list[Case]:
    """Every input once; names are unique."""
    cases = list(chain(every_format(), json_xml(), values(), options(), document_files()))
    twice = [name for name, count in Counter(map(str, cases)).items() if count > 1]
    assert not twice, twice
    return cases
