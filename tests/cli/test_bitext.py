"""`optical bitext` as a shell calls it."""

import json

import pytest

from optical.data.bitext import Pair, read_bitext
from tests.pipeline.test_bitext import NAMES, written
from tests.vocabulary.test_line_shifts import late


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    pairs = read_bitext([f"data/sample/sw/bitext/{name}.tsv" for name in NAMES], "sw").pairs
    return written(tmp_path_factory.mktemp("bitext") / "a.tsv", [*late(pairs, 60, 160, 1), Pair("Same", "same")])


def test_what_is_printed(command, file):
    code, out, err = command("bitext", file, "--lang", "sw")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "Latin 100%" in out
    assert "same on both sides" in out
    assert [
        line for line in lines if line.startswith(f"{file}:") and line.endswith("the translation stands 1 line below.")
    ]
    assert "--clean OUT.tsv --repair" in out
    assert out.count("█") > 40
    assert any("0.8 to 0.95" in line and "█" in line for line in lines)


def test_json_and_a_clean_copy(command, file, tmp_path):
    code, out, _ = command("bitext", file, "--lang", "sw", "--clean", tmp_path / "clean.tsv", "--repair", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["shifted"][0]["by"] == 1
    assert facts["left_out"]["same on both sides"]["lines"] == 1
    assert facts["clean"] == str(tmp_path / "clean.tsv")
    assert facts["repaired"] > 50
    assert len((tmp_path / "clean.tsv").read_text().splitlines()) == facts["pairs"]


def test_columns_that_are_swapped_and_a_language_that_is_not_the_one_named(command, tmp_path):
    pairs = read_bitext("data/sample/sw/bitext/farming.tsv", "sw").pairs
    file = written(tmp_path / "a.tsv", [Pair(foreign, english) for english, foreign in pairs])
    out = command("bitext", file, "--lang", "so")[1]
    assert "The columns are swapped" in out
    pytest.importorskip("pycld2")
    assert "The so side reads as sw" in out


@pytest.mark.parametrize(
    "arguments", [["none.tsv"], ["{file}", "--clean", "clean.jsonl"], ["{file}", "--clean", "{file}"]]
)
def test_wrong_arguments_are_one_message(command, file, arguments):
    before = file.read_text()
    code, out, err = command("bitext", *(one.format(file=file) for one in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert file.read_text() == before


def test_without_a_language_a_file_that_names_its_own_asks_for_it(command, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"en": "Water", "sw": "Maji"}\n')
    assert "--lang so" in command("bitext", tmp_path / "a.jsonl")[2]
    assert command("bitext", tmp_path / "a.jsonl", "--lang", "sw")[0] == 0
    (tmp_path / "a.tsv").write_bytes(b"\xff\t\xfe\n")
    assert "--lang" not in command("bitext", tmp_path / "a.tsv")[2]


def test_an_encoder_that_reads_both_languages(command, tmp_path, teacher):
    teacher.save(str(tmp_path / "encoder"))
    pairs = read_bitext([f"data/sample/sw/bitext/{name}.tsv" for name in NAMES], "sw").pairs
    twice = [Pair(pair.english, f"{pair.foreign} {pair.english} {pair.english}") for pair in pairs]
    twice[20], twice[30] = (Pair(twice[a].english, twice[b].foreign) for a, b in ((20, 30), (30, 20)))
    file = written(tmp_path / "a.tsv", twice)
    code, out, err = command("bitext", file, "--lang", "sw", "--encoder", tmp_path / "encoder")
    assert (code, err) == (0, "")
    assert f"To {tmp_path / 'encoder'}, " in out
    assert "look paired by chance" in out
    told = json.loads(command("bitext", file, "--encoder", tmp_path / "encoder", "--json")[1])
    assert told["compared"]["pairs"] == len(twice)


def test_a_missing_file_is_said_before_an_encoder_is_loaded(command, tmp_path):
    assert "none.tsv" in command("bitext", tmp_path / "none.tsv", "--encoder", tmp_path / "no encoder")[2]
    code, _, err = command("bitext", "data/sample/sw/bitext", "--encoder", tmp_path / "no encoder")
    assert code == 1
    assert "no encoder: " in err
