"""What is left under perturbation: whose queries, which seeds, the table, and a run on disk."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from optical.config.recipe import Search, load_recipe, write_recipe
from optical.data.collection import Query
from optical.errors import DataError, RecipeError
from optical.evaluation import report
from optical.evaluation.measures import Scores
from optical.evaluation.perturbations import touched
from optical.pipeline import perturb
from optical.pipeline.perturb import Case, perturbed, stress_run, stressed
from tests.cli.conftest import command  # noqa: F401 - a fixture
from tests.conftest import bert
from tests.pipeline.test_distill import by_words, data  # noqa: F401 - data is a fixture

QUERIES = [Query("q1", "nani anapanda mahindi?"), Query("q2", "wapi mvua inanyesha?"), Query("q3", "mto wapi?")]
TEXTS = [query.text for query in QUERIES]


def worth(texts) -> Scores:
    """AP 1 for a query as it was, half for one that was changed; the third query is never found."""
    found = {q.id: 1.0 if text == q.text else 0.5 for q, text in zip(QUERIES, texts, strict=True)}
    found["q3"] = 0.0
    return Scores({"AP": sum(found.values()) / 3}, {"AP": found}, 3, 0)


def cases():
    changed = [["NANI", *TEXTS[1:]], ["NANI", "WAPI", TEXTS[2]]]  # one query by the first seed, two by the second
    return [Case("case", 0.5, changed, 0.25), Case("typos", 0.1, [TEXTS, TEXTS], 0.0)]


def found():
    return stressed("sample", "test", "sw", TEXTS, cases(), {report.STUDENT: worth})


class TestPerturbed:
    def test_every_seed_draws_anew_and_the_share_of_words_is_measured(self):
        case = perturbed(QUERIES, "typos", 0.5, 4, None)
        assert len(case.texts) == 4
        assert len({tuple(texts) for texts in case.texts}) == 4
        shares = [touched(q.text, text) for texts in case.texts for q, text in zip(QUERIES, texts, strict=True)]
        assert case.touched == pytest.approx(sum(shares) / 12) != 0.0

    def test_what_becomes_of_a_query_depends_on_itself_alone(self):
        alone = perturbed(QUERIES[1:2], "typos", 0.5, 3, None)
        together = perturbed(QUERIES, "typos", 0.5, 3, None)
        assert [texts[1] for texts in together.texts] == [texts[0] for texts in alone.texts]

    def test_nothing_to_touch(self):
        case = perturbed(QUERIES, "diacritics", 1.0, 2, None)
        assert (case.texts, case.touched) == ([TEXTS, TEXTS], 0.0)


class TestStressed:
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
        nothing = stressed(
            "s", "test", "sw", TEXTS, cases(), {"none": lambda _: Scores({"AP": 0.0}, worth(TEXTS).per_query, 3, 0)}
        )
        assert nothing.kept("none", case) is None
        assert perturb.as_lines(nothing)[2][7] == ""


class TestTable:
    def test_each_row_beside_the_clean_one(self):
        head, clean, case, untouched = perturb.as_lines(found())
        assert head == ["system", "kind", "rate", "words changed", "MAP", "seeds +-", "lost", "kept", "p"]
        assert clean == ["student", "none", "", "", "0.6667", "", "", "", ""]
        assert case[:8] == ["student", "case", "0.5", "25.0 %", "0.4167", "0.1179", "+0.2500", "62.5 %"]
        assert 0.4 < float(case[8]) < 0.6  # two of four sign vectors are as far from 0
        assert untouched[3:] == ["0.0 %", "0.6667", "0.0000", "+0.0000", "100.0 %", "1.0000"]

    def test_one_seed_has_no_spread(self):
        one = stressed("s", "test", "sw", TEXTS, [Case("case", 0.5, [TEXTS], 0.0)], {"student": worth})
        assert perturb.as_lines(one)[2][5] == ""

    def test_title_markdown_and_terminal(self):
        text = perturb.as_markdown(found())
        assert text.startswith("sample (test): 3 sw queries, perturbed with 2 seeds; ")
        assert len([line for line in text.splitlines() if line.startswith("|")]) == 5
        table = perturb.as_table(found())
        assert (table.row_count, len(table.columns)) == (3, 9)

    def test_no_number_is_cut_in_a_narrow_terminal(self):
        from rich.console import Console

        table = perturb.as_table(found()._replace(lang="sw"))
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(table)
        printed = console.export_text()
        assert "…" not in printed
        numbers = [cell for cells in perturb.as_lines(found())[1:] for cell in cells[2:] if cell]
        assert [cell for cell in numbers if cell not in printed] == []

    def test_the_json_holds_queries_seeds_and_tests(self):
        kept = json.loads(json.dumps(perturb.as_dict(found()), allow_nan=False))
        assert kept["cases"][0]["texts"][1][0] == "NANI"
        first = kept["systems"]["student"]["perturbed"][0]
        assert (first["kind"], first["rate"], first["test"]["loss"]) == ("case", 0.5, 2)
        assert first["scores"]["per_query"]["AP"]["q2"] == 0.75
        assert kept["systems"]["student"]["clean"]["mean"]["AP"] == pytest.approx(2 / 3)


@pytest.fixture
def run(tmp_path, data):  # noqa: F811
    """A run on disk whose student is the teacher, uncased and matching by words; English stands for X."""
    encoder = by_words(bert(tmp_path / "bert"))
    for folder in ("teacher", "run/student", "run/transplant"):
        encoder.save(str(tmp_path / folder))
    english = (data / "collection" / "queries.en.tsv").read_text(encoding="utf-8")
    folder = tmp_path / "collection"
    folder.mkdir()
    for file in (data / "collection").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "queries.zz.tsv").write_text(english, encoding="utf-8")
    lines = [f"the answer {k}\twho gives {k}" for k in range(20)]
    (tmp_path / "bitext.tsv").write_text("\n".join(lines), encoding="utf-8")
    return load_recipe(
        None,
        {
            "lang": "zz", "teacher": str(tmp_path / "teacher"), "collection": str(folder),
            "bitext": str(tmp_path / "bitext.tsv"), "out": str(tmp_path / "run"), "cache": str(tmp_path / "cache"),
        },
    )  # fmt: skip


class TestRun:
    def test_an_uncased_student_loses_nothing_to_case_and_something_to_lost_words(self, run):
        said = []
        (result,) = stress_run(run, ["case", "drop", "case"], [1.0], seeds=2, say=said.append)
        assert [(case.kind, case.rate) for case in result.cases] == [("case", 1.0), ("drop", 1.0)]
        assert list(result.outcomes) == [report.TRANSPLANT, report.STUDENT]
        case, drop = result.outcomes[report.STUDENT]
        clean = result.clean[report.STUDENT].mean["AP"]
        assert clean > 0.9
        assert case.by_seed == [clean, clean]
        assert result.cases[0].touched > 0.5
        assert drop.mean.mean["AP"] < clean - 0.1
        assert result.outcomes[report.TRANSPLANT] == result.outcomes[report.STUDENT]
        (folder,) = (run.folder / "evaluation").iterdir()
        assert json.loads((folder / "perturbed.json").read_text())["systems"].keys() == result.outcomes.keys()
        assert (folder / "perturbed.md").read_text(encoding="utf-8") == perturb.as_markdown(result)
        assert any(str(folder) in line for line in said)

    def test_code_switching_reads_the_lexicon_of_the_bitext(self, run):
        (result,) = stress_run(run, ["codeswitch"], [1.0], seeds=1)
        (texts,) = result.cases[0].texts
        assert "the answer milk ?" in texts or "answer the milk ?" in texts

    def test_another_student_is_measured_alone_and_apart(self, run, tmp_path):
        bert(tmp_path / "random").save(str(tmp_path / "other"))  # does not match by words, so it finds little
        (result,) = stress_run(run, ["drop"], [0.5], seeds=1, student=tmp_path / "other")
        assert list(result.outcomes) == [report.STUDENT]
        assert result.clean[report.STUDENT].mean["AP"] < 0.8
        (folder,) = (run.folder / "evaluation").iterdir()
        assert folder.name.endswith("-other")

    def test_unknown_kinds_and_rates_stop_before_anything_is_loaded(self, run, monkeypatch):
        monkeypatch.setattr(perturb.encoders, "load", None)
        with pytest.raises(RecipeError, match="did you mean typos"):
            stress_run(run, ["case", "typo"])
        with pytest.raises(RecipeError, match="from 0 to 1; received 2"):
            stress_run(run, ["case"], [0.1, 2.0])
        with pytest.raises(ValueError, match="0 seeds"):
            stress_run(run, ["case"], seeds=0)

    def test_a_split_that_the_collection_does_not_have(self, run):
        with pytest.raises(DataError, match="has no split 'other'"):
            stress_run(run.model_copy(update={"search": Search(split="other")}), ["case"])


class TestCommand:
    @pytest.fixture
    def folder(self, run):
        (run.folder / "recipe.toml").write_text(write_recipe(run), encoding="utf-8")
        return run.folder

    def test_the_table_is_printed(self, command, folder):  # noqa: F811
        code, out, _ = command("evaluate", folder, "--perturb", "drop", "--rate", "0.5", "--rate", "1", "--seeds", "1")
        assert code == 0
        lines = [line for line in out.splitlines() if "drop" in line and report.STUDENT in line]
        assert [line.split()[2] for line in lines] == ["0.5", "1"]
        assert "7 zz queries, perturbed with 1 seed;" in out

    def test_an_unknown_kind_is_one_message(self, command, folder):  # noqa: F811
        code, _, err = command("evaluate", folder, "--perturb", "tipos")
        assert code == 1
        assert "received 'tipos'; did you mean typos?" in err
        assert "Traceback" not in err

    def test_a_rate_without_a_kind(self, command, folder):  # noqa: F811
        code, _, err = command("evaluate", folder, "--rate", "0.5")
        assert code == 2
        assert "--perturb typos" in err
