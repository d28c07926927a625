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

from optical.data.lines import raw_lines
from optical.errors import DataError

MOST_FORMS = 100_000  # of a word
LONGEST_AFFIX = 1_000  # characters


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
        for number, raw in raw_lines(path):
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
            elif kind == "AF" and not (parts[1].isdecimal() and not self.aliases and len(parts) == 2):
                self.aliases.append(self._split(parts[1]))
            elif kind in ("PFX", "SFX") and len(parts) == 4 and parts[2] in ("Y", "N") and parts[3].isdecimal():
                crossed[parts[1]] = parts[2] == "Y"
            elif kind in ("PFX", "SFX"):
                if len(parts) < 4:
                    raise DataError(f"an affix of too few columns: {path}:{number}; fetch the dictionary again")
                self.affixes[parts[1]].append(self._affix(kind == "SFX", parts, crossed.get(parts[1], False), number))

    def _affix(self, suffix: bool, parts: list[str], crossed: bool, number: int) -> Affix:
        add, _, flags = parts[3].partition("/")
        condition = parts[4] if len(parts) > 4 else "."
        if max(len(condition), len(add), len(parts[2])) > LONGEST_AFFIX:
            raise DataError(f"an affix or condition of more than {LONGEST_AFFIX} characters: {self.path}:{number}")
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
        if self.aliases and text.isdecimal():
            number = int(text[-9:])
            return self.aliases[number - 1] if 0 < number <= len(self.aliases) else frozenset()
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
    for number, raw in raw_lines(words):
        line = _decoded(raw, rules.encoding, words, number)
        if number == 1 and not "".join(line.split()[:1]).isdecimal():
            raise DataError(
                f"no number of words in the first line: {words}:1; is it the .aff file under another name? Swap the two"
            )
        told = line.partition("\t")[0].split()  # morphology may follow
        if number == 1 or not told:
            continue
        entry = told[0]
        word, _, flags = entry.replace("\\/", "\0").partition("/")
        for count, form in enumerate(rules.forms(word.replace("\0", "/"), rules.flags(flags))):
            if count == MOST_FORMS:
                raise DataError(
                    f"more than {MOST_FORMS:,} forms of one word: {words}:{number}; its affixes in {affixes.name} "
                    "multiply: give a plain list of words"
                )
            yield form


def _decoded(raw: bytes, encoding: str, path: Path, number: int) -> str:
    try:
        text = raw.decode(encoding).rstrip("\r\n")
    except UnicodeError as error:
        byte = f": byte 0x{raw[error.start]:02x}" if isinstance(error, UnicodeDecodeError) else ""
        raise DataError(
            f"not {encoding}{byte} at {path}:{number}; the line SET of the .aff file names another encoding than the "
            "files have"
        ) from error
    if "\0" in text:
        raise DataError(f"a byte 0, which no text has, at {path}:{number}; is it a binary file, or UTF-16?")
    return text


def _encoding(name: str, path: Path, number: int) -> str:
    import codecs

    try:
        encoding = codecs.lookup({"microsoft-cp1251": "cp1251"}.get(name.lower(), name)).name
        "a".encode(encoding)  # some codecs are none of text
    except (LookupError, ValueError) as error:
        raise DataError(
            f"an encoding that nobody knows, {name[:40]}: {path}:{number}; write SET UTF-8, if it is that"
        ) from error
    return encoding
