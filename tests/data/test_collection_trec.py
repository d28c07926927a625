"""TREC topics and documents as NIST, CLEF and newspapers have them: tags left open, several to a line, text between."""

import gzip
from pathlib import Path

import pytest

from optical.data.collection import read_collection, stream_docs
from optical.data.collection_trec import documents, topics
from optical.data.records import Doc, Qrel, Query
from optical.errors import DataError

NIST = """<top>

<num> Number: 301
<title> International
Crime

<desc> Description:
Identify organizations &amp; people. Topic: not a label here.

<narr> Narrative:
Anything.

</top>
a line between
<top>
<num> Number: 302 </num>
<title> Poliomyelitis </title>
</top>
"""
CLEF = """<?xml version="1.0"?>
<topics><topic lang="en"><identifier>10.2452/451-AH</identifier><title>Roman <i>army</i></title>
<description>Find it.</description></topic>
<topic lang="en">
<identifier>452</identifier><title>a &lt; b</title></topic>
</topics>
"""
NEWS = """<DOC>
<DOCNO> LA010194-0001 </DOCNO>
<DATE><P>January 1</P></DATE>
<HEADLINE>
<P>
RIVER RISES
</P>
</HEADLINE>
<BYLINE><P>By nobody</P></BYLINE>
<TEXT>
<P>One &amp; two,
3 < 4.</P>
<P>Three.</P>
</TEXT>
</DOC>
<DOC><DOCNO>B-2</DOCNO><TITLE/><LEAD>First.</LEAD><TEXT>Second.</TEXT></DOC><doc><docno>C</docno>
<TEXT>Left open
</doc>
"""


def write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def test_topics_of_nist(tmp_path):
    file = write(tmp_path / "topics.trec", NIST)
    assert list(topics(file)) == [Query("301", "International Crime"), Query("302", "Poliomyelitis")]
    described = "International Crime Identify organizations & people. Topic: not a label here."
    assert [query.text for query in topics(file, "td")] == [described, "Poliomyelitis"]
    assert next(topics(file, "tdn")).text == f"{described} Anything."


def test_topics_of_clef_early_and_late(tmp_path):
    late = write(tmp_path / "late.xml.gz", CLEF)
    assert list(topics(late, "td")) == [Query("10.2452/451-AH", "Roman army Find it."), Query("452", "a < b")]
    early = write(tmp_path / "early.trec", "<top>\n<num> C041 </num>\n<FI-title> Lasten ruoka </FI-title>\n</top>\n")
    assert list(topics(early)) == [Query("C041", "Lasten ruoka")]
    later = write(tmp_path / "web.xml", '<topic number="7" type="x"><query>obama</query></topic>')
    assert list(topics(later)) == [Query("7", "obama")]


def test_documents_of_newspapers(tmp_path):
    assert list(documents(write(tmp_path / "docs.trec", NEWS))) == [
        (1, Doc("LA010194-0001", "RIVER RISES", "One & two, 3 < 4. Three.")),
        (16, Doc("B-2", "", "First. Second.")),
        (16, Doc("C", "", "Left open")),
    ]


def test_a_folder_with_both(tmp_path):
    write(tmp_path / "docs.trec.gz", NEWS)
    write(tmp_path / "topics.sw.td.trec", "<top><num>1<title>Mto<desc>Upi?</top>")
    write(tmp_path / "topics.en.xml", "<top><num>1<title>River<desc>Which?</top>")
    write(tmp_path / "qrels.txt", "1 0 B-2 1\n1 0 C 0\n")
    collection = read_collection(tmp_path, ["en", "sw"])
    assert collection.queries == {"en": [Query("1", "River")], "sw": [Query("1", "Mto Upi?")]}
    assert collection.qrels == {"test": [Qrel("1", "B-2", 1), Qrel("1", "C", 0)]}
    assert (collection.docs_lang, collection.docs[1]) == ("en", Doc("B-2", "", "First. Second."))
    assert list(stream_docs(tmp_path)) == collection.docs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n<top>\n<title> no number\n</top>\n", "no number in the topic at {}:2; write <num> and <title>"),
        ("nothing\n", "no topic in {}; write <top>"),
        (
            "<top>\n<num>1\n<top>\n<num>2\n</top>",
            "<top> at {0}:1 is not closed before the next one, at {0}:3; close it",
        ),
        ("\n<top>\n<num>1\n", "<top> at {}:2 is not closed before the file ends;"),
    ],
)
def test_topics_that_cannot_be_read_are_named(tmp_path, text, expected):
    file = write(tmp_path / "topics.trec", text)
    with pytest.raises(DataError) as caught:
        list(topics(file))
    assert str(caught.value).startswith(expected.format(file))


def test_documents_that_cannot_be_read_are_named(tmp_path):
    file = write(tmp_path / "docs.trec", "<DOC>\n<DOCNO>A</DOCNO>\n")
    with pytest.raises(DataError, match=rf"^<DOC> at {file}:1 is not closed before the file ends"):
        list(stream_docs(tmp_path))
    write(file, "\n<DOC>\n<TEXT>x</TEXT>\n</DOC>\n")
    with pytest.raises(DataError, match=rf"^no document id: {file}:2;"):
        list(stream_docs(tmp_path))
