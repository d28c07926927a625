"""A run on disk whose queries are perturbed: whose queries are asked, what is measured and written."""

from __future__ import annotations

import json

import pytest

from optical.config.recipe import load_recipe, write_recipe
from optical.config.search import Search
from optical.errors import DataError, RecipeError
from optical.evaluation import report
from optical.evaluation.perturbed_results import table
from optical.evaluation.tables import page
from optical.pipeline.embed import load_teacher
from optical.pipeline.manifest import write_manifest
from optical.pipeline.perturb import perturb_run
from tests.conftest import bert
from tests.runs import by_words


@pytest.fixture
def run(tmp_path, data):
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
        (result,) = perturb_run(run, ["case", "drop", "case"], [1.0], seeds=2, say=said.append)
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
        assert (folder / "perturbed.md").read_text(encoding="utf-8") == page(table(result))
        assert any(str(folder) in line for line in said)

    def test_code_switching_reads_the_lexicon_of_the_bitext(self, run):
        (result,) = perturb_run(run, ["codeswitch"], [1.0], seeds=1)
        (texts,) = result.cases[0].texts
        assert "the answer milk ?" in texts or "answer the milk ?" in texts

    def test_another_student_is_measured_alone_and_apart(self, run, tmp_path):
        bert(tmp_path / "random").save(str(tmp_path / "other"))  # does not match by words, so it finds little
        (result,) = perturb_run(run, ["drop"], [0.5], seeds=1, student=tmp_path / "other")
        assert list(result.outcomes) == [report.STUDENT]
        assert result.clean[report.STUDENT].mean["AP"] < 0.8
        (folder,) = (run.folder / "evaluation").iterdir()
        assert folder.name.endswith("-other")

    def test_unknown_kinds_and_rates_stop_before_anything_is_loaded(self, run, monkeypatch):
        monkeypatch.setattr("optical.models.load._read_config", None)
        with pytest.raises(RecipeError, match="did you mean typos"):
            perturb_run(run, ["case", "typo"])
        with pytest.raises(RecipeError, match="from 0 to 1; received 2"):
            perturb_run(run, ["case"], [0.1, 2.0])
        with pytest.raises(ValueError, match="0 seeds"):
            perturb_run(run, ["case"], seeds=0)

    def test_a_split_that_the_collection_does_not_have(self, run):
        with pytest.raises(DataError, match="has no split 'other'"):
            perturb_run(run.model_copy(update={"search": Search(split="other")}), ["case"])


class TestCommand:
    @pytest.fixture
    def folder(self, run):
        (run.folder / "recipe.toml").write_text(write_recipe(run), encoding="utf-8")
        write_manifest(run, load_teacher(run), {})
        return run.folder

    def test_the_table_is_printed(self, command, folder):
        code, out, _ = command("evaluate", folder, "--perturb", "drop", "--rate", "0.5", "--rate", "1", "--seeds", "1")
        assert code == 0
        lines = [line for line in out.splitlines() if "drop" in line and report.STUDENT in line]
        assert [line.split()[2] for line in lines] == ["0.5", "1"]
        assert "7 zz queries, perturbed with 1 seed;" in out

    def test_an_unknown_kind_is_one_message(self, command, folder):
        code, _, err = command("evaluate", folder, "--perturb", "tipos")
        assert code == 1
        assert "received 'tipos'; did you mean typos?" in err
        assert "Traceback" not in err

    def test_a_rate_without_a_kind(self, command, folder):
        code, _, err = command("evaluate", folder, "--rate", "0.5")
        assert code == 2
        assert "--perturb typos" in err
