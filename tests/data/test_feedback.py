"""Judgements of those who asked are kept, read again, and measured."""

from __future__ import annotations

import json
import threading

import pytest

from optical.data.collection import read_collection
from optical.data.feedback import SPLIT, Feedback, judged_by_feedback, query_id, read_feedback
from optical.data.records import Qrel, Query
from optical.errors import DataError
from tests.data.conftest import ours  # noqa: F401 - a fixture

IDS = {"d1", "d2", "d3"}


def test_the_last_judgement_of_a_question_and_a_document_counts(tmp_path):
    file = tmp_path / "judged.jsonl"
    kept = Feedback(file, ["sw"], IDS)
    for query, doc_id, relevance in (
        ("Mto gani?", "d1", 0), ("Mto gani?", "d2", 0), ("Mto gani?", "d1", 1), ("Ziwa\u2028 gani?", "d2", 1),
        ("Mto gani?", "d3", 1), ("Mto gani?", "d3", None),
    ):  # fmt: skip
        kept.add(query, doc_id, relevance)
    Feedback(file, ["so"], IDS).add("Webi?", "d1", 1)
    assert read_feedback(file) == {
        "sw": {("Mto gani?", "d2"): 0, ("Mto gani?", "d1"): 1, ("Ziwa\u2028 gani?", "d2"): 1},
        "so": {("Webi?", "d1"): 1},
    }
    assert set(json.loads(file.read_text(encoding="utf-8").split("\n")[0])) == {
        "lang",
        "query",
        "id",
        "relevance",
        "time",
    }


def test_threads_write_whole_lines(tmp_path):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw"], IDS)
    threads = [threading.Thread(target=kept.add, args=(f"{k} " + "mto " * 2_000, "d1", 1)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_feedback(kept.path)["sw"]) == 8


def test_it_stands_for_the_judgements_of_a_collection(tmp_path, ours):
    file = tmp_path / "judged.jsonl"
    kept = Feedback(file, ["sw"], {*IDS, "gone"})
    for query, doc_id, relevance in (("Mto?", "d1", 1), ("Mto?", "d3", 0), ("Kilima?", "gone", 1)):
        kept.add(query, doc_id, relevance)
    collection = read_collection(ours, ["sw"])
    judged = judged_by_feedback({"sw": collection, "so": collection}, file)
    assert list(judged) == ["sw"]
    assert judged["sw"].queries == {"sw": [Query(query_id("Mto?"), "Mto?")]}
    assert judged["sw"].qrels == {SPLIT: [Qrel(query_id("Mto?"), "d1", 1), Qrel(query_id("Mto?"), "d3", 0)]}
    assert judged["sw"].skipped == {"feedback on a document that is not there": 1}
    assert judged["sw"].checksum == collection.checksum
    with pytest.raises(DataError, match=r"judges no document of lakes for a question in so .*\{'sw': 3\}"):
        judged_by_feedback({"so": collection}, file)


def test_what_is_no_judgement_is_refused(tmp_path):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw"], IDS)
    for doc_id, relevance, told in (
        ("d9", 1, "no document 'd9'"),
        ("d1", 2, "received 2"),
        ("d1", True, "received True"),
    ):
        with pytest.raises(DataError, match=told):
            kept.add("Mto?", doc_id, relevance)
    assert kept.path.read_bytes() == b""


@pytest.mark.parametrize(
    ("text", "told"),
    [("years of work\n", "bad JSON .*:1; feedback has lines"), ('{"a": 1}\n', "no judgement at .*:1"),
     ('\n{"lang": "sw", "query": "a", "id": "d", "relevance": 5}\n', "no judgement at .*:2")],
)  # fmt: skip
def test_a_file_of_something_else_is_not_written_into(tmp_path, text, told):
    file = tmp_path / "thesis.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match=told):
        Feedback(file, ["sw"], IDS)
    assert file.read_text() == text


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere" / "judged.jsonl"):
        with pytest.raises(DataError, match="judged|pytest"):
            Feedback(place, ["sw"], IDS)


def test_a_full_file_takes_nothing_more(tmp_path, monkeypatch):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw"], IDS)
    kept.add("Mto?", "d1", 1)
    monkeypatch.setattr("optical.data.feedback.LARGEST", 10)
    with pytest.raises(DataError, match="nothing is added any more"):
        kept.add("Mto?", "d1", 0)
