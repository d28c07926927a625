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

# Room -> rooms that it may know. A new room has to be entered here, which is the moment to think about its place.
MAY_KNOW = {
    "errors": set(),
    "precision": {"errors"},
    "files": {"errors"},
    "tokens": set(),
    "transport": set(),
    "run": {"errors", "files"},
    "text": {"errors"},
    "options": {"errors"},
    "recipe": {"options"},
    "syllabus": set(),
    "interrupt": {"errors"},
    "averaging": {"encoders"},
    "batches": set(),
    "row_adam": set(),
    "layers": {"errors", "encoders"},
    "objectives": {"tokens", "transport"},
    "retrieval": {"tokens", "errors", "files", "run"},
    "evaluate": {"errors", "run", "text"},
    "comparison": {"errors", "run", "text", "evaluate"},
    "report": {"evaluate"},
    "encoders": {"errors", "tokens"},
    "shards": {"errors", "files"},
    "document_side": {"encoders", "shards"},
    "embed": {"errors", "precision", "files", "tokens", "encoders", "shards", "document_side"},
    "vocabulary": {"errors", "text", "encoders"},
    "robustness": {"errors", "text", "vocabulary"},
    "translation": {"errors", "text", "vocabulary"},
    "search": {"errors", "run", "text", "retrieval", "encoders", "embed"},
    "inputs": {"errors", "recipe", "text"},
    "manifest": {"files", "recipe", "encoders", "syllabus"},
    "development": {"recipe", "inputs", "text", "evaluate", "encoders", "embed", "search"},
    "lesson": {"recipe", "tokens", "transport", "objectives", "encoders", "embed", "robustness"},
    "loop": {"errors", "interrupt", "encoders"},
    "watch": {"lesson", "loop"},
    "distillation": {
        "errors", "precision", "files", "interrupt", "averaging", "batches", "row_adam", "recipe", "text", "encoders",
        "embed", "vocabulary", "lesson", "robustness", "watch", "loop",
    },
    "projection": {"errors", "encoders"},
    "supervision": {"errors", "precision", "files", "syllabus", "text", "encoders"},
    "teaching": {"errors", "precision", "files", "interrupt", "averaging", "loop", "syllabus", "encoders"},
    "course": {
        "errors", "precision", "files", "recipe", "inputs", "syllabus", "manifest", "text", "run", "evaluate",
        "encoders", "embed", "search", "development", "projection", "supervision", "teaching",
    },
    "languages": {"errors", "batches", "recipe", "text", "distillation"},
    "indexing": {"recipe", "inputs", "manifest", "text", "encoders", "embed", "retrieval", "search", "development"},
    "lexical": {"errors", "recipe", "inputs", "manifest", "text", "run", "retrieval", "robustness", "translation"},
    "judging": {
        "recipe", "inputs", "manifest", "text", "run", "evaluate", "report", "encoders", "embed", "search",
        "development", "indexing", "lexical", "comparison",
    },
    "matches": {"encoders"},
    "answering": {
        "errors", "recipe", "inputs", "text", "encoders", "retrieval", "search", "development", "indexing", "matches",
    },
    "web": {"errors", "recipe", "text", "report", "judging", "answering", "matches"},
    "colbert": {"errors", "files", "recipe", "inputs", "encoders"},
    "qdrant": {
        "errors", "recipe", "inputs", "text", "run", "encoders", "embed", "development", "indexing", "answering",
    },
    "chain": {
        "errors", "precision", "files", "recipe", "inputs", "languages", "manifest", "text", "report", "encoders",
        "vocabulary", "layers", "development", "distillation", "indexing", "judging", "lexical", "colbert",
    },
    "serving": {"errors"},
    "export": {"errors", "files", "encoders", "serving"},
    "delivery": {
        "files", "recipe", "inputs", "text", "evaluate", "encoders", "search", "development", "indexing", "export",
        "serving",
    },
    "stress": {
        "errors", "recipe", "inputs", "manifest", "text", "evaluate", "report", "encoders", "search", "development",
        "robustness", "indexing", "judging",
    },
    "cli": {
        "errors", "recipe", "inputs", "text", "report", "comparison", "shards", "indexing", "judging", "answering",
        "chain", "delivery", "stress", "syllabus", "course", "web", "qdrant", "colbert",
    },
}  # fmt: skip
WITHOUT_TORCH = ("evaluate", "comparison", "run", "recipe", "inputs", "text", "errors", "files", "serving", "shards")
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
    """Room of a file of the package; the package's own ``__init__`` is no room."""
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def known_rooms(tree: ast.AST) -> set[str]:
    """Rooms of the package that a file imports; its version and its public function are nobody's room."""
    rooms = set()
    for module, name, _ in imports(tree):
        parts = [*module.split("."), name]
        if parts[0] == "optical" and len(parts) > 1 and parts[1] not in ("", "__version__", "distill", "teach"):
            rooms.add(parts[1])
    return rooms


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8"), str(file)) for file in FILES}


@pytest.fixture(scope="module")
def graph(trees) -> dict[str, set[str]]:
    """Room -> rooms that it imports anywhere."""
    found: dict[str, set[str]] = {}
    for file, tree in trees.items():
        if file != PACKAGE / "__init__.py":
            found.setdefault(room_of(file), set()).update(known_rooms(tree) - {room_of(file)})
    return found


def test_the_collector_sees_every_way_to_import():
    tree = ast.parse(
        "import optical.run\nfrom optical import chain, __version__\ndef f():\n    from optical.text.bitext import Pair"
    )
    assert known_rooms(tree) == {"run", "chain", "text"}


def test_what_may_be_known_runs_one_way():
    assert list(TopologicalSorter(MAY_KNOW).static_order())  # raises CycleError otherwise


def test_every_room_knows_only_what_it_may(graph):
    assert graph.keys() == MAY_KNOW.keys()
    assert {room: extra for room in graph if (extra := graph[room] - MAY_KNOW[room])} == {}


def test_transport_knows_no_room_and_nothing_knows_the_command_line(graph):
    assert graph["transport"] == set()
    assert [room for room, known in graph.items() if "cli" in known] == []


def test_imports_are_absolute(trees):
    assert [f"{file}:{i.line}" for file, tree in trees.items() for i in imports(tree) if i.module.startswith(".")] == []


def test_files_inside_a_room_do_not_import_each_other_in_circles(trees):
    modules = {".".join(("optical", *f.relative_to(PACKAGE).with_suffix("").parts)): t for f, t in trees.items()}
    edges = {}
    for module, tree in modules.items():
        named = {f"{i.module}.{i.name}" for i in imports(tree)} | {i.module for i in imports(tree)}
        edges[module] = (named & modules.keys()) - {module}
    assert list(TopologicalSorter(edges).static_order())


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_light_rooms_name_no_torch_even_through_others(trees, graph, room):
    reached, waiting = set(), {room}
    while waiting:
        one = waiting.pop()
        reached.add(one)
        waiting |= graph[one] - reached
    heavy = [
        f"{file}:{i.line} {i.module}"
        for file, tree in trees.items()
        for i in imports(tree)
        if file != PACKAGE / "__init__.py" and room_of(file) in reached and i.module.split(".")[0] in HEAVY
    ]
    assert heavy == []


def test_importing_light_rooms_loads_no_torch():
    modules = [
        ".".join(("optical", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for file in FILES
        if room_of(file) in WITHOUT_TORCH or file == PACKAGE / "__init__.py"
    ]
    modules += ["optical.report", "optical.cli"]  # a table and a --help need none either
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += f"print(sorted({HEAVY | {'faiss', 'datasets'}!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_only_training_and_its_callbacks_meet_the_trainer(trees):
    met = {
        file.relative_to(PACKAGE).as_posix()
        for file, tree in trees.items()
        for i in imports(tree)
        if i.module.split(".")[0] in HEAVY and (i.name.endswith(TRAINER_WORDS) or "trainer" in i.module)
    }
    assert met == {"distillation.py", "interrupt.py", "loop.py", "teaching.py", "watch.py"}


def test_only_files_replaces_what_is_on_disk(trees):
    calls = {
        file.relative_to(PACKAGE).as_posix()
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (ast.unparse(node.func).endswith((".rename", "os.replace", "os.getpid")))
    }
    assert calls == {"files.py", "text/fetch.py"}  # a download in progress has a name of its own, .part


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


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_a_file_has_a_docstring_and_at_most_400_lines(file, trees):
    assert ast.get_docstring(trees[file]), f"{file} does not say what it is"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400
