"""`search.compute = "auto"`: the faster where it is near float32, remembered, and concrete in the run's own recipe."""

from __future__ import annotations

import json
import tomllib

import pytest
import torch

from optical.config.recipe import Recipe, load_recipe
from optical.config.search import Search
from optical.pipeline import choose_compute
from optical.pipeline.choose_compute import with_compute
from optical.pipeline.rerun import rerun
from tests.chain import recipe_of, uncased
from tests.cli.conftest import command  # noqa: F401 - a fixture
from tests.runs import distilled

TEXTS = ["the moon", "who built this house ? she cooks rice .", "i drink water ."]
NEAR = {"compared": 3, "min": 0.9990, "mean": 0.9999}


@pytest.fixture
def auto(tmp_path) -> Recipe:
    return Recipe(lang="sw", cache=str(tmp_path / "cache"), search=Search(compute="auto"))


@pytest.fixture
def measured(monkeypatch):
    """Fix what the probe finds; the list has an entry for each probe."""

    def fix(gain: float, near: dict[str, float] = NEAR) -> list[int]:
        probes: list[int] = []

        def seconds(encoder, texts):
            probes.append(len(texts))
            return {"float32": gain, "bfloat16": 1.0}

        monkeypatch.setattr(choose_compute, "_seconds", seconds)
        monkeypatch.setattr(choose_compute, "agreement", lambda *_: near)
        return probes

    return fix


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize(
    ("gain", "near", "expected", "said"),
    [
        (1.7, NEAR, "bfloat16", "in bfloat16: bfloat16 is 1.70 times as fast on this processor, its cosine with"),
        (1.7, {**NEAR, "mean": 0.9994}, "float32", "in float32: bfloat16 is 1.70 times as fast on this processor, its"),
        (1.7, {**NEAR, "min": 0.9979}, "float32", "0.99990 on average, 0.99790 at least, which is too far"),
        (1.02, NEAR, "float32", "in float32: bfloat16 is 1.02 times as fast on this processor"),
    ],
)
def test_the_faster_is_taken_where_it_is_near_float32_and_remembered(
    teacher, auto, measured, gain, near, expected, said
):
    probes, told = measured(gain, near), []
    assert with_compute(auto, teacher, TEXTS, told.append).search.compute == expected
    assert with_compute(auto, teacher, TEXTS, told.append).search.compute == expected
    assert probes == [3]
    assert said in told[0]
    assert told[1] == f"{told[0]}, as measured before"


@pytest.mark.usefixtures("with_bfloat16")
def test_other_weights_processors_or_a_damaged_note_are_measured_anew(teacher, auto, measured, monkeypatch):
    probes = measured(1.7)
    with_compute(auto, teacher, TEXTS)
    monkeypatch.setattr(choose_compute, "processor", lambda: "another")
    with_compute(auto, teacher, TEXTS)
    for kept in auto.cache_folder.glob("compute-*"):
        kept.write_text('{"compute": "float8", "reason": ""}')
    with_compute(auto, teacher, TEXTS)
    with torch.no_grad():
        next(teacher.parameters()).add_(1.0)
    with_compute(auto, teacher, TEXTS)
    assert len(probes) == 4


@pytest.mark.usefixtures("with_bfloat16")
def test_where_nothing_is_to_be_kept_or_without_a_text_nothing_is_kept(teacher, auto, measured):
    probes = measured(1.7)
    assert with_compute(auto, teacher, TEXTS, keep=False).search.compute == "bfloat16"
    assert with_compute(auto, teacher, []).search.compute == "float32"
    assert (probes, auto.cache_folder.exists()) == ([3], False)


def test_a_processor_without_bfloat16_is_not_probed_and_what_is_named_is_taken(teacher, auto, measured, monkeypatch):
    probes, told = measured(1.7), []
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert with_compute(auto, teacher, TEXTS, told.append).search.compute == "float32"
    assert told == ["documents are encoded in float32: this processor has no instructions for bfloat16"]
    named = auto.model_copy(update={"search": Search(compute="bfloat16")})
    assert with_compute(named, teacher, TEXTS, told.append) is named
    assert (probes, len(told)) == ([], 1)


@pytest.mark.usefixtures("with_bfloat16")
def test_a_run_names_what_the_probe_chose_so_that_it_can_be_made_again(data, tmp_path, monkeypatch, command):
    """The tiny teacher gains nothing by bfloat16 on most machines, so no gain is asked for."""
    for name, value in (("SECONDS", 0.02), ("GAIN", 0.0), ("LEAST_MEAN", -1.0), ("LEAST", -1.0)):
        monkeypatch.setattr(choose_compute, name, value)
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    recipe, told = recipe_of(tmp_path, data, tmp_path / "teacher", search={"compute": "auto"}), []
    distilled(recipe, told.append, progress=False)
    assert any(line.startswith("documents are encoded in bfloat16: bfloat16 is ") for line in told)
    assert tomllib.loads((recipe.folder / "recipe.toml").read_text())["search"]["compute"] == "bfloat16"
    assert json.loads((recipe.folder / "manifest.json").read_text())["compute"] == "bfloat16"
    assert all(path.name.endswith("-in-bfloat16") for path in recipe.cache_folder.glob("documents-*"))
    for kept in recipe.cache_folder.glob("compute-*"):
        kept.unlink()
    monkeypatch.setattr(choose_compute, "GAIN", 1e9)  # another time it would choose otherwise
    assert rerun(load_recipe(recipe.folder / "recipe.toml", {}), progress=False).different == []
    embed = ["embed", "--lang", "sw", "--teacher", recipe.teacher, "--collection", recipe.collection]
    code, out, err = command(*embed, "--set", f"cache={recipe.cache_folder}", "--set", "search.compute=auto")
    assert (code, "documents are encoded in float32: bfloat16 is " in " ".join((out + err).split())) == (0, True)
    code, out, _ = command("cache", "list", "--cache", recipe.cache_folder)
    assert "choice of search.compute" in " ".join(out.split())
