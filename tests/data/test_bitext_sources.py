"""Several sources as one bitext: how they are named and weighed, which of them has a pair, and their licences."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optical.data.bitext import Pair, read_bitext
from optical.data.bitext_sources import sources_of
from optical.errors import DataError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def message(path: str) -> str:
    with pytest.raises(DataError) as caught:
        read_bitext(path, "sw")
    return str(caught.value)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two folders of sources; a pair of the first is in the second too."""
    write(tmp_path / "bitext" / "sw" / "news.tsv", "Water\tMaji\nFire\tMoto\n")
    write(tmp_path / "bitext" / "sw" / "talk.tsv", "Where?\tWapi?\n")
    write(tmp_path / "more" / "massive.tsv", "water!\tmaji\nPlay music\tCheza muziki\nStop\tSimama\n")
    write(tmp_path / "more" / "menus.v2.tsv", "Save\tHifadhi\n")
    return tmp_path


def test_weights_follow_the_paths_and_the_first_source_has_a_pair(folder):
    bitext = read_bitext(f"{folder}/bitext, {folder}/more/massive.tsv@0.5,{folder}/more/menus.v2.tsv@0", "sw")
    assert [pair.english for pair in bitext.pairs] == ["Water", "Fire", "Where?", "Play music", "Stop", "Save"]
    assert bitext.weights == {
        Pair("Play music", "Cheza muziki"): 0.5, Pair("Stop", "Simama"): 0.5, Pair("Save", "Hifadhi"): 0.0,
    }  # fmt: skip
    assert bitext.skipped == {"duplicate": 1}
    facts = bitext.facts()
    assert [(one["name"], one["pairs"], one["weight"]) for one in facts] == [
        ("bitext", 3, 1.0), ("massive", 2, 0.5), ("menus.v2", 1, 0.0),
    ]  # fmt: skip
    assert facts[1]["path"] == f"{folder}/more/massive.tsv"
    assert facts[1]["checksum"] == bitext._replace(pairs=bitext.pairs[3:5]).checksum


def test_a_file_of_a_folder_gets_a_weight_of_its_own_when_it_stands_first(folder):
    facts = read_bitext(f"{folder}/bitext/sw/talk.tsv@2,{folder}/bitext/sw", "sw").facts()
    assert [(one["name"], one["pairs"], one["weight"]) for one in facts] == [("talk", 1, 2.0), ("bitext", 2, 1.0)]


def test_sources_of_one_name_are_named_by_their_paths(folder):
    write(folder / "other" / "massive.tsv", "Go\tNenda\n")
    paths = [f"{folder}/more/massive.tsv", f"{folder}/other/massive.tsv"]
    assert [source.name for source in sources_of(",".join(paths), "sw")] == paths
    assert [source.weight for source in sources_of([paths[0] + "@3", folder / "other"], "sw")] == [3.0, 1.0]


def test_moses_files_stand_among_other_sources(folder):
    for name, text in (("c.en", "One\n"), ("c.sw", "Moja\n"), ("left", "Two\n"), ("right", "Mbili\n")):
        write(folder / name, text)
    for moses in ("c@0.5", "c.en@0.5", "c.en,{}/c.sw@0.5"):
        given = f"{folder}/{moses.format(folder)},{folder}/left,{folder}/right,{folder}/more/massive.tsv"
        bitext = read_bitext(given, "sw")
        assert [source.name for source in bitext.given] == ["c", "left", "massive"], moses
        assert bitext.weights == {Pair("One", "Moja"): 0.5}, moses
        assert len(bitext.pairs) == 5, moses


def test_a_path_that_exists_is_taken_as_it_is(tmp_path):
    file = write(tmp_path / "a,b@9.tsv", "Water\tMaji\n")
    (source,) = sources_of(file, "sw")
    assert (source.name, source.weight) == ("a,b@9", 1.0)
    (tmp_path / "v@2").mkdir()
    write(tmp_path / "v@2" / "c.tsv", "Fire\tMoto\n")
    named = [*sources_of(f"{tmp_path}/v@2", "sw"), *sources_of(f"{tmp_path}/v@2/c.tsv@3", "sw")]
    assert [(source.name, source.weight) for source in named] == [("v@2", 1.0), ("c", 3.0)]


@pytest.mark.parametrize("weight", ["-1", "half", "nan", "inf", ""])
def test_a_weight_is_a_number_from_zero_on(folder, weight):
    path = f"{folder}/more/massive.tsv@{weight}"
    assert message(f"{folder}/bitext,{path}") == (
        f"the weight of bitext is a number from 0 on, received {weight!r} in {path}; write path@0.5 for pairs that are"
        " drawn half as often, path@0 for words alone, without training on them"
    )


def test_a_source_that_is_missing_or_adds_nothing_is_named(folder):
    bitext, again = f"{folder}/bitext", f"{folder}/bitext/sw/news.tsv"
    assert message(f"{bitext},{folder}/more/no.tsv@2").startswith(
        f"no such file, folder or Moses prefix: {folder}/more/no.tsv; accepted are .tsv"
    )
    assert message(f"{bitext},{again}") == f"{again} was read already, as a part of {bitext}; name a source once"
    copy = write(folder / "copy.tsv", "water\tmaji\nFire\tMoto.\nbad\n")
    assert message(f"{bitext},{copy}").startswith(
        f"no pair of English and sw in {copy}: duplicate 2 (first at {copy}:1); wrong number of columns 1 (first at"
    )


def licence(path: Path) -> str | None:
    (source,) = sources_of(path, "sw")
    return source.licence


def test_a_licence_is_what_is_said_beside_the_files(folder):
    news, massive = folder / "bitext" / "sw" / "news.tsv", folder / "more" / "massive.tsv"
    assert licence(massive) is None
    write(folder / "more" / "README.md", "# Requests\n\n- **Licence:** CC BY 4.0\n")
    assert licence(massive) == "CC BY 4.0"
    write(folder / "more" / "README.md", "a: License: MIT\nLicense: MIT\nlicence: GPL\n")
    assert licence(massive) is None, "of several, nobody says which is whose"
    write(folder / "more" / "LICENSE", "\nMIT License\n\nPermission is\n")
    assert licence(massive) == licence(folder / "more") == "MIT License"
    write(folder / "more" / "source.toml", 'licence = "ours"\n[massive]\nlicence = "CC0"\n')
    assert licence(massive) == "CC0"
    assert licence(folder / "more") is None, "its files are under several"
    write(folder / "bitext" / "LICENSE", "Public domain\n")
    assert licence(folder / "bitext") == "Public domain"
    assert licence(news) is None, "a folder above a file may be of anything"


@pytest.mark.parametrize(("text", "said"), [("licence = CC", "not TOML"), ("licence = 3", "is a text, received 3")])
def test_facts_that_cannot_be_read_are_refused(folder, text, said):
    facts = write(folder / "more" / "source.toml", text)
    assert message(f"{folder}/more").startswith(f"{facts}: ")
    assert said in message(f"{folder}/more")
    assert message(f"{folder}/more").endswith('; write licence = "CC BY 4.0"')


def test_a_folder_that_vanishes_while_it_is_looked_through_is_passed_over(tmp_path, monkeypatch):
    for name in ("gone", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.tsv").write_text("water\tmaji\n")
    real = os.scandir

    def scandir(place="."):
        if str(place).endswith("gone"):
            raise FileNotFoundError(2, "No such file or directory", str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    (source,) = sources_of(str(tmp_path), "sw")
    assert [one.paths() for one in source.files] == [(tmp_path / "here" / "a.tsv",)]
