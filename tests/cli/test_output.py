"""--json, --quiet and -v: one JSON value, the result alone, times."""

from __future__ import annotations

import json
import os

import pytest

from tests.cli.test_help import VERBS


@pytest.fixture(autouse=True)
def _bars_come_back(monkeypatch):
    monkeypatch.setitem(os.environ, "TQDM_DISABLE", "0")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_them_and_its_help_has_them(command, verb):
    full = "--help-all" if verb not in ("data", "doctor", "bitext", "push", "pull", "cache") else "--help"
    _, out, _ = command(*(("cache", "list") if verb == "cache" else (verb,)), full)
    assert [flag for flag in ("--json", "--quiet", "--verbose") if flag not in out] == []


def test_the_program_lists_its_exit_codes(command):
    _, out, _ = command("--help")
    assert "130" in out


def test_quiet_and_verbose_contradict_each_other(command, finished):
    code, _, err = command("search", finished.out, "Nani?", "-q", "-v")
    assert code == 2
    assert "--quiet" in err


def test_an_answer_as_json_is_that_of_the_server(command, finished):
    code, out, _ = command("search", finished.out, "Nani anapanda mahindi?", "-k", "2", "--json")
    assert code == 0
    (answer,) = json.loads(out)["answers"]
    assert answer["query"] == "Nani anapanda mahindi?"
    assert [one["title"] != "" and {"id", "matches", "score", "text"} < set(one) for one in answer["results"]] == [
        True
    ] * 2


def test_a_measured_run_as_json(command, finished):
    code, out, err = command("evaluate", finished.out, "--json")
    assert code == 0
    assert json.loads(out)["reports"]["sw"]["systems"]["student"]["mean"]["AP"] > 0.1
    assert "table.md" in err


def test_quiet_prints_the_table_alone(command, finished):
    code, out, err = command("evaluate", finished.out, "--quiet")
    assert code == 0
    assert "student" in out
    assert "table.md" not in out + err


def test_verbose_says_when(command, finished):
    _, out, _ = command("evaluate", finished.out, "-v")
    assert " s  runs, results.json and table.md are in" in out


def test_plans_as_json(command, finished):
    code, out, _ = command("align", finished.out, "Ninakunywa maji", "I drink water", "--json")
    assert code == 0
    plan = next(iter(json.loads(out)["plans"].values()))
    assert len(plan["mass"]) == len(plan["foreign"])
    assert len(plan["mass"][0]) == len(plan["english"])
