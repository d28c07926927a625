"""A small valid file of every text format that is read, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from optical.data.bitext import read_bitext
from optical.data.collection import read_collection
from optical.data.dictionary import read_dictionary
from optical.data.feedback import read_feedback
from optical.data.trec_run import read_run
from optical.data.word_list import read_word_list
from tests.hostile.case import written

LANGS = ["en", "sw"]
DOCS = '{"id": "d1", "title": "Nile", "text": "A river in Africa."}\n{"id": "d2", "text": "A lake."}\n'
QUERIES = "q1\tMto gani?\nq2\tZiwa gani?\n"
QRELS = "q1 0 d1 1\nq2 0 d2 2\n"
TREC = (
    "<DOC>\n<DOCNO>d1</DOCNO>\n<TEXT>A river.</TEXT>\n</DOC>\n<DOC>\n<DOCNO>d2</DOCNO>\n<TEXT>A lake.</TEXT>\n</DOC>\n"
)
TMX = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4"><header/><body>\n'
    '<tu><tuv xml:lang="en"><seg>I drink water.</seg></tuv><tuv xml:lang="sw"><seg>Ninakunywa maji.</seg></tuv></tu>\n'
    '<tu><tuv xml:lang="en"><seg>Good day to you.</seg></tuv><tuv xml:lang="sw"><seg>Habari ya leo.</seg></tuv></tu>\n'
    "</body></tmx>\n"
)
PO = 'msgid ""\nmsgstr ""\n\nmsgid "I drink water."\nmsgstr "Ninakunywa maji."\n\nmsgid "Good day."\nmsgstr "Habari."\n'
PAIRS = "I drink water.\tNinakunywa maji.\nGood day to you.\tHabari ya leo.\n"
TOPICS = "<top>\n<num> Number: q1\n<title> Mto gani?\n</top>\n<top>\n<num> q2\n<title> Ziwa gani?\n</top>\n"
BEIR_QUERIES = '{"_id": "q1", "text": "Mto gani?"}\n{"_id": "q2", "text": "Ziwa gani?"}\n'
FEEDBACK = '{"lang": "sw", "query": "Mto gani?", "id": "d1", "relevance": 1}\n'
RUN = "q1 Q0 d1 1 2.5 optical\nq1 Q0 d2 2 1.5 optical\n"
ENGLISH_DOCS = {"docs.jsonl": DOCS, "queries.sw.tsv": QUERIES, "qrels.tsv": QRELS}


class Format(NamedTuple):
    """A format.

    Attributes:
        file: The file that faults are put into.
        files: Name -> content of this file and those beside it.
        read: Reads them, from their folder and the name of this file, which may have .gz behind it.
        zipped: Whether it is read with .gz too.
    """

    file: str
    files: Mapping[str, str]
    read: Callable[[Path, str], Any]
    zipped: bool = True

    def make(self, folder: Path, data: bytes | str | None = None, suffix: str = "") -> Callable[[], Any]:
        """Write the files, this one with other content and name, and return the function that reads them."""
        for name, text in self.files.items():
            if name != self.file:
                written(folder / name, text)
        written(folder / f"{self.file}{suffix}", self.files[self.file] if data is None else data)
        return lambda: self.read(folder, f"{self.file}{suffix}")


def pairs(path: Path | str) -> list[tuple[str, str]]:
    """Pairs of bitext."""
    return [tuple(pair) for pair in read_bitext(path, "sw").pairs]


def collection(folder: Path, _: str = "") -> tuple[Any, ...]:
    """What a collection has."""
    read = read_collection(folder, LANGS)
    return [tuple(doc) for doc in read.docs], read.queries, read.qrels


def documents(path: Path, _: str = "") -> list[tuple[str, ...]]:
    """Documents alone."""
    return [tuple(doc) for doc in read_collection(path, LANGS).docs]


def _bitext(name: str, text: str, **others: str) -> Format:
    return Format(name, {name: text, **others}, lambda folder, own: pairs(folder / own))


def _collection(name: str, text: str, *without: str) -> Format:
    rest = {other: one for other, one in ENGLISH_DOCS.items() if other not in without}
    return Format(name, {**rest, name: text}, collection)


def _documents(name: str, text: str) -> Format:
    return Format(name, {name: text}, documents, zipped=name.endswith((".csv", ".jsonl", ".txt")))


DICD = "00-database-short\n   English-Swahili FreeDict Dictionary\nwater\nmaji\ncow\nng'ombe\n"


def _dictd() -> str:
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    entries = (("00-database-short", 0, 57), ("water", 57, 11), ("cow", 68, 12))
    number = lambda n: (digits[n // 64] if n > 63 else "") + digits[n % 64]
    return "".join(f"{head}\t{number(start)}\t{number(length)}\n" for head, start, length in entries)


FORMATS: dict[str, Format] = {
    "bitext .tsv": _bitext("corpus.tsv", PAIRS),
    "bitext .txt": _bitext("corpus.txt", PAIRS),
    "bitext .jsonl": _bitext(
        "corpus.jsonl", '{"en": "I drink water.", "sw": "Ninakunywa maji."}\n{"en": "Good day.", "sw": "Habari."}\n'
    ),
    "bitext .tmx": _bitext("corpus.tmx", TMX),
    "bitext .po": _bitext("corpus.po", PO),
    "Moses": Format(
        "corpus.sw",
        {"corpus.en": "I drink water.\nGood day.\n", "corpus.sw": "Ninakunywa maji.\nHabari.\n"},
        lambda folder, own: pairs(f"{folder}/corpus.en,{folder}/{own}"),
    ),
    "docs.jsonl": _collection("docs.jsonl", DOCS),
    "corpus.jsonl": _collection("corpus.jsonl", DOCS.replace('"id"', '"_id"'), "docs.jsonl"),
    "docs.tsv": _collection("docs.tsv", "d1\tNile\tA river.\nd2\t\tA lake.\n", "docs.jsonl"),
    "docs.csv": _collection("docs.csv", "id,title,text\nd1,Nile,A river.\nd2,,A lake.\n", "docs.jsonl"),
    "docs.trec": _collection("docs.trec", TREC, "docs.jsonl"),
    "queries.tsv": _collection("queries.sw.tsv", QUERIES),
    "queries.jsonl": _collection("queries.sw.jsonl", BEIR_QUERIES, "queries.sw.tsv"),
    "topics.trec": _collection("topics.sw.trec", TOPICS, "queries.sw.tsv"),
    "qrels.tsv": _collection("qrels.tsv", QRELS),
    "qrels/test.tsv": _collection("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n", "qrels.tsv"),
    "run": Format("run.trec", {"run.trec": RUN}, lambda folder, own: read_run(folder / own), zipped=False),
    "feedback": Format(
        "given.jsonl", {"given.jsonl": FEEDBACK}, lambda folder, own: read_feedback(folder / own), zipped=False
    ),
    "dictionary": Format(
        "words.tsv",
        {"words.tsv": "water\tmaji\ncow\tng'ombe\n"},
        lambda folder, own: [tuple(one) for one in read_dictionary(folder / own, "sw").entries],
    ),
    "FreeDict index": Format(
        "freedict-eng-swh.index",
        {"freedict-eng-swh.index": _dictd(), "freedict-eng-swh.dict": DICD},
        lambda folder, own: [tuple(one) for one in read_dictionary(folder / own, "sw").entries],
        zipped=False,
    ),
    "word list": Format(
        "words.txt",
        {"words.txt": "maji\t3\nng'ombe\t2\n"},
        lambda folder, own: dict(read_word_list(folder / own).counts),
    ),
    "query log": Format(
        "log.jsonl",
        {"log.jsonl": '{"query": "maji safi"}\n{"query": "ziwa"}\n'},
        lambda folder, own: dict(read_word_list(folder / own).counts),
    ),
    "Hunspell .dic": Format(
        "sw.dic",
        {"sw.dic": "2\nmaji/A\nziwa\n", "sw.aff": "SET UTF-8\nSFX A Y 1\nSFX A 0 ni .\n"},
        lambda folder, own: dict(read_word_list(folder / "sw.dic").counts),
        zipped=False,
    ),
    "Hunspell .aff": Format(
        "sw.aff",
        {"sw.dic": "2\nmaji/A\nziwa\n", "sw.aff": "SET UTF-8\nSFX A Y 1\nSFX A 0 ni .\n"},
        lambda folder, own: dict(read_word_list(folder / "sw.dic").counts),
        zipped=False,
    ),
    "text": _documents("story.txt", "A river in Africa.\nIt is long.\n"),
    "Markdown": _documents("story.md", "---\ntitle: Nile\n---\n# Nile\n\nA river in Africa.\n"),
    "table": _documents("articles.csv", "id,text\nd1,A river.\nd2,A lake.\n"),
    "records": _documents("articles.jsonl", DOCS),
    "web page": _documents(
        "page.html",
        "<html><head><title>Nile</title></head><body><p>A river in Africa, and a long one, which runs "
        "from the lakes to the sea.</p></body></html>\n",
    ),
}
