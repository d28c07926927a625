"""The sample: enough of everything, clean, and nothing of the test side among what is trained on."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from optical.data.bitext import read_bitext, without
from optical.data.collection import queries_of, read_collection
from optical.data.words import fold_text, tidy

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "sw"


@pytest.fixture(scope="module")
def rows():
    """Every line of every bitext file as it is written: (file, line number, English, Swahili)."""
    found = []
    for file in sorted((SAMPLE / "bitext").glob("*.tsv")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            assert line.count("\t") == 1, f"{file}:{number}"
            found.append((file.stem, number, *line.split("\t")))
    return found


@pytest.fixture(scope="module")
def collection():
    return read_collection(SAMPLE / "collection", ["en", "sw"])


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“‘(]*[A-Z0-9])", text)


def test_enough_pairs_over_enough_topics(rows):
    assert len(rows) >= 2_500
    topics = Counter(topic for topic, *_ in rows)
    assert len(topics) >= 20
    assert min(topics.values()) >= 50, "a topic of a few lines is none"


def test_every_fifth_pair_is_a_question_on_both_sides(rows):
    questions = [row for row in rows if row[2].endswith("?")]
    assert len(questions) >= 0.2 * len(rows)
    assert [row for row in rows if row[2].endswith("?") != row[3].endswith("?")] == []


def test_the_reader_keeps_every_pair(rows):
    bitext = read_bitext(SAMPLE / "bitext", "sw")
    assert bitext.skipped == {}
    assert len(bitext.pairs) == len(rows)


def test_no_side_is_there_twice(rows):
    for side in (2, 3):
        twice = [text for text, count in Counter(fold_text(row[side]) for row in rows).items() if count > 1]
        assert twice == []


def test_everything_is_tidy_nfc(rows, collection):
    texts = [text for row in rows for text in row[2:]] + [t for doc in collection.docs for t in (doc.title, doc.text)]
    raw = "".join(file.read_text(encoding="utf-8") for file in SAMPLE.rglob("*") if file.is_file())
    assert [text for text in texts if text != tidy(text)] == []
    assert raw == unicodedata.normalize("NFC", raw)


def test_pairs_are_no_template_filled_in(rows):
    """The same words but for one or two, again and again, would be."""
    for side in (2, 3):
        starts = Counter(tuple(fold_text(row[side]).split()[:4]) for row in rows if len(row[side].split()) > 5)
        assert max(starts.values()) <= 0.01 * len(rows), starts.most_common(3)


def test_passages(collection):
    assert len(collection.docs) >= 400
    counts = {doc.id: len(sentences(doc.text)) for doc in collection.docs}
    assert {i: n for i, n in counts.items() if not 2 <= n <= 5} == {}
    assert all(doc.title for doc in collection.docs)
    assert len({fold_text(doc.text) for doc in collection.docs}) == len(collection.docs)
    raw = (SAMPLE / "collection" / "docs.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line).keys() == {"id", "title", "text"} for line in raw)


def test_questions_in_both_languages_with_judgements(collection):
    assert collection.skipped == {}, "a query without judgement or a judgement of nothing"
    ids = {lang: [query.id for query in queries] for lang, queries in collection.queries.items()}
    assert ids["sw"] == ids["en"]
    assert len(ids["sw"]) >= 240
    for queries in collection.queries.values():
        assert len({fold_text(query.text) for query in queries}) == len(queries)
    relevant = {q.query_id for qrels in collection.qrels.values() for q in qrels if q.relevance > 0}
    assert relevant == set(ids["sw"])


def test_dev_and_test_are_disjoint_halves(collection):
    assert collection.qrels.keys() == {"dev", "test"}
    dev, test = ({q.id for q in queries_of(collection, "sw", split)} for split in ("dev", "test"))
    assert not dev & test
    assert abs(len(dev) - len(test)) <= 0.1 * len(test)
    documents = [{q.doc_id for q in collection.qrels[split]} for split in ("dev", "test")]
    assert not documents[0] & documents[1], "a passage that answers a dev question is no news on the test side"


def test_nothing_of_the_test_side_is_in_the_bitext(collection):
    pairs = read_bitext(SAMPLE / "bitext", "sw").pairs
    banned = [query.text for queries in collection.queries.values() for query in queries]
    banned += [part for doc in collection.docs for part in (doc.title, doc.text, *sentences(doc.text))]
    kept = set(without(pairs, banned))
    assert [pair for pair in pairs if pair not in kept] == []
    # A comma more or less, or another first word, must not hide a copy: no long stretch of words is shared either.
    stretches = {
        tuple(words[k : k + 7]) for text in banned for words in [fold_text(text).split()] for k in range(len(words) - 6)
    }
    shared = [
        pair
        for pair in pairs
        for words in (fold_text(pair.english).split(), fold_text(pair.foreign).split())
        if any(tuple(words[k : k + 7]) in stretches for k in range(len(words) - 6))
    ]
    assert shared == []
