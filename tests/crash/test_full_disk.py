"""Every verb that writes, on a disk of its own that is too small by a share: one message, and nothing is lost.

The disk is full for what is written in C too, which the changes that are counted elsewhere here do not show.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optical.config.recipe import load_recipe
from tests.crash.harness import Ended, program, snapshot
from tests.crash.test_crash import LEFT, Box, box, told  # noqa: F401 - box is a fixture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk"),
]
SHARES = (0.03, 0.35, 0.65, 0.95)  # of what the verb needs at its fullest
STAGES = [  # what the box has a command for, and the state that it begins with
    ("distill", "old"), ("distill", "empty"), ("distill", "cold"), ("embed", "cold"), ("evaluate", "new"),
    ("index", "new"), ("export", "new"), ("onnx", "new"), ("teach", "empty"), ("teach", "taught"), ("teach", "bare"),
]  # fmt: skip
WHOLE = {  # what may be there of a verb that ends with an error: as it is to be, or what Qdrant has of the points yet
    ".optical.json", "clean.tsv.left-out", "qdrant/meta.json", "qdrant/collection/run/storage.sqlite",
}  # fmt: skip
MORE = {  # other verbs, begun with a finished run
    "transplant": ["transplant", "--recipe", "{new}", "--out", "{place}/other"],
    "bitext": ["bitext", "{bitext}", "--lang", "sw", "--clean", "{place}/clean.tsv"],
    "report": ["report", "{run}"],
    "page": ["report", "{run}", "--out", "{place}/page.html"],
    "picture": ["align", "{run}", "Mto wapi?", "where is the river ?", "--out", "{place}/plan.png"],
    "ranking": ["search", "{run}", "Mto wapi?", "--trec", "{place}/student.trec"],
    "perturb": ["evaluate", "{run}", "--perturb", "case"],
    "compare": ["evaluate", "{run}", "--run", "{ranking}"],
    "qdrant": ["export", "{run}", "--to", "qdrant", "--path", "{place}/qdrant"],
    "prune": ["cache", "prune", "--all", "--cache", "{place}/cache"],
}


def command(box: Box, verb: str) -> list[str]:
    """The arguments of a verb."""
    if verb not in MORE:
        return [str(word) for word in box.command(verb)]
    recipe = box.place.parent / "new.toml"
    ranking = next((box.states / "new" / "run").glob("evaluation/*/student.trec"))
    named = {"place": box.place, "run": box.run, "new": recipe, "ranking": ranking}
    return [word.format(**named, bitext=load_recipe(recipe).bitext) for word in MORE[verb]]


@contextmanager
def disk(place: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes at a place."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def used(place: Path) -> int:
    """Bytes of what is on the disk of a place."""
    facts = os.statvfs(place)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def fullest(place: Path, *arguments: object) -> tuple[Ended, int]:
    """How a command ended, and the most bytes that were on the disk of a place meanwhile."""
    most, ended = [used(place)], threading.Event()

    def look() -> None:
        while not ended.wait(0.0005):
            most[0] = max(most[0], used(place))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        done = program(place, *arguments)
    finally:
        ended.set()
        watching.join()
    return done, most[0]


def everything(place: Path) -> dict[str, str]:
    """Name -> checksum of what is on the disk of a place, times left out."""
    folders = [one for one in place.iterdir() if one.is_dir()]
    found = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in place.iterdir() if one.is_file()}
    return found | {f"{one.name}/{name}": own for one in folders for name, own in snapshot(one).items()}


def unfinished(place: Path, names: tuple[str, ...]) -> list[str]:
    """What is left of something that did not become whole."""
    return [one.name for one in place.rglob("*") if one.name.startswith(names) or one.suffix in (".tmp", ".old")]


@pytest.mark.parametrize(("verb", "start"), [*STAGES, *((verb, "new") for verb in MORE)])
def test_a_small_disk(box, verb, start):
    arguments = command(box, verb)
    with disk(box.place, 2**30):
        shutil.copytree(box.states / start, box.place, dirs_exist_ok=True)
        begun = used(box.place)
        done, most = fullest(box.place, *arguments)
        assert done.code == 0, done
        new = everything(box.place)
    stopped = 0
    for share in SHARES:
        with disk(box.place, begun + int(share * max(4096, most - begun))):
            shutil.copytree(box.states / start, box.place, dirs_exist_ok=True)
            before = everything(box.place)
            answered = told(program(box.place, *arguments))
            there = everything(box.place)
            if answered:
                assert there == new
            else:
                stopped += 1
                assert {name: there.get(name) for name in before} == before, "something was lost or changed"
                more = [name for name in there if name not in before and name not in WHOLE]
                assert not [name for name in more if not name.startswith("cache/")], "half of something is there"
                assert unfinished(box.place, LEFT[:2]) == []
            subprocess.run(["mount", "-o", "remount,size=1g", box.place], check=True)
            again = program(box.place, *arguments)
            assert again.code == 0, again
            assert everything(box.place) == new
            assert unfinished(box.place, LEFT) == []
    assert stopped or verb == "prune", "no disk was too small"
