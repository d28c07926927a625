"""Checksums of what decides a cell's figure beside its recipe: the code that makes it, the files that it reads.

A cell is read again only while both are the same. Of the code, what counts is every file that ``experiments/cell.py``
imports, directly or through others. Comments, docstrings, the descriptions of options and the texts of errors do not
count, so prose can be mended without measuring again. Versions of packages do not count either.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from optical.data.records import ENGLISH
from optical.errors import DataError
from optical.files import checksum, file_checksum

ROOT = Path(__file__).parents[1]
PACKAGES = ("optical", "experiments")


@cache
def code(entry: str = "experiments.cell", root: Path = ROOT) -> str:
    """Checksum of the files that decide a cell; another version of Python may give another one."""
    files = reached(entry, root)
    return checksum(text for path in files for text in (path.relative_to(root).as_posix(), without_prose(path)))


def reached(entry: str, root: Path = ROOT) -> list[Path]:
    """The project's files that a module imports, at its top or inside functions, directly or through others; sorted."""
    found: set[Path] = set()
    waiting = [_file(entry, root)]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            found.add(path)
            waiting += [_file(name, root) for name in _imported(path)]
    return sorted(found)


def _imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # ``from optical.models import encoders`` names a module or something in one.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in PACKAGES]


def _file(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def without_prose(path: Path) -> str:
    """The source of a file as its syntax tree, without what only people read."""
    return ast.dump(_Bare().visit(ast.parse(path.read_text(encoding="utf-8"))))


class _Bare(ast.NodeTransformer):
    """Leaves out docstrings, descriptions of options and the texts of errors."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Leave out a string that stands by itself."""
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if alone else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Leave out ``description=`` of an option."""
        node.keywords = [word for word in node.keywords if word.arg != "description"]
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep what is raised; its text is left out."""
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value = ""
            elif isinstance(part, ast.JoinedStr):
                part.values = []
        return node


def data(folder: Path, langs: Sequence[str], collections: Sequence[str], lang: str, more: Iterable[Path] = ()) -> str:
    """Checksum of the files that a cell reads.

    Args:
        folder: With ``bitext/<lang>`` and ``clir/<collection>``.
        langs: Languages whose bitext is read.
        collections: Those that are not there count as nothing.
        lang: Language of the queries.
        more: Other files in the folder.

    Raises:
        DataError: No bitext in one of the languages.
    """
    files = list(more)
    for other in langs:
        bitext = folder / "bitext" / other
        if not bitext.exists():
            raise DataError(
                f"no bitext in {other}: {bitext} is not there; give the folder that holds bitext/ and clir/"
            )
        files += sorted(p for p in bitext.rglob("*") if p.is_file()) if bitext.is_dir() else [bitext]
    for name in collections:
        parts = ("docs.*", "qrels*", f"queries.{ENGLISH}.*", f"queries.{lang}.*")
        files += sorted(p for part in parts for p in (folder / "clir" / name).glob(part) if p.is_file())
    return checksum(text for p in files for text in (p.relative_to(folder).as_posix(), _file_checksum(p)))


@cache
def _file_checksum(path: Path) -> str:
    return file_checksum(path)
