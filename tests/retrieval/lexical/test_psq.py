"""Probabilistic structured queries against numbers computed by hand."""

from __future__ import annotations

import math

import pytest

from optical.data.records import Query
from optical.errors import DataError
from optical.retrieval.lexical import psq
from optical.retrieval.lexical.psq import count_terms, read_translations, search, write_translations

TEXTS = ["Water, fish", "a river", "water water", "", "Asha's boat"]
IDS = ["d0", "d1", "d2", "d3", "d4"]
TABLE = {"maji": [("water", 0.75), ("river", 0.25)], "samaki": [("fish", 1.0)], "kitu": [("thing", 1.0)]}


@pytest.fixture(autouse=True)
def _no_stemmer(monkeypatch):
    monkeypatch.setattr(psq, "stemmer", lambda: None)


def found(*texts, k=10, table=TABLE):
    queries = [Query(f"q{n}", text) for n, text in enumerate(texts)]
    return search(count_terms(IDS, TEXTS), queries, table, k)


def score(tf: float, df: float, length: int) -> float:
    """BM25 of one word by hand, over 5 documents of 8 words together."""
    idf = math.log(1 + (5 - df + 0.5) / (df + 0.5))
    return idf * tf / (tf + 0.9 * (0.6 + 0.4 * length / 1.6))


def test_a_word_counts_as_often_as_its_translations_are_expected():
    df = 0.75 * 2 + 0.25 * 1
    expected = {"d2": score(1.5, df, 2), "d0": score(0.75, df, 2), "d1": score(0.25, df, 2)}
    assert found("Maji!")["q0"] == pytest.approx(expected, abs=1e-6)
    assert list(found("Maji!")["q0"]) == ["d2", "d0", "d1"]


def test_words_of_a_query_add_up_and_repeated_ones_twice():
    one, two = found("maji", "samaki maji maji")["q0"], found("maji", "samaki maji maji")["q1"]
    assert two["d0"] == pytest.approx(2 * one["d0"] + score(1, 1, 2), abs=1e-6)
    assert two["d1"] == pytest.approx(2 * one["d1"], abs=1e-6)


def test_a_word_without_translation_stands_for_itself():
    assert found("ASHA'S maji")["q0"]["d4"] == pytest.approx(score(1, 1, 2), abs=1e-6)
    assert found("kitu", "hamna", "...") == {"q0": {}, "q1": {}, "q2": {}}


def test_no_more_than_k_and_as_many_queries_at_once_as_there_is_room_for(monkeypatch):
    assert list(found("maji", k=2)["q0"]) == ["d2", "d0"]
    whole = found("maji", "samaki", "maji asha's", "river")
    monkeypatch.setattr(psq, "SCORES_AT_ONCE", 10)
    assert found("maji", "samaki", "maji asha's", "river") == whole


def test_words_of_one_stem_are_one_term(monkeypatch):
    monkeypatch.setattr(psq, "stemmer", lambda: type("S", (), {"stemWord": staticmethod(lambda w: w.rstrip("s"))}))
    table = {"samaki": [("fishs", 0.5), ("fish", 0.5)]}
    assert found("samaki", table=table)["q0"] == pytest.approx({"d0": score(1, 1, 2)}, abs=1e-6)


def test_documents_without_a_word_are_found_by_none():
    assert search(count_terms(["d0", "d1"], ["", "..."]), [Query("q", "maji")], TABLE, 10) == {"q": {}}


def test_a_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "psq-sw.tsv"
    path.write_text(write_translations(TABLE), encoding="utf-8")
    assert path.read_text(encoding="utf-8").splitlines()[1] == "maji\twater 0.75 river 0.25"
    assert read_translations(path) == TABLE


@pytest.mark.parametrize("line", ["maji\twater", "maji\twater much"])
def test_a_line_that_is_no_row_of_a_table_is_named(tmp_path, line):
    path = tmp_path / "psq-sw.tsv"
    path.write_text(f"samaki\tfish 1\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"is word<TAB>english probability ...; received .*psq-sw.tsv:2; distill again"):
        read_translations(path)
