"""The table and the JSON: the numbers are those that were measured, and nothing else is."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console

from optical.data.records import Qrel
from optical.evaluation import report
from optical.evaluation.measures import measure
from optical.evaluation.report import CEILING, STUDENT, TRANSPLANT, ZERO_SHOT, Report
from optical.evaluation.significance import holm, t_test
from optical.evaluation.tables import page, terminal

QRELS = [Qrel(f"q{k}", f"d{k}", 1) for k in range(4)]


def scores_of(*ranks: int):
    """Measured scores of a system that puts the relevant document of query k at the given rank; 0 is nowhere."""
    run = {}
    for k, rank in enumerate(ranks):
        others = [f"x{i}" for i in range(5)]
        if rank:
            others.insert(rank - 1, f"d{k}")
        run[f"q{k}"] = {doc: 10.0 - i for i, doc in enumerate(others)}
    return measure(run, QRELS)


@pytest.fixture
def measured() -> Report:
    systems = {
        CEILING: scores_of(1, 1, 1, 2), ZERO_SHOT: scores_of(0, 4, 1, 0), TRANSPLANT: scores_of(1, 2, 1, 0),
        STUDENT: scores_of(1, 1, 2, 2),
    }  # fmt: skip
    return Report("sample", "test", "sw", 1234, systems)


def test_shares_are_of_the_ceilings_map(measured):
    assert measured.share(CEILING) == 1.0
    assert measured.share(STUDENT) == pytest.approx((3.0 / 4) / (3.5 / 4))
    assert Report("c", "test", "sw", 1, {STUDENT: measured.scores[STUDENT]}).share(STUDENT) is None


def test_a_ceiling_of_nothing_has_no_shares(measured):
    found = measured._replace(scores={**measured.scores, CEILING: scores_of(0, 0, 0, 0)})
    assert [found.share(system) for system in found.scores] == [None] * 4
    assert {system["share_of_ceiling"] for system in report.as_dict(found)["systems"].values()} == {None}
    assert [row[5] for row in report.table(found).rows] == [""] * 4


def test_the_student_is_compared_with_every_other_system_in_x(measured):
    tests = measured.tests()
    assert list(tests) == [f"{STUDENT} - {ZERO_SHOT}", f"{STUDENT} - {TRANSPLANT}"]
    first, second = tests.values()
    assert first.difference == pytest.approx((1 + 1 + 0.5 + 0.5 - (0 + 0.25 + 1 + 0)) / 4)
    assert (first.win, first.tie, first.loss) == (3, 0, 1)
    assert (second.win, second.tie, second.loss) == (2, 1, 1)
    without_student = {k: v for k, v in measured.scores.items() if k != STUDENT}
    assert measured._replace(scores=without_student).tests() == {}


def test_the_lines_hold_what_was_measured(measured):
    _, head, body, left, bold, framed = report.table(measured)
    assert (left, bold, framed) == (2, [3], True)
    assert head == ["system", "queries", "MAP", "nDCG@10", "R@100", "share of ceiling"]
    assert [row[:3] for row in body] == [
        [CEILING, "en", "0.8750"], [ZERO_SHOT, "sw", "0.3125"], [TRANSPLANT, "sw", "0.6250"], [STUDENT, "sw", "0.7500"],
    ]  # fmt: skip
    assert [row[4] for row in body] == ["1.0000", "0.5000", "0.7500", "1.0000"]
    assert [row[5] for row in body] == ["100.0 %", "35.7 %", "71.4 %", "85.7 %"]
    assert report.table(measured._replace(scores={STUDENT: measured.scores[STUDENT]})).rows[0][5] == ""


def test_the_json_keeps_every_query_and_can_be_written(measured):
    kept = json.loads(json.dumps(report.as_dict(measured)))
    assert (kept["collection"], kept["split"], kept["lang"], kept["documents"]) == ("sample", "test", "sw", 1234)
    assert list(kept["systems"]) == list(measured.scores)
    student = kept["systems"][STUDENT]
    assert student["per_query"]["AP"] == {"q0": 1.0, "q1": 1.0, "q2": 0.5, "q3": 0.5}
    assert student["share_of_ceiling"] == pytest.approx(6 / 7)
    assert kept["tests"][f"{STUDENT} - {ZERO_SHOT}"]["win"] == 3


def test_markdown_terminal_and_sentences_say_the_same(measured):
    table, sentences = report.table(measured), report.sentences(measured)
    markdown = page(table, sentences)
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - closed with the process
    console.print(terminal(table))
    printed = console.export_text()
    for row in [table.head, *table.rows]:
        assert "| " + " | ".join(row) + " |" in markdown
        assert all(cell in printed for cell in row)
    assert table.title == "sample (test): 4 sw queries, 1234 English documents"
    assert table.title in printed
    assert markdown.startswith(table.title)
    first = sentences[0]
    assert first.startswith(f"{STUDENT} - {ZERO_SHOT}: MAP +0.4375, p = ")
    assert re.search(r"3 won / 0 tied / 1 lost; Holm 0\.\d{4}$", first)
    assert first in markdown


def test_the_tests_that_are_kept_have_both_corrections(measured):
    tests = report.as_dict(measured)["tests"]
    ps = [test["p_value"] for test in tests.values()]
    assert [test["p_holm"] for test in tests.values()] == holm(ps)
    for name, test in tests.items():
        other = measured.scores[name.removeprefix(f"{STUDENT} - ")]
        assert test["t_p_value"] == t_test(measured.scores[STUDENT], other)


def test_a_report_of_nothing_has_a_title():
    assert "0 sw queries" in report.table(Report("c", "test", "sw", 0, {})).title


@pytest.fixture
def several(measured) -> dict[str, Report]:
    """Three languages: one whole, one without a ceiling, one without a transplant."""
    without = {system: scores for system, scores in measured.scores.items() if system != CEILING}
    other = {CEILING: scores_of(1, 1, 1, 1), ZERO_SHOT: scores_of(0, 0, 0, 2), STUDENT: scores_of(1, 2, 0, 0)}
    return {
        "sw": measured, "so": measured._replace(lang="so", scores=without),
        "tl": measured._replace(lang="tl", collection="other", scores=other),
    }  # fmt: skip


def test_a_summary_has_a_line_for_each_language_and_their_means(several):
    _, head, body, left, bold, _ = report.summary_table(several)
    assert (left, bold) == (2, [3])
    assert head == [
        "lang", "queries", "ceiling", "zero-shot", "transplant", "student", "share", "p",
    ]  # fmt: skip
    p = several["sw"].tests()[f"{STUDENT} - {TRANSPLANT}"].p_value
    assert body == [
        ["sw", "4", "0.8750", "0.3125", "0.6250", "0.7500", "85.7 %", f"{p:.4f}"],
        ["so", "4", "", "0.3125", "0.6250", "0.7500", "", f"{p:.4f}"],
        ["tl", "4", "1.0000", "0.1250", "", "0.3750", "37.5 %", ""],
        ["mean", "", "0.9375", "0.2500", "0.6250", "0.6250", "61.6 %", ""],
    ]
    assert report.mean_summary(several)["share_of_ceiling"] == pytest.approx((6 / 7 + 0.375) / 2)
    assert report.mean_summary({"so": several["so"]})["share_of_ceiling"] is None


def test_the_summary_as_json_markdown_and_terminal_says_the_same(several):
    kept = json.loads(json.dumps(report.summary_as_dict(several)))
    assert list(kept["languages"]) == ["sw", "so", "tl"]
    assert kept["languages"]["tl"] | {"p_value": 0} == {
        "collection": "other", "queries": 4, CEILING: 1.0, ZERO_SHOT: 0.125, TRANSPLANT: None, STUDENT: 0.375,
        "share_of_ceiling": 0.375, "p_value": 0,
    }  # fmt: skip
    assert kept["mean"] == pytest.approx(report.mean_summary(several))
    table = report.summary_table(several)
    markdown = page(table)
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - closed with the process
    console.print(terminal(table))
    printed = console.export_text()
    title = "MAP by language, one student: sample (test), other (test)"
    assert title in markdown
    assert title in printed
    for row in [table.head, *table.rows]:
        assert "| " + " | ".join(row) + " |" in markdown
        assert all(cell in printed for cell in row)
