"""Searching and measuring a finished run from the shell."""

from __future__ import annotations

import json

from tests.cli.conftest import snapshot


def test_search_prints_titles_snippets_and_scores(command, finished):
    code, out, err = command("search", finished.out, "Nani anaandika barua?", "-k", "2")
    assert (code, err) == (0, "")
    assert "it/s" not in out
    first, snippet, second, _ = [line for line in out.splitlines() if line.strip()][:4]
    assert first.startswith("1. Text 2  d2  ")
    assert 0.0 < float(first.split()[-1]) <= 1.0001
    assert snippet.strip() == "the teacher writes a letter ."
    assert second.startswith("2. Text ")
    assert float(second.split()[-1]) <= float(first.split()[-1])


def test_evaluate_prints_the_table_of_the_run_and_names_the_folder(command, finished):
    code, out, _ = command("evaluate", finished.out)
    assert code == 0
    kept = json.loads((finished.folder / "evaluation" / "sample-collection-test" / "results.json").read_text())
    assert f"{kept['systems']['student']['mean']['AP']:.4f}" in out
    assert "MAP" in out
    assert "share of ceiling" in out
    assert "paired randomisation" in out


def test_a_student_of_other_dimension_is_refused_in_one_message(command, finished, tmp_path):
    from tests.conftest import bert

    bert(tmp_path / "made", dim=16).save(str(tmp_path / "narrow"))
    before = snapshot(finished.folder)
    code, _, err = command("evaluate", finished.out, "--student", tmp_path / "narrow")
    assert code == 1
    assert "error: " in err
    assert snapshot(finished.folder) == before
