"""A table of documents in PostgreSQL, and a connection to its database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from optical.errors import DataError, Unavailable

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Identifier

CONNECTING = 10  # seconds
LONGEST_NAME = 63  # bytes, beyond which PostgreSQL cuts a name
OURS = "optical"  # key of the comment on a table that we wrote
HALF_SINCE, ITERATIVE_SINCE = (0, 7), (0, 8)  # versions of pgvector


class Table(NamedTuple):
    """Where documents are: a table of a database.

    Attributes:
        url: ``postgresql://user@host:5432/database``, with what else libpq reads there.
        schema: Of the table; None for the first of the user's search path.
        name: Of the table.
    """

    url: str
    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{'.'.join(self.parts)} at {self.address}"

    @property
    def address(self) -> str:
        """The address of its database, without a password."""
        return without_password(self.url)

    @property
    def parts(self) -> tuple[str, ...]:
        """Schema, where there is one, and name."""
        return (self.schema, self.name) if self.schema else (self.name,)

    @property
    def identifier(self) -> Identifier:
        """Schema and name, quoted for a statement."""
        from psycopg.sql import Identifier

        return Identifier(*self.parts)


def table_of(url: str | None, name: str | None, otherwise: str) -> Table:
    """The table that options name: ``table``, or ``schema.table``.

    Args:
        url: Of the database.
        name: Of the table; None takes ``otherwise``, in which a dot is a dot.
        otherwise: A name that nobody typed.

    Raises:
        DataError: No address of PostgreSQL, or a name that PostgreSQL would not keep as it is.
    """
    if url is None or not re.match(r"postgres(ql)?://", url):
        raise DataError(
            f"PostgreSQL is reached by an address; received {without_password(url) if url else 'none'}; add --url "
            "postgresql://user@host:5432/database, and the password as PGPASSWORD"
        )
    parts = name.split(".") if name else [otherwise]
    if len(parts) > 2 or not all(parts) or any("\0" in one or len(one.encode()) > LONGEST_NAME for one in parts):
        raise DataError(
            f"{'.'.join(parts)!r} is no name of a table: --name takes table or schema.table, each of 1 to "
            f"{LONGEST_NAME} bytes"
        )
    return Table(url, parts[0] if len(parts) == 2 else None, parts[-1])


def without_password(url: str) -> str:
    """An address that can be shown, and used where PGPASSWORD has the password."""
    hidden = re.sub(r"(?<=://)([^:@/?]*):.*@", r"\1@", url, flags=re.DOTALL)
    return re.sub(r"(?<=[?&])(ssl)?password=[^&]*&?", "", hidden).rstrip("?&")


def connect(table: Table, *, autocommit: bool = False) -> Connection:
    """A connection that knows vectors; without ``autocommit``, ``with`` makes it one transaction and closes it.

    Raises:
        DataError: The client is not installed, the address cannot be read, or the database has no pgvector.
        Unavailable: There is no server, or it does not take this user, password or database.
    """
    try:
        import psycopg
        from pgvector.psycopg import register_vector
    except ImportError as error:
        raise DataError(
            "PostgreSQL needs packages that are not installed: psycopg and pgvector; run `pip install "
            "'psycopg[binary]' pgvector`, or install optical with its extra: optical[pgvector]"
        ) from error
    patience = _read(table).get("connect_timeout") or CONNECTING
    try:
        connection = psycopg.connect(  # nothing prepared: a pool before the server may change sessions
            table.url,
            autocommit=autocommit,
            prepare_threshold=None,
            application_name="optical",
            connect_timeout=patience,
        )
    except psycopg.Error as error:
        raise Unavailable(
            f"{table} cannot be reached ({_said(error)}); see that the server runs there and takes this user, database "
            "and password (PGPASSWORD, or ~/.pgpass)",
            answered=False,
        ) from error
    try:
        with explained(table):
            _check_extension(connection, table)
            register_vector(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _read(table: Table) -> dict[str, Any]:
    """The address as libpq reads it."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        read = conninfo_to_dict(table.url)
    except ProgrammingError:
        read = {"port": "unread"}
    if not re.fullmatch(r"[\d,]*", str(read.get("port") or "")):  # libpq would quote a part of the password
        raise DataError(
            "the address of --url cannot be read; write postgresql://user@host:5432/database, and the password as "
            "PGPASSWORD, or in the address with %40 for @, %2F for / and %3A for :"
        )
    return read


def _check_extension(connection: Connection, table: Table) -> None:
    """Refuse a database without pgvector."""
    if version_of(connection):
        return
    at_hand = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
    todo = (
        "run `CREATE EXTENSION vector` there, as a user who may"
        if at_hand
        else "its server does not have it either: install it there (Debian: postgresql-17-pgvector), then run `CREATE "
        "EXTENSION vector`"
    )
    raise DataError(f"the database of {table} does not have the extension vector (pgvector); {todo}")


def version_of(connection: Connection) -> tuple[int, ...]:
    """The version of pgvector in a database, as (0, 8, 5); empty where it is not there."""
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    return tuple(int(part) for part in re.findall(r"\d+", row[0])) if row else ()


@contextmanager
def explained(table: Table) -> Iterator[None]:
    """Turn what goes wrong at a database into one message.

    Raises:
        Unavailable: It does not answer, or refuses.
    """
    from psycopg import Error, OperationalError

    try:
        yield
    except Error as error:
        raise Unavailable(
            f"{table} does not do what was asked ({type(error).__name__}: {_said(error)}); see that the server runs, "
            "and what this user may do there; nothing was changed",
            answered=not isinstance(error, OperationalError),
        ) from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class Kept(NamedTuple):
    """A table that is there.

    Attributes:
        facts: It says of itself; empty where we did not write it.
        dimension: Of its vectors; None where it has none.
        version: Of pgvector there.
    """

    facts: dict[str, Any]
    dimension: int | None
    version: tuple[int, ...]


def kept_at(connection: Connection, table: Table) -> Kept | None:
    """The table as it is; None where there is none."""
    row = connection.execute(
        "SELECT obj_description(c.oid, 'pg_class'), format_type(a.atttypid, a.atttypmod) FROM pg_class c LEFT JOIN "
        "pg_attribute a ON a.attrelid = c.oid AND a.attname = 'embedding' WHERE c.oid = to_regclass(%s)",
        [table.identifier.as_string(connection)],
    ).fetchone()
    if row is None:
        return None
    size = re.search(r"vector\((\d+)\)$", row[1] or "")
    return Kept(_facts(row[0]), int(size[1]) if size else None, version_of(connection))


def names_at(connection: Connection) -> list[str]:
    """Tables of the database that we wrote, with their schemas."""
    rows = connection.execute(
        "SELECT relnamespace::regnamespace::text || '.' || relname, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relkind = 'r' ORDER BY 1"
    ).fetchall()
    return [name for name, comment in rows if _facts(comment)]


def _facts(comment: str | None) -> dict[str, Any]:
    """Facts in the comment on a table, where we wrote it."""
    try:
        facts = json.loads(comment or "")[OURS]
    except (ValueError, KeyError, TypeError):
        return {}
    return facts if isinstance(facts, dict) else {}
