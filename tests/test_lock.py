"""The lock file has the versions of constraints.txt, a hash for each, and all that the default set-up requires."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^ \n;]+)", re.MULTILINE)
PLATFORM = re.compile(
    r"cuda-|nvidia-|triton|setuptools"
)  # what torch asks for on Linux, and constraints.txt leaves open


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    return {plain(name): version for name, version in PIN.findall((ROOT / file).read_text(encoding="utf-8"))}


def test_versions_are_those_of_the_constraints():
    known, locked = pins("constraints.txt"), pins("requirements.lock")
    assert {name: version for name, version in locked.items() if known.get(name, version) != version} == {}
    assert [name for name in locked if name not in known and not PLATFORM.match(name)] == []


def test_every_version_has_a_hash():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text) if PIN.match(block)]
    assert len(blocks) == len(pins("requirements.lock")) > 100
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_the_default_set_up_is_in_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["teacher"], *extras["dev"]]
    wanted += [one for name in re.findall(r"[a-z0-9-]+", extras["dev"][0].partition("[")[2]) for one in extras[name]]
    names = {plain(re.match(r"[A-Za-z0-9_.-]+", one)[0]) for one in wanted} - {"optical"}
    assert names - pins("requirements.lock").keys() == set()
