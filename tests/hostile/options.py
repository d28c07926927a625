"""Options of a recipe and paths that nobody can mean; all of them are refused before any work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from optical.config.recipe import Recipe, load_recipe
from optical.config.teaching import Teaching
from optical.config.toml import load_options
from optical.data.bitext import read_bitext
from optical.data.collection import read_collection
from optical.data.dictionary import read_dictionary
from optical.data.feedback import check_feedback, read_feedback
from optical.data.trec_run import read_run
from optical.data.word_list import read_word_list
from optical.pipeline import preflight
from tests.hostile.case import Case, Reads, Refused, written
from tests.hostile.formats import ENGLISH_DOCS, PAIRS

LANGUAGES = (
    "../../x",
    "..",
    ".",
    "/etc",
    "a/b",
    "a\\b",
    "sw\0",
    "sw\nso",
    "s w",
    "sw\x1b[31m",
    "~",
    "~nosuchuser",
    "*",
    "sw?",
    "-sw",
    "{lang}",
    "x" * 200,
    "sw,../x",
    "sw,",
    "",
    " ",
    "s\u2028w",
    "sw:so",
    "en,sw",
    "sw,sw",
)
PATHS = {
    "a 0": "a\0b",
    "5,000 characters": "a" * 5_000,
    "a name of 300": "b" * 300,
    "deep": "a/" * 3_000,
    "nobody's home": "~nosuchuser/x",
    "a line feed": "a\nb",
    "an escape": "a\x1b[31mb",
    "half a pair": "a\udcffb",
}
NAMED = (
    "out",
    "cache",
    "bitext",
    "collection",
    "teacher",
    "student",
    "vocabulary.lexicon",
    "vocabulary.words",
    "search.translations",
    "robustness.synonyms",
)
NUMBERS: Mapping[str, tuple[Any, ...]] = {
    "seed": (2**32, -1, 10**30, "9" * 5_000, 1.5, "one", True),
    "search.depth": (10**30, 2**63, 0, -1, "9" * 5_000, 1e300),
    "training.steps": (10**30, 2**63, -1),
    "training.batch_size": (10**30, 0, 2**40),
    "training.batch_tokens": (10**30,),
    "training.accumulation": (10**30,),
    "training.evaluate_every": (10**30, 0),
    "training.held_out": (10**30,),
    "training.patience": (10**30,),
    "vocabulary.max_words": (10**30,),
    "vocabulary.size": (10**30,),
    "search.index_size": (10**30,),
    "search.shard_size": (10**30,),
    "search.probe": (10**30,),
    "search.candidates": (10**30,),
    "search.passages": (10**30, 0),
    "layers": (10**30, 0),
    "training.learning_rate": (float("nan"), float("inf"), 0, -1),
    "training.warmup": (1, float("nan")),
    "objective.epsilon": (float("inf"), 0),
    "robustness.radius": (float("nan"),),
    "search.bm25_weight": (2, 1e400),
}
WORDS = {
    "training.report_to": ("nobody", "wandb\0", "../x", "x" * 5_000, "a,b"),
    "device": ("tpu9000", "cuda:99:1", "cpu\0", "../x", "x" * 5_000, ""),
    "search.split": ("../x", "a/b", "a\0", ""),
    "search.factory": ("Flat\0", "x" * 5_000),
    "training.hub_model_id": ("../x", "a\0b", "a/b/c", "x" * 300),
}


def _recipe(model: type, name: str, value: Any) -> Callable[[Path], Callable[[], Any]]:
    base: dict[str, Any] = {"lang": "sw"} if model is Recipe else {"collection": "somewhere"}
    return lambda _: lambda: load_options(model, None, base | {name: value})


def _options() -> Iterator[Case]:
    for lang in LANGUAGES:
        yield Case(
            "option", f"lang {lang[:20]!a}", lambda _, v=lang: lambda: load_recipe(None, {"lang": v}), Refused("lang")
        )
    for lang in ("sw", "zh-Hans", "pt_BR", "sw,so", "nan", "sr-Latn-RS", "es-419"):
        yield Case("option", f"lang {lang}", lambda _, v=lang: lambda: load_recipe(None, {"lang": v}).lang, Reads(lang))
    for name in NAMED:
        for fault, path in PATHS.items():
            yield Case("option", f"{name}, {fault}", _recipe(Recipe, name, path), Refused(name))
    for name in ("out", "cache", "collection", "teacher", "test"):
        for fault in ("a 0", "5,000 characters", "nobody's home"):
            yield Case("option", f"teach: {name}, {fault}", _recipe(Teaching, name, PATHS[fault]), Refused(name))
    for name, given in (*NUMBERS.items(), *WORDS.items()):
        for value in given:
            yield Case("option", f"{name} = {str(value)[:30]!a}", _recipe(Recipe, name, value), Refused(name))
    for name, value in (
        ("steps", 10**30),
        ("pairs", 10**30),
        ("seed", 2**32),
        ("report_to", "nobody"),
        ("device", "tpu9000"),
        ("test_split", "../x"),
    ):
        yield Case("option", f"teach: {name} = {value}", _recipe(Teaching, name, value), Refused(name))
    for name, value in (
        ("seed", 2**32 - 1),
        ("search.depth", 1_000_000),
        ("device", "cuda:1"),
        ("device", "mps"),
        ("training.report_to", "none"),
        ("training.hub_model_id", "me/my-model"),
    ):
        yield Case(
            "option",
            f"{name} = {value} is taken",
            lambda _, n=name, v=value: lambda: bool(load_recipe(None, {"lang": "sw", n: v})),
            Reads(True),
        )


READERS: dict[str, Callable[[str], Any]] = {
    "bitext": lambda path: read_bitext(path, "sw"),
    "two bitexts": lambda path: read_bitext(f"{path},{path}", "sw"),
    "collection": lambda path: read_collection(path, ["sw"]),
    "dictionary": lambda path: read_dictionary(path, "sw"),
    "word list": read_word_list,
    "run": read_run,
    "feedback": lambda path: read_feedback(Path(path)),
    "feedback to write": lambda path: check_feedback(Path(path)),
    "recipe": lambda path: load_recipe(path),
}
ELSEWHERE = {
    "nothing": "",
    "no such file": "/nowhere/at/all",
    "a device": "/dev/null",
    "/dev/zero": "/dev/zero",
    "a process": "/proc/self/mem",
    "a terminal": "/dev/tty",
}


def _paths() -> Iterator[Case]:
    for reader, read in READERS.items():
        for fault, path in {**PATHS, **ELSEWHERE}.items():
            if reader == "feedback to write" and fault in ("a line feed", "an escape", "half a pair", "a device"):
                continue  # such a file can be made
            yield Case("path", f"{reader}, {fault}", _within(lambda path=path, read=read: read(path)), Refused())


def _within(read: Callable[[], Any]) -> Callable[[Path], Callable[[], Any]]:
    """A reader that is called in an empty folder."""

    def made(folder: Path) -> Callable[[], Any]:
        os.chdir(folder)
        return read

    return made


def _run(changed: Callable[[Path], dict[str, Any]]) -> Callable[[Path], Callable[[], Any]]:
    """What is checked before `optical distill` begins, of a run that could be made but for some options."""

    def made(folder: Path) -> Callable[[], Any]:
        for name, data in ENGLISH_DOCS.items():
            written(folder / "collection" / name, data)
        written(folder / "pairs.tsv", PAIRS)
        written(folder / "file", "")
        (folder / "teacher").mkdir()
        own = {
            "lang": "sw",
            "bitext": "pairs.tsv",
            "collection": "collection",
            "teacher": "teacher",
            "cache": "cache",
            "out": "run",
        }
        os.chdir(folder)
        recipe = load_recipe(
            None, {name: f"{folder}/{one}" if name != "lang" else one for name, one in own.items()} | changed(folder)
        )
        return lambda: preflight.before_distill(recipe)

    return made


def _fifo(folder: Path) -> dict[str, Any]:
    os.mkfifo(folder / "fifo.tsv")
    return {"bitext": f"{folder}/fifo.tsv"}


def _before() -> Iterator[Case]:
    cases: dict[str, tuple[Callable[[Path], dict[str, Any]], Refused | Reads]] = {
        "nothing wrong": (lambda _: {}, Reads(None)),
        "out is a file": (lambda f: {"out": f"{f}/file"}, Refused("file")),
        "out is in a file": (lambda f: {"out": f"{f}/file/run"}, Refused("file")),
        "cache is a file": (lambda f: {"cache": f"{f}/file"}, Refused("file")),
        "cache is in a file": (lambda f: {"cache": f"{f}/file/x"}, Refused("file")),
        "cuda without one": (lambda _: {"device": "cuda"}, Refused("device")),
        "cuda:7 without one": (lambda _: {"device": "cuda:7"}, Refused("device")),
        "a report that is not installed": (lambda _: {"training.report_to": "comet_ml"}, Refused("comet")),
        "bitext is a FIFO": (_fifo, Refused("regular")),
        "bitext is a device": (lambda _: {"bitext": "/dev/zero"}, Refused()),
        "collection is a device": (lambda _: {"collection": "/dev/zero"}, Refused()),
        "dictionary is a device": (lambda _: {"vocabulary.lexicon": "/dev/zero"}, Refused()),
        "words are a device": (lambda _: {"vocabulary.words": "/dev/zero"}, Refused()),
        "teacher is a file": (lambda f: {"teacher": f"{f}/file"}, Refused("model folder")),
    }
    for name, (changed, must) in cases.items():
        yield Case("before", name, _run(changed), must)


def options() -> Iterator[Case]:
    """All of them."""
    yield from _options()
    yield from _paths()
    yield from _before()
