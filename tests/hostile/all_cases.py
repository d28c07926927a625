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

TAKES_SECONDS = {  # where all is well
    "page: an attribute of 5 MB", "page: 100,000 rows", "page: 20,000 links", "XML: a unit that never ends",
    "XML: 200,000 properties before", "Markdown: links", "Markdown: brackets", "Markdown: a table",
    "Markdown: underscores", "recipe: a dotted name of 10,000 parts", "bomb: FreeDict",
    "table: a quote that stays open for 20 MB",
}  # fmt: skip


def all_cases() -> list[Case]:
    """Every input once; names are unique."""
    cases = list(chain(every_format(), json_xml(), values(), options(), document_files()))
    twice = [name for name, count in Counter(map(str, cases)).items() if count > 1]
    assert not twice, twice
    assert {str(case) for case in cases} >= TAKES_SECONDS
    return [case._replace(slow=case.slow or str(case) in TAKES_SECONDS) for case in cases]
