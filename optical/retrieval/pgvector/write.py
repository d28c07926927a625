"""Write the documents of a collection with their vectors to a table: what has changed, in one transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optical.data.passages import PASSAGES
from optical.data.records import Doc
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.errors import DataError
from optical.retrieval.dense.penalised import HUBNESS
from optical.retrieval.pgvector.table import HALF_SINCE, OURS, Kept, Table, connect, explained, kept_at, version_of

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable

HALF, SINGLE = "halfvec", "vector"  # types of the index; the column is always the latter
LARGEST = {HALF: 4_000, SINGLE: 2_000}  # dimensions of an HNSW index, by pgvector
AT_ONCE = 1_000  # documents read at once
OF_VECTORS = (
    "teacher_fingerprint",
    "student_fingerprint",
    HUBNESS,
    PASSAGES,
)  # facts that another vector of a text would have


class Written(NamedTuple):
    """Outcome of an export.

    Attributes:
        table: Where the documents are.
        documents: How many.
        written: How many of them were not there before, or with another content.
        deleted: Documents that were there and are not in the collection any more.
        unit: Documents, or passages of them.
    """

    table: Table
    documents: int
    written: int
    deleted: int
    unit: str = "documents"


def write_documents(
    table: Table, embedded: EmbeddedCollection, facts: dict[str, Any], say: Callable[[str], None] = lambda _: None
) -> Written:
    """Make a table hold exactly these documents; rows with the same content are left alone.

    Args:
        table: Where to; a table of this name must be new, or have vectors by the same encoder.
        embedded: Documents with their vectors.
        facts: What the table says about itself, for :func:`optical.retrieval.pgvector.search.check`.
        say: Told of progress.

    Raises:
        DataError: Something else is there, pgvector is not, or a text cannot be kept.
        Unavailable: The server does not answer, or refuses; nothing was changed.
    """
    with connect(table) as connection, explained(table):
        key = table.identifier.as_string(connection)
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])  # another export waits
        kept, size = kept_at(connection, table), embedded.vectors.sentences.shape[1]
        if kept is None:
            facts = {**facts, "index": _index_type(connection, size)}
            _create(connection, table, size)
        else:
            _check(table, kept, facts, size)
            facts = {**facts, "index": kept.facts["index"]}
        written, deleted = _write(connection, table, embedded, HUBNESS in facts, say)
        if kept is None:
            say("building the index")
            _create_index(connection, table, facts["index"], size)
        _comment(connection, table, {**facts, "rows": len(embedded.ids)})
        connection.execute(_sql("ANALYZE {}", table))
    return Written(table, len(embedded.ids), written, deleted, PASSAGES if PASSAGES in facts else "documents")


def _sql(statement: str, table: Table, **more: Any) -> Any:
    """A statement with the table's name, quoted, and literals; without parameters, as a name may have a % in it."""
    from psycopg.sql import SQL

    return SQL(statement).format(table.identifier, **more)  # pyright: ignore[reportArgumentType] - all are literals


def _index_type(connection: Connection, size: int) -> str:
    version = version_of(connection)
    chosen = HALF if version >= HALF_SINCE else SINGLE
    if size > LARGEST[chosen]:
        raise DataError(
            f"pgvector {'.'.join(map(str, version))} indexes vectors of at most {LARGEST[chosen]:,} dimensions; these "
            f"have {size:,}; {'take Qdrant' if chosen == HALF else 'pgvector 0.7 takes 4,000'}, or a smaller teacher"
        )
    return chosen


def _create(connection: Connection, table: Table, size: int) -> None:
    from psycopg.sql import Literal

    connection.execute(
        _sql(
            "CREATE TABLE {} (id text PRIMARY KEY, title text NOT NULL, text text NOT NULL, metadata jsonb NOT NULL, "
            "content_hash bytea NOT NULL, embedding vector({size}) NOT NULL)",
            table,
            size=Literal(size),
        )
    )


def _create_index(connection: Connection, table: Table, kind: str, size: int) -> None:
    """HNSW under inner products, which are cosines of unit vectors."""
    from psycopg.sql import SQL

    order = {HALF: SQL("halfvec_ip_ops"), SINGLE: SQL("vector_ip_ops")}[kind]
    statement = "CREATE INDEX ON {} USING hnsw ({vectors} {order})"
    connection.execute(_sql(statement, table, vectors=indexed(kind, size), order=order))


def indexed(kind: str, size: int) -> Composable:
    """The expression that the index is of: the vectors, or the same in half precision."""
    from psycopg.sql import SQL, Literal

    return SQL("(embedding::halfvec({}))").format(Literal(size)) if kind == HALF else SQL("embedding")


def _check(table: Table, kept: Kept, facts: dict[str, Any], size: int) -> None:
    """Refuse a table of something else, or of vectors by another encoder."""
    if not kept.facts:
        raise DataError(f"{table} is there already, and optical did not write it; give another --name")
    there = {**kept.facts, "dimension": kept.dimension}
    for key in (*OF_VECTORS, "dimension"):
        if there.get(key) != (wanted := {**facts, "dimension": size}.get(key)):
            raise DataError(
                f"{table} has vectors of another {key.replace('_', ' ')}: {there.get(key)}, where the run has "
                f"{wanted}; give another --name, or drop that table"
            )


def _write(
    connection: Connection, table: Table, embedded: EmbeddedCollection, penalised: bool, say: Callable[[str], None]
) -> tuple[int, int]:
    """Delete rows whose documents are gone or changed and copy those that are new or changed: (written, deleted)."""
    from psycopg.sql import Literal

    there = {doc_id: bytes(kept) for doc_id, kept in connection.execute(_sql("SELECT id, content_hash FROM {}", table))}
    gone = there.keys() - set(embedded.ids)
    if there and len(gone) == len(there):
        raise DataError(
            f"{table} holds {len(there)} other documents, none of which is in this collection; give another --name, or "
            "drop that table"
        )
    changed = [
        row
        for rows, docs, vectors in _blocks(embedded)
        for row, doc, vector in zip(rows, docs, vectors, strict=True)
        if there.get(doc.id) != content_hash(doc, vector[-1] if penalised else None)
    ]
    stale = [embedded.ids[row] for row in changed if embedded.ids[row] in there]
    connection.execute(_sql("DELETE FROM {} WHERE id = ANY({ids})", table, ids=Literal([*gone, *stale])))
    _copy(connection, table, embedded, changed, penalised, say)
    return len(changed), len(gone)


def _blocks(
    embedded: EmbeddedCollection, rows: Sequence[int] | None = None
) -> Iterator[tuple[Sequence[int], list[Doc], np.ndarray]]:
    """Some rows at a time, with their documents and vectors ``(k, e)``, float32."""
    rows = range(len(embedded.ids)) if rows is None else rows
    for first in range(0, len(rows), AT_ONCE):
        some = rows[first : first + AT_ONCE]
        docs = [embedded.collection.docs[row] for row in some]
        yield some, docs, np.asarray(embedded.vectors.sentences[list(some)], dtype=np.float32)


def _copy(
    connection: Connection, table: Table, embedded: EmbeddedCollection, rows: Sequence[int], penalised: bool,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    copied = _sql("COPY {} (id, title, text, metadata, content_hash, embedding) FROM STDIN (FORMAT BINARY)", table)
    told = 0
    with connection.cursor().copy(copied) as copy:
        copy.set_types(["text", "text", "text", "jsonb", "bytea", "vector"])
        for some, docs, vectors in _blocks(embedded, rows):
            for doc, vector in zip(docs, vectors, strict=True):
                copy.write_row(_row(doc, vector, penalised))
            told += len(some)
            if len(rows) > AT_ONCE:
                say(f"{told} of {len(rows)} documents")


def _row(doc: Doc, vector: np.ndarray, penalised: bool) -> tuple[Any, ...]:
    from psycopg.types.json import Jsonb

    if "\0" in f"{doc.id}{doc.title}{doc.text}" or "\\u0000" in doc.extra:
        raise DataError(
            f"document {doc.id!r} has a character NUL, which PostgreSQL cannot keep; remove it from the collection"
        )
    kept = content_hash(doc, vector[-1] if penalised else None)
    return doc.id, doc.title, doc.text, Jsonb(doc.metadata), kept, vector


def content_hash(doc: Doc, penalty: float | None) -> bytes:
    """By which a document is known to be as it was; the penalty, if there are any, depends on the other documents."""
    content = [doc.title, doc.text, doc.extra, None if penalty is None else f"{penalty:.6f}"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()[:16]


def _comment(connection: Connection, table: Table, facts: dict[str, Any]) -> None:
    from psycopg.sql import Literal

    connection.execute(_sql("COMMENT ON TABLE {} IS {facts}", table, facts=Literal(json.dumps({OURS: facts}))))
