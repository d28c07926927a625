"""The container of `optical serve`, as far as it can be told without a daemon: pins, user, command, health check."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from optical.cli.app import app

ROOT = Path(__file__).parents[1]
KNOWN = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile and what follows them; comments left out, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def of(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def service() -> dict:
    (one,) = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    return one


def test_every_instruction_is_one_that_docker_knows():
    assert {word for word, _ in instructions()} <= KNOWN
    assert instructions()[0][0] == "FROM"


def test_the_image_is_pinned_to_a_python_that_the_package_takes():
    ((tag),) = of("FROM")
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-\w+", tag)
    assert version, tag
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]
    assert all("-c constraints.txt" in line for line in of("RUN") if "pip install" in line)
    asked = {name for line in of("RUN") for extras in re.findall(r"\.\[([^\]]+)\]", line) for name in extras.split(",")}
    assert asked
    assert asked <= set(project["optional-dependencies"])


def test_the_program_is_not_root_and_nothing_is_installed_after_it():
    words = [word for word, _ in instructions()]
    (user,) = of("USER")
    assert int(user) > 0
    assert "RUN" not in words[words.index("USER") :]


def test_no_secret_and_no_address_is_written_into_it():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8") + (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(r"(?i)password\s*=|token|secret|api_key", text)
    assert re.findall(r"https?://[\w.]+:\d+", text) == ["http://127.0.0.1:8000", "http://127.0.0.1:8000"]


def test_what_is_copied_is_there_and_let_through():
    let = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert let[0] == "*"
    copied = [name for line in of("COPY") for name in line.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in let
    assert len(copied) > 3


@pytest.mark.parametrize("line", [of("CMD")[0], json.dumps(service()["command"]).replace("${RUN:-runs/sw}", "runs/sw")])
def test_what_it_runs_is_a_command_of_optical(line):
    (program,) = json.loads(of("ENTRYPOINT")[0])
    assert program == "optical"
    verb, *rest = json.loads(line)
    known: dict = getattr(typer.main.get_command(app), "commands")  # noqa: B009 - typer brings its own click
    context = known[verb].make_context(verb, rest)
    assert context.params["host"] == "0.0.0.0"


def test_the_health_check_asks_what_a_server_answers(monkeypatch):
    """Run as the container would, with the port of a real server."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from tests.web.test_endpoints import small

    (check,) = of("HEALTHCHECK")
    program, flag, code = json.loads(check.partition("CMD")[2])
    assert (program, flag) == ("python", "-c")
    asked = []
    monkeypatch.setattr("urllib.request.urlopen", lambda address, timeout: asked.append((address, timeout)))
    exec(code, {})
    ((address, timeout),) = asked
    port = int(of("EXPOSE")[0])
    assert address.startswith(f"http://127.0.0.1:{port}/")
    assert small().get(address.removeprefix(f"http://127.0.0.1:{port}")).status_code == 200
    assert timeout < int(re.search(r"--timeout=(\d+)s", check)[1])  # type: ignore[index]


def test_compose_reaches_no_further_than_this_machine_and_writes_nothing():
    one = service()
    assert one["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert all(volume.endswith(":ro") for volume in one["volumes"])
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["build"] == "."
