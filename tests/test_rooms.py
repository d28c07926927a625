"""Imports run one way, heavy ones stay where they belong, and the shape of the package is what the style asks for."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "optical"
FILES = sorted(PACKAGE.rglob("*.py"))

# Floor by floor, the rooms and what each may import; a room imports from lower floors only.
MAY_IMPORT = {
    "errors": "", "version": "", "progress": "",
    "limits": "errors",
    "marker": "errors version",
    "files": "errors limits marker",
    "generation": "errors files marker",
    "transport": "",
    "config": "errors limits files",
    "data": "errors limits files",
    "models": "errors files marker data progress",
    "embeddings": "errors files marker data models progress",
    "vocabulary": "errors config data models",
    "evaluation": "errors data",
    "retrieval": "errors files marker data transport models embeddings",
    "training": "errors files marker progress config data transport models embeddings vocabulary evaluation",
    "pipeline": "errors limits version files generation marker progress config data models embeddings vocabulary "
    "training retrieval evaluation",
    "web": "errors version config data retrieval evaluation pipeline",
    "cli": "errors version files generation progress config data embeddings evaluation pipeline web",
}  # fmt: skip
# A folder stands for all its files.
WITHOUT_TORCH = (
    "errors.py", "limits.py", "files.py", "generation.py", "marker.py", "version.py", "__init__.py",
    "config", "data", "evaluation", "cli",
    "embeddings/ranks.py", "embeddings/shard.py", "embeddings/shards.py", "embeddings/write_shards.py",
    "models/onnx_encoder.py", "models/query_words.py",
    "pipeline/card.py", "pipeline/hub.py",
    "pipeline/inputs.py", "pipeline/preflight.py", "pipeline/sides.py", "pipeline/verify.py",
    "retrieval/dense", "retrieval/lexical",
)  # fmt: skip
HEAVY = {"torch", "transformers", "sentence_transformers", "accelerate"}
TRAINER_WORDS = ("Trainer", "TrainingArguments", "Callback", "Sampler", "Evaluator")


class Import(NamedTuple):
    """One imported name: ``from module import name``, or ``import module`` with no name."""

    module: str
    name: str
    line: int


def imports(tree: ast.AST) -> list[Import]:
    """Every import of a file, those inside functions too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, "", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [Import("." * node.level + (node.module or ""), alias.name, node.lineno) for alias in node.names]
    return found


def room_of(file: Path) -> str:
    """Room of a file of the package."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(file: Path) -> str:
    """Dotted name of a file of the package."""
    return ".".join(("optical", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def known_rooms(tree: ast.AST) -> set[str]:
    """Rooms of the package that a file imports from."""
    rooms = set()
    for module, name, _ in imports(tree):
        parts = [*module.split("."), name]
        if parts[0] == "optical" and len(parts) > 1 and parts[1] not in ("", "distill", "load", "probe", "teach"):
            rooms.add(parts[1])
    return rooms


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8"), str(file)) for file in FILES}


@pytest.fixture(scope="module")
def graph(trees) -> dict[str, set[str]]:
    """Room -> rooms that it imports from anywhere."""
    found: dict[str, set[str]] = {}
    for file, tree in trees.items():
        if file != PACKAGE / "__init__.py":
            found.setdefault(room_of(file), set()).update(known_rooms(tree) - {room_of(file)})
    return found


def test_the_collector_sees_every_way_to_import():
    tree = ast.parse(
        "import optical.data.trec_run\nfrom optical import config\n"
        "def f():\n    from optical.web.endpoints import create_app"
    )
    assert known_rooms(tree) == {"data", "config", "web"}


def test_there_are_few_entries_at_the_top():
    entries = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}
    assert len(entries) <= 21, sorted(entries)


def test_what_may_be_imported_runs_one_way():
    assert list(TopologicalSorter({room: known.split() for room, known in MAY_IMPORT.items()}).static_order())


def test_every_room_imports_only_what_it_may(graph):
    assert graph.keys() == MAY_IMPORT.keys()
    assert {room: extra for room in graph if (extra := graph[room] - set(MAY_IMPORT[room].split()))} == {}


def test_nothing_is_allowed_that_nobody_does(graph):
    assert {room: spare for room in graph if (spare := set(MAY_IMPORT[room].split()) - graph[room])} == {}


def test_imports_are_absolute(trees):
    assert [f"{file}:{i.line}" for file, tree in trees.items() for i in imports(tree) if i.module.startswith(".")] == []


def test_files_do_not_import_each_other_in_circles(trees):
    modules = {module_of(file): tree for file, tree in trees.items()}
    edges = {}
    for module, tree in modules.items():
        named = {f"{i.module}.{i.name}" for i in imports(tree)} | {i.module for i in imports(tree)}
        edges[module] = (named & modules.keys()) - {module}
    assert list(TopologicalSorter(edges).static_order())


def light_files() -> list[Path]:
    """The files that must load no torch."""
    return [f for f in FILES if f.relative_to(PACKAGE).as_posix().startswith(WITHOUT_TORCH)]


def test_light_files_are_there():
    assert [name for name in WITHOUT_TORCH if not (PACKAGE / name).exists()] == []


def test_importing_light_files_loads_no_torch():
    modules = [module_of(file) for file in light_files()]
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += f"print(sorted({HEAVY | {'faiss', 'datasets'}!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_no_function_has_more_than_seven_parameters(trees):
    """Options travel as their section; ``self`` does not count, nor do commands, whose parameters are their options."""
    long = {}
    for file, tree in trees.items():
        public = {"distill", "teach"} if file == PACKAGE / "__init__.py" else set()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in public:
                a = node.args
                names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
                command = any("command" in ast.unparse(d) or "callback" in ast.unparse(d) for d in node.decorator_list)
                if len(set(names) - {"self", "cls"}) > 7 and not command:
                    long[f"{file.relative_to(PACKAGE)}:{node.lineno} {node.name}"] = len(names)
    assert long == {}


def test_only_training_and_its_callbacks_meet_the_trainer(trees):
    met = {
        file.relative_to(PACKAGE).as_posix()
        for file, tree in trees.items()
        for i in imports(tree)
        if i.module.split(".")[0] in HEAVY and (i.name.endswith(TRAINER_WORDS) or "trainer" in i.module)
    }
    named = ("callbacks", "distillation", "pair_classifier", "teacher", "trainer")
    assert met == {f"training/{name}.py" for name in named}


REPLACING = (".rename", ".move", "os.replace", "os.renames", "os.getpid")
REMOVING = (".rmtree", ".rmdir", ".unlink", "os.remove", "os.removedirs")


def test_only_files_and_generation_replace_or_remove_what_is_on_disk(trees):
    """It looks at the marker first; whatever else did so could take a user's file for its own."""
    calls = {
        f"{file.relative_to(PACKAGE).as_posix()}: {ast.unparse(node.func)}"
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if file not in (PACKAGE / "files.py", PACKAGE / "marker.py", PACKAGE / "generation.py")
        and isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith((*REPLACING, *REMOVING))
    }
    # The manifest of shards, which is written anew; whether it is ours was checked by make_shards.
    assert calls == {"embeddings/write_shards.py: (folder / MANIFEST).unlink"}


def test_print_only_in_the_command_line(trees):
    calls = [
        f"{file}:{node.lineno}"
        for file, tree in trees.items()
        if room_of(file) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "console.print", "sys.stdout.write")
    ]
    assert calls == []


def test_no_room_is_a_drawer_for_anything():
    drawers = {"utils", "util", "common", "helpers", "base", "misc"}
    assert [
        str(f) for f in FILES if drawers & {part.removesuffix(".py") for part in f.relative_to(PACKAGE).parts}
    ] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_docstring_says_what_the_thing_does_and_does_not_begin_with_what_or_how(file, trees):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    said = [ast.get_docstring(node) or "" for node in ast.walk(trees[file]) if isinstance(node, documented)]
    assert not [text for text in said if text.split(" ")[0] in ("What", "How")]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_a_file_has_a_docstring_and_at_most_400_lines(file, trees):
    assert ast.get_docstring(trees[file]), f"{file} does not say what it is"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400
