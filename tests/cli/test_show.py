"""Plans and reports from the shell."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from rich.console import Console

from optical.cli.show import heat_map
from optical.pipeline.align import WordPlan


def test_align_prints_where_words_go_before_and_after(command, finished, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    out = tmp_path / "plan.svg"
    code, told, err = command("align", finished.out, "Ninakunywa maji.", "I drink water.", "--out", out)
    assert (code, err) == (0, "")
    assert told.index("before training: cost 0.") < told.index("after training: cost 0.")
    rows = [line.split()[0] for line in told.splitlines() if line.startswith(("Ninakunywa", "maji", "[CLS]"))]
    assert rows == ["[CLS]", "Ninakunywa", "maji"] * 2
    assert "Ninakunywa" in out.read_text()


def test_align_refuses_what_it_cannot_do_in_one_line(command, finished):
    for arguments, said in ((("maji", " "), "is empty"), (("maji", "water", "-o", "plan.gif"), "svg or png or pdf")):
        code, _, err = command("align", finished.out, *arguments)
        assert code == 1
        assert said in err
        assert len(err.splitlines()) == 1
    code, _, err = command("align", "/nowhere", "maji", "water")
    assert (code, "no recipe.toml" in err) == (1, True)


@pytest.mark.parametrize("width", [40, 80])
def test_a_plan_fits_the_terminal_and_no_word_of_it_is_cut(width):
    words = [f"word{k:02}" for k in range(20)]
    plan = WordPlan(["[bold]x", "maji"], words, np.full((2, 20), 1 / 40), 0.5)
    console = Console(width=width)
    with console.capture() as shown:
        for part in heat_map(plan, width):
            console.print(part)
    text = shown.get()
    assert [word for word in words if word not in text] == []
    assert text.count("[bold]x") == text.count("maji") > 1
    assert max(map(len, text.splitlines())) <= width
    assert " 5" in text, "each word has 1/20 of the mass"


def test_report_writes_a_page_and_names_it(command, finished, tmp_path):
    code, out, err = command("report", finished.out)
    assert (code, err) == (0, "")
    assert f"the page is in {finished.folder / 'report.html'}" in out
    code, out, _ = command("report", finished.out, finished.out, "--out", tmp_path / "one.html")
    assert code == 0
    assert "Questions won and lost" in (tmp_path / "one.html").read_text(), "the same run twice is one"


def test_report_refuses_what_it_cannot_do_in_one_line(command, finished, tmp_path):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "pairs.tsv").write_text("mine")
    for arguments, said in (
        ((tmp_path,), "no recipe.toml"),
        ((finished.out, tmp_path / "nowhere"), "no recipe.toml"),
        ((finished.out, "--out", "/proc/x.html"), "cannot be written"),
        ((finished.out, "--out", tmp_path / "folder.html"), "cannot be written"),
        ((finished.out, "--out", tmp_path / "pairs.tsv"), f"name it {tmp_path / 'pairs.html'}"),
    ):
        code, _, err = command("report", *arguments)
        assert (code, len(err.splitlines())) == (1, 1)
        assert said in err
    assert (tmp_path / "pairs.tsv").read_text() == "mine"


def test_a_folder_with_any_name_is_printed_as_it_is(command, finished, tmp_path):
    folder = tmp_path / "[/b] it's"
    shutil.copytree(finished.folder, folder)
    code, out, err = command("report", folder)
    assert (code, err) == (0, "")
    assert f"the page is in {folder / 'report.html'}" in out


def test_verify_names_each_file_that_is_not_as_it_was_written(command, finished, tmp_path):
    shutil.copytree(finished.folder, run := tmp_path / "run")
    code, out, err = command("verify", run)
    assert (code, err) == (0, "")
    assert re.search(r"^(\d\d+) of \1 files of .*run are as they were written$", out, re.M)
    (run / "training.json").unlink()
    (run / "index" / "docid").write_text("d1\n")
    code, out, _ = command("verify", run)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].startswith(f"{run / 'index' / 'docid'} has 3 bytes, not the ")
    assert lines[0].endswith(f"that were written; run `optical index {run}`")
    assert lines[1].startswith(f"{run / 'training.json'} is missing; run the same `optical distill` again")
    code, out, _ = command("verify", run, "--json")
    assert code == 1
    assert [one["problem"] for one in json.loads(out)["damages"]][1] == "is missing"
    shutil.copy2(finished.folder / "index" / "docid", run / "index" / "docid")
    for verb in (("search", run, "soko"), ("export", run, "--to", "colbert"), ("align", run, "soko", "market")):
        (run / "student" / "modules.json").write_text("[]")
        code, _, err = command(*verb)
        assert code == 1
        assert f"{run / 'student' / 'modules.json'} has 2 bytes" in err
    (run / "manifest.json").write_text("{}")
    code, _, err = command("verify", run)
    assert code == 1
    assert "has no checksums" in err


def test_align_measures_a_run_or_an_encoder(command, finished, tmp_path):
    (tmp_path / "pairs.tsv").write_text("she cooks rice\tAnapika wali\nwe sell fish\tTunauza samaki\n")
    (tmp_path / "links").write_text("0-0 1-0 2-1\n0?0 1-0 2-1\n")
    asked = ("--measure", "--bitext", tmp_path / "pairs.tsv", "--gold", tmp_path / "links")
    code, out, err = command("align", finished.out, *asked)
    assert (code, err) == (0, "")
    assert "2 sentence pairs, 5 sure links of the file" in out
    assert "after training, ot - before training, ot: mean AER of a pair" in " ".join(out.split())
    code, out, _ = command("align", finished.teacher, *asked, "--json")
    assert code == 0
    errors = json.loads(out)["alignment"]["errors"]
    assert [one["links"] for one in errors] == ["both directions", "argmax", "greedy", "ot"]
    assert all(0 <= one["aer"] <= 1 for one in errors)
    assert len(json.loads(out)["alignment"]["tests"]) == 2
    assert {one["sure"] for one in errors} == {5}


def test_align_says_what_an_option_is_for(command, finished, tmp_path):
    for arguments, said in (
        ((finished.out, "maji"), "give two sentences"),
        ((finished.out, "maji", "water", "--gold", "links"), "only --measure uses it"),
        ((finished.out, "maji", "water", "--measure"), "maji would not be used"),
        ((finished.teacher, "--measure"), "an encoder has no bitext of its own"),
    ):
        code, _, err = command("align", *arguments)
        assert (code, said in " ".join(err.replace("│", " ").split())) == (2, True), err
    code, _, err = command("align", tmp_path / "none", "--measure", "--bitext", tmp_path / "none.tsv")
    assert (code, len(err.splitlines())) == (1, 1)
