"""Documents for a question from a table, and whether that table is the one that is wanted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from optical.data.records import Doc
from optical.data.trec_run import rank
from optical.errors import DataError
from optical.retrieval.pgvector.table import ITERATIVE_SINCE, Kept, Table, kept_at, names_at
from optical.retrieval.pgvector.write import HALF, indexed

if TYPE_CHECKING:
    from psycopg import Connection

CANDIDATES = 100  # documents that the index proposes at least
MOST = 1_000  # that it can propose (``hnsw.ef_search``); for more, every document is compared


def search(
    connection: Connection, table: Table, kept: Kept, query: np.ndarray, depth: int, patience: int = 30
) -> list[tuple[Doc, float]]:
    """Documents and their scores for one question, best first; the index proposes, whole vectors rank.

    Args:
        connection: To the table's database, with autocommit.
        table: That :func:`check` let pass.
        kept: What it gave.
        query: The question's vector ``(e,)``, as wide as the documents'.
        depth: How many documents.
        patience: Seconds.
    """
    from psycopg.sql import SQL, Literal

    candidates = max(CANDIDATES, min(2 * depth, MOST)) if depth <= MOST else depth
    settings = {"statement_timeout": f"{patience}s", "hnsw.ef_search": str(min(candidates, MOST))}
    if depth > MOST:
        settings["enable_indexscan"] = "off"
    elif kept.version >= ITERATIVE_SINCE:  # goes on where rows were deleted since the last vacuum
        settings["hnsw.iterative_scan"] = "relaxed_order"
    kind, size = kept.facts["index"], len(query)
    asked = Literal(np.asarray(query, dtype=np.float32))  # no parameter, as the name of the table may have a % in it
    statement = SQL(
        "WITH near AS MATERIALIZED (SELECT id, title, text, metadata, embedding FROM {table} ORDER BY {indexed} <#> "
        "{asked}::{kind} LIMIT {candidates}) SELECT id, title, text, metadata, -(embedding <#> {asked}) AS score "
        'FROM near ORDER BY score DESC, id COLLATE "C" LIMIT {depth}'
    ).format(
        table=table.identifier, indexed=indexed(kind, size), kind=SQL("halfvec" if kind == HALF else "vector"),
        asked=asked, candidates=Literal(candidates), depth=Literal(depth),
    )  # fmt: skip
    with connection.transaction():
        for_this_question = SQL(", ").join(SQL("set_config({}, {}, true)").format(*pair) for pair in settings.items())
        connection.execute(SQL("SELECT {}").format(for_this_question))
        rows = connection.execute(statement).fetchall()
    docs = {row[0]: _doc(*row[:4]) for row in rows}
    return [(docs[doc_id], score) for doc_id, score in rank([(row[0], row[4]) for row in rows]).items()]


def _doc(doc_id: str, title: str, text: str, metadata: dict[str, Any]) -> Doc:
    return Doc(doc_id, title, text, json.dumps(metadata, ensure_ascii=False) if metadata else "")


def check(connection: Connection, table: Table, facts: dict[str, Any], own: tuple[str, ...] = ()) -> Kept:
    """The table as it is, if it is of these facts.

    Args:
        connection: To its database.
        table: Where it is.
        facts: What it must say about itself, as it was written.
        own: Facts that it must not have unless they are among ``facts``.

    Raises:
        DataError: There is no such table, or it is of something else.
    """
    kept = kept_at(connection, table)
    if kept is None or not kept.facts:
        names = ", ".join(names_at(connection)) or "none"
        said = "there is no table" if kept is None else "optical did not write"
        raise DataError(f"{said} {table}; there is {names}; run `optical export RUN --to pgvector`, or give --name")
    for key in dict.fromkeys([*facts, *own]):
        if kept.facts.get(key) != facts.get(key):
            raise DataError(
                f"{table} is of another {key.replace('_', ' ')}: {kept.facts.get(key)}, where the run has "
                f"{facts.get(key)}; export the run again, or give another --name"
            )
    return kept
