"""Killed at any change of the disk, or with a full disk, a run is wholly old or new; the same command ends it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from fastapi.testclient import TestClient

from optical.config.recipe import write_recipe
from optical.config.teaching import Teaching
from optical.config.toml import load_options
from optical.generation import READY
from optical.pipeline.teach import teach_run
from optical.web import server
from tests.chain import MUCH_TO_LEARN, recipe_of, uncased
from tests.crash.harness import disk_full, killed, program, programs, snapshot, stopped, timeless
from tests.runs import distilled

SMALL = {**MUCH_TO_LEARN, "training.steps": 8, "training.evaluate_every": 4, "search.bm25": "off"}
COURSE = {  # without held-out queries: what is learnt is kept, whatever it is worth
    "split": "test", "test_split": "dev", "held_out": 0, "steps": 8, "evaluate_every": 4, "batch_size": 4,
    "learning_rate": 5e-3, "precision": "float32", "device": "cpu",
}  # fmt: skip
PLACES = os.environ.get("OPTICAL_CRASH_PLACES", "6")  # of each command and start; "all" of them take hours
SEED = os.environ.get("OPTICAL_CRASH_SEED", "0")  # another one disturbs other places
CHECKPOINTS = 2  # of which one at most is begun twice
LEFT = (".next", ".ready", "checkpoints-")
READERS = {
    "search": ["search", "{run}", "Mto wapi?", "--json"],
    "align": ["align", "{run}", "Mto wapi?", "where is the river ?", "--json"],
    "verify": ["verify", "{run}"],
    "report": ["report", "{run}", "--out", "{page}"],
    "serve": ["serve", "{run}"],
}
QUICK = ("search", "verify")


class Box(NamedTuple):
    """A folder with a run and a cache, put back for every case, and what commands make of it.

    Attributes:
        place: Of the run and the cache.
        states: Name -> folder with a copy of both.
        made: Stage and start -> what an undisturbed command makes, and how many changes that takes.
        answered: Stage, or none where it has yet to begin, and start -> what each reader is answered.
        readers: Names of those that are asked after each disturbance.
    """

    place: Path
    states: Path
    made: dict[tuple[str, str], tuple[dict[str, str], int]]
    answered: dict[tuple[str, str], dict[str, str | None]]
    readers: tuple[str, ...] = tuple(READERS)

    @property
    def run(self) -> Path:
        """Of the run."""
        return self.place / "run"

    def command(self, stage: str) -> list[str | Path]:
        """The arguments of a stage."""
        recipe = ["--recipe", self.place.parent / "new.toml"]
        return {
            "distill": ["distill", *recipe],
            "embed": ["embed", *recipe],
            "evaluate": ["evaluate", self.run, "--split", "dev"],
            "index": ["index", self.run, "--set", "search.factory=HNSW8"],
            "export": ["export", self.run, "--to", "router"],
            "onnx": ["export", self.run],
            "teach": ["teach", "--recipe", self.place.parent / "course.toml"],
            "cache": ["cache", "prune", "--all", "--cache", self.place / "cache"],
        }[stage]

    def put(self, start: str) -> None:
        """Put the run and the cache of a start into their place."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.states / start, self.place)

    def whole(self, stage: str, start: str) -> tuple[dict[str, str], int]:
        """What an undisturbed command makes; done once."""
        if (stage, start) not in self.made or not self.knows(stage, start):
            self.put(start)
            if not self.knows("", start):
                self.answered["", start] = answers(self)
            done = program(self.place, *self.command(stage))
            assert done.code == 0, done
            self.made[stage, start] = (snapshot(self.run), done.changes)
            self.answered[stage, start] = answers(self)
        return self.made[stage, start]

    def knows(self, stage: str, start: str) -> bool:
        """Whether all readers were asked there."""
        return {*self.readers} <= self.answered.get((stage, start), {}).keys()


@pytest.fixture(scope="module")
def box(tmp_path_factory, data):
    """Starts: ``bare``, ``empty`` (but for vectors), ``old``, a run of another recipe, ``new``, ``cold``, no vectors.

    And ``taught``, an English teacher by another seed.
    """
    folder = tmp_path_factory.mktemp("crash")
    torch.manual_seed(0)
    uncased(folder / "made").save(str(folder / "teacher"))
    own = Box(folder / "box", folder / "states", {}, {})
    old, new = (recipe_of(own.place, data, folder / "teacher", **SMALL, seed=seed) for seed in (1, 0))
    (folder / "new.toml").write_text(write_recipe(new), encoding="utf-8")
    distilled(old, progress=False)  # in this process, so that those which are forked find all imported
    shutil.copytree(own.place, own.states / "old")
    for name, without in (("empty", "run"), ("cold", "cache")):
        shutil.copytree(
            own.place, own.states / name, ignore=lambda at, names, w=without: [w] if Path(at) == own.place else []
        )
    for name in ("empty", "bare"):
        (own.states / name).mkdir(exist_ok=True)
    shutil.rmtree(own.run)
    named = {"collection": old.collection, "test": old.collection, "teacher": old.teacher, "cache": old.cache}
    before, after = (
        load_options(Teaching, None, {**COURSE, **named, "out": str(own.run), "seed": seed}) for seed in (1, 0)
    )
    (folder / "course.toml").write_text(write_recipe(after), encoding="utf-8")
    teach_run(before, progress=False)
    shutil.copytree(own.place, own.states / "taught")
    own.whole("distill", "old")
    assert json.loads((own.run / "manifest.json").read_text())["development"]["share"], "the start was kept"
    shutil.copytree(own.place, own.states / "new")
    return own


def told(done: Ended) -> bool:
    """Whether it was answered; if not, one message says what is wrong, without a trace."""
    assert "Traceback" not in done.err, done.err
    assert done.code in (0, 1), done
    if done.code:
        assert [line for line in done.err.splitlines() if line.startswith("error:")], done
    return done.code == 0


def answers(box: Box) -> dict[str, str | None]:
    """What each reader is answered, None where it gives a message."""
    page, found = box.place.parent / "report.html", {}
    with pytest.MonkeyPatch.context() as patch:  # a server that is asked once, without a port
        patch.setattr(server, "bind", lambda *_: nullcontext())
        patch.setattr(server, "address", lambda _: "here")
        patch.setattr(server, "serve", _ask)
        page.unlink(missing_ok=True)
        asked = {name: [word.format(run=box.run, page=page) for word in READERS[name]] for name in box.readers}
        for name, done in programs(box.place, asked).items():
            shown = timeless(page, box.run).decode() if name == "report" and page.is_file() else ""
            found[name] = done.out + shown if told(done) else None
    return found


def _ask(app: Any, _: Any) -> None:
    print(TestClient(app, "http://localhost").get("/api/search", params={"q": "Mto wapi?"}).json()["results"])  # noqa: T201


def crash(box: Box, stage: str, start: str, *, act: Callable[[], None] = killed, **when: float) -> None:
    """Disturb a command, look at the run, and give the same command again."""
    new, _ = box.whole(stage, start)
    box.put(start)
    before = snapshot(box.run)
    done = program(box.place, *box.command(stage), act=act, **when)
    ended = done.code == 0 and (act is disk_full or "after" in when)  # nothing more was to be written, or in time
    assert done.code == {killed: -9, stopped: 143, disk_full: 1}[act] or ended, done
    assert act is not disk_full or told(done) == ended
    if act is not killed and not ended and not (box.run / READY).is_dir():  # all was made, and is being moved
        assert snapshot(box.run) == before, "something was lost or changed"
    found = answers(box)
    there = snapshot(box.run)
    mixed = {name: (there.get(name) == before.get(name), there.get(name) == new.get(name)) for name in before | new}
    assert there in (before, new), f"of both: {mixed}"
    assert found == {name: box.answered[stage if there == new else "", start][name] for name in box.readers}
    assert not ended or there == new, "it said that it had ended"
    again(box, stage, new, done.checkpoints if there == before else None)


def again(box: Box, stage: str, new: dict[str, str], begun: int | None) -> None:
    """The same command makes what an undisturbed one makes, and leaves nothing else.

    Where the run is not there yet, ``begun`` checkpoints are, and training is not done again.
    """
    done = program(box.place, *box.command(stage))
    assert done.code == 0, done
    assert snapshot(box.run) == new
    assert begun is None or begun + done.checkpoints <= CHECKPOINTS + 1, "training was done again"
    left = [path.name for path in box.place.rglob("*") if path.name.startswith(LEFT) or path.suffix in (".tmp", ".old")]
    assert left == [], "something unfinished stays behind"


EVERY = [
    ("distill", "empty"), ("distill", "old"), ("distill", "cold"), ("embed", "cold"), ("evaluate", "new"),
    ("index", "new"), ("export", "new"), ("onnx", "new"), ("cache", "new"), ("teach", "empty"), ("teach", "taught"),
]  # fmt: skip
SHORT = [  # of distill, training is a fifth, then come saving, index, measures; .73 is the switch, .92 the end
    ("distill", "old", 0.1), ("distill", "old", 0.25), ("distill", "old", 0.5), ("distill", "old", 0.8),
    ("distill", "empty", 0.65), ("embed", "cold", 0.6), ("evaluate", "new", 0.5), ("evaluate", "new", 0.9),
    ("index", "new", 0.4), ("index", "new", 0.9), ("export", "new", 0.5), ("cache", "new", 0.5),
    ("teach", "taught", 0.3), ("teach", "taught", 0.8),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "start", "share"), SHORT)
def test_killed_at_a_change_of_the_disk(box, stage, start, share):
    box = box if (stage, share) == ("evaluate", 0.5) else box._replace(readers=QUICK)
    crash(box, stage, start, k=share_of(box, stage, start, share))


def share_of(box: Box, stage: str, start: str, share: float) -> int:
    """The number of a change after a share of all."""
    return max(1, round(share * box.whole(stage, start)[1]))


@pytest.mark.parametrize(("stage", "share"), [("distill", 0.3), ("index", 0.5)])  # others: tests/cli/test_app.py
def test_a_full_disk_is_one_message_and_nothing_is_lost(box, stage, share):
    box, start = box._replace(readers=QUICK), "old" if stage == "distill" else "new"
    crash(box, stage, start, k=share_of(box, stage, start, share), act=disk_full)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_sigterm_loses_nothing(box, share):
    """Neither in training nor in measures."""
    box = box._replace(readers=QUICK)
    crash(box, "distill", "old", k=share_of(box, "distill", "old", share), act=stopped)


@pytest.mark.parametrize("then", ["embed", "cache"])
def test_a_shard_that_a_killed_embed_had_begun_goes(box, then):
    """With the same command, or when the caches are pruned."""
    box = box._replace(readers=())

    def begun() -> list[Path]:
        return [path for path in box.place.rglob(".shard-*") if path.is_dir()]

    for k in range(share_of(box, "embed", "cold", 0.4), share_of(box, "embed", "cold", 1.0)):
        box.put("cold")
        assert program(box.place, *box.command("embed"), k=k).code == -9
        if begun():
            break
    (left,) = begun()
    assert left.suffix == ".tmp"
    prune = ["cache", "prune", "--older-than", "9w", "--cache", left.parents[1]]
    assert program(box.place, *(box.command("embed") if then == "embed" else prune)).code == 0
    assert begun() == []


def drawn(total: int, most: str, seed: str) -> list[int]:
    """Changes to disturb: all, or one at random of each of ``most`` equal parts."""
    if most == "all" or int(most) >= total:
        return list(range(1, total + 1))
    chance, parts = random.Random(seed), int(most)
    return [chance.randint(k * total // parts + 1, (k + 1) * total // parts) for k in range(parts)]


def every(box: Box, stage: str, start: str, act: Callable[[], None]) -> list[str]:
    """What is wrong after each of the changes of the disk that are drawn."""
    wrong = []
    for k in drawn(box.whole(stage, start)[1], PLACES, f"{SEED} {stage} {start} {act.__name__}"):
        try:
            crash(box, stage, start, act=act, k=k)
        except AssertionError as error:
            wrong.append(f"{stage} from {start}, change {k}: {str(error)[:2000]}")
    return wrong


def test_changes_are_drawn_from_the_first_to_the_last():
    assert drawn(5, "all", "") == drawn(5, "8", "") == [1, 2, 3, 4, 5]
    assert [(k - 1) // 25 for k in drawn(100, "4", "0")] == [0, 1, 2, 3]
    assert drawn(100, "4", "0") != drawn(100, "4", "1")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "start"), EVERY)
def test_killed_at_every_change_of_the_disk(box, stage, start):
    assert every(box, stage, start, killed) == []


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "start"), [one for one in EVERY if one[0] != "cache"])
def test_a_disk_that_is_full_from_any_change_on(box, stage, start):
    assert every(box, stage, start, disk_full) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment(box, seed):
    """Between two changes that are counted too."""
    crash(box, "distill", "old", after=random.Random(seed).uniform(0.0, 2.0))
