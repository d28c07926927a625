"""Parallel sentences: which files a path means, what is kept of them, and what is held out.

A file that cannot be bitext as a whole raises :class:`~optical.errors.DataError`; a bad line among good ones is counted
under its reason. Lengths are in characters.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from optical.data import bitext_formats
from optical.data.bitext_formats import Moses, Row
from optical.data.lines import lines
from optical.data.records import ENGLISH
from optical.data.words import fold_text, tidy
from optical.errors import DataError
from optical.files import file_checksum

MAX_CHARS = 1_500  # a side
MAX_RATIO = 5.0  # longer side over shorter side, in characters
RATIO_FROM = 20  # characters of the longer side: below, "Hi!" for a long greeting is no sign of a wrong pair

ACCEPTED = (
    "accepted are .tsv and .txt (English<TAB>{lang}), .jsonl, .tmx, .po, each also as .gz, two Moses files as"
    " corpus.en,corpus.{lang} or as their prefix corpus, and a folder of these"
)
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


class Bitext(NamedTuple):
    """Clean distinct pairs, and what was left out of the files.

    Attributes:
        pairs: Distinct clean pairs, in the order of the files.
        skipped: Reason -> how many lines or entries were left out for it.
        examples: Reason -> ``path:line`` of the first one.
        sources: Path -> SHA-256 of the file, for the manifest of whatever is made from the pairs.
    """

    pairs: list[Pair]
    skipped: dict[str, int]
    examples: dict[str, str]
    sources: dict[str, str]

    @property
    def checksum(self) -> str:
        """SHA-256 of the pairs in their order: equal for equal pairs, whichever files they came from."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(f"{pair.english}\t{pair.foreign}\n".encode())
        return digest.hexdigest()


class _Source(NamedTuple):
    """One file, or two aligned ones; ``prose`` when it may be some other text that lies in the same folder."""

    files: Path | Moses
    prose: bool = False

    def paths(self) -> tuple[Path, ...]:
        return self.files if isinstance(self.files, Moses) else (self.files,)

    def rows(self, lang: str) -> Iterator[Row]:
        if isinstance(self.files, Moses):
            return bitext_formats.moses(self.files)
        return bitext_formats.READERS[bitext_formats.format_of(self.files) or ""](self.files, lang)


def read_bitext(
    path: str | Path | Sequence[str | Path], lang: str, *, max_chars: int = MAX_CHARS, max_ratio: float = MAX_RATIO
) -> Bitext:
    """Read clean pairs of English and ``lang`` from a file, two Moses files, a folder, or several of these.

    A folder is read recursively in the order of its names: every file of a known format and every Moses pair, hidden
    ones left out. When it has a folder named ``lang``, that one alone is read, because a file with two columns does
    not say its language.

    Args:
        path: A path; ``"corpus.en,corpus.sw"``; a prefix ``corpus`` of such files; or a sequence of any of them.
        lang: Code of the other language, such as ``sw``; names Moses files, JSON keys and the languages in TMX.
        max_chars: Characters that a side may have.
        max_ratio: Characters of the longer side per character of the shorter one, checked when the longer side has
            more than ``RATIO_FROM``.

    Returns:
        At least one pair, and the count of what was skipped.

    Raises:
        DataError: A path that is missing, unreadable, not UTF-8 or of no known format; a file in which every line has
            the wrong number of columns or one side is empty everywhere; Moses files of different length; no pair left.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    skipped: Counter[str] = Counter()
    examples: dict[str, str] = {}
    sources: dict[str, str] = {}
    for source in _sources(path, lang):
        for row in _plausible(source, lang):
            pair = Pair(tidy(row.english), tidy(row.foreign))
            key = fold_text(pair.english), fold_text(pair.foreign)
            fault = row.fault or _fault(pair, key, max_chars, max_ratio) or (_DUPLICATE if key in pairs else "")
            if fault:
                skipped[fault] += 1
                examples.setdefault(fault, f"{source.paths()[0]}:{row.line}")
            else:
                pairs[key] = pair
        sources |= {str(file): file_checksum(file) for file in source.paths()}
    if not pairs:
        raise DataError(_nothing_left(sources, lang, skipped, examples))
    return Bitext(list(pairs.values()), dict(skipped), examples, sources)


def unnamed_files(path: str | Path | Sequence[str | Path], lang: str) -> list[Path]:
    """The files that :func:`read_bitext` takes to be in ``lang`` only because the caller says so.

    Two columns and gettext catalogues do not say their language, nor does a file that is the second of two Moses files
    by its place alone. None of them can be the bitext of two languages.
    """
    found = []
    for source in _sources(path, lang):
        if isinstance(source.files, Moses):
            found += [source.files.foreign] if _side(source.files.foreign, lang) is None else []
        elif bitext_formats.format_of(source.files) not in bitext_formats.NAME_LANGUAGES:
            prose = source.prose and not any("\t" in text for _, text in lines(source.files))
            found += [] if prose else [source.files]
    return found


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
    ranked = sorted(range(len(pairs)), key=lambda i: _draw(pairs[i], seed))
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


def _plausible(source: _Source, lang: str) -> Iterator[Row]:
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


def _sources(path: str | Path | Sequence[str | Path], lang: str) -> list[_Source]:
    """The files that a path means."""
    if not isinstance(path, str | Path):
        return list(chain.from_iterable(_sources(part, lang) for part in path))
    file = Path(path).expanduser()
    if file.is_dir():
        return _folder(file, lang)
    if file.exists():
        return [_file(file, lang)]
    parts = [Path(part.strip()).expanduser() for part in str(path).split(",")]
    if len(parts) > 1:
        return _joined(parts, lang)
    if english := _beside(file, ENGLISH):
        return [_file(english, lang)]
    raise DataError(f"no such file, folder or Moses prefix: {path}; {ACCEPTED.format(lang=lang)}")


def _folder(folder: Path, lang: str) -> list[_Source]:
    """Every bitext file and every Moses pair below a folder, in the order of their names."""
    root = folder / lang if (folder / lang).is_dir() else folder
    visible = (file for file in sorted(root.rglob("*")) if not _hidden(file.relative_to(root)))
    files = [file for file in visible if file.is_file()]
    pairs = {pair.english: pair for file in files if (pair := _moses(file, lang))}
    taken = {file for pair in pairs.values() for file in pair}
    found = [
        _Source(pairs[file]) if file in pairs else _Source(file, prose=bitext_formats.format_of(file) == ".txt")
        for file in files
        if file in pairs or (file not in taken and bitext_formats.format_of(file))
    ]
    if not found:
        raise DataError(f"no bitext in the folder {root}; {ACCEPTED.format(lang=lang)}")
    return found


def _file(file: Path, lang: str) -> _Source:
    """One file that exists: a side of a Moses pair, or of a known format."""
    if pair := _moses(file, lang):
        return _Source(pair)
    if bitext_formats.format_of(file):
        return _Source(file)
    if _side(file, ENGLISH) or _side(file, lang):
        raise DataError(
            f"one side of Moses files without the other: {file}; put the other side beside it, with the same name but"
            f" for .en and .{lang}, or give both as english-file,{lang}-file"
        )
    raise DataError(f"unknown bitext format: {file}; {ACCEPTED.format(lang=lang)}")


def _joined(parts: list[Path], lang: str) -> list[_Source]:
    """Paths joined by commas: two Moses files (English first unless their names say otherwise), or bitext files."""
    if all(bitext_formats.format_of(part) not in (None, ".txt") for part in parts):
        return [_Source(part) for part in parts]
    if len(parts) != 2:
        raise DataError(
            f"a comma joins two Moses files, {len(parts)} were given: {','.join(map(str, parts))};"
            f" {ACCEPTED.format(lang=lang)}"
        )
    first, second = parts
    return [
        _Source(Moses(second, first) if _side(second, ENGLISH) and not _side(first, ENGLISH) else Moses(first, second))
    ]


def _moses(file: Path, lang: str) -> Moses | None:
    """The pair that a file is one side of, by its name and what lies beside it."""
    for own, other in ((ENGLISH, lang), (lang, ENGLISH)):
        match = _side(file, own)
        partner = _beside(file.with_name(match["stem"]), other) if match else None
        if partner:
            return Moses(file, partner) if own == ENGLISH else Moses(partner, file)
    return None


def _side(file: Path, code: str) -> re.Match[str] | None:
    """The name of one side of a Moses pair: ``corpus.sw``, ``corpus.sw.gz``, ``corpus.sw.txt``."""
    return re.fullmatch(rf"(?P<stem>.+)\.{re.escape(code)}(\.txt)?(\.gz)?", file.name)


def _beside(prefix: Path, code: str) -> Path | None:
    """The side of a Moses prefix that is in one language, if it is there."""
    names = (f"{prefix.name}.{code}{tail}" for tail in ("", ".gz", ".txt", ".txt.gz"))
    return next((file for name in names if (file := prefix.with_name(name)).is_file()), None)


def _hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _draw(pair: Pair, seed: int) -> bytes:
    """A hash of the pair and the seed, to draw pairs by."""
    return hashlib.blake2b(f"{seed}\t{pair.english}\t{pair.foreign}".encode(), digest_size=16).digest()


def _nothing_left(sources: Iterable[str], lang: str, skipped: Counter[str], examples: dict[str, str]) -> str:
    """The message for files that are readable and have no pair in them."""
    reasons = "; ".join(f"{reason} {count:,} (first at {examples[reason]})" for reason, count in skipped.most_common())
    return (
        f"no pair of English and {lang} in {', '.join(sources) or 'an empty list of paths'}: {reasons or 'no line'};"
        f" check the language and the file; {ACCEPTED.format(lang=lang)}"
    )
