"""Hunspell dictionaries: the word forms that a ``.dic`` file and the affixes of its ``.aff`` file spell out.

Prefixes, suffixes, both together where the affixes allow it, and suffixes on suffixes; compounds are not made. Flags of
one letter, of two, numbers and UTF-8 are read, as are flag aliases (``man 5 hunspell``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from optical.data.lines import open_bytes
from optical.errors import DataError


class Affix(NamedTuple):
    """One line of a prefix or suffix rule.

    Attributes:
        suffix: Or a prefix.
        strip: Letters that are taken away.
        add: Letters that are put in their place.
        condition: What the word has to match.
        crossed: Whether a prefix and a suffix may both be there.
        flags: Of the affixes that may follow.
    """

    suffix: bool
    strip: str
    add: str
    condition: re.Pattern[str]
    crossed: bool
    flags: frozenset[str]

    def apply(self, word: str) -> str | None:
        """The word with the affix; None where it does not fit."""
        if not self.condition.search(word) or (self.suffix and not word.endswith(self.strip)):
            return None
        if not self.suffix and not word.startswith(self.strip):
            return None
        if self.suffix:
            return word[: len(word) - len(self.strip)] + self.add
        return self.add + word[len(self.strip) :]


class _Rules:
    """The rules of an ``.aff`` file."""

    def __init__(self, path: Path) -> None:
        self.path, self.encoding, self.flag_kind = path, "utf-8", "short"
        self.aliases: list[frozenset[str]] = []
        self.affixes: defaultdict[str, list[Affix]] = defaultdict(list)
        self.hidden: dict[str, str] = {}  # NEEDAFFIX, FORBIDDENWORD, ONLYINCOMPOUND
        crossed: dict[str, bool] = {}
        for number, raw in _raw(path):
            parts = _decoded(raw, self.encoding, path, number).split()
            if len(parts) < 2 or parts[0].startswith("#"):
                continue
            kind = parts[0]
            if kind == "SET":
                self.encoding = _encoding(parts[1], path, number)
            elif kind == "FLAG":
                self.flag_kind = parts[1].lower()
            elif kind in ("NEEDAFFIX", "PSEUDOROOT", "FORBIDDENWORD", "ONLYINCOMPOUND"):
                self.hidden[kind] = parts[1]
            elif kind == "AF" and not (parts[1].isdigit() and not self.aliases and len(parts) == 2):
                self.aliases.append(self._split(parts[1]))
            elif kind in ("PFX", "SFX") and len(parts) == 4 and parts[2] in ("Y", "N") and parts[3].isdigit():
                crossed[parts[1]] = parts[2] == "Y"
            elif kind in ("PFX", "SFX"):
                if len(parts) < 4:
                    raise DataError(f"an affix of too few columns: {path}:{number}; fetch the dictionary again")
                self.affixes[parts[1]].append(self._affix(kind == "SFX", parts, crossed.get(parts[1], False), number))

    def _affix(self, suffix: bool, parts: list[str], crossed: bool, number: int) -> Affix:
        add, _, flags = parts[3].partition("/")
        condition = parts[4] if len(parts) > 4 else "."
        pattern = re.escape(condition).replace(r"\[", "[").replace(r"\]", "]").replace(r"\^", "^").replace(r"\.", ".")
        try:
            compiled = re.compile(f"(?:{pattern})$" if suffix else f"^(?:{pattern})")
        except re.error as error:
            raise DataError(
                f"an affix with the condition {condition!r}, which is none ({error}): {self.path}:{number}; fetch the "
                "dictionary again"
            ) from error
        none = {"0": ""}
        return Affix(suffix, none.get(parts[2], parts[2]), none.get(add, add), compiled, crossed, self.flags(flags))

    def flags(self, text: str) -> frozenset[str]:
        """The flags of a word or an affix, aliases spelled out."""
        if self.aliases and text.isdigit():
            return self.aliases[int(text) - 1] if 0 < int(text) <= len(self.aliases) else frozenset()
        return self._split(text)

    def _split(self, text: str) -> frozenset[str]:
        if self.flag_kind == "num":
            return frozenset(flag for flag in text.split(",") if flag)
        if self.flag_kind == "long":
            return frozenset(text[k : k + 2] for k in range(0, len(text), 2))
        return frozenset(text)

    def forms(self, word: str, flags: frozenset[str]) -> Iterator[str]:
        """Every form of a word of the dictionary."""
        if flags & {self.hidden[kind] for kind in ("FORBIDDENWORD", "ONLYINCOMPOUND") if kind in self.hidden}:
            return
        if not flags & {self.hidden[kind] for kind in ("NEEDAFFIX", "PSEUDOROOT") if kind in self.hidden}:
            yield word
        own = list(chain.from_iterable(self.affixes[flag] for flag in sorted(flags) if flag in self.affixes))
        for affix in own:
            form = affix.apply(word)
            if form is None:
                continue
            yield form
            further = chain.from_iterable(self.affixes[flag] for flag in sorted(affix.flags) if flag in self.affixes)
            crossing = (other for other in own if other.suffix != affix.suffix and other.crossed and affix.crossed)
            for other in chain(further, crossing if affix.suffix else ()):
                if twice := other.apply(form):
                    yield twice


def word_forms(dictionary: Path) -> Iterator[str]:
    """Every form of every word of a Hunspell dictionary, in the order of the file; some may come twice.

    Args:
        dictionary: The ``.dic`` file, or the ``.aff`` file; the other lies beside it with the same name.

    Raises:
        DataError: One of the two is missing, or is not what its name says.
    """
    words, affixes = dictionary.with_suffix(".dic"), dictionary.with_suffix(".aff")
    for file, other in ((words, affixes), (affixes, words)):
        if not file.is_file():
            raise DataError(
                f"{other} is one half of a Hunspell dictionary, and there is no {file.name} beside it; put both there, "
                "or give a plain list of words"
            )
    rules = _Rules(affixes)
    for number, raw in _raw(words):
        line = _decoded(raw, rules.encoding, words, number)
        if number == 1 and not "".join(line.split()[:1]).isdigit():
            raise DataError(
                f"no number of words in the first line: {words}:1; is it the .aff file under another name? Swap the two"
            )
        if number == 1 or not line.strip():
            continue
        entry = line.split("\t")[0].split()[0]  # morphology may follow
        word, _, flags = entry.replace("\\/", "\0").partition("/")
        yield from rules.forms(word.replace("\0", "/"), rules.flags(flags))


def _raw(path: Path) -> Iterator[tuple[int, bytes]]:
    with open_bytes(path) as stream:
        for number, raw in enumerate(stream, start=1):
            yield number, raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw


def _decoded(raw: bytes, encoding: str, path: Path, number: int) -> str:
    try:
        return raw.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"not {encoding}: byte 0x{raw[error.start]:02x} at {path}:{number}; the line SET of the .aff file names "
            "another encoding than the files have"
        ) from error


def _encoding(name: str, path: Path, number: int) -> str:
    import codecs

    try:
        return codecs.lookup({"microsoft-cp1251": "cp1251"}.get(name.lower(), name)).name
    except LookupError as error:
        raise DataError(
            f"an encoding that nobody knows, {name}: {path}:{number}; write SET UTF-8, if it is that"
        ) from error
