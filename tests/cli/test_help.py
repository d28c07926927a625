"""Helps: the verbs in the order of use, the everyday options of a verb, and all of them when they are asked for."""

from __future__ import annotations

import re

import pytest

from optical.config.probe import Probe
from optical.config.recipe import options
from optical.config.teaching import Teaching

VERBS = (
    "data", "bitext", "transplant", "distill", "evaluate", "search", "serve", "export", "report", "align", "probe",
    "verify", "rerun", "push", "pull", "mteb", "embed", "index", "cache", "teach", "doctor",
)  # fmt: skip
WITHOUT_RECIPE = ("verify", "rerun", "push", "pull", "cache")


def test_the_verbs_are_listed_in_the_order_of_use_under_what_they_are_for(command):
    code, out, _ = command("--help")
    assert code == 0
    assert re.findall(r"^│ ([a-z]+) ", out, re.MULTILINE) == list(VERBS)
    panels = re.findall(r"─ ([A-Z][a-z ]+[a-z]) ─", out)
    named = [
        "Options",
        "Make a student",
        "Use it",
        "See it",
        "Share it",
        "Documents",
        "English teacher",
        "Installation",
    ]
    assert panels == named


def test_without_a_verb_the_help_lists_them(command):
    _, out, err = command()
    assert [verb for verb in VERBS if verb not in out + err] == []


def test_the_version(command):
    from optical import __version__

    assert command("--version")[:2] == (0, f"optical {__version__}\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_one_can_work_from(command, verb):
    code, out, _ = command(verb, "--help")
    assert code == 0
    assert f"optical {verb}" in out
    named = {
        "teach": "--collection",
        "doctor": "--cache",
        "cache": "prune",
        "pull": "Repository of a model hub",
        **dict.fromkeys(
            (
                "index",
                "search",
                "evaluate",
                "export",
                "serve",
                "report",
                "align",
                "verify",
                "rerun",
                "push",
                "mteb",
                "probe",
            ),
            "Folder of a run",
        ),
    }
    assert named.get(verb, "--lang") in out


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_terminal_and_shows_no_default_that_is_none(command, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    lines = command(verb, "--help")[1].splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    assert "None" not in "".join(lines)


def test_help_of_distill_has_the_everyday_options_first_and_no_ablation(command):
    _, out, _ = command("distill", "--help")
    shown = [name for name in options() if re.search(rf"│ {re.escape(name)} ", out)]
    assert {"training.steps", "training.batch_size", "vocabulary.mode", "late_interaction", "layers", "seed"} < {*shown}
    assert len(shown) <= 14
    assert out.index("--lang") < out.index("--recipe") < out.index("training.steps")
    assert [name for name in ("objective.product", "vocabulary.rows", "robustness.norm") if name in out] == []
    assert "--help-all" in out


@pytest.mark.parametrize(
    ("verb", "model"),
    [*((v, None) for v in VERBS[2:-2] if v not in (*WITHOUT_RECIPE, "probe")), ("probe", Probe), ("teach", Teaching)],
)
def test_help_all_adds_every_option_by_section(command, verb, model):
    code, out, _ = command(verb, "--help-all")
    assert code == 0
    known = options(model) if model else options()
    assert [name for name in known if not re.search(rf"│ {re.escape(name)} ", out)] == []
    assert "None" not in out
    assert [name for name in {n.partition(".")[0] for n in known if "." in n} if f"─ {name} " not in out] == []
    assert out.startswith(command(verb, "--help")[1].split("╭")[0])


def test_defaults_are_written_as_one_would_give_them(command):
    _, out, _ = command("distill", "--help-all")
    flat = re.sub(r"[\s│]+", " ", out)
    for told in (
        "optimizer steps; 0 saves the transplant as the student (default 300)", "(default auto)", "(default false)",
        "folder of the run (default runs/<lang>, runs/sw+so for several)",
    ):  # fmt: skip
        assert told in flat
