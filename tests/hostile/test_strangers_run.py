"""A run of a stranger, whose checksums are right: whatever a value of its JSON files is, nobody sees a trace."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import optical
from optical.config.recipe import load_recipe
from optical.errors import OpticalError
from optical.pipeline.html_report import report_runs
from optical.pipeline.verify import note_files, sealed, verify_run
from tests.chain import OWN

FILES = [
    "manifest.json", "training.json", "plans.json", f"evaluation/{OWN}/results.json", "index/optical.json",
    "student/config.json", "student/modules.json", "student/1_Pooling/config.json", "student/tokenizer_config.json",
    "student/config_sentence_transformers.json",
]  # fmt: skip
OTHERS = [None, True, -1, 10**9, 10**30, 1e308, "x", [], {}]
LEFT_OUT = object()
QUICK, MANY = 3, 400  # changes of a file


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A copy of the finished run."""
    folder = tmp_path_factory.mktemp("stranger") / "run"
    shutil.copytree(run[0].folder, folder)
    return folder


def places(value: Any, above: tuple = ()) -> Iterator[tuple]:
    """The keys and indices that lead to each value in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*above, key)
        yield from places(item, (*above, key))


def changed(text: str, place: tuple, other: object) -> Any:
    """A JSON value with another one at a place, or without it."""
    value = json.loads(text)
    at = value
    for key in place[:-1]:
        at = at[key]
    if other is LEFT_OUT:
        del at[place[-1]]
    else:
        at[place[-1]] = other
    return value


def read(folder: Path) -> None:
    """As `report`, `verify`, `search` and a user of the student do."""
    readers = (
        lambda: report_runs([load_recipe(folder / "recipe.toml", {"out": str(folder)})], folder.parent / "page.html"),
        lambda: verify_run(folder),
        lambda: optical.load(folder).search("maji"),
        lambda: optical.load_student(folder / "student").encode("maji"),
    )
    for reader in readers:
        with contextlib.suppress(OpticalError):
            reader()


def check(folder: Path, name: str, most: int) -> list[str]:
    """The traces that were seen with so many changes of a file, which is put back."""
    file, chance, seen = folder / name, random.Random(name), []
    text, manifest = file.read_text(), (folder / "manifest.json").read_text()
    every = [(place, other) for place in places(json.loads(text)) for other in [*OTHERS, LEFT_OUT]]
    for place, other in chance.sample(every, min(most, len(every))):
        value = changed(text, place, other)
        if name == "manifest.json":
            file.write_text(sealed({key: one for key, one in value.items() if key != "checksum"}))
        else:
            file.write_text(json.dumps(value))
            note_files(folder, [name])
        try:
            read(folder)
        except Exception as error:  # noqa: BLE001 - each is reported
            at = error.__traceback__
            while at and at.tb_next:
                at = at.tb_next
            line = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else ""
            seen.append(f"{name} {place}: {type(error).__name__} {str(error)[:80]} at {line}")
        finally:
            file.write_text(text)
            (folder / "manifest.json").write_text(manifest)
    return seen


@pytest.mark.parametrize("name", FILES)
def test_no_trace_whatever_a_value_is(folder, name):
    assert check(folder, name, QUICK) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_nor_with_many_more_changes(folder, name):
    assert check(folder, name, MANY) == []
