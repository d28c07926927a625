"""Words alone: which questions BM25 is asked, what is kept for it, and how the student is fused with it."""

from __future__ import annotations

import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.records import Doc, Qrel, Query
from optical.errors import DataError, RecipeError
from optical.pipeline.bm25_rows import (
    BY_LEXICON,
    FUSED,
    PSQ,
    TRANSLATED,
    UNTRANSLATED,
    Development,
    lexical_runs,
    save_lexicons,
    word_rows,
)
from optical.retrieval import fusion
from optical.retrieval.lexical import bm25, psq
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
    assert list(runs) == [UNTRANSLATED, BY_LEXICON, PSQ, TRANSLATED]
    assert [first(run, "q0") for run in runs.values()] == [None, "d1", "d1", "d2"]
    assert [first(run, "q1") for run in runs.values()] == ["d0", "d0", "d0", "d0"]
    assert [first(run, "q2") for run in runs.values()] == [None, None, None, "d1"]
    assert all(len(ranking) <= 2 and "d3" not in ranking for run in runs.values() for ranking in run.values())
    assert said[0] == bm25.available("bm25s")[1]


def test_the_lexicon_is_kept_in_the_run_as_a_list_of_synonyms_is_read(tmp_path):
    chosen = recipe(tmp_path)
    save_lexicons(chosen, {"sw": PAIRS, "so": []}, ["sw"])
    assert read_synonyms(tmp_path / "run" / "lexicon-sw.tsv")["maziwa"] == ["milk"]
    assert psq.read_translations(tmp_path / "run" / "psq-sw.tsv")["maziwa"] == [("milk", 1.0)]
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


STUDENT = {"q0": {"d2": 0.9, "d1": 0.8}, "q1": {"d0": 0.5, "d1": 0.4}}
NOBODY = Development([], [], pytest.fail)


def rows(chosen, development=NOBODY, queries=QUERIES, say=lambda _: None):
    return word_rows(chosen, COLLECTION, queries, STUDENT, development, say)


def test_the_student_is_fused_with_the_last_of_the_rows(tmp_path):
    chosen = recipe(tmp_path)
    save_lexicons(chosen, {"sw": PAIRS}, ["sw"])
    found = rows(chosen)
    assert list(found) == [UNTRANSLATED, BY_LEXICON, PSQ, FUSED]
    assert found[FUSED] == fusion.reciprocal_rank([STUDENT, found[PSQ]], depth=1000)
    weighed = rows(recipe(tmp_path, fusion="min-max", bm25_weight=0.9))[FUSED]
    assert weighed == fusion.interpolate([STUDENT, found[PSQ]], [0.1, 0.9], normalisation="min-max", depth=1000)
    assert first(weighed, "q0") == "d1"
    assert list(rows(recipe(tmp_path, fusion="off"))) == [UNTRANSLATED, BY_LEXICON, PSQ]
    assert rows(recipe(tmp_path, bm25="off")) == {}


def test_the_weight_of_the_words_is_what_is_best_on_other_judgements(tmp_path):
    chosen, asked, said = recipe(tmp_path), [], []
    save_lexicons(chosen, {"sw": PAIRS}, ["sw"])
    queries = [Query("v0", "ng'ombe"), Query("v1", "maziwa"), QUERIES[0]]
    qrels = [Qrel("v0", "d1", 1), Qrel("v1", "d2", 1), Qrel("q0", "d2", 1)]  # the words are wrong in two of three
    student = {"v0": {"d0": 1.0, "d1": 0.98, "d2": 0.0}, "v1": {"d2": 1.0, "d1": 0.5}, "q0": {"d2": 1.0, "d1": 0.1}}
    development = Development(queries, qrels, lambda some: asked.append(some) or student)
    found = rows(chosen, development, say=said.append)
    assert asked == [queries]
    assert all(run.keys() <= {"q0", "q1", "q2"} for run in found.values()), "the table is of the reported queries"
    assert said[-1] == (
        "fusion by scores, the weight of words 0.1: MAP of 3 dev queries 1.0000, 0.8333 of the student alone"
    )
    expected = fusion.interpolate([STUDENT, found[PSQ]], [0.9, 0.1], normalisation="min-max", depth=1000)
    assert found[FUSED] == expected


def test_development_queries_need_no_translation(tmp_path):
    (tmp_path / "one.tsv").write_text("q0\triver\nq1\tmaize\nq2\tmilk\n", encoding="utf-8")
    chosen = recipe(tmp_path, translations=str(tmp_path / "one.tsv"))
    found = rows(chosen, Development([Query("v0", "ng'ombe")], [Qrel("v0", "d1", 1)], pytest.fail))
    assert found[FUSED] == fusion.reciprocal_rank([STUDENT, found[TRANSLATED]], depth=1000)


def test_a_run_without_probabilities_has_no_such_row(tmp_path):
    chosen, said = recipe(tmp_path), []
    save_lexicons(chosen, {"sw": PAIRS}, ["sw"])
    assert list(lexical_runs(chosen, COLLECTION, QUERIES, said.append)) == [UNTRANSLATED, BY_LEXICON, PSQ]
    assert said[-1] == "PSQ by arrays of its own: BM25 (k1 0.9, b 0.4) of counts that the translations give"
    (tmp_path / "run" / "psq-sw.tsv").unlink()
    assert list(lexical_runs(chosen, COLLECTION, QUERIES, str)) == [UNTRANSLATED, BY_LEXICON]
