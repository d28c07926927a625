"""Rankings, query id -> document id -> score, made so that every program reads the same order; TREC run files.

Measures break ties differently (trec_eval puts the higher document id first, MS MARCO's reciprocal rank the lower), so
:func:`rank` leaves none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import SupportsFloat

from optical.data.lines import lines
from optical.errors import DataError
from optical.files import file_written_whole
from optical.limits import id_fault, path_of

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score; the documents of a query in rank order."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")  # float() takes 1_0 and other digits
LARGEST = 1e37  # a score beyond single precision (3.4e38) would be infinite to trec_eval; the margin is for the grid


def rank(scores: Sequence[tuple[str, SupportsFloat]]) -> dict[str, float]:
    """Order the scored documents of one query and make their scores strictly decreasing.

    Higher scores come first, equal scores by document id, ascending. trec_eval holds scores in single precision, and
    many programs print six decimals; a ranking whose scores are equal after either is reordered by whoever reads it.
    So the scores go to a grid of six decimals (fewer from magnitude 8 on, where single precision keeps fewer), and one
    that meets its predecessor takes the next step down. The order never depends on the rounding, and ranking a ranking
    keeps it.

    Args:
        scores: ``(document id, score)``, in any order.

    Returns:
        Document id -> score in rank order.

    Raises:
        DataError: a score is NaN or infinite, or a document appears twice.
    """
    scored = [(doc_id, float(score)) for doc_id, score in scores]
    for doc_id, score in scored:
        if not abs(score) < LARGEST:
            raise DataError(
                f"the score of document {doc_id!r} is {score}, which has no rank; the vectors behind it are broken "
                "(NaN, infinite or empty): drop the document or encode it again"
            )
    decimals = _decimals(max((abs(score) for _, score in scored), default=0.0))
    ranking: dict[str, float] = {}
    above, grid = math.inf, 10.0**decimals
    scored.sort(key=itemgetter(0))
    scored.sort(key=itemgetter(1), reverse=True)  # equal scores stay by id; two sorts take half as long as one by both
    for doc_id, score in scored:
        if doc_id in ranking:
            raise DataError(f"document {doc_id!r} is scored twice for one query; keep the better score of the two")
        above = min(round(score * grid), above - 1)  # in steps of the grid
        ranking[doc_id] = round(above / grid, decimals)
    return ranking


def _decimals(magnitude: float) -> int:
    """Number of decimals, not above six, that float32 keeps up to twice this magnitude (ties push scores down)."""
    # Twice m * 2**e with m < 1 lies below 2**(e + 1), where neighbouring float32 numbers are 2**(e + 1 - 24) apart.
    exponent = max(math.frexp(magnitude)[1], 0)  # below 1/2 all six are kept, and 2**e may underflow
    spacing = 2.0 ** (exponent + 1 - 24)
    return math.floor(-math.log10(spacing))


def write_run(run: Run, path: str | Path, tag: str) -> None:
    """Write a TREC run, ``query Q0 document rank score tag`` a line; an earlier file stays until this one is whole.

    Scores are written with all their digits, so that reading the file gives the same numbers. A query without
    documents leaves no line.

    Args:
        run: Rankings, as :func:`rank` makes them.
        path: The file; its folder is made when there is none.
        tag: Name of the system, one word.

    Raises:
        DataError: an id or the tag is empty or holds white space, a score is NaN or beyond single precision, the disk
            refuses.
    """
    path = Path(path)
    _check_word(tag, "the tag")
    try:
        with file_written_whole(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_lines(run, tag))
    except OSError as error:
        raise DataError(
            f"the run cannot be written: {error.strerror}; at {path}; free some space or name another folder"
        ) from error


def _lines(run: Run, tag: str) -> Iterator[str]:
    for query_id, ranking in run.items():
        _check_word(query_id, "a query id")
        ordered = sorted(ranking.items(), key=lambda pair: -pair[1])
        for position, (doc_id, score) in enumerate(ordered, start=1):
            _check_word(doc_id, "a document id")
            if not abs(score) < LARGEST:
                raise DataError(
                    f"a run cannot hold the score {score}; query {query_id!r}, document {doc_id!r}; "
                    "rank the documents with optical.data.trec_run.rank before writing them"
                )
            yield f"{query_id} Q0 {doc_id} {position} {float(score)!r} {tag}\n"


def _check_word(word: str, what: str) -> None:
    if word.split() != [word]:
        raise DataError(
            f"{what} of a TREC run must be one word, since white space separates the columns; got {word!r}; "
            "replace the white space, or name what is empty"
        )


def read_run(path: str | Path) -> Run:
    """Read a TREC run; queries in the order of the file, documents by score, equal scores in the order of the file.

    The rank column is not read: like trec_eval, this goes by the scores alone.

    Raises:
        DataError: the file is missing or not UTF-8, or a line does not have six columns, has a score that is no finite
            number or none of single precision, or repeats a document of its query.
    """
    path = path_of(path)
    found: Run = {}
    for number, line in lines(path):
        if not line.strip():
            continue
        query_id, doc_id, score = _parse(line, f"{path}:{number}")
        if doc_id in found.setdefault(query_id, {}):
            raise DataError(
                f"document {doc_id!r} appears twice for query {query_id!r}; at {path}:{number}; remove one of the lines"
            )
        found[query_id][doc_id] = score
    return {query_id: dict(sorted(scores.items(), key=lambda pair: -pair[1])) for query_id, scores in found.items()}


def first_documents(path: Path, queries: Iterable[str], count: int) -> dict[str, list[str]]:
    """The first documents of some queries in a file that :func:`write_run` wrote, a line of it in memory at a time.

    Returns:
        Query id -> at most ``count`` document ids, best first; queries without documents are left out.

    Raises:
        DataError: A line that was not written so.
    """
    wanted = set(queries)
    found: dict[str, list[str]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                query_id, _, doc_id, position, _ = line.split(" ", 4)
                if query_id in wanted and int(position) <= count:
                    found.setdefault(query_id, []).append(doc_id)
            except ValueError as error:
                raise DataError(f"{path}:{number} is no line of a run; measure again: optical evaluate RUN") from error
    return found


def _parse(line: str, where: str) -> tuple[str, str, float]:
    columns = line.split()
    if len(columns) != 6:
        raise DataError(
            f"a line of a TREC run has 6 columns, this one has {len(columns)}; at {where}; "
            "write it as: query Q0 document rank score tag"
        )
    for name in (columns[0], columns[2]):
        if fault := id_fault(name):
            raise DataError(f"an id {fault}: {name[:100]!r}; at {where}; correct the line or write the run again")
    score = float(columns[4]) if _NUMBER.fullmatch(columns[4]) else math.nan
    if not abs(score) < LARGEST:
        fault = "beyond single precision" if math.isfinite(score) else "not a finite number"
        raise DataError(
            f"the score (column 5) is {columns[4][:100]!r}, {fault}; at {where}; correct the line or write the run "
            "again"
        )
    return columns[0], columns[2], score
