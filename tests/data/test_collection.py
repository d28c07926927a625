"""Collections in every layout, and what stops one that does not hold together."""

import gzip
import json
import unicodedata
from pathlib import Path

import pytest

from optical.data.collection import documents_of, judgements_of, queries_of, read_collection, stream_docs
from optical.data.records import Doc, Qrel, Query
from optical.errors import DataError

CLIR = Path(__file__).parents[3] / "shared" / "data" / "clir"
DOCS = [
    {"id": "d1", "title": "Nile", "text": "A river\nin Africa."},
    {"id": "d2", "title": "", "text": "A lake."},
    {"id": "d3", "text": "A hill."},
]
READ = [Doc("d1", "Nile", "A river in Africa."), Doc("d2", "", "A lake."), Doc("d3", "", "A hill.")]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def jsonl(records):
    return "\n".join(map(json.dumps, records)) + "\n"


@pytest.fixture
def ours(tmp_path):
    folder = tmp_path / "lakes"
    write(folder / "docs.jsonl.gz", jsonl(DOCS))
    write(folder / "queries.sw.tsv", "\ufeffq1\tMto gani?\r\nq2\tZiwa  gani?\r\nq3\tHaikuhukumiwa\r\n")
    write(folder / "queries.en.tsv", "q2\tWhich lake?\nq1\tWhich\triver?\n")
    write(folder / "qrels.tsv", "q1 0 d1 1\nq2 0 d2 2\n\nq2 0 d1 0\n")
    return folder


def message(folder, langs=("sw",)):
    with pytest.raises(DataError) as caught:
        read_collection(folder, langs)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["collection", "data", "test"])
def test_a_folder_with_a_name_of_no_meaning_is_named_with_its_parent(ours, folder):
    assert read_collection(ours.rename(ours.parent / folder), ["sw"]).name == f"{ours.parent.name}/{folder}"


def test_our_layout(ours):
    collection = read_collection(str(ours), ["sw", "en", "fr"])
    assert collection.name == "lakes"
    assert collection.docs == READ
    assert [doc.full for doc in READ] == ["Nile A river in Africa.", "A lake.", "A hill."]
    assert collection.queries == {
        "sw": [Query("q1", "Mto gani?"), Query("q2", "Ziwa gani?")],
        "en": [Query("q2", "Which lake?"), Query("q1", "Which river?")],
    }
    assert collection.qrels == {"test": [Qrel("q1", "d1", 1), Qrel("q2", "d2", 2), Qrel("q2", "d1", 0)]}
    assert collection.skipped == {"query without judgement": 1}


def test_splits_by_name_and_the_queries_of_each(ours):
    (ours / "qrels.tsv").unlink()
    write(ours / "qrels.dev.tsv", "q2\td2\t1\n")
    write(ours / "qrels.test.tsv.gz", "q1\td1\t1.0\n")
    collection = read_collection(ours, ["sw", "en"])
    assert collection.qrels == {"dev": [Qrel("q2", "d2", 1)], "test": [Qrel("q1", "d1", 1)]}
    assert queries_of(collection, "sw", "dev") == [Query("q2", "Ziwa gani?")]
    assert queries_of(collection, "en", "test") == [Query("q1", "Which river?")]
    with pytest.raises(DataError, match=r"^no split train in the collection lakes; it has dev, test$"):
        queries_of(collection, "sw", "train")
    with pytest.raises(DataError, match=r"^no language de in the collection lakes; it has sw, en$"):
        queries_of(collection, "de", "dev")


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


def test_an_empty_document_is_counted_and_its_judgement_stays(ours):
    write(ours / "docs.jsonl.gz", jsonl([DOCS[0], DOCS[1] | {"text": " \n"}, {"id": "d4", "title": "T", "text": ""}]))
    collection = read_collection(ours, ["sw"])
    assert [doc.id for doc in collection.docs] == ["d1", "d4"]
    assert Qrel("q2", "d2", 2) in collection.qrels["test"], "it is relevant, and never found"
    assert collection.skipped == {"empty document, never found": 1, "query without judgement": 1}
    assert list(stream_docs(ours)) == collection.docs


def test_judgements_of_queries_that_no_language_asks_are_counted(ours):
    write(ours / "queries.en.tsv", "q2\tWhich lake?\n")
    assert read_collection(ours, ["en"]).skipped == {"judgement without a query": 1}
    assert read_collection(ours, ["en", "sw"]).skipped == {"query without judgement": 1}


def test_judgements_of_some_queries(ours):
    qrels = [Qrel("q1", "d1", 1), Qrel("q2", "d1", 0), Qrel("q1", "d2", 2)]
    assert judgements_of([Query("q1", "Mto gani?"), Query("q9", "")], qrels) == [qrels[0], qrels[2]]
    assert judgements_of([], qrels) == []


def test_documents_one_at_a_time(ours):
    (ours / "qrels.tsv").unlink()
    assert list(stream_docs(ours)) == READ
    file = write(ours / "docs.jsonl.gz", jsonl([*DOCS, DOCS[1]]) + "no JSON\n")
    found = stream_docs(str(ours))
    assert [next(found), next(found), next(found)] == READ, "what comes later is not read yet"
    with pytest.raises(DataError, match=rf"^document id 'd2' used twice \(first on line 2\): {file}:4;"):
        next(found)
    with pytest.raises(DataError, match="^no such collection"):
        stream_docs(ours / "no")


def test_queries_keep_the_order_of_their_file(ours):
    collection = read_collection(ours, ["en"])
    assert [query.id for query in queries_of(collection, "en", "test")] == ["q2", "q1"]


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


def test_the_checksum_is_of_the_documents_alone(ours, tmp_path):
    first = read_collection(ours, ["sw"]).checksum
    assert len(first) == 64
    assert read_collection(ours, ["en"]).checksum == first
    write(ours / "qrels.tsv", "q2 0 d2 1\n")
    assert read_collection(ours, ["sw"]).checksum == first
    for changed in ([*DOCS[:2], DOCS[2] | {"title": "A", "text": "hill."}], [DOCS[1], DOCS[0], DOCS[2]], DOCS[:2]):
        write(ours / "docs.jsonl.gz", jsonl(changed))
        assert read_collection(ours, ["sw"]).checksum != first


def test_queries_and_documents_are_composed(ours):
    word = "Mto ọ́ gani"
    write(ours / "queries.sw.tsv", unicodedata.normalize("NFD", f"q1\t{word}\n"))
    assert read_collection(ours, ["sw"]).queries["sw"][0].text == unicodedata.normalize("NFC", word)


def test_single_useless_lines_are_counted(ours):
    write(ours / "queries.sw.tsv", "q1\tMto gani?\nq1\tTena\nq2\t \nq9\tHapana\n")
    write(ours / "qrels.tsv", "q1 0 d1 1\nq1 0 d1 2\nq2 0 d8 1\nq2 0 d2 1\n")
    collection = read_collection(ours, ["sw"])
    assert collection.queries == {"sw": [Query("q1", "Mto gani?")]}
    assert collection.qrels == {"test": [Qrel("q1", "d1", 1), Qrel("q2", "d2", 1)]}
    assert collection.skipped == {
        "judgement of an unknown document": 1,
        "document judged twice": 1,
        "query id used twice": 1,
        "empty query": 1,
        "query without judgement": 1,
        "judgement without a query": 1,
    }


def test_a_split_whose_documents_are_elsewhere_is_left_out(ours):
    write(ours / "qrels.train.tsv", "q1 0 other 1\n")
    assert list(read_collection(ours, ["sw"]).qrels) == ["test"]


def test_missing_parts_say_what_is_expected(ours, tmp_path):
    assert message(tmp_path / "no").startswith(
        f"no such collection: {tmp_path}/no; give a folder, or an ir_datasets id"
    )
    (ours / "qrels.tsv").unlink()
    assert message(ours).startswith(f"no judgements in {ours}; expected docs.jsonl (id, title, text), corpus.jsonl")
    write(ours / "docs.jsonl.gz", b"")
    write(ours / "qrels.tsv", "q1 0 d1 1\n")
    assert message(ours).startswith(f"no document in the collection {ours}; expected docs.jsonl")
    (ours / "docs.jsonl.gz").unlink()
    assert message(ours).startswith(f"no documents in {ours}; expected docs.jsonl")


def test_languages_that_are_not_there_name_those_that_are(ours):
    assert message(ours, ["fr", "de"]) == (
        f"no queries in fr or de: {ours}; ask for a language that is there (en, sw), or add queries.<lang>.tsv with"
        " id<TAB>text"
    )
    for file in ours.glob("queries*"):
        file.unlink()
    assert "ask for a language that is there (there is none), or" in message(ours)


def test_judgements_that_know_no_document_are_refused(ours):
    write(ours / "qrels.tsv", "q1 0 D1 1\nq2 0 D2 1\n")
    assert message(ours) == (
        f"no judgement names a known document (one is 'D1'): {ours}; documents and judgements must use the same ids; a"
        " document is 'd1'"
    )
    write(ours / "qrels.tsv", "query-id\tcorpus-id\tscore\n")
    assert message(ours).startswith(f"no judgement at all: {ours}; documents and judgements")


def test_queries_that_nobody_judged_are_refused(ours):
    write(ours / "queries.sw.tsv", "1\tMto gani?\n")
    assert message(ours) == (
        f"no judged query in sw: {ours}; queries and judgements must use the same ids; a judged one is 'q1', a query"
        " '1'"
    )


def test_a_document_id_used_twice_is_refused_with_both_lines(ours):
    file = write(ours / "docs.jsonl.gz", jsonl([*DOCS, DOCS[1]]))
    assert message(ours) == (
        f"document id 'd2' used twice (first on line 2): {file}:4; give each document an id of its own, which"
        " judgements can name"
    )


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


@pytest.mark.skipif(not CLIR.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize(
    ("name", "lang", "docs", "queries", "english"),
    [
        ("afriqa", "sw", 5348, 176, 1343),
        ("flores_doc", "so", 280, 280, 280),
        ("ntrex_doc", "tl", 355, 245, 245),
        ("squad_fi_mt", "fi", 1204, 5928, 5928),
        ("xquad", "de", 240, 1190, 1190),
    ],
)
def test_the_shared_collections_load(name, lang, docs, queries, english):
    collection = read_collection(CLIR / name, [lang, "en"])
    assert len(collection.docs) == docs
    assert len(queries_of(collection, lang, "test")) == queries
    assert len(queries_of(collection, "en", "test")) == english
    assert collection.skipped == {}
