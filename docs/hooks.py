"""Pages of the site that are not files of ``docs/``, and its links and formulas; mkdocs calls this while it builds."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import griffe
import jupytext
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Files of the repository that the site shows too, and where.
ELSEWHERE = {
    "README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md", "experiments/LOG.md": "log.md", "benchmarks/README.md": "benchmarks.md",
    "data/sample/README.md": "sample.md", "docs/notebook.py": "notebook.md",
    "LICENSE": "LICENSE.txt", "CITATION.cff": "CITATION.cff",
}  # fmt: skip
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
REFERENCE = r'<autoref identifier="\1" optional><code>\1</code></autoref>'
ROLE = re.compile(r":(?:class|func|mod|data|meth|attr):`~?([\w.]+)`")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the rooms to the menu, and formulas to what a fence may hold."""
    (config.nav or []).append({"API": ["api/optical.md", *(f"api/{room}.md" for room in rooms())]})
    fences = [{"name": "math", "class": "math", "format": math}]
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": fences}
    return config


def rooms() -> list[str]:
    """Names of what the package holds at its top."""
    found = (ROOT / "optical").iterdir()
    names = {path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").is_file()}
    return sorted(names - {"__init__", "version"})


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of other files: README and its like, the notebook, one for each room."""
    for source, place in ELSEWHERE.items():
        if source.endswith(".py"):
            cells = jupytext.writes(jupytext.read(ROOT / source), "md").split("---\n", 2)[-1]
            files.append(File.generated(config, place, content=cells))
        else:
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    own = "# optical\n\n::: optical\n    options: {show_submodules: false}\n"
    files.append(File.generated(config, "api/optical.md", content=own))
    for room in rooms():
        text = f"# optical.{room}\n\n::: optical.{room}\n"
        files.append(File.generated(config, f"api/{room}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    places = {place: source for source, place in ELSEWHERE.items()}
    source = places.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def moved(link: re.Match) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(source), link[1]))
        place = ELSEWHERE.get(target, target.removeprefix("docs/"))
        return f"]({os.path.relpath(place, os.path.dirname(page.file.src_uri) or '.')}{link[2] or ''})"

    return LINK.sub(moved, markdown)


def math(source: str, *_: Any, **__: Any) -> str:
    """A formula in LaTeX as MathML, which browsers draw themselves."""
    return convert(source, display="block")


class Roles(griffe.Extension):
    """Roles and literal blocks of Sphinx in docstrings, as Markdown has them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring; a name that has no page stays as it is, in code."""
        if obj.docstring:
            text = ROLE.sub(REFERENCE, obj.docstring.value)
            obj.docstring.value = re.sub(r"::\n\n", ":\n\n", text)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstring of the package itself, which is none of its objects."""
        self.on_object(obj=pkg)
