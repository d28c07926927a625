"""Searching and measuring a finished run from the shell."""

from __future__ import annotations

import io
import json

from optical.data.feedback import Feedback
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


def test_feedback_is_measured_as_judgements_of_its_own(command, finished, tmp_path):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw"], {f"d{k}" for k in range(12)})
    for query, doc_id, relevance in (
        ("Nani anaandika barua?", "d2", 1),
        ("Nani anapika?", "d8", 1),
        ("Mbwa?", "d2", 0),
    ):
        kept.add(query, doc_id, relevance)
    code, out, err = command("evaluate", finished.out, "--feedback", kept.path)
    assert (code, err) == (0, "")
    results = finished.folder / "evaluation" / "sample-collection-feedback" / "results.json"
    assert json.loads(results.read_text())["systems"]["student"]["queries"] == 2
    for more, told in ((["--split", "dev"], "not with --run"), (["--perturb", "typos"], "not with --run")):
        code, _, err = command("evaluate", finished.out, "--feedback", kept.path, *more)
        assert (code, told in err) == (2, True)
    kept.path.write_text("years of work\n")
    code, _, err = command("evaluate", finished.out, "--feedback", kept.path)
    assert code == 1
    assert "bad JSON" in err


def test_a_student_of_other_dimension_is_refused_in_one_message(command, finished, tmp_path):
    from tests.conftest import bert

    bert(tmp_path / "made", dim=16).save(str(tmp_path / "narrow"))
    before = snapshot(finished.folder)
    code, _, err = command("evaluate", finished.out, "--student", tmp_path / "narrow")
    assert code == 1
    assert "error: " in err
    assert snapshot(finished.folder) == before


def test_several_questions_are_answered_each_under_its_name(command, finished):
    code, out, _ = command("search", finished.out, "Nani anaandika barua?", "Nani anapanda mahindi?", "-k", "1")
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines() if line.startswith("q")] == ["q1", "q2"]
    assert out.count("1. Text") == 2


def test_questions_of_standard_input_become_a_trec_run(command, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a7\tNani anaandika barua?\n\nNani anapanda mahindi?\n"))
    code, out, _ = command("search", finished.out, "-", "--trec", tmp_path / "mine.trec", "-k", "3")
    assert code == 0
    lines = (tmp_path / "mine.trec").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["a7"] * 3 + ["q2"] * 3
    assert lines[0].split()[1:4] == ["Q0", "d2", "1"]
    assert "mine.trec" in out


def test_questions_that_are_none_are_refused_before_the_run_is_loaded(command, finished, monkeypatch):
    for text in ("", "  ", "a" * 1001):
        code, _, err = command("search", finished.out, "Nani?", text)
        assert code == 1
        assert "question" in err
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert command("search", finished.out, "-")[0] == 1


def test_a_trec_file_of_others_is_not_replaced(command, finished, tmp_path):
    (tmp_path / "theirs.trec").write_text("q1 Q0 d1 1 2 tag\n")
    code, _, err = command("search", finished.out, "Nani?", "--trec", tmp_path / "theirs.trec")
    assert code == 1
    assert "in the way" in err
