"""What the caches hold, and what may go: only what this program wrote, only what was asked for."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from optical.data.collection import read_collection
from optical.embeddings.cache import document_vectors, teacher_vectors
from optical.embeddings.embed import DEFAULTS, EmbedOptions
from optical.errors import DataError
from optical.files import file_written_whole, held_alone, vectors_cache, written_whole
from optical.pipeline import cache
from tests.cli.conftest import command  # noqa: F401

TEXTS = {"a": "the moon", "b": "who built this house ?", "c": "i drink water .", "d": "a dog"}


@pytest.fixture(autouse=True)
def own(monkeypatch, tmp_path):
    monkeypatch.setenv("OPTICAL_CACHE", str(tmp_path / "own"))


@pytest.fixture
def embed(teacher, tmp_path):
    """Embed texts as of some days ago, and give their folder."""

    def made(texts, days=0.0, options=DEFAULTS) -> Path:
        folder = document_vectors(teacher, list(texts), list(texts.values()), tmp_path / "vectors", options).folder
        os.utime(folder, (time.time() - days * 86_400,) * 2)
        return folder

    return made


def paths(entries) -> list[Path]:
    return [one.path for one in entries]


def test_vectors_that_are_not_as_they_were_written_are_told(command, teacher, tmp_path, embed):
    documents, pairs = embed(TEXTS), teacher_vectors(teacher, list(TEXTS.values()), tmp_path / "vectors").folder
    code, out, _ = command("cache", "verify", "--cache", tmp_path / "vectors")
    assert (code, out.strip()) == (0, "2 of 2 are as they were written")
    for file in (documents / "shard-00000" / "sentences.npy", pairs / "tokens.npy"):
        data, times = bytearray(file.read_bytes()), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        data[-1] ^= 1
        file.write_bytes(data)
        os.utime(file, ns=times)
    code, out, _ = command("cache", "verify", "--cache", tmp_path / "vectors")
    assert code == 1
    assert f"{documents / 'shard-00000'} is not the shard that was written: sentences.npy does not have" in out
    assert f"{pairs}: cached vectors cannot be read (tokens.npy does not have the checksum" in out
    assert "0 of 2 are as they were written" in out


def test_all_that_is_kept_is_verified_and_what_has_no_seal_is_said(command, tmp_path, monkeypatch):
    vectors, names = tmp_path / "vectors", ("0" * 16, "1" * 16)
    sealed = [vectors / "negatives-{}-{}.json".format(*names), vectors / "passages-{}-{}-64.json".format(*names)]
    for file in sealed:
        with file_written_whole(file, sealed=True) as unfinished:
            unfinished.write_text("[]")
    for folder in (vectors / f"bm25-{names[0]}", tmp_path / "own" / "multilingual-e5-small-0-1"):
        with written_whole(folder, sealed=True) as unfinished:
            (unfinished / "file").write_text("whole")
        sealed.append(folder / "file")
    (tmp_path / "page.html").write_text("<p>The moon shines.</p>")
    list(read_collection(tmp_path / "page.html", ["sw"]).docs)
    older = vectors / f"bm25-{names[1]}"
    with written_whole(older) as unfinished:
        (unfinished / "file").write_text("of an earlier version")
    (vectors / f".bm25-{names[1]}.12345678.tmp").mkdir()
    given = ["cache", "verify", "--cache", vectors]
    code, out, _ = command(*given)
    assert code == 0
    assert f"{older} is not sealed: an earlier version made it, which noted no checksums" in out
    assert "5 of 6 are as they were written, 1 not sealed" in out
    for file in sealed:
        file.write_text(file.read_text()[::-1])
    with closing(sqlite3.connect(tmp_path / "own" / "documents.sqlite")) as database:
        database.execute("update documents set text = 'The sun shines.'")
        database.commit()
    code, out, _ = command(*given, "--json")
    told = json.loads(out)
    assert (code, told["not_sealed"], len(told["damages"])) == (1, [str(older)], 5)
    for problem in told["damages"].values():
        assert re.search(r"; remove \S+: ", problem), problem


def test_what_is_kept_is_listed_with_the_last_used_first_and_other_files_are_not(teacher, tmp_path, embed):
    folder = tmp_path / "vectors"
    documents = embed(TEXTS, days=2)
    pairs = teacher_vectors(teacher, list(TEXTS.values()), folder).folder
    negatives = folder / f"negatives-{'0' * 16}-{'1' * 64}.json"
    with file_written_whole(negatives) as unfinished:
        unfinished.write_text("[]")
    os.utime(negatives, (1, 1))
    (folder / "thesis.docx").write_text("mine")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "documents.sqlite").write_text("texts of slow files")
    entries = cache.kept(folder)
    assert paths(entries) == [pairs, documents, negatives]
    assert [one.kind for one in entries] == ["sentence pairs", "documents", "mined negatives"]
    assert [one.texts for one in entries] == [4, 4, None]
    assert entries[1].bytes == sum(file.stat().st_size for file in documents.rglob("*") if file.is_file())
    assert cache.kept(tmp_path / "none") == []


def test_reading_is_use(embed):
    folder = embed(TEXTS, days=40)
    (entry,) = cache.kept(folder.parent)
    assert cache.older_than([entry], cache.seconds_of("30d")) == [entry]
    embed(TEXTS)
    assert cache.older_than(cache.kept(folder.parent), cache.seconds_of("30d")) == []


@pytest.mark.parametrize(("age", "seconds"), [("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)])
def test_ages(age, seconds):
    assert cache.seconds_of(age) == seconds


@pytest.mark.parametrize("age", ["", "d", "3x", "-3d", "3 months"])
def test_what_is_no_age(age):
    with pytest.raises(DataError, match="12h, 30d or 8w"):
        cache.seconds_of(age)


def test_earlier_states_of_a_collection_are_superseded_and_nothing_else_is(embed):
    first = embed(TEXTS, days=3)
    second = embed({**TEXTS, "e": "she cooks"}, days=2)
    latest = embed({**TEXTS, "a": "the sun", "e": "she cooks"}, days=1)
    embed({"x": "they sing songs .", "y": "the moon shines .", "z": "a dog"}, days=4)  # another one; a text in common
    embed(TEXTS, days=5, options=EmbedOptions("float16"))
    entries = cache.kept(first.parent)
    assert len(entries) == 5
    assert set(paths(cache.superseded(entries))) == {first, second}
    assert latest not in paths(cache.superseded(entries))


def test_what_another_hand_put_there_stays(embed):
    plain, mixed = embed(TEXTS), embed({"a": "the moon"})
    (mixed / "shard-00000" / "notes.txt").write_text("mine")
    left = {one.entry.path: one.left for one in cache.prune(cache.kept(plain.parent))}
    assert left == {plain: 0, mixed: 1}
    assert not plain.exists()
    assert [file.name for file in mixed.rglob("*") if file.name[0] != "." and file.is_file()] == ["notes.txt"]


def test_a_folder_of_a_known_name_that_somebody_else_made_stays(tmp_path):
    folder = tmp_path / "vectors" / f"documents-{'0' * 16}-{'1' * 16}"
    folder.mkdir(parents=True)
    (folder / "book.txt").write_text("mine")
    (one,) = cache.prune(cache.kept(folder.parent))
    assert one.left == 1
    assert (folder / "book.txt").read_text() == "mine"


def test_the_default_place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert vectors_cache() == tmp_path / "own" / "vectors"
    monkeypatch.delenv("OPTICAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert vectors_cache() == tmp_path / "xdg" / "optical" / "vectors"
    Path("runs/cache").mkdir(parents=True)  # of an earlier version
    assert vectors_cache() == Path("runs/cache")


def test_by_the_command_line(command, embed):
    old, new = embed(TEXTS, days=40), embed({"a": "the moon"})
    given = ["--cache", new.parent]
    code, out, _ = command("cache", "list", *given)
    assert code == 0
    assert "2 entries" in out
    assert command("cache", "prune", *given)[0] == 2
    assert command("cache", "prune", "--older-than", "x", *given)[0] == 1
    _, out, _ = command("cache", "prune", "--older-than", "30d", "--dry-run", "--json", *given)
    assert [one["path"] for one in json.loads(out)["removed"]] == [str(old)]
    assert old.exists()
    _, out, _ = command("cache", "prune", "--older-than", "30d", *given)
    assert "1 of 2 removed" in out
    assert (old.exists(), new.exists()) == (False, True)
    assert command("cache", "prune", "--all", *given)[0] == 0
    assert "nothing is kept" in command("cache", "list", *given)[1]


def test_texts_of_slow_files_are_listed_and_removed_with_what_sqlite_has_beside_them(tmp_path):
    page = tmp_path / "pages" / "a.html"
    page.parent.mkdir()
    page.write_text("<p>The moon shines.</p>")
    list(read_collection(page.parent, ["sw"]).docs)
    (entry,) = cache.kept(tmp_path / "vectors")
    assert (entry.path.name, entry.kind, entry.texts) == ("documents.sqlite", "texts of slow files", 1)
    assert cache.prune([entry]) == [cache.Pruned(entry, 0)]
    assert list((tmp_path / "own").iterdir()) == []


def test_what_a_killed_process_left_is_listed_and_goes_but_not_what_is_being_written(tmp_path, embed, command):
    folder = embed(TEXTS)
    names = ("5ad0beef.tmp", "5ad0beef.old", "5ad0beef", "12.tmp")  # the last one of an earlier version
    dead = [folder.with_name(f".{folder.name}.{name}") for name in names] + [folder / ".shard-00001.5ad0beef.tmp"]
    alive, young = folder / ".shard-00002.0000beef.tmp", folder.with_name(f".{folder.name}.0000beef")
    other = folder.with_name(".thesis.5ad0beef.tmp")
    for one in (*dead, alive, young, other):
        one.mkdir()
        (one / "values.npy").write_bytes(bytes(1000))
    os.utime(dead[2], (1, 1))
    with held_alone(alive):
        kinds = {one.path: one.kind for one in cache.kept(folder.parent)}
        assert kinds == {folder: "documents", **dict.fromkeys(dead, "left over")}
        assert command("cache", "prune", "--older-than", "8w", "--cache", folder.parent)[0] == 0
    assert [one.exists() for one in dead] == [False] * len(dead)
    assert [one.exists() for one in (folder, alive, young, other)] == [True] * 4
