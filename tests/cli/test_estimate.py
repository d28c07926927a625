"""Estimates before a run: stages, disk and memory, what is there; nothing is written."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from optical.errors import RecipeError
from optical.pipeline import choose_compute
from optical.pipeline import estimate as module
from optical.pipeline.estimate import estimate
from tests.cli.conftest import asked_for, snapshot


def again(recipe, **instead):
    """The recipe of a run with other options."""
    plain = recipe.model_dump(exclude_none=True)
    return type(recipe).model_validate({**plain, **instead})


def test_what_is_there_is_told_and_nothing_is_written(run):
    recipe = run[0]
    before = snapshot(recipe.folder), sorted(recipe.folder.parent.iterdir())
    told = estimate(recipe)
    assert (snapshot(recipe.folder), sorted(recipe.folder.parent.iterdir())) == before
    assert told.seconds["documents"] == 0.0
    assert any("vectors of the documents" in line for line in told.there)
    assert any("an earlier run" in line for line in told.there)


def test_what_is_not_there_costs_its_time(run, tmp_path):
    fresh = again(run[0], cache=str(tmp_path / "cache"), out=str(tmp_path / "run"))
    told = estimate(fresh)
    assert told.there == []
    assert told.disk["kept"] > 0
    assert told.memory > 1e8
    longer = again(fresh, training={**fresh.training.model_dump(exclude_none=True), "steps": 5000})
    assert estimate(longer).seconds["training"] > 5 * told.seconds["training"]


def test_the_teacher_is_as_it_was_after_the_probe(run, monkeypatch):
    from optical.models.encoders import fingerprint
    from optical.pipeline.embed import load_teacher, teacher_towers

    towers = teacher_towers(run[0])
    monkeypatch.setattr(module, "teacher_towers", lambda _: towers)
    estimate(run[0])
    assert fingerprint(towers.queries) == fingerprint(load_teacher(run[0]))
    assert [p for p in towers.queries.parameters() if p.grad is not None] == []


@pytest.mark.usefixtures("with_bfloat16")
def test_the_probe_computes_in_what_the_run_would(run, tmp_path, monkeypatch):
    seen, encode, step = set(), module.encoded_batches, module.encode_batch
    monkeypatch.setattr(choose_compute, "_seconds", lambda *_: {"float32": 2.0, "bfloat16": 1.0})
    monkeypatch.setattr(choose_compute, "agreement", lambda *_: {"mean": 1.0, "min": 1.0})
    monkeypatch.setattr(
        module, "encoded_batches", lambda *given, compute=None: seen.add(compute) or encode(*given, compute=compute)
    )
    monkeypatch.setattr(
        module, "encode_batch", lambda *given: seen.add(torch.is_autocast_enabled("cpu")) or step(*given)
    )
    search = run[0].search.model_dump(exclude_none=True)
    estimate(again(run[0], search={**search, "compute": "auto"}, cache=str(tmp_path / "cache"), out=str(tmp_path)))
    assert seen == {"bfloat16", True}
    assert not (tmp_path / "cache").exists()


def test_a_format_that_the_run_would_refuse_is_refused(run, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    asked = run[0].search.model_copy(update={"compute": "bfloat16"})
    with pytest.raises(RecipeError, match="no instructions for it"):
        estimate(run[0].model_copy(update={"search": asked}))


def test_checkpoints_of_a_stopped_run_are_told(run, tmp_path):
    state = tmp_path / "run" / "checkpoints-12345678" / "checkpoint-20" / "checkpoint.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    told = estimate(again(run[0], out=str(tmp_path / "run")))
    assert [line for line in told.there if "checkpoint-20" in line]


def test_the_command_prints_stages_and_writes_nothing(command, finished, tmp_path):
    arguments = asked_for(finished, out=str(tmp_path / "new"))
    code, out, _ = command(*arguments, "--dry-run", "--json")
    assert code == 0
    assert set(json.loads(out)) == {"seconds", "disk", "memory", "made", "there"}
    code, out, _ = command(*arguments, "--dry-run")
    assert code == 0
    assert [word for word in ("documents", "training", "disk, kept", "memory", "made: ") if word not in out] == []
    assert not (tmp_path / "new").exists()


@pytest.fixture
def longer(data, tmp_path):
    """The collection with one document more, which is long."""
    shutil.copytree(data / "collection", tmp_path / "collection")
    with (tmp_path / "collection" / "docs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "new", "title": "", "text": "A zebra is new. The river is long. " * 20}) + "\n")
    return str(tmp_path / "collection")


def test_only_what_is_new_of_changed_documents_is_counted(run, longer, tmp_path):
    told = estimate(again(run[0], collection=longer, out=str(tmp_path / "run")))
    assert any("vectors of 12 of 13 documents of" in line for line in told.there)


def test_passages_are_counted_as_such(run, longer, tmp_path):
    whole = again(run[0], collection=longer, out=str(tmp_path / "run"))
    split = again(whole, search={**whole.search.model_dump(exclude_none=True), "passages": 16})
    said: list[str] = []
    told = estimate(split, said.append)
    (line,) = [line for line in said if "passages of at most 16 tokens" in line]
    assert line.startswith("13 documents are searched as ")
    assert told.disk["kept"] > estimate(whole).disk["kept"]
