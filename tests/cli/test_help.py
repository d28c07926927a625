"""Helps: every verb is explained, and every option of a recipe."""

from __future__ import annotations

import pytest

from optical.config.recipe import options

VERBS = ("distill", "transplant", "embed", "index", "search", "evaluate", "export", "data", "teach", "serve")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_one_can_work_from(command, verb):
    code, out, _ = command(verb, "--help")
    assert code == 0
    assert f"optical {verb}" in out
    named = {
        "teach": "--collection",
        **dict.fromkeys(("index", "search", "evaluate", "export", "serve"), "Folder of a run"),
    }
    assert named.get(verb, "--lang") in out
    if verb in ("distill", "transplant"):
        assert [name for name in options() if name not in out] == []


def test_without_a_verb_the_help_lists_them(command):
    _, out, err = command()
    assert [verb for verb in VERBS if verb not in out + err] == []


def test_the_version(command):
    from optical import __version__

    assert command("--version")[:2] == (0, f"optical {__version__}\n")
