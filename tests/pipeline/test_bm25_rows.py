"""Words alone: which questions BM25 is asked, what is kept for it, and how the student is fused with it."""

from __future__ import annotations

import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.records import Doc, Query
from optical.errors import DataError, RecipeError
from optical.pipeline.bm25_rows import BY_LEXICON, FUSED, TRANSLATED, UNTRANSLATED, fused, lexical_runs, save_lexicons
from optical.retrieval import fusion
from optical.retrieval.lexical import bm25
from optical.training.augmentation import read_synonyms

DOCS = [
    Doc("d0", "", "The farmer plants maize."), Doc("d1", "Milk", "The cow gives milk."), Doc("d2", "", "A river runs."),
    Doc("d3", "", ""),
]  # fmt: skip
COLLECTION = Collection("small", DOCS, {}, {}, "0" * 64, {})
PAIRS = [
    Pair("the cow", "ng'ombe"),
    Pair("a cow sleeps", "ng'ombe analala"),
    Pair("milk", "maziwa"),
    Pair("milk", "maziwa"),
]
QUERIES = [Query("q0", "Ng'ombe yuko wapi?"), Query("q1", "maize?"), Query("q2", "...")]


def recipe(tmp_path, **search):
    options = {"lang": "sw", "out": str(tmp_path / "run"), "cache": str(tmp_path / "cache")}
    return load_recipe(None, {**options, "search.bm25": "bm25s", **{f"search.{k}": v for k, v in search.items()}})


def first(run, query):
    return next(iter(run[query]), None)


def test_questions_are_asked_as_they_are_by_the_lexicon_and_translated(tmp_path):
    (tmp_path / "queries.sw.en.tsv").write_text("q0\tWhere is the river?\nq1\tmaize\nq2\tmilk\n", encoding="utf-8")
    chosen = recipe(tmp_path, translations=str(tmp_path / "queries.{lang}.en.tsv"), depth=2)
    save_lexicons(chosen, {"sw": PAIRS}, ["sw"])
    said = []
    runs = lexical_runs(chosen, COLLECTION, QUERIES, said.append)
    assert list(runs) == [UNTRANSLATED, BY_LEXICON, TRANSLATED]
    assert [first(run, "q0") for run in runs.values()] == [None, "d1", "d2"]
    assert [first(run, "q1") for run in runs.values()] == ["d0", "d0", "d0"]
    assert [first(run, "q2") for run in runs.values()] == [None, None, "d1"]
    assert all(len(ranking) <= 2 and "d3" not in ranking for run in runs.values() for ranking in run.values())
    assert said == [bm25.available("bm25s")[1]]


def test_the_lexicon_is_kept_in_the_run_as_a_list_of_synonyms_is_read(tmp_path):
    chosen = recipe(tmp_path)
    save_lexicons(chosen, {"sw": PAIRS, "so": []}, ["sw"])
    assert read_synonyms(tmp_path / "run" / "lexicon-sw.tsv")["maziwa"] == ["milk"]
    assert not (tmp_path / "run" / "lexicon-so.tsv").exists()
    save_lexicons(chosen, {"sw": []}, ["sw"])  # nothing is known: no row, and no fault
    assert list(lexical_runs(chosen, COLLECTION, QUERIES, str)) == [UNTRANSLATED]


def test_off_is_off(tmp_path):
    chosen = recipe(tmp_path, bm25="off")
    save_lexicons(chosen, {"sw": PAIRS}, ["sw"])
    assert not (tmp_path / "run").exists()
    assert lexical_runs(chosen, COLLECTION, QUERIES, pytest.fail) == {}


def test_where_it_cannot_run_auto_says_so_and_a_named_engine_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(bm25, "_bm25s_missing", lambda: "no bm25s is installed")
    monkeypatch.setattr(bm25.lucene, "missing", lambda: "no Java")
    said = []
    assert lexical_runs(recipe(tmp_path, bm25="auto"), COLLECTION, QUERIES, said.append) == {}
    assert said[0].startswith("skipped: BM25 cannot run, lucene: no Java")
    with pytest.raises(RecipeError, match="make setup-bm25"):
        lexical_runs(recipe(tmp_path), COLLECTION, QUERIES, pytest.fail)


def test_auto_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(bm25.lucene, "missing", lambda: "no Java 21 or newer: none")
    monkeypatch.setattr("optical.pipeline.bm25_rows.HELD_IN_MEMORY", len(DOCS) - 1)
    said = []
    assert lexical_runs(recipe(tmp_path, bm25="auto"), COLLECTION, QUERIES, said.append) == {}
    assert said[0].startswith("BM25 skipped: bm25s holds the words of all 4 documents in memory")
    assert list(lexical_runs(recipe(tmp_path), COLLECTION, QUERIES, str)) == [UNTRANSLATED]
    monkeypatch.setattr("optical.pipeline.bm25_rows.HELD_IN_MEMORY", len(DOCS))
    assert list(lexical_runs(recipe(tmp_path, bm25="auto"), COLLECTION, QUERIES, str)) == [UNTRANSLATED]


def test_documents_without_words_are_left_to_the_student_unless_bm25_was_asked_for(tmp_path):
    empty = COLLECTION._replace(docs=[Doc("d0", "", "")])
    said = []
    assert lexical_runs(recipe(tmp_path, bm25="auto"), empty, QUERIES, said.append) == {}
    assert said[0].startswith("BM25 skipped: ")
    with pytest.raises(DataError, match="empty"):
        lexical_runs(recipe(tmp_path), empty, QUERIES, pytest.fail)


def test_a_question_without_translation_stops_whatever_the_engine(tmp_path):
    (tmp_path / "one.tsv").write_text("q0\tcow\n", encoding="utf-8")
    with pytest.raises(DataError, match="2 of 3 queries have no translation"):
        lexical_runs(recipe(tmp_path, bm25="auto", translations=str(tmp_path / "one.tsv")), COLLECTION, QUERIES, str)


def test_the_student_is_fused_with_the_last_of_the_rows(tmp_path):
    student, worse, better = {"q": {"a": 0.9, "b": 0.8}}, {"q": {"c": 2.0}}, {"q": {"b": 3.0, "a": 1.0, "c": 0.5}}
    words = {"worse": worse, "better": better}
    assert fused(recipe(tmp_path).search, student, words) == {
        FUSED: fusion.reciprocal_rank([student, better], depth=1000)
    }
    weighed = fused(recipe(tmp_path, fusion="min-max", bm25_weight=0.9).search, student, words)[FUSED]
    assert weighed == fusion.interpolate([student, better], [0.1, 0.9], normalisation="min-max", depth=1000)
    assert first(weighed, "q") == "b"
    assert (
        fused(recipe(tmp_path, fusion="off").search, student, words)
        == {}
        == fused(recipe(tmp_path).search, student, {})
    )
