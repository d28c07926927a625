"""Where documents are in Qdrant: a server or a folder, reached by its client."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from optical.errors import DataError, Unavailable

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

API_KEY = "QDRANT_API_KEY"  # environment variable
PATIENCE = 120  # seconds, which a batch of points may take


class Place(NamedTuple):
    """Where a collection is: on a server, or in a folder.

    Attributes:
        url: ``http://host:6333``; None for a folder.
        path: The folder; None for a server.
        name: Of the collection there.
    """

    url: str | None
    path: Path | None
    name: str

    def __str__(self) -> str:
        return f"{self.name} at {self.url or self.path}"


def check_folder(place: Place) -> None:
    """Refuse a folder where Qdrant's client would write over files that are not its own.

    Raises:
        DataError: ``meta.json`` or the folder of the collection is there, and the client did not make it.
    """
    if place.path is None:
        return
    meta, collection = place.path / "meta.json", place.path / "collection"
    try:
        noted = meta.exists() and not _begun(meta)
        known = json.loads(meta.read_bytes())["collections"] if noted else {}
        inside = collection / place.name if noted else collection
        in_the_way = inside if inside.exists() and place.name not in known and not _without_points(inside) else None
    except (OSError, ValueError, KeyError, TypeError):
        in_the_way = meta
    if in_the_way is not None:
        raise DataError(f"{in_the_way} is in the way: Qdrant did not write it; name another folder with --path")


def _begun(meta: Path) -> bool:
    """Whether the client was stopped when it had opened its first file, in which nothing is yet."""
    return meta.is_file() and meta.stat().st_size == 0 and [*meta.parent.iterdir()] == [meta]


def _without_points(inside: Path) -> bool:
    """Whether a collection is as the client leaves it where it is stopped before it notes it: points come after."""
    storage = inside / "storage.sqlite"
    if not inside.is_dir() or not {one.name for one in inside.iterdir()} <= {storage.name, f"{storage.name}-journal"}:
        return False
    if not storage.exists():
        return True
    try:
        with closing(sqlite3.connect(f"{storage.resolve().as_uri()}?mode=rw", uri=True)) as base:
            tables = base.execute("SELECT name FROM sqlite_master").fetchall()
            return not tables or not base.execute("SELECT 1 FROM points LIMIT 1").fetchall()
    except sqlite3.Error:
        return False


def check_installed() -> None:
    """Refuse a machine without Qdrant's client.

    Raises:
        DataError: With the line that installs it.
    """
    if find_spec("qdrant_client") is None:
        raise DataError(
            "Qdrant needs a package that is not installed: qdrant-client; run `pip install qdrant-client`, or install "
            "optical with its extra: optical[qdrant]"
        )


@contextmanager
def connect(place: Place, patience: int = PATIENCE) -> Iterator[QdrantClient]:
    """A client, closed at the end; a server has ``patience`` seconds for each call.

    Raises:
        DataError: The client is not installed, or the folder cannot be opened.
    """
    check_folder(place)
    check_installed()
    from qdrant_client import QdrantClient

    try:
        if place.path is not None:
            if _begun(meta := place.path / "meta.json"):
                meta.write_text('{"collections": {}, "aliases": {}}')  # as the client begins; it cannot read nothing
            client = QdrantClient(path=str(place.path))
        else:
            key = os.environ.get(API_KEY) or None
            client = QdrantClient(url=place.url, api_key=key, timeout=patience, check_compatibility=False)
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{place} cannot be opened: {error}; another program may hold the folder") from error
    try:
        yield client
    finally:
        client.close()


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """Turn what goes wrong at a place into one message.

    Raises:
        Unavailable: It does not answer, or refuses.
    """
    from pydantic import ValidationError
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

    try:
        yield
    except (ApiException, QdrantException, JSONDecodeError, OSError) as error:
        # A page of a proxy is no JSON, or other JSON; what else the client wraps has no reply in it.
        source = getattr(error, "source", error)
        unread = isinstance(source, JSONDecodeError | ValidationError)
        answered = unread or isinstance(error, UnexpectedResponse)
        if place.url is not None and isinstance(error, ApiException) and not answered:
            said = re.sub(r"^\[Errno -?\d+\] ", "", str(source)) or type(source).__name__
            raise Unavailable(
                f"there is no answer from a Qdrant server at {place.url} ({said}); start it, or correct --url; what "
                "was written stays",
                answered=False,
            ) from error
        raise Unavailable(
            f"{place} does not do what was asked ({type(error).__name__}: {' '.join(str(error).split())[:200]}); see "
            f"that the server runs, and that {API_KEY} is set where it wants a key; what was written stays",
            answered=answered,
        ) from error
