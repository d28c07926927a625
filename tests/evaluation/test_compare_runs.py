"""Runs of other systems: what does not fit is counted and said, and what cannot be compared is refused by name."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from optical.data.records import Qrel
from optical.data.trec_run import Run
from optical.errors import DataError, RecipeError
from optical.evaluation.compare_runs import compare_runs, narrow_tables, read_runs, table, unknown_documents
from optical.evaluation.measures import ALL_MEASURES, measure
from optical.evaluation.significance import compare_all
from optical.evaluation.tables import page, terminal

QRELS = [
    Qrel("q1", "a", 1),
    Qrel("q1", "b", 2),
    Qrel("q2", "c", 1),
    Qrel("q3", "d", 1),  # no run has it
    Qrel("q4", "a", 0),  # nothing relevant
]
OURS: Run = {"q1": {"b": 3.0, "a": 2.0, "x": 1.0}, "q2": {"c": 1.0}, "q4": {"a": 1.0}, "q9": {"d": 1.0}}
OTHER: Run = {"q1": {"x": 3.0, "y": 2.0, "b": 1.0}}
DOCUMENTS = ["a", "b", "c", "d", "x"]


def test_a_table_has_the_measures_and_tests_of_every_run():
    found = compare_runs({"ours": OURS, "other": OTHER}, QRELS, documents=DOCUMENTS, permutations=500, seed=2)
    assert found.scores == {name: measure(run, QRELS, ALL_MEASURES) for name, run in (("ours", OURS), ("other", OTHER))}
    assert (found.against, found.measure) == ("ours", "AP")
    assert found.tests == compare_all(found.scores, "ours", permutations=500, seed=2)
    assert list(found.tests) == ["other"]
    assert (found.tests["other"].win, found.tests["other"].tie, found.tests["other"].loss) == (0, 1, 2)


def test_what_does_not_fit_is_counted_and_said():
    found = compare_runs({"ours": OURS, "other": OTHER}, QRELS, documents=DOCUMENTS)
    assert found.passed_over == {"ours": 2, "other": 0}, "q4 has no relevant document, q9 no judgement"
    assert found.unknown == {"ours": 0, "other": 1}
    assert [scores.queries for scores in found.scores.values()] == [3, 3]
    assert found.notes() == [
        "ours: 1 of 3 queries not in the run, they count 0",
        "ours: 2 queries passed over, none of their documents is relevant",
        "other: 2 of 3 queries not in the run, they count 0",
        "other: 1 documents not in the collection, they count as not relevant",
    ]
    assert compare_runs({"ours": OURS}, QRELS).unknown == {}
    whole = {"all": {"q1": {"a": 1.0}, "q2": {"b": 1.0}, "q3": {"c": 1.0}}}
    assert compare_runs(whole, QRELS, documents=DOCUMENTS).notes() == []


def test_another_baseline_and_other_measures():
    found = compare_runs({"ours": OURS, "other": OTHER}, QRELS, against="other", measures=["RR@10", "P@1"])
    assert (found.against, found.measure, list(found.tests)) == ("other", "RR@10", ["ours"])
    assert found.tests["ours"].difference == pytest.approx((1 - 1 / 3 + 1) / 3)
    assert compare_runs({"ours": OURS}, QRELS).tests == {}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: compare_runs({}, QRELS), RecipeError, "nothing to compare; got 0 runs and 8 measures; name"),
        (lambda: compare_runs({"a": OURS}, QRELS, measures=[]), RecipeError, "got 1 runs and 0 measures"),
        (lambda: compare_runs({"a": OURS}, QRELS, against="b"), RecipeError, "got 'b'; choose among a"),
        (lambda: compare_runs({"a": OURS}, QRELS, measures=["MAP"]), RecipeError, "did you mean 'AP'"),
        (
            lambda: compare_runs({"a": OURS, "b": {"t1": {"a": 1.0}}}, QRELS),
            DataError,
            "the run 'b': none of the 1 queries of the run is judged",
        ),
        (
            lambda: compare_runs({"a": OURS, "b": {"q1": {"a": math.nan}}}, QRELS),
            DataError,
            "the run 'b': the score of document 'a' for query 'q1' is nan",
        ),
        (
            lambda: compare_runs({"b": OTHER}, QRELS, documents=["1", "2"]),
            DataError,
            "the run 'b': none of the 3 documents of the run is in the collection; the run has e.g. 'x', the collection"
            " '1'; give",
        ),
        (lambda: compare_runs({"a": OURS}, [Qrel("q1", "a", 0)]), DataError, "no query has a relevant document"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_unknown_documents_are_named_once():
    run: Run = {"q1": {"z": 1.0, "a": 0.5}, "q2": {"z": 2.0, "y": 1.0}}
    assert unknown_documents(run, DOCUMENTS) == ["z", "y"]
    assert unknown_documents(run, ["a", "y", "z"]) == []
    assert unknown_documents({}, DOCUMENTS) == []


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_runs_are_named_by_their_files(tmp_path):
    one = write(tmp_path / "bm25.trec", "q1 Q0 a 1 2.5 tag", "q1 Q0 b 2 1.5 tag")
    two = write(tmp_path / "mt" / "bm25.trec", "q1 Q0 b 1 2.5 tag")
    three = write(tmp_path / "dense.run", "q2 Q0 c 1 2.5 tag")
    assert read_runs([one, three]) == {"bm25": {"q1": {"a": 2.5, "b": 1.5}}, "dense": {"q2": {"c": 2.5}}}
    assert list(read_runs([one, two, three])) == [str(one), str(two), "dense"]
    assert read_runs([]) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 a 2 nan tag", "the score (column 5) is 'nan', not a finite number; at {}:2; correct"),
        ("q1 Q0 a 2 1.0 tag", "document 'a' appears twice for query 'q1'; at {}:2; remove"),
        ("q1 Q0 b 1.0", "has 6 columns, this one has 4; at {}:2; write"),
    ],
)
def test_a_broken_run_is_refused_with_its_line(tmp_path, line, message):
    good = write(tmp_path / "good.trec", "q1 Q0 a 1 2.5 tag")
    bad = write(tmp_path / "bad.trec", "q1 Q0 a 1 2.5 tag", line)
    with pytest.raises(DataError) as caught:
        read_runs([good, bad])
    assert message.format(bad) in str(caught.value)


def test_a_run_given_twice_is_refused(tmp_path):
    one = write(tmp_path / "bm25.trec", "q1 Q0 a 1 2.5 tag")
    with pytest.raises(DataError, match="a run is given twice; got .*bm25.trec again; leave"):
        read_runs([one, one])


def test_every_rendering_has_the_figures():
    found = compare_runs({"ours": OURS, "other": OTHER}, QRELS, documents=DOCUMENTS, permutations=500)
    _, head, (ours, other), *_ = table(found)
    assert head[:3] == ["run", "MAP", "AP@100"]
    assert head[-6:] == ["- ours", "p", "Holm", "t-test p", "Holm", "won / tied / lost"]
    assert ours[-6:] == [""] * 6
    test = found.tests["other"]
    assert other[-6:-4] == [f"{test.difference:+.4f}", f"{test.p_value:.4f}"]
    assert other[-1] == "0 / 1 / 2"
    markdown = page(table(found), found.notes())
    assert all("| " + " | ".join(row) + " |" in markdown for row in (head, ours, other))
    assert all(note in markdown for note in found.notes())
    console = Console(width=200, file=io.StringIO())
    for narrow in narrow_tables(found):
        console.print(terminal(narrow))
    printed = console.file.getvalue()
    assert "2 runs" in printed
    assert all(cell in printed for cell in other)


def test_one_run_is_a_table_without_tests():
    alone = table(compare_runs({"ours": OURS}, QRELS))
    assert [len(cells) for cells in [alone.head, *alone.rows]] == [1 + len(ALL_MEASURES)] * 2
    assert narrow_tables(compare_runs({"ours": OURS}, QRELS)) == [alone._replace(title="1 runs")]
