"""Estimates before a run: stages, disk and memory, what is there; nothing is written."""

from __future__ import annotations

import json

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
    from optical.pipeline import estimate as module
    from optical.pipeline.embed import load_teacher, teacher_towers

    towers = teacher_towers(run[0])
    monkeypatch.setattr(module, "teacher_towers", lambda _: towers)
    estimate(run[0])
    assert fingerprint(towers.queries) == fingerprint(load_teacher(run[0]))
    assert [p for p in towers.queries.parameters() if p.grad is not None] == []


def test_checkpoints_of_a_stopped_run_are_told(run, tmp_path):
    state = tmp_path / "run" / "checkpoints-12345678" / "checkpoint-20" / "trainer_state.json"
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
