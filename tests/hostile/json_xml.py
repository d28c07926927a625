"""Nesting, encodings and sizes of JSON, TOML and XML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optical.config.recipe import load_recipe
from tests.hostile.case import Case, Reads, Refused, written
from tests.hostile.formats import FORMATS, TMX, Format, pairs

DEEP = 100_000
RECORDS = {  # format of JSON lines -> a record of it that is whole but for what stands at %s
    "docs.jsonl": '{"id": "d9", "text": "More.", "more": %s}',
    "corpus.jsonl": '{"_id": "d9", "text": "More.", "more": %s}',
    "queries.jsonl": '{"_id": "q9", "text": "More.", "more": %s}',
    "feedback": '{"lang": "sw", "query": "Nini?", "id": "d2", "relevance": 1, "more": %s}',
    "query log": '{"query": "zaidi", "more": %s}',
    "records": '{"id": "d9", "text": "More.", "more": %s}',
    "bitext .jsonl": '{"en": "More of it.", "sw": "Zaidi yake.", "more": %s}',
}
VALUES = {
    "lists, 1,000 deep": "[" * 1_000 + "]" * 1_000,
    "lists, 100,000 deep": "[" * DEEP + "]" * DEEP,
    "objects, 1,000 deep": '{"a":' * 1_000 + "1" + "}" * 1_000,
    "objects, 100,000 deep": '{"a":' * DEEP + "1" + "}" * DEEP,
    "lists that stay open": "[" * DEEP,
    "a number of 5,000 digits": "9" * 5_000,
    "half of a pair": '"\\ud800"',
    "a name twice, and then a brace": "1, 2",
}
NO_JSON = Refused("JSON")


def _put(one: Format, line: str) -> Callable[[Path], Callable[[], Any]]:
    return lambda folder: one.make(folder, one.files[one.file] + line + "\n")


def _json() -> Iterator[Case]:
    for name, record in RECORDS.items():
        kept = name == "bitext .jsonl"  # counts bad lines, and reads the others
        for fault, value in VALUES.items():
            make = _put(FORMATS[name], record.replace("%s", value))
            yield Case("nesting", f"{name}, {fault}", _len(make) if kept else make, Reads(2) if kept else NO_JSON)
        for fault, line in (("a list", "[1]"), ("a text", '"maji"'), ("null", "null"), ("deep alone", "[" * DEEP)):
            make = _put(FORMATS[name], line)
            yield Case("nesting", f"{name}, {fault}", _len(make) if kept else make, Reads(2) if kept else NO_JSON)


def _len(make: Callable[[Path], Callable[[], Any]]) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        read = make(folder)
        return lambda: len(read())

    return made


def _recipe(data: bytes | str) -> Callable[[Path], Callable[[], Any]]:
    def made(folder: Path) -> Callable[[], Any]:
        file = written(folder / "recipe.toml", data)
        return lambda: load_recipe(file)

    return made


TOML: dict[str, bytes | str] = {
    "lists, 100,000 deep": f"lang = {'[' * DEEP}{']' * DEEP}",
    "lists that stay open": f"lang = {'[' * DEEP}",
    "tables, 100,000 deep": "lang = " + "{a = " * DEEP + "1" + "}" * DEEP,
    "a dotted name of 10,000 parts": ".".join("a" * 10_000) + " = 1",
    "a header of 10,000 parts": "[" + ".".join("a" * 10_000) + "]",
    "a number of 5,000 digits": f'lang = "sw"\nseed = {"9" * 5_000}',
    "a float beyond doubles": 'lang = "sw"\n[training]\nlearning_rate = 1e400',
    "not a number": 'lang = "sw"\n[training]\nlearning_rate = nan',
    "infinity": 'lang = "sw"\n[objective]\nepsilon = inf',
    "a date": "lang = 2026-11-30",
    "a date that is none": "lang = 2026-13-45",
    "twice": 'lang = "sw"\nlang = "so"',
    "a table for a text": "[lang]\na = 1",
    "a text for a table": 'lang = "sw"\ntraining = "a"',
    "UTF-16": 'lang = "sw"'.encode("utf-16"),
    "UTF-16-LE without a mark": 'lang = "sw"'.encode("utf-16-le"),
    "Latin-1": b'lang = "\xe9"',
    "a byte 0": b'lang = "s\0w"',
    "an escape": b'lang = "s\\u0000w"',
    "noise": bytes(range(256)) * 20,
    "20 MB": b"# " + b"a" * 20_000_000 + b'\nlang = "sw"',
    "an unknown name with escapes": 'lang = "sw"\n"\\u001b[31mx" = 1',
    "an unknown name of 100 kB": 'lang = "sw"\n' + "a" * 100_000 + " = 1",
    "a wrong value of 100 kB": 'lang = "sw"\nseed = "' + "a" * 100_000 + '"',
}


def _toml() -> Iterator[Case]:
    for name, data in TOML.items():
        yield Case("recipe", name, _recipe(data), Refused("recipe"))
    for name in ("seed", "search.depth", "lang", "out", "training.steps", "search.passages"):
        for fault, value in (("deep", "[" * DEEP), ("5,000 digits", "9" * 5_000), ("deep tables", "{a=" * DEEP)):
            text = name in ("lang", "out") and fault == "5,000 digits"
            made = {"lang": "sw", name: value}
            yield Case(
                "recipe",
                f"--set {name}, {fault}",
                lambda _, made=made: lambda: load_recipe(None, made),
                Refused("no language|too long" if text else "."),
            )


SEG = "<seg>{}</seg>"
LAUGHS = "".join(f'<!ENTITY l{k + 1} "{f"&l{k};" * 10}">' for k in range(12))
UNIT = '<tu><tuv xml:lang="en"><seg>{}</seg></tuv><tuv xml:lang="sw"><seg>{}</seg></tuv></tu>'


def _tmx(body: str, head: str = '<?xml version="1.0"?>') -> str:
    return f'{head}<tmx version="1.4"><header/><body>{body}</body></tmx>'


BROKEN: dict[str, bytes | str] = {
    "laughs": _tmx(UNIT.format("&l12;", "maji"), f'<!DOCTYPE t [<!ENTITY l0 "ha">{LAUGHS}]>'),
    "a long entity many times": _tmx(
        UNIT.format("&a;" * 50_000, "maji"), f'<!DOCTYPE t [<!ENTITY a "{"a" * 50_000}">]>'
    ),
    "an entity of itself": _tmx(UNIT.format("&a;", "maji"), '<!DOCTYPE t [<!ENTITY a "&a;">]>'),
    "an entity from a file": _tmx(UNIT.format("&a;", "maji"), '<!DOCTYPE t [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
    "an unknown entity": _tmx(UNIT.format("&nbsp;", "maji")),
    "100,000 deep": _tmx("<a>" * DEEP + "</a>" * DEEP),
    "100,000 deep in a segment": _tmx(UNIT.format("<hi>" * DEEP + "water" + "</hi>" * DEEP, "maji")),
    "1,000 deep in a segment": _tmx(UNIT.format("<hi>" * 1_000 + "water" + "</hi>" * 1_000, "maji")),
    "a unit that never ends": _tmx("<tu>" + "<prop>a</prop>" * 1_500_000),
    "20 MB in an attribute": _tmx(f'<tu a="{"a" * 20_000_000}"></tu>'),
    "20 MB in a segment": _tmx(UNIT.format("a" * 20_000_000, "maji")),
    "20 MB in a comment": _tmx("<!--" + "a" * 20_000_000 + "-->" + UNIT.format("water", "maji")),
    "an attribute twice": _tmx('<tu a="1" a="2"></tu>'),
    "a character 0": _tmx(UNIT.format("&#0;", "maji")),
    "an escape": _tmx(UNIT.format("&#27;[31m", "maji")),
    "two roots": TMX + TMX.partition("\n")[2],
    "nothing": "",
    "no unit": _tmx(""),
    "one side": _tmx(UNIT.format("water", "")),
    "not closed": TMX[:-20],
    "no XML": "water\tmaji\n",
    **{
        f"encoding {name}": _tmx(UNIT.format("water", "maji"), f'<?xml version="1.0" encoding="{name}"?>')
        for name in (
            "klingon",
            "shift_jis",
            "big5",
            "gb18030",
            "euc-kr",
            "utf-7",
            "utf-16",
            "utf-32",
            "cp037",
            "rot13",
            "hex",
            "idna",
            "punycode",
            "x" * 5_000,
        )
    },
}
READ = {
    "encoding iso-8859-1": (
        _tmx(UNIT.format("coffee to drink", "kahawa caf\xe9"), '<?xml version="1.0" encoding="iso-8859-1"?>').encode(
            "latin-1"
        ),
        [("coffee to drink", "kahawa caf\xe9")],
    ),
    "UTF-16 with a mark": (_tmx(UNIT.format("water", "maji"), "").encode("utf-16"), [("water", "maji")]),
    "a declared entity": (
        _tmx(UNIT.format("&a; to drink", "maji"), '<!DOCTYPE t [<!ENTITY a "water">]>'),
        [("water to drink", "maji")],
    ),
    "CDATA": (_tmx(UNIT.format("<![CDATA[water]]>", "maji")), [("water", "maji")]),
    "a document type elsewhere": (
        _tmx(UNIT.format("water", "maji"), '<!DOCTYPE tmx SYSTEM "tmx14.dtd">'),
        [("water", "maji")],
    ),
    "50 deep in a segment": (_tmx(UNIT.format("<hi>" * 50 + "water" + "</hi>" * 50, "maji")), [("water", "maji")]),
    "200,000 properties before": (
        _tmx(UNIT.format("water", "maji")).replace("<header/>", "<header>" + "<p/>" * 200_000 + "</header>"),
        [("water", "maji")],
    ),
    "10,000 units of 5 kB": (
        _tmx(UNIT.format("water", "maji") + UNIT.format("a" * 5_000, "b") * 10_000),
        [("water", "maji")],
    ),
}


def _xml() -> Iterator[Case]:
    def made(data: bytes | str) -> Callable[[Path], Callable[[], Any]]:
        return lambda folder: lambda file=written(folder / "corpus.tmx", data): pairs(file)

    for name, data in BROKEN.items():
        yield Case("XML", name, made(data), Refused("XML|no pair|empty everywhere"))
    for name, (data, value) in READ.items():
        yield Case("XML", name, made(data), Reads(value), slow=name.startswith("10,000"))

    def large(folder: Path) -> Callable[[], Any]:
        file = folder / "corpus.tmx"
        with file.open("wb") as stream:
            stream.write(b'<tmx><body><tu a="')
            for _ in range(100):
                stream.write(b"a" * 1_000_000)
            stream.write(b'"></tu></body></tmx>')
        return lambda: pairs(file)

    yield Case("XML", "100 MB in an attribute", large, Refused("XML"), slow=True)


def json_xml() -> Iterator[Case]:
    """All of them."""
    yield from _json()
    yield from _toml()
    yield from _xml()
