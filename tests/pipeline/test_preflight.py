"""Refusals before anything heavy is imported: fast, one line, and nothing made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from optical.config.recipe import load_recipe
from optical.errors import DataError
from optical.files import check_place
from optical.pipeline import preflight


def recipe(data: Path, **instead: str):
    named = {"lang": "sw", "bitext": str(data / "bitext.tsv"), "collection": str(data / "collection")}
    named |= {"out": str(data / "run"), "cache": str(data / "cache")}
    return load_recipe(None, {**named, **instead})


def test_what_is_there_passes_and_leaves_nothing(data):
    preflight.before_distill(recipe(data))
    assert not (data / "run").exists()
    assert not (data / "cache").exists()
    assert list(data.glob(".optical-*")) == []


@pytest.mark.parametrize(
    "name", ["bitext", "collection", "teacher", "student", "vocabulary.words", "vocabulary.lexicon"]
)
def test_a_path_that_is_missing_is_named(data, name):
    with pytest.raises(DataError, match="/no/such/thing"):
        preflight.before_distill(recipe(data, **{name: "/no/such/thing"}))


@pytest.mark.parametrize("name", ["out", "cache"])
def test_a_folder_below_a_file_is_refused(data, name):
    with pytest.raises(DataError, match=r"bitext\.tsv is in the way"):
        preflight.before_distill(recipe(data, **{name: str(data / "bitext.tsv" / "run")}))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_folder_where_the_system_makes_none_is_refused():
    with pytest.raises(DataError, match="/proc/x cannot be written"):
        check_place(Path("/proc/x"))


def test_a_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        check_place(tmp_path / "run")


@pytest.mark.parametrize("verb", ["distill", "transplant", "embed", "teach"])
def test_refusals_import_no_torch(data, verb, tmp_path):
    code = (
        "import sys; from optical import cli\n"
        f"sys.argv = ['optical', {verb!r}, '--set', 'teacher=/no/such/model', '--set', 'collection={data}/collection',"
        f" *([] if {verb!r} == 'teach' else ['--lang', 'sw', '--set', 'bitext={data}/bitext.tsv']),"
        f" '--set', 'cache={tmp_path}/cache', '--set', 'out={tmp_path}/run']\n"
        "try: cli.main()\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == ["1", "False"], done.stderr
    assert "/no/such/model: no such model folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("text", ["", " \n", "?!", "\N{ELEPHANT}", "... \u200d", "\u064e"])
def test_text_without_a_letter_or_a_digit_is_no_question(text):
    with pytest.raises(DataError, match="no question was asked"):
        preflight.checked_question(text)


@pytest.mark.parametrize("text", ["2024", "\u0968\u0966\u0968\u096a", " maji? ", "\u6c34", "C++"])
def test_a_number_or_a_sign_of_a_script_is_a_question(text):
    assert preflight.checked_question(text) == text.strip()


def test_a_language_that_the_student_does_not_read_is_refused(run):
    folder = run[0].folder
    preflight.before_search(load_recipe(folder / "recipe.toml"))
    with pytest.raises(DataError, match=r"the student of .* reads sw, not fr, xx; take another lang"):
        preflight.before_search(load_recipe(folder / "recipe.toml", {"lang": "fr,sw,xx"}))


def test_what_an_export_needs_is_looked_for_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("optical.models.onnx_encoder.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(DataError, match=r"^onnxscript not installed, which export needs; run pip install"):
        preflight.before_export(run[0], tmp_path / "onnx", "onnx")
    preflight.before_export(run[0], tmp_path / "router", "router")
