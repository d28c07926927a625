"""--json, --quiet and -v: one JSON value, the result alone, times."""

from __future__ import annotations

import json
import logging
import os

import pytest

from optical.cli import search
from optical.cli.app import _stop, show
from optical.cli.output import Plain, bold, console, found, hint, say, with_output
from optical.data.records import Doc
from optical.errors import DataError
from optical.evaluation.tables import Table
from optical.retrieval.matches import Hit
from tests.cli.test_help import VERBS

# A stranger's title: turns red, goes a line up, sets the clipboard, is markup, is an emoji, ends in a backslash.
FOREIGN = "\x1b[31mred \x1b[1A\x1b]52;c;aGk=\x07 \x9b31m [bold]b[/bold] [/dim] 1:100:5 :smile: [red] \\"
SHOWN = r"\x1b[31mred \x1b[1A\x1b]52;c;aGk=\x07 \x9b31m [bold]b[/bold] [/dim] 1:100:5 :smile: [red]"


def shown(capsys):
    """What was printed, its own line breaks taken out; no control character is in it."""
    out, err = capsys.readouterr()
    text = out + err
    assert not [c for c in text if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")]
    return " ".join(text.split())


@pytest.mark.parametrize(
    "told",
    [
        lambda: search._print_hits("Nani?", [Hit(Doc("d1", FOREIGN, "Text."), 1.0, [], None)]),
        lambda: search._print_hits("Nani?", [Hit(Doc("d1", "", FOREIGN), 1.0, [], None)]),
        lambda: search._print_hits("Nani?", [Hit(Doc(FOREIGN, "t", "x"), 1.0, [], None)]),
        lambda: search._print_hits("Nani?", [Hit(Doc("d", "t", "x", json.dumps({"a": FOREIGN})), 1.0, [], None)]),
        lambda: show(Table("", ("system", "MAP"), [(FOREIGN.replace(" ", "_"), "1")])),
        lambda: show(Table(FOREIGN, ("system", "MAP"), [("x" * 150, "1")])),
        lambda: show(Table("", ("system", "MAP"), [("x", "1")]), [FOREIGN]),
        lambda: say(FOREIGN),
        lambda: hint(bold(FOREIGN)),
        lambda: console.print(bold(FOREIGN)),
        lambda: logging.getLogger("other").warning("%s", FOREIGN),
    ],
    ids=["title", "text", "id", "field", "cell", "caption", "sentence", "progress", "hint", "path", "log"],
)
def test_foreign_text_is_shown_as_text_and_does_nothing_to_a_terminal(told, capsys, monkeypatch):
    monkeypatch.setattr(console, "width", 200)
    handler = logging.StreamHandler()
    handler.setFormatter(Plain("%(message)s"))
    monkeypatch.setattr(logging.getLogger("other"), "handlers", [handler])
    told()
    assert SHOWN in shown(capsys).replace("_", " ")


def test_an_error_quotes_foreign_text_as_text(capsys):
    with pytest.raises(SystemExit):
        _stop(str(DataError(FOREIGN)))
    assert SHOWN in shown(capsys)


def test_json_has_no_control_characters_either(capsys):
    with_output(lambda: found(title=FOREIGN), hidden=False)(json=True, quiet=False, verbose=False)
    out = capsys.readouterr().out
    assert json.loads(out)["title"] == FOREIGN
    assert not [c for c in out if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")]


@pytest.fixture(autouse=True)
def _bars_come_back(monkeypatch):
    monkeypatch.setitem(os.environ, "TQDM_DISABLE", "0")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_them_and_its_help_has_them(command, verb):
    without = ("data", "doctor", "bitext", "verify", "rerun", "push", "pull", "cache")
    full = "--help" if verb in without else "--help-all"
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
