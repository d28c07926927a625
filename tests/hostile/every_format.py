"""Faults that every format can have: encodings, bytes, lines, compression, and what is no file at all."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, Reads, Refused
from tests.hostile.formats import FORMATS, Format

NO_TEXT = "not UTF-8|not utf-8|byte 0|no text|broken XML|binary"
NO_FILE = "no regular file|no documents|no such|cannot read|cannot be read|no queries|no word|nothing|none|half of"
ZIPPED = "gzip|grows|no documents|unknown|cannot read|not UTF-8|byte 0|binary|not known|half of|no bitext|broken XML"
LONG_LINE = 20_000_000


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path, Format], Callable[[], Any]]:
    def make(folder: Path, one: Format) -> Callable[[], Any]:
        return one.make(folder, change(one.files[one.file].encode()))

    return make


def _place(put: Callable[[Path], None]) -> Callable[[Path, Format], Callable[[], Any]]:
    def make(folder: Path, one: Format) -> Callable[[], Any]:
        read = one.make(folder)
        (folder / one.file).unlink()
        put(folder / one.file)
        return read

    return make


def _noise(size: int) -> bytes:
    return random.Random(0).randbytes(size)


def _in_text(data: bytes, put: bytes) -> bytes:
    """Some bytes put into the last line, or, of what has tags, into the third."""
    lines = data.rstrip(b"\n").split(b"\n")
    at = len(lines) - 1 if data.count(b"<") < 3 else min(2, len(lines) - 1)
    middle = max(len(lines[at]) // 2, lines[at].rfind(b"a"), lines[at].rfind(b"i"))
    lines[at] = lines[at][:middle] + put + lines[at][middle:]
    return b"\n".join(lines) + b"\n"


SAME = Reads("the same")  # as without the fault
FAULTS: dict[str, tuple[str, Callable[[Path, Format], Callable[[], Any]], Refused | Reads]] = {
    "UTF-16 with a mark": ("encoding", _bytes(lambda d: d.decode().encode("utf-16")), Refused(NO_TEXT)),
    "UTF-16-LE without a mark": ("encoding", _bytes(lambda d: d.decode().encode("utf-16-le")), Refused(NO_TEXT)),
    "UTF-16-BE without a mark": ("encoding", _bytes(lambda d: d.decode().encode("utf-16-be")), Refused(NO_TEXT)),
    "UTF-32": ("encoding", _bytes(lambda d: d.decode().encode("utf-32-le")), Refused(NO_TEXT)),
    "Latin-1": ("encoding", _bytes(lambda d: _in_text(d, b"\xe9")), Refused(NO_TEXT)),
    "half a character": ("encoding", _bytes(lambda d: _in_text(d, b"\xe2\x82")), Refused(NO_TEXT)),
    "half of a pair": ("encoding", _bytes(lambda d: _in_text(d, b"\xed\xa0\x80")), Refused(NO_TEXT)),
    "too long a form": ("encoding", _bytes(lambda d: _in_text(d, b"\xc0\xaf")), Refused(NO_TEXT)),
    "beyond Unicode": ("encoding", _bytes(lambda d: _in_text(d, b"\xf4\x90\x80\x80")), Refused(NO_TEXT)),
    "a byte 0": ("encoding", _bytes(lambda d: _in_text(d, b"\0")), Refused(NO_TEXT)),
    "a mark before": ("encoding", _bytes(lambda d: b"\xef\xbb\xbf" + d), SAME),
    "CRLF": ("encoding", _bytes(lambda d: d.replace(b"\n", b"\r\n")), SAME),
    "noise": ("bytes", _bytes(lambda d: _noise(5_000)), Refused()),
    "noise behind": ("bytes", _bytes(lambda d: d + _noise(500)), Refused()),
    "nothing but 0": ("bytes", _bytes(lambda d: bytes(10_000)), Refused()),
    "a line of 20 MB": ("length", _bytes(lambda d: b"a" * LONG_LINE + b"\n"), Refused("is longer than|more than")),
    "a line of 20 MB behind": ("length", _bytes(lambda d: d + b"a" * LONG_LINE), Refused("is longer than|more than")),
    "missing": ("no file", _place(lambda file: None), Refused(NO_FILE)),
    "a folder": ("no file", _place(Path.mkdir), Refused(".")),
    "a FIFO": ("no file", _place(os.mkfifo), Refused(NO_FILE)),
    "/dev/zero": ("no file", _place(lambda file: file.symlink_to("/dev/zero")), Refused(NO_FILE)),
    "a link to itself": ("no file", _place(lambda file: file.symlink_to(file.name)), Refused(NO_FILE)),
    "a link to nothing": ("no file", _place(lambda file: file.symlink_to("gone")), Refused(NO_FILE)),
}


def _zipped(data: bytes) -> dict[str, bytes]:
    whole = gzip.compress(data)
    return {
        "gzip, cut": whole[:-12],
        "gzip, plain text": data,
        "gzip, a bit flipped": whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
        "gzip, noise behind": whole + b"noise, not zeros",
        "gzip, twice": gzip.compress(whole),
    }


# (format, fault) -> what must happen instead; None where it is no fault of this format.
EXCEPT: dict[tuple[str, str], Refused | Reads | None] = {
    # A browser reads pages in any encoding, and leaves out what is no part of one.
    **{("web page", f"UTF-{fault}"): SAME for fault in ("16 with a mark", "16-LE without a mark", "32")},
    ("web page", "UTF-16-BE without a mark"): SAME,
    **{("web page", fault): Reads("a page") for fault in ("Latin-1", "half a character", "half of a pair")},
    **{("web page", fault): Reads("a page") for fault in ("too long a form", "beyond Unicode", "a byte 0")},
    ("web page", "noise behind"): SAME,
    ("web page", "a line of 20 MB behind"): Refused("more than"),
    ("bitext .tmx", "a line of 20 MB behind"): Refused("XML"),
    ("bitext .tmx", "a line of 20 MB"): Refused("no unit ends"),
    # A collection without judgements.
    **{(name, fault): None for name in ("qrels.tsv", "qrels/test.tsv") for fault in ("missing", "a folder")},
}


def every_format() -> Iterator[Case]:
    """Every fault in every format."""
    for name, one in FORMATS.items():
        for fault, (kind, make, usual) in FAULTS.items():
            if (must := EXCEPT.get((name, fault), usual)) is not None:
                yield Case(kind, f"{name}, {fault}", _compared(one, make, must), must, slow=kind == "length")
        for fault, data in _zipped(one.files[one.file].encode()).items() if one.zipped else ():
            must = EXCEPT.get((name, fault), Refused(ZIPPED))
            yield Case("gzip", f"{name}, {fault}", _compared(one, _gz(data), must), must)


def _gz(data: bytes) -> Callable[[Path, Format], Callable[[], Any]]:
    return lambda folder, one: one.make(folder, data, ".gz")


def _compared(
    one: Format, make: Callable[[Path, Format], Callable[[], Any]], must: Refused | Reads
) -> Callable[[Path], Callable[[], Any]]:
    """A reader whose value is "the same" where it is that of the files without the fault."""

    def made(folder: Path) -> Callable[[], Any]:
        for name in ("clean", "wrong"):
            (folder / name).mkdir()
        want = one.make(folder / "clean")() if must == SAME else None
        read = make(folder / "wrong", one)

        def compare() -> Any:
            value = read()
            if must == Reads("a page"):
                return "a page" if "river" in value[0][2] else value
            return "the same" if must == SAME and repr(value).replace("wrong", "clean") == repr(want) else value

        return compare

    return made
