"""Judgements (qrels): files of TREC's four columns or BEIR's three."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from optical.data.lines import cells_of
from optical.data.records import Qrel
from optical.errors import DataError
from optical.limits import id_fault

LARGEST = 10_000  # relevance
_DIGITS = 20  # that are read of a relevance, more than any has
_QRELS_HEADERS = frozenset({"score", "relevance", "rel", "label"})  # names of the last column


def read_qrels(file: Path) -> Iterator[Qrel]:
    """Judgements of three or four columns, after a header as BEIR has it or without one.

    Raises:
        DataError: A line that is no judgement; its place is named.
    """
    for number, cells in cells_of(file, None):
        relevance = _whole(cells[-1])
        if relevance is not None and len(cells) in (3, 4):
            yield checked(Qrel(cells[0], cells[-2], relevance), f"{file}:{number}")
        elif number > 1 or cells[-1].lower() not in _QRELS_HEADERS:
            raise DataError(
                f"no judgement at {file}:{number}; write query 0 document relevance, or"
                " query<TAB>document<TAB>relevance, with a whole number as relevance"
            )


def checked(qrel: Qrel, place: str) -> Qrel:
    """The judgement, if programs that measure can have it.

    trec_eval has a table with a place for each relevance up to the highest, 8 bytes each.

    Raises:
        DataError: Its relevance is beyond the limit, or one of its ids is none.
    """
    if abs(qrel.relevance) > LARGEST:
        raise DataError(
            f"a relevance beyond {LARGEST:,}: {str(qrel.relevance)[:20]} at {place}; a relevance is a small whole"
            " number, 0 for a document that does not answer"
        )
    for name in qrel[:2]:
        if fault := id_fault(name):
            raise DataError(f"an id {fault}: {name[:100]!r} at {place}; give it one word, here and where it is from")
    return qrel


def _whole(text: str) -> int | None:
    """A whole number, also when it is written ``1.0``; None for anything else."""
    match = re.fullmatch(r"([+-]?)0*([0-9]+)(?:\.0*)?", text)
    return int(f"{match[1]}{match[2][:_DIGITS]}") if match else None
