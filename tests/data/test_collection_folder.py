"""Every layout of a folder, and lines that cannot be read."""

import pytest

from optical.data.collection import documents_of, read_collection
from optical.data.records import Qrel, Query
from tests.data.conftest import DOCS, READ, jsonl, message, write


@pytest.mark.parametrize("folder", ["collection", "data", "test"])
def test_a_folder_with_a_name_of_no_meaning_is_named_with_its_parent(ours, folder):
    assert read_collection(ours.rename(ours.parent / folder), ["sw"]).name == f"{ours.parent.name}/{folder}"


@pytest.mark.parametrize(
    ("name", "lang"),
    [("docs.jsonl.gz", "en"), ("docs.sw.jsonl", "sw"), ("corpus.fi.jsonl.gz", "fi"), ("docs.en.jsonl", "en")],
)
def test_the_name_of_the_file_says_the_language_of_the_documents(ours, name, lang):
    (ours / "docs.jsonl.gz").unlink()
    write(ours / name, jsonl(DOCS))
    collection = read_collection(ours, ["sw", "en"])
    assert (collection.docs_lang, documents_of(ours).lang) == (lang, lang)
    assert collection.docs == READ


def test_two_files_of_documents_are_refused_but_for_a_packed_copy(ours):
    write(ours / "docs.jsonl", jsonl(DOCS[:2]))
    assert read_collection(ours, ["sw"]).docs == READ[:2]
    write(ours / "docs.sw.jsonl", jsonl(DOCS))
    assert message(ours) == (
        f"two files of documents: {ours / 'docs.jsonl'} and {ours / 'docs.sw.jsonl'}; keep one: the documents of a"
        " collection have one language, and another folder can hold the others"
    )


def test_ids_as_ciral_has_them(ours):
    write(ours / "docs.jsonl.gz", jsonl({"docid": d["id"], "url": "x", "text": d["text"]} for d in DOCS))
    assert [doc.id for doc in read_collection(ours, ["sw"]).docs] == ["d1", "d2", "d3"]


def beir(folder, queries):
    write(
        folder / "corpus.jsonl", jsonl({"_id": d["id"], "title": d.get("title", ""), "text": d["text"]} for d in DOCS)
    )
    write(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\n7\td1\t1\n8\td2\t1\n")
    write(folder / "qrels" / "dev.tsv", "query-id\tcorpus-id\tscore\n8\td3\t1\n")
    write(folder / "queries.jsonl", jsonl(queries))
    return folder


def test_beir_layout_with_one_file_of_queries(tmp_path):
    queries = [{"_id": 7, "text": "Mto?", "metadata": {}}, {"_id": 8, "text": "Ziwa?"}]
    collection = read_collection(beir(tmp_path, queries), ["sw", "en"])
    assert collection.docs == READ
    assert collection.queries == {"sw": [Query("7", "Mto?"), Query("8", "Ziwa?")]}
    assert collection.qrels == {"dev": [Qrel("8", "d3", 1)], "test": [Qrel("7", "d1", 1), Qrel("8", "d2", 1)]}


def test_beir_queries_say_their_language(tmp_path):
    queries = [
        {"_id": "7", "text": "River?", "metadata": {"language": "en"}},
        {"_id": "7", "text": "Mto?", "metadata": {"lang": "sw"}},
    ]
    collection = read_collection(beir(tmp_path, queries), ["fr", "sw", "en"])
    assert collection.queries == {"sw": [Query("7", "Mto?")], "en": [Query("7", "River?")]}
    write(tmp_path / "queries.sw.tsv", "8\tZiwa?\n7\tTena?\n")
    collection = read_collection(tmp_path, ["sw"])
    assert collection.queries == {"sw": [Query("8", "Ziwa?"), Query("7", "Tena?")]}
    assert collection.skipped == {"query id used twice": 1}


def test_beir_plain_queries_are_of_the_language_without_a_file(tmp_path):
    folder = beir(tmp_path, [{"_id": "7", "text": "River?"}])
    write(folder / "queries.sw.jsonl.gz", jsonl([{"_id": "7", "text": "Mto?"}]))
    collection = read_collection(folder, ["sw", "en"])
    assert collection.queries == {"sw": [Query("7", "Mto?")], "en": [Query("7", "River?")]}
    assert read_collection(folder, ["sw"]).queries == {"sw": [Query("7", "Mto?")]}


def test_trec_layout(tmp_path):
    write(tmp_path / "docs.tsv", "d1\tNile\tA river in Africa.\nd2\tA lake.\nd3\t\tA hill.\n")
    write(tmp_path / "topics.sw.tsv", "q1\tMto gani?\n")
    write(tmp_path / "qrels.txt", "q1 Q0 d1 1\r\nq1\t0\td2\t0\n")
    collection = read_collection(tmp_path, ["sw"])
    assert collection.docs == READ
    assert collection.queries == {"sw": [Query("q1", "Mto gani?")]}
    assert collection.qrels == {"test": [Qrel("q1", "d1", 1), Qrel("q1", "d2", 0)]}


def test_missing_parts_say_what_is_expected(ours, tmp_path):
    assert message(tmp_path / "no").startswith(
        f"no such collection: {tmp_path}/no; give a folder, or an ir_datasets id"
    )
    (ours / "qrels.tsv").unlink()
    write(ours / "docs.jsonl.gz", b"")
    write(ours / "qrels.tsv", "q1 0 d1 1\n")
    assert message(ours).startswith(f"no document in the collection {ours}; expected docs.jsonl")
    (ours / "docs.jsonl.gz").unlink()
    assert message(ours).startswith(f"no documents in {ours}; expected docs.jsonl")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("docs.jsonl.gz", jsonl(DOCS) + "{'id': 1}\n", "bad JSON (Expecting property name"),
        ("docs.jsonl.gz", jsonl(DOCS) + "[]\n", "bad JSON (list in place of an object) at {}:4; write one object"),
        ("docs.jsonl.gz", jsonl(DOCS) + '{"id": "d4", "title": "x"}\n', "no text in the document at {}:4; write"),
        ("docs.jsonl.gz", jsonl([*DOCS, {"text": "x"}]), "no document id: {}:4; give each"),
        ("queries.sw.tsv", "q1\tMto\nq2 Ziwa\n", "no query at {}:2; write id<TAB>text on each line"),
        ("queries.sw.tsv", b"q1\tMto\nq2\tcaf\xe9\n", "not UTF-8: byte 0xe9, number 7 of the line, at {}:2; save"),
        ("docs.jsonl.gz", jsonl(DOCS).encode() + b"\xff", "not UTF-8: byte 0xff, number 1 of the line, at {}:4; save"),
        (
            "qrels.tsv",
            "q1 0 d1 1\nq1 0 d2 yes\n",
            "no judgement at {}:2; write query 0 document relevance, or query<TAB>",
        ),
        ("qrels.tsv", "q1 0 d1 x\nq1 0 d2 1\n", "no judgement at {}:1; write"),
        ("qrels.tsv", "q1 0 d1 1\nd2 1\n", "no judgement at {}:2; write"),
        ("qrels.tsv", "q1 0 d1 1\nquery-id\tcorpus-id\tscore\n", "no judgement at {}:2; write"),
        ("qrels.tsv", "q1 0 d1 0.5\n", "no judgement at {}:1; write"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(ours, name, text, expected):
    file = write(ours / name, text)
    assert message(ours).startswith(expected.format(file))


def test_other_broken_tables_are_named(tmp_path):
    file = write(tmp_path / "docs.tsv", "d1\tA\n")
    queries = write(tmp_path / "queries.jsonl", '{"_id": "q1", "text": "x"}\n{"_id": "q2"}\n')
    assert message(tmp_path) == f'no query at {queries}:2; write {{"_id": .., "text": ..}}'
    write(queries, '{"text": "x"}\n')
    assert message(tmp_path).startswith(f"no query at {queries}:1; ")
    write(queries, '{"_id": "q1", "text": "x"}\n')
    write(tmp_path / "qrels.tsv", "q1\td1\t1\n")
    write(file, "d1\tA\nd2\tA\tB\tC\n")
    assert message(tmp_path) == (f"4 columns in a document at {file}:2; write id<TAB>text or id<TAB>title<TAB>text")
    one, two = write(tmp_path / "qrels.tsv", "q1\td1\t1\n"), write(tmp_path / "qrels" / "test.tsv", "q1\td1\t1\n")
    assert message(tmp_path) == f"two files of judgements for the split test: {one} and {two}; keep one"
