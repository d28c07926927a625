"""Collections put together: what is kept, what is counted, and what stops one that does not hold together."""

import unicodedata
from pathlib import Path

import pytest

from optical.data.collection import judgements_of, queries_of, read_collection, stream_docs
from optical.data.records import Qrel, Query
from optical.errors import DataError
from tests.data.conftest import DOCS, READ, jsonl, message, write

CLIR = Path(__file__).parents[3] / "shared" / "data" / "clir"


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
