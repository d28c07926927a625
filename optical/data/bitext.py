"""Parallel sentences: what is kept of the files, and what is held out.

A file that cannot be bitext as a whole raises :class:`~optical.errors.DataError`; a bad line among good ones is counted
under its reason. Lengths are in characters.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optical.data import bitext_formats
from optical.data.bitext_formats import Row
from optical.data.bitext_sources import ACCEPTED, Files, Source, sources_of
from optical.data.words import fold_text, tidy
from optical.errors import DataError
from optical.files import file_checksum

MAX_CHARS = 1_500  # a side
MAX_RATIO = 5.0  # longer side over shorter side, in characters
MAX_READ = 100_000  # characters of a side as it stands in the file, marks and white space among them
RATIO_FROM = 20  # characters of the longer side: below, "Hi!" for a long greeting is no sign of a wrong pair

_EMPTY, _SAME, _LONG, _RATIO, _DUPLICATE = (
    "empty side",
    "same on both sides",
    "too long",
    "length ratio",
    "duplicate",
)


class Pair(NamedTuple):
    """An English sentence and its translation, both in Unicode NFC with single spaces."""

    english: str
    foreign: str

    @property
    def is_question(self) -> bool:
        """Whether the English side ends with a question mark."""
        return self.english.rstrip().endswith("?")


class Line(NamedTuple):
    """A line or entry of a file, before any cleaning.

    Attributes:
        file: Of two Moses files, the English one.
        line: Where it starts, counted from 1.
        pair: Its sides; both are empty where it cannot be understood.
        fault: Why it cannot be understood; empty where it can.
    """

    file: Path
    line: int
    pair: Pair
    fault: str

    @property
    def place(self) -> str:
        """``path:line``."""
        return f"{self.file}:{self.line}"


class Bitext(NamedTuple):
    """Clean distinct pairs, and what was left out of the files.

    Attributes:
        pairs: Distinct clean pairs, in the order of the files.
        skipped: Reason -> how many lines or entries were left out for it.
        examples: Reason -> ``path:line`` of the first one.
        sources: Path -> SHA-256 of the file, for the manifest of whatever is made from the pairs.
        given: What was named by itself, each with its weight.
        source_of: Pair -> which of these it is from, the first that has it.
    """

    pairs: list[Pair]
    skipped: dict[str, int]
    examples: dict[str, str]
    sources: dict[str, str]
    given: Sequence[Source] = ()
    source_of: Mapping[Pair, Source] = {}

    @property
    def checksum(self) -> str:
        """SHA-256 of the pairs in their order: equal for equal pairs, whichever files they came from."""
        return _checksum(self.pairs)

    @property
    def weights(self) -> dict[Pair, float]:
        """Pair -> how often it is drawn for each time that others are; without those of weight 1."""
        own = ((pair, self.source_of[pair].weight) for pair in self.pairs if pair in self.source_of)
        return {pair: weight for pair, weight in own if weight != 1}

    def facts(self) -> list[dict[str, Any]]:
        """Describe each source for a manifest; the checksum is of its pairs."""
        own: dict[str, list[Pair]] = {source.path: [] for source in self.given}
        for pair in self.pairs:
            own[self.source_of[pair].path].append(pair)
        return [
            {
                "name": source.name, "path": source.path, "pairs": len(own[source.path]), "weight": source.weight,
                "checksum": _checksum(own[source.path]), "licence": source.licence,
            }
            for source in self.given
        ]  # fmt: skip


def read_bitext(
    path: str | Path | Sequence[str | Path], lang: str, *, max_chars: int = MAX_CHARS, max_ratio: float = MAX_RATIO
) -> Bitext:
    """Read clean pairs of English and ``lang`` from a file, two Moses files, a folder, or several of these.

    A folder is read recursively in the order of its names: every file of a known format and every Moses pair, hidden
    ones left out. When it has a folder named ``lang``, that one alone is read, because a file with two columns does
    not say its language.

    Args:
        path: A path; ``"corpus.en,corpus.sw"``; a prefix ``corpus`` of such files; several of these with commas
            between, each perhaps with ``@weight`` (:func:`optical.data.bitext_sources.sources_of`); or a sequence.
        lang: Code of the other language, such as ``sw``; names Moses files, JSON keys and the languages in TMX.
        max_chars: Characters that a side may have.
        max_ratio: Characters of the longer side per character of the shorter one, checked when the longer side has
            more than ``RATIO_FROM``.

    Returns:
        At least one pair of every source, each once, and the count of what was skipped.

    Raises:
        DataError: A path that is missing, unreadable, not UTF-8 or of no known format; a file in which every line has
            the wrong number of columns or one side is empty everywhere; Moses files of different length; a source of
            which no pair is left.
    """
    source_of: dict[Pair, Source] = {}
    seen: set[tuple[str, str]] = set()
    skipped: Counter[str] = Counter()
    examples: dict[str, str] = {}
    checksums: dict[str, str] = {}
    given = sources_of(path, lang)
    for source in given:
        left_out, where = Counter[str](), dict[str, str]()
        before = len(source_of)
        for one in lines_of(source, lang):
            if fault := one.fault or fault_of(one.pair, seen, max_chars=max_chars, max_ratio=max_ratio):
                left_out[fault] += 1
                where.setdefault(fault, one.place)
            else:
                source_of[one.pair] = source
        files = [file for one in source.files for file in one.paths()]
        if len(source_of) == before:
            raise DataError(_nothing_left(map(str, files), lang, left_out, where))
        checksums |= {str(file): file_checksum(file) for file in files}
        skipped, examples = skipped + left_out, where | examples
    if not given:
        raise DataError(_nothing_left((), lang, skipped, examples))
    return Bitext(list(source_of), dict(skipped), examples, checksums, given, source_of)


def lines_of(source: Source, lang: str) -> Iterator[Line]:
    """Read every line of a source, whether it is bitext or not; :func:`fault_of` judges those that can be understood.

    Raises:
        DataError: See :func:`read_bitext`.
    """
    for part in source.files:
        for row in _plausible(part, lang):
            if max(len(row.english), len(row.foreign)) > MAX_READ:
                row = Row(row.line, "", "", row.fault or _LONG)
            yield Line(part.paths()[0], row.line, Pair(tidy(row.english), tidy(row.foreign)), row.fault)


def fault_of(
    pair: Pair, seen: set[tuple[str, str]], *, max_chars: int = MAX_CHARS, max_ratio: float = MAX_RATIO
) -> str:
    """Why a pair is left out; an empty string when it is kept.

    Args:
        pair: As :func:`lines_of` reads it.
        seen: The pairs that were kept before it, folded; one that is kept is added.
        max_chars: See :func:`read_bitext`.
        max_ratio: See :func:`read_bitext`.
    """
    key = fold_text(pair.english), fold_text(pair.foreign)
    fault = _fault(pair, key, max_chars, max_ratio) or (_DUPLICATE if key in seen else "")
    if not fault:
        seen.add(key)
    return fault


def split(pairs: Sequence[Pair], held_out: int, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into those to train on and ``held_out`` others, each part in the order given.

    The choice follows a hash of the pair and the seed. It is the same whatever the order of the pairs, and when more
    pairs are added most of those held out before still are.

    Raises:
        DataError: When fewer than ``held_out + 1`` pairs are there.
    """
    if not 0 <= held_out < len(pairs):
        raise DataError(
            f"cannot hold out {held_out:,} pairs of {len(pairs):,}: none is left to train on; hold out fewer, or give"
            " more bitext"
        )
    ranked = sorted(range(len(pairs)), key=lambda i: lot(pairs[i], seed))
    chosen = set(ranked[:held_out])
    train = [pair for i, pair in enumerate(pairs) if i not in chosen]
    return train, [pair for i, pair in enumerate(pairs) if i in chosen]


def without(pairs: Iterable[Pair], texts: Iterable[str]) -> list[Pair]:
    """Leave out pairs with a side that is one of ``texts`` but for case and punctuation, such as a test query."""
    banned = {folded for text in texts if (folded := fold_text(text))}
    return [pair for pair in pairs if fold_text(pair.english) not in banned and fold_text(pair.foreign) not in banned]


def _fault(pair: Pair, key: tuple[str, str], max_chars: int, max_ratio: float) -> str:
    """Why a pair is left out; an empty string when it is kept. A side of nothing but punctuation is empty."""
    short, long = sorted(map(len, pair))
    if not all(key):
        return _EMPTY
    if key[0] == key[1]:
        return _SAME
    if long > max_chars:
        return _LONG
    return _RATIO if long > RATIO_FROM and long > max_ratio * short else ""


def _plausible(source: Files, lang: str) -> Iterator[Row]:
    """Yield the rows of a source; at its end, raise a DataError when they cannot be the two sides of one bitext."""
    wrong: Row | None = None
    filled, first = [False, False], 0
    for row in source.rows(lang):
        wrong = wrong or (row if row.fault == bitext_formats.WRONG_COLUMNS else None)
        if row.english.strip() or row.foreign.strip():
            first = first or row.line
            filled = [filled[0] or bool(fold_text(row.english)), filled[1] or bool(fold_text(row.foreign))]
        yield row
    file = source.paths()[0]
    if source.prose:
        return  # a README.txt beside the bitext has its lines counted and stops nothing
    if wrong and not first:
        raise DataError(
            f"no line has two columns, the first is {file}:{wrong.line}; write English<TAB>{lang} on each line; of a"
            f" file with more columns: cut -f1,2 {file.name} > two-columns.tsv"
        )
    if first and not all(filled):
        side, paths = ("English", source.paths()[0]) if not filled[0] else (lang, source.paths()[-1])
        raise DataError(
            f"the {side} side is empty everywhere: {paths}, from line {first} on; check that the two sides are"
            f" English and {lang} in this order and that the file is complete"
        )


def _checksum(pairs: Iterable[Pair]) -> str:
    """SHA-256 of pairs in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.english}\t{pair.foreign}\n".encode())
    return digest.hexdigest()


def lot(pair: Pair, seed: int) -> bytes:
    """A hash of the pair and the seed, to draw pairs by."""
    return hashlib.blake2b(f"{seed}\t{pair.english}\t{pair.foreign}".encode(), digest_size=16).digest()


def _nothing_left(sources: Iterable[str], lang: str, skipped: Counter[str], examples: dict[str, str]) -> str:
    """The message for files that are readable and have no pair in them."""
    reasons = "; ".join(f"{reason} {count:,} (first at {examples[reason]})" for reason, count in skipped.most_common())
    return (
        f"no pair of English and {lang} in {', '.join(sources) or 'an empty list of paths'}: {reasons or 'no line'};"
        f" check the language and the file; {ACCEPTED.format(lang=lang)}"
    )
