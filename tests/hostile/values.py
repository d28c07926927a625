"""Values inside files that are whole otherwise: relevances, scores, counts, ids, letters that take long."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from optical.data.bitext_sources import sources_of
from optical.data.word_list import read_word_list
from optical.evaluation.perturbations import KINDS, perturb
from tests.hostile.case import Case, Reads, Refused, written
from tests.hostile.formats import ENGLISH_DOCS, FEEDBACK, FORMATS, collection, documents, pairs

MARKS = "a" + "\u0316\u0301" * 50_000  # takes a second to normalise, and a megabyte of it minutes
HUGE = "9" * 5_000


def _files(read: Callable[[Path], Any], **files: str | bytes) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        for name, data in files.items():
            written(folder / name, data)
        return lambda: read(folder)

    return made


def _collection(**changed: str | bytes) -> Callable[[Path], Callable[[], Any]]:
    """The small collection with other files; a file without content is left out."""
    files = {name: data for name, data in {**ENGLISH_DOCS, **changed}.items() if data}
    return _files(collection, **files)


NO_RELEVANCE = (
    HUGE,
    f"-{HUGE}",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "1" + "0" * 30,
    "-" + "1" + "0" * 30,
    "10001",
    "-10001",
    "1e3",
    "1e400",
    "1.5",
    "nan",
    "inf",
    "0x1",
    "1_0",
    "one",
    "\u0663",
    "\uff11",
    "\u00b2",
    "",
)


def _numbers() -> Iterator[Case]:
    for value in NO_RELEVANCE:
        told = value if len(value) < 20 else f"{value[:4]}..., {len(value)} characters"
        yield Case(
            "relevance",
            f"TREC {told!a}",
            _collection(**{"qrels.tsv": f"q1 0 d1 1\nq2 0 d2 {value}\n"}),
            Refused(r"qrels\.tsv:2"),
        )
        beir = f"query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t{value}\n"
        yield Case(
            "relevance",
            f"BEIR {told!a}",
            _collection(**{"qrels.tsv": "", "qrels/test.tsv": beir}),
            Refused(r"test\.tsv:3"),
        )
    for value, found in (("10000", 10_000), ("-2", -2), ("+3", 3), ("2.0", 2), ("002", 2)):
        yield Case(
            "relevance",
            f"TREC {value}",
            _value(_collection(**{"qrels.tsv": f"q1 0 d1 1\nq2 0 d2 {value}\n"})),
            Reads(found),
        )
    for value in ("1e400", "2", "-1", "true", '"1"', "[1]", "{}", "0.5", HUGE, "NaN"):
        line = FEEDBACK.replace('"relevance": 1', f'"relevance": {value}')
        yield Case(
            "relevance",
            f"feedback {value[:9]}",
            lambda folder, line=line: FORMATS["feedback"].make(folder, line),
            Refused("given.jsonl:1"),
        )
    for value in ("nan", "inf", "-inf", "1e400", "1e38", "-1e300", HUGE, "one", "0x1p3", "1_0", "\u0663"):
        line = f"q1 Q0 d1 1 2.5 x\nq1 Q0 d2 2 {value} x\n"
        yield Case(
            "score",
            f"{value[:9]!a}",
            lambda folder, line=line: FORMATS["run"].make(folder, line),
            Refused("run.trec:2"),
        )
    words = FORMATS["word list"]
    for value in (HUGE, "\u0663", "\u00b2"):
        yield Case(
            "count",
            f"word list {value[:4]!a}",
            _has_word(lambda f, v=value: words.make(f, f"maji\t{v}\nziwa\n")),
            Reads(True),
        )
    for name, dic, aff in (
        ("first line of 5,000 digits", f"{HUGE}\nmaji/A\n", "SET UTF-8\n"),
        ("first line \u00b2", "\u00b2\nmaji/A\n", "SET UTF-8\n"),
        ("an alias of 5,000 digits", f"1\nmaji/{HUGE}\n", "SET UTF-8\nAF 1\nAF AB\n"),
        ("an entry that begins with a tab", "2\nmaji/A\n\tpo:noun\n", "SET UTF-8\n"),
        ("an alias \u00b2", "1\nmaji/\u00b2\n", "SET UTF-8\nAF 1\nAF AB\n"),
        ("rules of 5,000 digits", "1\nmaji/A\n", f"SET UTF-8\nSFX A Y {HUGE}\nSFX A 0 ni .\n"),
    ):
        yield Case(
            "count",
            f"Hunspell, {name}",
            _has_word(_files(_hunspell, **{"sw.dic": dic, "sw.aff": aff})),
            Reads(True) if name != "first line \u00b2" else Refused("sw.dic:1"),
        )
    for value in ("nan", "inf", "-1", "1e400", "1" * 5_000, "x"):
        yield Case(
            "count",
            f"weight of bitext {value[:9]}",
            _files(lambda folder, v=value: sources_of(f"{folder}/a.tsv@{v}", "sw"), **{"a.tsv": "a\tb\n"}),
            Refused("weight|no such"),
        )


def _value(make: Callable[[Path], Callable[[], Any]]) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        read = make(folder)
        return lambda: read()[2]["test"][-1].relevance

    return made


def _hunspell(folder: Path) -> dict[str, int]:
    return dict(read_word_list(folder / "sw.dic").counts)


def _has_word(make: Callable[[Path], Callable[[], Any]]) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        read = make(folder)
        return lambda: "maji" in read()

    return made


NO_IDS = {
    "a 0": "d\0009",
    "only 0": "\000",
    "a blank": "d 9",
    "a tab": "d\t9",
    "a line feed": "d\n9",
    "U+2028": "d\u20289",
    "U+0085": "d\x859",
    "a no-break space": "d\xa09",
    "an escape": "d\x1b[31m9",
    "a C1 control": "d\x9b31m9",
    "a return": "d\r9",
    "empty": "",
    "blanks": "  ",
    "half a pair": "d\ud8009",
    "100 kB": "d" * 100_000,
}


def _ids() -> Iterator[Case]:
    for name, value in NO_IDS.items():
        record = json.dumps({"id": value, "text": "More."})
        docs = ENGLISH_DOCS["docs.jsonl"] + record + "\n"
        yield Case("ids", f"document, {name}", _collection(**{"docs.jsonl": docs}), Refused("docs.jsonl:3"))
        yield Case("ids", f"document alone, {name}", _files(documents, **{"docs.jsonl": docs}), Refused("docs.jsonl:3"))
        query = ENGLISH_DOCS["queries.sw.tsv"].splitlines()
        asked = "".join(json.dumps({"_id": line[:2], "text": line[3:]}) + "\n" for line in query)
        asked += json.dumps({"_id": value, "text": "More?"}) + "\n"
        yield Case(
            "ids",
            f"query, {name}",
            _collection(**{"queries.sw.tsv": "", "queries.sw.jsonl": asked}),
            Refused("queries.sw.jsonl:3"),
        )
        if not set(value) & set("\t\n") and value.strip() and name != "half a pair":
            yield Case(
                "ids",
                f"query in a table, {name}",
                _collection(**{"queries.sw.tsv": ENGLISH_DOCS["queries.sw.tsv"] + f"{value}\tNini?\n"}),
                Refused("queries.sw.tsv:3"),
            )
            beir = "query-id\tcorpus-id\tscore\nq1\td1\t1\n"
            for what, line in (("query", f"{value}\td1\t1\n"), ("document", f"q1\t{value}\t1\n")):
                yield Case(
                    "ids",
                    f"judgement of a {what}, {name}",
                    _collection(**{"qrels.tsv": "", "qrels/test.tsv": beir + line}),
                    Refused("test.tsv:3"),
                )
    for name, value in (("a list", []), ("an object", {}), ("a list of one", ["d9"])):
        record = json.dumps({"id": value, "text": "More."})
        yield Case(
            "ids",
            f"document, {name}",
            _collection(**{"docs.jsonl": ENGLISH_DOCS["docs.jsonl"] + record + "\n"}),
            Refused("docs.jsonl:3"),
        )
    yield Case(
        "ids",
        "topic of two words",
        _collection(**{"queries.sw.tsv": "", "topics.sw.trec": "<top><num>q1 q2<title>Nini?</top>\n"}),
        Refused("topics.sw.trec:1"),
    )
    yield Case(
        "ids",
        "DOCNO of two words",
        _collection(**{"docs.jsonl": "", "docs.trec": "<DOC><DOCNO>d 1</DOCNO><TEXT>A</TEXT></DOC>\n"}),
        Refused("docs.trec:1"),
    )


def _length(make: Callable[[Path], Any], text: Callable[[Any], str]) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        read = make(folder)
        return lambda: len(text(read())) < 200_000

    return made


def _marks() -> Iterator[Case]:
    """Text that takes long to normalise, to split or to match."""
    for times in (1, 10):
        marks = MARKS * times
        megabytes = f"{times * 0.2:g} MB of marks"
        lines = f"I drink water.\tNinakunywa maji.\nGood day to you.\t{marks}\n"
        yield Case(
            "marks",
            f"bitext, {megabytes}",
            _files(lambda f: pairs(f / "a.tsv"), **{"a.tsv": lines}),
            Reads([("I drink water.", "Ninakunywa maji.")]),
        )
        docs = json.dumps({"id": "d1", "text": f"A river. {marks}"}) + "\n"
        yield Case(
            "marks",
            f"document, {megabytes}",
            _read(_files(documents, **{"docs.jsonl": docs}), lambda v: v[0][2][:8]),
            Reads("A river."),
        )
        yield Case(
            "marks",
            f"query, {megabytes}",
            _read(_collection(**{"queries.sw.tsv": f"q1\tMto {marks}\n"}), lambda v: v[1]["sw"][0].text[:3]),
            Reads("Mto"),
        )
        yield Case(
            "marks",
            f"word list, {megabytes}",
            _has_word(_files(lambda f: dict(read_word_list(f / "w.txt").counts), **{"w.txt": f"maji\n{marks}\n"})),
            Reads(True),
        )
        yield Case(
            "marks",
            f"dictionary, {megabytes}",
            _read(lambda f, m=marks: FORMATS["dictionary"].make(f, f"water\tmaji\ncow\t{m}\n"), lambda v: v[0]),
            Reads(("water", "maji")),
        )
    dictionary = FORMATS["dictionary"]
    for name, text in {
        "brackets in brackets": "(" * 50_000 + ")" * 50_000,
        "brackets that stay open": "(" * 100_000 + "a",
        "blanks": "a" + " " * 100_000 + "b",
        "digits": "a " + "1" * 100_000,
        "commas": "a," * 50_000,
        "angles": "<" * 100_000,
        "or": " or" * 50_000,
    }.items():
        yield Case(
            "matching",
            f"dictionary, {name}",
            _read(lambda f, t=text: dictionary.make(f, f"water\tmaji\ncow\t{t}\n"), lambda v: v[0]),
            Reads(("water", "maji")),
        )
    index = FORMATS["FreeDict index"]
    for name, head in {"blanks in a headword": "a" + " " * 100_000 + "b", "slashes": "a /" * 50_000}.items():

        def made(folder: Path, head: str = head) -> Callable[[], Any]:
            read = index.make(folder)
            number = lambda n: "".join(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[n >> s & 63] for s in (18, 12, 6, 0)
            )
            more = f"{head}\nmaji\n"
            whole = (folder / "freedict-eng-swh.dict").read_text(encoding="utf-8")
            written(folder / "freedict-eng-swh.dict", whole + more)
            line = f"a\t{number(len(whole))}\t{number(len(more))}\n"
            written(folder / index.file, index.files[index.file] + line)
            return lambda: read()[0]

        yield Case("matching", f"FreeDict, {name}", made, Reads(("water", "maji")))
    for name, line in {
        "an offset of 5,000 digits": f"a\t{'z' * 5_000}\tB\n",
        "an article beyond the end": "a\tBAA\tBAA\n",
        "a length of 5,000 digits": f"a\tB\t{'z' * 5_000}\n",
        "no number": "a\t!\t?\n",
        "two columns": "a\tB\n",
    }.items():
        yield Case(
            "matching",
            f"FreeDict, {name}",
            lambda f, line=line: index.make(f, index.files[index.file] + line),
            Refused("index:4"),
        )
    for name, body in {
        "a tag that stays open": "<DOC><DOCNO>d1</DOCNO><TEXT>A river. <" + "a" * 200_000 + "</TEXT></DOC>\n",
        "angles": "<DOC><DOCNO>d1</DOCNO><TEXT>A river. " + "<" * 200_000 + "</TEXT></DOC>\n",
        "100,000 tags": "<DOC><DOCNO>d1</DOCNO><TEXT>A river. " + "<p>" * 100_000 + "</TEXT></DOC>\n",
        "ampersands": "<DOC><DOCNO>d1</DOCNO><TEXT>A river. " + "&" * 200_000 + "</TEXT></DOC>\n",
    }.items():
        yield Case(
            "matching",
            f"TREC, {name}",
            _read(_files(documents, **{"docs.trec": body}), lambda v: v[0][2][:8]),
            Reads("A river."),
        )
    yield Case(
        "matching",
        "licence of blanks",
        _files(lambda f: pairs(f / "a.tsv"), **{"a.tsv": "I drink.\tNinakunywa.\n", "README": " " * 1_000_000}),
        Reads([("I drink.", "Ninakunywa.")]),
    )
    for kind in KINDS:
        for name, text in {
            "one letter, 100,000 times": "a" * 100_000,
            "marks": "maji " + "a\u0301" * 50_000,
            "one word": "maji",
        }.items():
            yield Case(
                "perturb",
                f"{kind}, {name}",
                lambda _, k=kind, t=text: (
                    lambda: bool(perturb(t, k, 1.0, np.random.default_rng(0), lexicon={"maji": ["water"]}))
                ),
                Reads(True),
            )


def _read(make: Callable[[Path], Callable[[], Any]], part: Callable[[Any], Any]) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        read = make(folder)
        return lambda: part(read())

    return made


def _affixes() -> Iterator[Case]:
    """Hunspell rules that multiply, or are none."""
    many = "".join(f"SFX A 0 {chr(97 + k % 26)}{k}/A .\n" for k in range(3_000))
    cases = {
        "3,000 suffixes on themselves": f"SET UTF-8\nSFX A Y 3000\n{many}",
        "a condition that takes long": "SET UTF-8\nSFX A Y 1\nSFX A 0 ni " + "[ab]" * 20_000 + "\n",
        "an affix of 1 MB": "SET UTF-8\nSFX A Y 1\nSFX A 0 " + "n" * 1_000_000 + " .\n",
    }
    for name, aff in cases.items():
        dic = "2\n" + "".join(f"maji{k}/A\n" for k in range(200))
        yield Case("Hunspell", name, _files(_hunspell, **{"sw.dic": dic, "sw.aff": aff}), Refused("sw.(aff|dic)"))
    for name, aff, pattern in (
        ("a condition that is none", "SFX A Y 1\nSFX A 0 ni [\n", "sw.aff:2"),
        ("too few columns", "SFX A Y 1\nSFX A 0\n", "sw.aff:2"),
        ("an unknown encoding", "SET klingon\n", "sw.aff:1"),
        ("an encoding that is none", "SET rot13\n", "sw.aff:1"),
        ("an encoding of bytes", "SET hex\n", "sw.aff:1"),
        ("an encoding of 5,000 letters", f"SET {'x' * 5_000}\n", "sw.aff:1"),
        ("UTF-7", "SET utf-7\nSFX A Y 1\nSFX A 0 +A .\n", "sw.aff"),
    ):
        yield Case("Hunspell", name, _files(_hunspell, **{"sw.dic": "1\nmaji/A\n", "sw.aff": aff}), Refused(pattern))


def values() -> Iterator[Case]:
    """All of them."""
    yield from _numbers()
    yield from _ids()
    yield from _marks()
    yield from _affixes()
