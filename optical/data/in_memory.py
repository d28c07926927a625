"""Sentence pairs given in Python: lists, generators, records, columns, tables, paths, and several of these."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from optical.data.bitext import Bitext, Pair, fault_of, read_bitext
from optical.data.records import ENGLISH
from optical.data.words import tidy
from optical.errors import DataError
from optical.limits import path_of

ENGLISH_NAMES = (ENGLISH, "eng", "english", "source", "src")
FOREIGN_NAMES = ("foreign", "target", "tgt", "non_english")  # besides the code of the language
TRANSLATION = "translation"  # the column of ``datasets`` that holds {"en": .., "sw": ..}
TAKEN = (
    "give a list or generator of pairs (English, X), of records with the fields en and X, a DataFrame or Dataset with "
    "these columns, a path, a list of several of these, or a mapping, language -> one of these"
)


def bitext_of(given: Any, lang: str) -> Bitext:
    """Clean pairs of whatever a caller has, by the rules that files are cleaned by.

    Args:
        given: Pairs (English, X), in an iterable of any kind; records with a field for each side; a mapping of two
            columns; a DataFrame or a ``Dataset``; a path, as :func:`optical.data.bitext.read_bitext` takes it; a list
            of several of these.
        lang: Code of the other language, which names fields, columns and files.

    Raises:
        DataError: Something else, an entry that is no pair (its place is named), or nothing that is left.
    """
    if isinstance(given, Bitext):
        return given
    if isinstance(given, str | os.PathLike):
        if not os.fspath(given).strip():
            raise DataError(f"bitext: an empty path; {TAKEN}")
        return read_bitext(_path(given), lang)
    kind = type(given).__name__
    if kind.endswith("DatasetDict"):
        raise DataError(
            f"bitext: a {kind} with the splits {', '.join(given)}; name one of them: data[{next(iter(given))!r}]"
        )
    if isinstance(given, bytes | bytearray) or not isinstance(given, Iterable):
        called = "call it: bitext=pairs()" if callable(given) else TAKEN
        raise DataError(f"bitext: {kind} holds no sentence pairs; {called}")
    entries = iter(_columns(given)) if isinstance(given, Mapping) else records_of(given)
    first = next(entries, None)
    if first is None:
        raise DataError(f"bitext: an empty {kind}, or a generator that was read before; {TAKEN}")
    entries = chain([first], entries)
    if isinstance(first, str | os.PathLike) or not (isinstance(first, Mapping) or _is_pair(first)):
        return _together(list(entries), lang)
    return _cleaned(entries, lang)


def is_by_language(given: Any) -> bool:
    """Whether a mapping is of languages, and not of two columns: one of those is English, which is never learnt."""
    return (
        isinstance(given, Mapping)
        and bool(given)
        and not type(given).__name__.endswith("DatasetDict")
        and not any(str(name).strip().casefold() in ENGLISH_NAMES for name in given)
    )


def records_of(table: Any) -> Iterator[Any]:
    """The rows of a DataFrame as mappings, the entries of anything else."""
    if hasattr(table, "itertuples") and hasattr(table, "columns"):  # pandas, which is not imported for this
        names = list(table.columns)
        return (dict(zip(names, row, strict=True)) for row in table.itertuples(index=False, name=None))
    return iter(table)


def _path(path: str | os.PathLike[Any]) -> str:
    return os.fsdecode(path_of(path)) if isinstance(path, os.PathLike) else path


def _together(sources: list[Any], lang: str) -> Bitext:
    """Several sources as one, paths first; a pair that two of them have is kept once."""
    paths = [_path(one) for one in sources if isinstance(one, str | os.PathLike)]
    others = [one for one in sources if not isinstance(one, str | os.PathLike)]
    for number, one in enumerate(others):
        inner = one[0] if isinstance(one, list | tuple) and one else None
        if isinstance(one, bytes) or not isinstance(one, Iterable):
            raise DataError(
                f"bitext: {_told(one)} among {len(sources)} entries is no pair and no source of pairs; {TAKEN}"
            )
        if isinstance(inner, str):
            raise DataError(
                f"bitext: entry {number} is a {type(one).__name__} of texts, not a pair; of two lists, one "
                "a language, make pairs: bitext=zip(english, foreign)"
            )
    parts = [*([read_bitext(paths, lang)] if paths else []), *(bitext_of(one, lang) for one in others)]
    seen: set[tuple[str, str]] = set()
    skipped = sum((Counter(part.skipped) for part in parts), Counter())
    pairs = []
    for pair in (pair for part in parts for pair in part.pairs):
        fault = fault_of(pair, seen)
        skipped.update([fault] if fault else [])
        pairs += [] if fault else [pair]
    return Bitext(
        pairs,
        dict(skipped),
        {reason: place for part in reversed(parts) for reason, place in part.examples.items()},
        {path: checksum for part in parts for path, checksum in part.sources.items()},
        [source for part in parts for source in part.given],
        {pair: source for part in reversed(parts) for pair, source in part.source_of.items()},
    )


def _columns(columns: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rows of a mapping of columns of equal length."""
    lengths = {name: len(column) for name, column in columns.items() if hasattr(column, "__len__")}
    texts = [name for name, column in columns.items() if isinstance(column, str | os.PathLike)]
    if texts or len(lengths) < len(columns) or len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r}: {lengths.get(name, 'no length')}" for name in columns if name not in texts)
        what = f"a text under {texts[0]!r}" if texts else f"columns of different length ({told})"
        raise DataError(f"bitext: {what}; give two lists of equal length, {{'en': [..], 'sw': [..]}}")
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _cleaned(entries: Iterable[Any], lang: str) -> Bitext:
    """Judge pairs and records, and count what is left out."""
    seen: set[tuple[str, str]] = set()
    skipped, first, pairs, number = Counter[str](), dict[str, str](), [], -1
    names: tuple[Any, Any] | None = None
    for number, entry in enumerate(entries):
        place = f"bitext[{number}]"
        if isinstance(entry, Mapping):
            entry = entry[TRANSLATION] if isinstance(entry.get(TRANSLATION), Mapping) else entry
            if names is None or any(name not in entry for name in names):
                names = _names(entry, lang, place)
            sides = entry[names[0]], entry[names[1]]
        elif _is_pair(entry):
            sides = entry[0], entry[1]
        else:
            raise DataError(f"{place} is {_told(entry)}, no pair of two texts; {TAKEN}")
        pair = Pair(*(_text(side, place) for side in sides))
        if fault := fault_of(pair, seen):
            skipped[fault] += 1
            first.setdefault(fault, place)
        else:
            pairs.append(pair)
    if not pairs:
        reasons = ", ".join(f"{reason} {count:,} (first at {first[reason]})" for reason, count in skipped.most_common())
        raise DataError(f"bitext: no pair of English and {lang} is left of {number + 1:,}: {reasons}; {TAKEN}")
    return Bitext(pairs, dict(skipped), first, {})


def _names(record: Mapping[Any, Any], lang: str, place: str) -> tuple[Any, Any]:
    """The fields of the English and of the other side; of two whose names say nothing, the first is English."""
    plain = {str(name).strip().casefold(): name for name in record}
    english = next((plain[name] for name in ENGLISH_NAMES if name in plain), None)
    foreign = next((plain[name] for name in (lang.casefold(), *FOREIGN_NAMES) if name in plain), None)
    if len(plain) == 2:
        one, two = record
        if foreign is None:
            foreign = one if english == two else two
        if english is None:
            english = two if foreign == one else one
    if english is None or foreign is None or english == foreign:
        missing = f"X, such as {lang!r}" if english is not None else f"English, such as {ENGLISH!r}"
        raise DataError(
            f"{place} has the fields {', '.join(map(repr, record)) or 'none'}, and none is that of {missing}; name "
            "them en and the code of the language, which lang= says, or give these two alone"
        )
    return english, foreign


def _is_pair(entry: Any) -> bool:
    """Whether an entry is two texts, of which one may be missing."""
    if isinstance(entry, str | bytes | Mapping) or not hasattr(entry, "__len__") or not hasattr(entry, "__getitem__"):
        return False
    if hasattr(entry, "columns") or hasattr(entry, "features"):  # a table
        return False
    return len(entry) == 2 and any(isinstance(side, str) for side in entry)


def _text(side: Any, place: str) -> str:
    """A side of a pair; what tables write for a missing text is empty."""
    if isinstance(side, str):
        return tidy(side)
    if side is None or type(side).__name__ == "NAType" or (isinstance(side, float) and side != side):
        return ""
    raise DataError(f"{place}: a side is {_told(side)}, no text; give two texts, English and X")


def _told(value: Any) -> str:
    """A value of the wrong kind, as a message shows it."""
    held = repr(value)
    return f"{type(value).__name__} {held[:60]}{'...' if len(held) > 60 else ''}"
