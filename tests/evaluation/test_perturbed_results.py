"""Scores on perturbed queries: how queries are drawn, how seeds are averaged, the table and the JSON."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from optical.data.records import Query
from optical.evaluation import report
from optical.evaluation.measures import Scores
from optical.evaluation.perturbations import touched
from optical.evaluation.perturbed_results import PerturbedQueries, as_dict, measure_perturbed, perturb_queries, table
from optical.evaluation.tables import terminal

QUERIES = [Query("q1", "nani anapanda mahindi?"), Query("q2", "wapi mvua inanyesha?"), Query("q3", "mto wapi?")]
TEXTS = [query.text for query in QUERIES]


def worth(texts) -> Scores:
    """AP 1 for a query as it was, half for one that was changed; the third query is never found."""
    found = {q.id: 1.0 if text == q.text else 0.5 for q, text in zip(QUERIES, texts, strict=True)}
    found["q3"] = 0.0
    return Scores({"AP": sum(found.values()) / 3}, {"AP": found}, 3, 0)


def cases():
    changed = [["NANI", *TEXTS[1:]], ["NANI", "WAPI", TEXTS[2]]]  # one query by the first seed, two by the second
    return [PerturbedQueries("case", 0.5, changed, 0.25), PerturbedQueries("typos", 0.1, [TEXTS, TEXTS], 0.0)]


def found():
    return measure_perturbed("sample", "test", "sw", TEXTS, cases(), {report.STUDENT: worth})


class TestPerturbed:
    def test_every_seed_draws_anew_and_the_share_of_words_is_measured(self):
        case = perturb_queries(QUERIES, "typos", 0.5, 4, None)
        assert len(case.texts) == 4
        assert len({tuple(texts) for texts in case.texts}) == 4
        shares = [touched(q.text, text) for texts in case.texts for q, text in zip(QUERIES, texts, strict=True)]
        assert case.touched == pytest.approx(sum(shares) / 12) != 0.0

    def test_what_becomes_of_a_query_depends_on_itself_alone(self):
        alone = perturb_queries(QUERIES[1:2], "typos", 0.5, 3, None)
        together = perturb_queries(QUERIES, "typos", 0.5, 3, None)
        assert [texts[1] for texts in together.texts] == [texts[0] for texts in alone.texts]

    def test_nothing_to_touch(self):
        case = perturb_queries(QUERIES, "diacritics", 1.0, 2, None)
        assert (case.texts, case.touched) == ([TEXTS, TEXTS], 0.0)


class TestMeasured:
    def test_seeds_are_averaged_within_a_query(self):
        case, untouched = found().outcomes[report.STUDENT]
        assert case.by_seed == pytest.approx([1.5 / 3, 1.0 / 3])
        assert case.mean.per_query["AP"] == {"q1": 0.5, "q2": 0.75, "q3": 0.0}
        assert case.mean.mean["AP"] == pytest.approx(np.mean(case.by_seed))
        assert case.change.difference == pytest.approx(-0.25)
        assert (case.change.win, case.change.tie, case.change.loss) == (0, 1, 2)  # three queries, however many seeds
        assert untouched.change.difference == 0.0

    def test_share_kept(self):
        case, untouched = found().outcomes[report.STUDENT]
        assert found().kept(report.STUDENT, case) == pytest.approx(1.25 / 2)
        assert found().kept(report.STUDENT, untouched) == 1.0
        nothing = measure_perturbed(
            "s", "test", "sw", TEXTS, cases(), {"none": lambda _: Scores({"AP": 0.0}, worth(TEXTS).per_query, 3, 0)}
        )
        assert nothing.kept("none", case) is None
        assert table(nothing).rows[1][7] == ""


class TestTable:
    def test_each_row_beside_the_clean_one(self):
        _, head, (clean, case, untouched), left, bold, framed = table(found())
        assert (left, bold, framed) == (2, [0], False)
        assert head == ["system", "kind", "rate", "words changed", "MAP", "seeds +-", "lost", "kept", "p"]
        assert clean == ["student", "none", "", "", "0.6667", "", "", "", ""]
        assert case[:8] == ["student", "case", "0.5", "25.0 %", "0.4167", "0.1179", "+0.2500", "62.5 %"]
        assert 0.4 < float(case[8]) < 0.6  # two of four sign vectors are as far from 0
        assert untouched[3:] == ["0.0 %", "0.6667", "0.0000", "+0.0000", "100.0 %", "1.0000"]

    def test_one_seed_has_no_spread(self):
        one = measure_perturbed(
            "s", "test", "sw", TEXTS, [PerturbedQueries("case", 0.5, [TEXTS], 0.0)], {"student": worth}
        )
        assert table(one).rows[1][5] == ""

    def test_the_title_says_how_many_queries_and_seeds(self):
        assert table(found()).title.startswith("sample (test): 3 sw queries, perturbed with 2 seeds; ")

    def test_no_number_is_cut_in_a_narrow_terminal(self):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(terminal(table(found())))
        printed = console.export_text()
        assert "…" not in printed
        numbers = [cell for cells in table(found()).rows for cell in cells[2:] if cell]
        assert [cell for cell in numbers if cell not in printed] == []

    def test_the_json_holds_queries_seeds_and_tests(self):
        kept = json.loads(json.dumps(as_dict(found()), allow_nan=False))
        assert kept["cases"][0]["texts"][1][0] == "NANI"
        first = kept["systems"]["student"]["perturbed"][0]
        assert (first["kind"], first["rate"], first["test"]["loss"]) == ("case", 0.5, 2)
        assert first["scores"]["per_query"]["AP"]["q2"] == 0.75
        assert kept["systems"]["student"]["clean"]["mean"]["AP"] == pytest.approx(2 / 3)
