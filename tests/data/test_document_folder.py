"""Folders and files of documents: ids by path, what is left out, and what is kept of slow files."""

import os
import sqlite3
from contextlib import closing

import pytest

from optical.data import document_files, document_folder
from optical.data.collection import read_collection, stream_docs
from optical.data.collection_folder import LAYOUTS
from optical.data.document_folder import check_texts, kind_of
from optical.data.records import Doc, Query
from optical.errors import DataError
from optical.files import user_cache
from tests.data.conftest import jsonl, message, write


@pytest.fixture
def articles(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTICAL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "articles"
    write(folder / "faq" / "how to\u00a0pay.md", "# Pay\nBy phone.")
    write(folder / "office.txt", "Open at eight.")
    write(folder / "copy.txt", "Open at eight.")
    write(folder / "empty.txt", " ")
    write(folder / "page.HTML", "<p>Water</p>")
    write(folder / "rows.csv", "id,text\n7,Rain\n")
    write(folder / "more.jsonl", jsonl([{"body": "Milk", "url": "u"}]))
    write(folder / "logo.png", "?")
    write(folder / "LICENSE", "?")
    write(folder / ".git" / "readme.txt", "hidden")
    write(folder / ".draft.txt", "hidden")
    return folder


def test_every_file_below_a_folder_is_a_document_named_by_its_path(articles):
    collection = read_collection(articles, ["en", "so"])
    assert collection.docs == [
        Doc("copy.txt", "", "Open at eight."), Doc("faq/how%20to%20pay.md", "Pay", "By phone."),
        Doc("more.jsonl:1", "", "Milk", '{"url": "u"}'), Doc("office.txt", "", "Open at eight."),
        Doc("page.HTML", "", "Water"), Doc("7", "", "Rain"),
    ]  # fmt: skip
    assert (collection.name, collection.docs_lang) == ("articles", "en")
    assert (collection.queries, collection.qrels, collection.repeated) == ({}, {}, 1)
    assert collection.skipped == {"file of another kind (no suffix, .png)": 2, "empty document, never found": 1}
    assert list(stream_docs(articles)) == collection.docs


def test_queries_beside_documents_are_no_documents_and_need_no_judgements(articles):
    write(articles / "queries.so.tsv", "q1\tBiyo?\nq1\ttwice\nq2\t \n")
    collection = read_collection(articles, ["en", "so"])
    assert collection.queries == {"so": [Query("q1", "Biyo?")]}
    assert len(collection.docs) == 6
    assert {k: collection.skipped[k] for k in ("empty query", "query id used twice")} == {
        "empty query": 1, "query id used twice": 1,
    }  # fmt: skip
    write(articles / "qrels" / "test.tsv", "q1 0 7 1\n")
    assert list(read_collection(articles, ["so"]).qrels) == ["test"]


def test_an_id_that_an_index_cannot_have_is_refused(articles):
    write(articles / "rows.csv", "id,text\n7 a,Rain\n")
    assert message(articles, ["so"]).startswith(f"a document id with white space, '7 a': {articles}/rows.csv:2;")


def test_an_id_used_twice_is_named_in_both_files(articles):
    write(articles / "rows2.csv", "id,text\n8,x\n7,Snow\n")
    assert message(articles).startswith(
        f"document id '7' used twice (first at {articles}/rows.csv:2): {articles}/rows2.csv:3; give each"
    )


@pytest.mark.parametrize(
    ("name", "text", "lang", "docs"),
    [
        ("help.csv", "text\nRain\n", "en", [Doc("2", "", "Rain")]),
        ("docs.so.csv", "text\nRoob\n", "so", [Doc("2", "", "Roob")]),
        ("corpus.sw.jsonl.gz", jsonl([{"id": "a", "text": "Mvua"}]), "sw", [Doc("a", "", "Mvua")]),
        ("docs.jsonl", jsonl([{"text": "Rain"}]), "en", [Doc("1", "", "Rain")]),
        ("a guide.txt", "Rain\nSnow\n", "en", [Doc("a%20guide.txt", "", "Rain Snow")]),
    ],
)
def test_a_file_alone_is_a_collection(tmp_path, name, text, lang, docs):
    collection = read_collection(write(tmp_path / name, text), ["sw"])
    assert (collection.docs, collection.docs_lang, collection.qrels) == (docs, lang, {})
    assert collection.name == name.split(".")[0]


def test_a_folder_says_its_language_by_its_name(articles):
    assert read_collection(articles.rename(articles.with_name("docs.so")), ["so"]).docs_lang == "so"


def test_what_holds_no_documents_is_refused(tmp_path, articles):
    file = write(tmp_path / "a.doc", "x")
    assert message(file).startswith(f"not known as documents: {file}; give a folder, or a file of .jsonl, .csv, .tsv")
    write(tmp_path / "none" / "a.docx", "x")
    assert message(tmp_path / "none") == f"no documents in {tmp_path / 'none'}; {LAYOUTS}"
    write(articles / "pairs.tsv", "rain\troob\n")
    assert message(articles).startswith(f"no column is the text: {articles}/pairs.tsv:1 has 'rain', 'roob'; name")
    assert [kind_of(tmp_path / name) for name in ("a.csv.GZ", "a.pdf.gz", "a.tsv.gz", "a.XLSX")] == [
        "", "", ".tsv", ".xlsx",
    ]  # fmt: skip


def test_slow_files_are_read_once_until_they_change(articles, monkeypatch):
    read = []
    monkeypatch.setitem(
        document_files.READERS, ".html", lambda file: read.append(file) or Doc("", "T", file.read_text())
    )
    first = read_collection(articles, ["so"])
    assert read_collection(articles, ["so"]) == first
    assert len(read) == 1
    file = write(articles / "page.HTML", "<p>Other</p>")
    os.utime(file, ns=(1, 1))
    assert read_collection(articles, ["so"]).docs[4] == Doc("page.HTML", "T", "<p>Other</p>")
    assert len(read) == 2


def _changed(statement: str) -> None:
    with closing(sqlite3.connect(user_cache() / document_folder.DATABASE)) as database:
        database.execute(statement)
        database.commit()


def test_a_text_that_was_damaged_where_it_is_kept_is_read_again(articles, caplog):
    first, place = read_collection(articles, ["so"]), user_cache() / document_folder.DATABASE
    assert check_texts(place)
    _changed("update documents set text = 'Wine'")
    with pytest.raises(DataError, match=r"documents\.sqlite has another text of .*page\.HTML than was read; remove"):
        check_texts(place)
    assert read_collection(articles, ["so"]) == first
    assert [r.getMessage() for r in caplog.records] == [
        f"{articles / 'page.HTML'}: what was kept of its text is damaged, so it is read again"
    ]
    assert check_texts(place)
    place.write_bytes(place.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"documents\.sqlite is damaged"):
        check_texts(place)


def test_texts_that_an_earlier_version_kept_are_read_and_have_no_checksum(articles):
    first, place = read_collection(articles, ["so"]), user_cache() / document_folder.DATABASE
    _changed("alter table documents drop column sha256")
    assert not check_texts(place)
    assert read_collection(articles, ["so"]) == first
    assert not check_texts(place)
    write(articles / "new.html", "<p>Fire</p>")
    read_collection(articles, ["so"])
    assert not check_texts(place), "one of two has none"
    _changed("update documents set text = 'Wine' where sha256 is not null")
    with pytest.raises(DataError, match=r"another text of .*new\.html"):
        check_texts(place)


def test_progress_is_told_of_many_slow_files(articles, monkeypatch, caplog):
    monkeypatch.setattr(document_folder, "TOLD", 2)
    for k in range(3):
        write(articles / f"{k}.html", f"<p>{k}</p>")
    read_collection(articles, ["so"])
    assert [r.getMessage() for r in caplog.records] == [f"{articles}: {n} of 4 slow files read" for n in (2, 4)]


@pytest.mark.parametrize("damage", ["a file in place of the folder", "no database"])
def test_texts_are_read_where_nothing_can_be_kept(articles, tmp_path, caplog, damage):
    cache = tmp_path / "cache"
    if damage == "no database":
        write(cache / "documents.sqlite", b"no database " * 100)
    else:
        write(cache, "x")
    assert Doc("page.HTML", "", "Water") in read_collection(articles, ["so"]).docs
    assert len([r for r in caplog.records if "are not kept for the next time" in r.getMessage()]) == 1


def test_a_slow_file_that_is_gone_is_named(articles):
    write(articles / "gone.pdf", "")
    documents = document_folder.file_documents(articles / "gone.pdf")
    (articles / "gone.pdf").unlink()
    with pytest.raises(DataError, match=r"^cannot read \(No such file or directory\): .*gone\.pdf"):
        list(documents.read())
