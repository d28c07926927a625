"""Documents on disk are those in memory: in order, by row, for threads; a full disk is said; a run stays the same."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from optical.data import document_store
from optical.data.collection import read_collection
from optical.data.document_store import FullTexts, Spooled, hold, ids_of, with_ids
from optical.data.records import Doc
from optical.errors import DataError
from optical.pipeline import answer, evaluate
from optical.pipeline.inputs import run_collections
from tests.runs import tiny_run

DOCS = [
    Doc("d0", "Nile", "A river in Africa."), Doc("ä\t1", "", "No title, a tab\tin an id and in a text\n"),
    Doc("\U0001f327", "\U0001f327 Rain", "雨 \U0001f30a wädä"), Doc("d3", "A title alone", ""),
    Doc("m", "With fields", "a text", '{"url": "https://h/\\t雨"}'),
    Doc("4", "", "x" * 5000), *(Doc(f"n{k}", "", f"text {k}") for k in range(7)),
]  # fmt: skip


def on_disk(monkeypatch, docs=DOCS, limit=0):
    monkeypatch.setattr(document_store, "IN_MEMORY", limit)
    held = hold(iter(docs))
    assert isinstance(held.docs, Spooled)
    return held


@pytest.mark.parametrize("read_at_once", [2, 40, 6000, 2**20])
@pytest.mark.parametrize("limit", [0, 60, 5100])
def test_documents_on_disk_are_those_in_memory(monkeypatch, limit, read_at_once):
    monkeypatch.setattr(document_store, "READ_AT_ONCE", read_at_once)
    in_memory, checksum, _ = hold(iter(DOCS))
    docs, same, _ = on_disk(monkeypatch, limit=limit)
    assert (in_memory, same) == (DOCS, checksum)
    assert checksum == hashlib.sha256(b"".join("\t".join((*doc[:3], "\n")).encode() for doc in DOCS)).hexdigest()
    assert len(docs) == len(DOCS)
    assert list(docs) == list(docs) == DOCS
    half = iter(docs)
    assert [next(half), docs[5], next(half)] == [DOCS[0], DOCS[5], DOCS[1]]
    assert [docs[row] for row in range(-len(DOCS), len(DOCS))] == DOCS * 2
    assert docs[2:9:3] == DOCS[2:9:3]
    assert docs[::-1] == list(reversed(docs)) == DOCS[::-1]
    assert docs[40:] == []
    for row in (len(DOCS), -len(DOCS) - 1):
        with pytest.raises(IndexError):
            docs[row]
    assert DOCS[3] in docs
    assert docs.index(DOCS[4]) == 4


def test_few_documents_stay_in_memory_to_the_last_byte(monkeypatch):
    size = sum(len("\t".join((*doc[:3], "\n")).encode()) + len(doc.extra) for doc in DOCS)
    on_disk(monkeypatch, limit=size - 1)
    monkeypatch.setattr(document_store, "IN_MEMORY", size)
    assert hold(iter(DOCS)).docs == DOCS
    assert hold(iter(())).docs == []


@pytest.mark.parametrize("limit", [0, 2**20])
def test_documents_with_the_text_of_an_earlier_one_are_counted_and_kept(monkeypatch, limit):
    monkeypatch.setattr(document_store, "IN_MEMORY", limit)
    twice = [Doc("a", "T", "x"), Doc("b", "T", "x", '{"url": "b"}'), Doc("c", "", "T x"), Doc("d", "T", "x")]
    held = hold(iter(twice))
    assert (held.repeated, list(held.docs)) == (2, twice)
    assert hold(iter(())).repeated == 0


@pytest.mark.parametrize("limit", [0, 2**20])
def test_ids_and_full_texts_copy_nothing(monkeypatch, limit):
    monkeypatch.setattr(document_store, "IN_MEMORY", limit)
    docs = hold(iter(DOCS)).docs
    assert ids_of(docs) == [doc.id for doc in DOCS]
    assert with_ids(docs, {"n6", "d0", "nobody"}) == [DOCS[0], DOCS[-1]]
    texts = FullTexts(docs)
    assert list(texts) == list(texts) == [doc.full for doc in DOCS]
    assert (len(texts), texts[0], texts[-2]) == (len(DOCS), "Nile A river in Africa.", "text 5")
    assert texts[1:3] == [doc.full for doc in DOCS[1:3]]


def test_no_text_is_read_for_ids(monkeypatch):
    docs = on_disk(monkeypatch).docs
    monkeypatch.setattr(document_store.os, "pread", lambda *_: pytest.fail("a text was read"))
    assert ids_of(docs) is ids_of(docs)
    assert with_ids(docs, ()) == []


def test_threads_read_at_once(monkeypatch, request):
    many = [Doc(f"d{k}", f"t{k}", f"{k} " * (k % 50)) for k in range(3000)]
    docs = on_disk(monkeypatch, many).docs
    monkeypatch.setattr(document_store, "READ_AT_ONCE", 500)
    often = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(often))
    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(lambda step: (step, [docs[k * step % 3000] for k in range(3000)]), (1, 3, 7, 11, 13)):
            assert found[1] == [many[k * found[0] % 3000] for k in range(3000)]
        assert all(found == many for found in threads.map(lambda _: list(docs), range(8)))


def test_a_pickle_is_refused(monkeypatch):
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(on_disk(monkeypatch).docs)


def test_nothing_is_left_of_the_file_even_after_a_kill(tmp_path):
    code = (
        "import os, signal\nfrom optical.data import document_store\nfrom optical.data.records import Doc\n"
        "document_store.IN_MEMORY = 0\n"
        "docs = document_store.hold(Doc(str(k), '', 'x' * 1000) for k in range(5000)).docs\n"
        "assert docs[4999].text[-1] == 'x'\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert done.returncode == -9
    assert list(tmp_path.iterdir()) == []


class Full(io.BytesIO):
    """A file on a disk that takes so many bytes, or, as buffered ones do, says at the end that it took none."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def write(self, data):
        self.room -= len(data)
        return super().write(data) if self.room >= 0 else self.flush()

    def flush(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("room", [0, 40, 100_000])
def test_a_full_disk_is_said(monkeypatch, tmp_path, room):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full(room))
    with pytest.raises(DataError) as caught:
        on_disk(monkeypatch)
    assert str(caught.value) == (
        "the texts of a collection go to a temporary file from 0 MB on, which cannot be written: No space left on"
        f" device, after 0 MB, at {tmp_path}; free some space there, or set TMPDIR to a folder on a larger"
        " disk"
    )


def test_no_folder_for_temporary_files_is_said(monkeypatch):
    def none(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/nowhere']")

    monkeypatch.setattr(tempfile, "TemporaryFile", none)
    with pytest.raises(DataError, match=r"cannot be written: No usable temporary directory found in \['/nowhere'\]"):
        on_disk(monkeypatch)


def test_a_collection_on_disk_is_the_one_in_memory(monkeypatch, tmp_path):
    rows = [{"id": "a", "title": "T", "text": "one\ttab"}, {"id": "e", "text": " "}, {"id": "b", "text": "two"}]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "queries.sw.tsv").write_text("q\tnani?\n", encoding="utf-8")
    (tmp_path / "qrels.tsv").write_text("q 0 e 1\nq 0 b 1\nq 0 x 1\n", encoding="utf-8")
    in_memory = read_collection(tmp_path, ["sw"])
    assert in_memory.docs == [Doc("a", "T", "one tab"), Doc("b", "", "two")]
    assert in_memory.skipped == {"empty document, never found": 1, "judgement of an unknown document": 1}
    monkeypatch.setattr(document_store, "IN_MEMORY", 0)
    read = read_collection(tmp_path, ["sw"])
    assert isinstance(read.docs, Spooled)
    assert read._replace(docs=list(read.docs)) == in_memory


@pytest.mark.parametrize("late", [False, True])
def test_a_run_is_measured_and_answers_as_in_memory(monkeypatch, tmp_path, late):
    recipe = tiny_run(tmp_path, late=late)
    expected = evaluate.evaluate_run(recipe)

    def ask():
        return answer.answer(answer.load_run(recipe), "who plants maize ?", 9)

    found = ask()
    cached = sorted(path.name for path in (tmp_path / "cache").iterdir())
    monkeypatch.setattr(document_store, "IN_MEMORY", 0)
    assert isinstance(run_collections(recipe)["sw"].docs, Spooled)
    assert evaluate.evaluate_run(recipe) == expected
    assert ask() == found
    assert found[0].doc.id == "d0"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == cached
