"""The site: built strictly, every page there, nothing loaded from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
pytest.importorskip("mkdocs", reason="the extra site is not installed")
pytest.importorskip("jupytext", reason="the extra site is not installed")
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]+src="([^"]+)|<link[^>]+href="([^"]+)|url\(["']?(\w+:[^)"']+)"""
)


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks_of_the_site", ROOT / "docs" / "hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the built site; a warning of the build is an error."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 35
    for page in [*pages, *site.rglob("*.css")]:
        for found in LOADED.findall(page.read_text(encoding="utf-8")):
            address = "".join(found)
            assert not re.match(r"(https?:)?//", address), f"{page.relative_to(site)} loads {address}"


@pytest.mark.slow
def test_every_page_of_docs_is_in_the_menu_and_every_room_has_its_page(site, hooks):
    menu = (site / "index.html").read_text(encoding="utf-8")
    pages = [page.stem for page in (ROOT / "docs").glob("*.md")] + ["notebook", "log", "changelog"]
    for page in [*pages, "api/optical", *(f"api/{room}" for room in hooks.rooms())]:
        assert f'href="{page}.html"' in menu
        assert (site / f"{page}.html").is_file()


@pytest.mark.slow
def test_what_docstrings_say_is_on_the_pages_and_links(site):
    transport = (site / "api" / "transport.html").read_text(encoding="utf-8")
    assert "Most iterations per stage" in transport
    assert '<a class="autorefs autorefs-internal"' in transport
    for page in (site / "api").glob("*.html"):
        assert not re.search(r":(class|func|mod|data|meth|attr):", page.read_text(encoding="utf-8")), page
    assert "<math" in (site / "theory.html").read_text(encoding="utf-8")


class Place:
    """What a hook is told of a page."""

    def __init__(self, place: str) -> None:
        self.file = self
        self.src_uri = place


@pytest.mark.parametrize(
    ("place", "link", "expected"),
    [
        ("index.md", "docs/own-data.md#bitext", "own-data.md#bitext"),
        ("index.md", "CHANGELOG.md", "changelog.md"),
        ("own-data.md", "../experiments/LOG.md", "log.md"),
        ("own-data.md", "serving.md", "serving.md"),
        ("tutorial.md", "notebook.py", "notebook.md"),
        ("notebook.md", "tutorial.md", "tutorial.md"),
        ("log.md", "../docs/evidence.md", "evidence.md"),
        ("log.md", "objectives/recipe.toml", None),
        ("index.md", "https://arxiv.org/abs/2301.12566", "https://arxiv.org/abs/2301.12566"),
        ("index.md", "#install", "#install"),
    ],
)
def test_a_link_between_files_becomes_one_between_pages(hooks, place, link, expected):
    moved = hooks.on_page_markdown(f"[x]({link})", Place(place), None, None)
    assert moved == (f"[x]({expected})" if expected else "[x](experiments/objectives/recipe.toml)")


def test_roles_of_sphinx_become_references(hooks):
    text = hooks.ROLE.sub(hooks.REFERENCE, "see :func:`~optical.distill`")
    assert text == 'see <autoref identifier="optical.distill" optional><code>optical.distill</code></autoref>'


def test_the_configuration_names_no_address():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "://" not in text
    told = yaml.load(re.sub(r"!!python\S+", "", text), yaml.SafeLoader)
    assert told["theme"]["font"] is False
