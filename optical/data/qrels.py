"""Judgements (qrels): files of TREC's four columns or BEIR's three."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from optical.data.lines import cells_of
from optical.data.records import Qrel
from optical.errors import DataError

_QRELS_HEADERS = frozenset({"score", "relevance", "rel", "label"})  # names of the last column


def read_qrels(file: Path) -> Iterator[Qrel]:
    """Judgements of three or four columns, after a header as BEIR has it or without one.

    Raises:
        DataError: A line that is no judgement; its place is named.
    """
    for number, cells in cells_of(file, None):
        relevance = _whole(cells[-1])
        if relevance is not None and len(cells) in (3, 4):
            yield Qrel(cells[0], cells[-2], relevance)
        elif number > 1 or cells[-1].lower() not in _QRELS_HEADERS:
            raise DataError(
                f"no judgement at {file}:{number}; write query 0 document relevance, or"
                " query<TAB>document<TAB>relevance, with a whole number as relevance"
            )


def _whole(text: str) -> int | None:
    """A whole number, also when it is written ``1.0``; None for anything else."""
    match = re.fullmatch(r"([+-]?\d+)(?:\.0*)?", text)
    return int(match[1]) if match else None
