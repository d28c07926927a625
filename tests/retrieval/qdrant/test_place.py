"""A folder that Qdrant's client was stopped in before it had noted a collection is gone on with."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

import pytest

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")

from qdrant_client import models

from optical.errors import DataError
from optical.retrieval.qdrant.place import Place, connect


@pytest.fixture
def place(tmp_path):
    return Place(None, tmp_path / "qdrant", "run")


def created(place):
    """Make the collection, and count what is in it."""
    sizes = models.VectorParams(size=2, distance=models.Distance.DOT)
    with connect(place) as client:
        client.create_collection("run", vectors_config={"sentence": sizes})
        return client.count("run").count


def test_a_collection_that_was_not_noted_is_begun_again(place, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("qdrant_client.local.qdrant_local.QdrantLocal._save", full)
        with suppress(OSError):
            created(place)
    assert (place.path / "collection" / "run" / "storage.sqlite").exists()
    assert created(place) == 0


def test_a_folder_whose_first_file_stayed_empty_is_begun_again(place):
    place.path.mkdir()
    (place.path / "meta.json").touch()
    assert created(place) == 0


@pytest.mark.parametrize("what", ["points", "another table", "no database", "another file", "no storage"])
def test_what_somebody_else_keeps_there_is_refused(place, what):
    with connect(place):
        pass
    inside = place.path / "collection" / "run"
    inside.mkdir(parents=True)
    storage = inside / ("letter.txt" if what == "another file" else "storage.sqlite")
    if what == "no storage":
        storage.mkdir()
    elif what in ("points", "another table"):
        with closing(sqlite3.connect(storage)) as base, base:
            base.execute(f"CREATE TABLE {'points' if what == 'points' else 'letters'} (id TEXT, point BLOB)")
            base.execute("INSERT INTO points VALUES ('a', 'b')" if what == "points" else "SELECT 1")
    else:
        storage.write_text("Dear Sir, " * 2000)
    with pytest.raises(DataError, match="run is in the way: Qdrant did not write it"):
        created(place)
    assert storage.exists()
