"""Bilingual dictionaries: files of several formats to pairs (English, X) of words and short phrases.

A dictionary is no bitext: it says what words mean, not how often they are used.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optical.data.bitext import Pair
from optical.data.bitext_formats import WRONG_COLUMNS, Row, columns
from optical.data.lines import CHUNK, lines, open_bytes
from optical.data.words import fold, split_words, tidy
from optical.errors import DataError
from optical.files import file_checksum
from optical.limits import at_most, fault_of_path, path_of

MAX_ENTRIES = 2_000_000  # of all files together, some 300 bytes each in memory
# Words of a side that the bitext has, to those of the other side: a dictionary of the language has .3 and more with 300
# pairs already, of another .02 to .19, of a sister language (Swati for Zulu, Hindi for Marathi) up to .37.
LEAST_SHARE = 0.2
JUDGED = 100  # entries; a shorter dictionary may well be one of nothing but words that the bitext lacks
MOST_ARTICLES = 256 * 2**20  # bytes; FreeDict's largest have 60 MB
MOST_ENTRIES = 10_000  # of a line: each of its words with each translation
LONGEST_CELL = 10_000  # characters; what is longer is no list of translations
MAX_WORDS = 5  # of a side; what is longer explains and does not translate
ACCEPTED = (
    "accepted are .tsv and .txt (English<TAB>{lang}, several translations with ; or , between), each also as .gz, "
    "the .dict, .dict.dz or .index of a FreeDict dictionary, and a folder of these"
)
INDEX, ARTICLES = ".index", (".dict", ".dict.dz")  # of dictd: where each article is, and the articles
_MOST_DIGITS = 12  # of a number of dictd
_DIGITS = {letter: k for k, letter in enumerate(string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/")}
_HEAD = re.compile(r"^(.*?)\s*(?:[/<\[({].*)?$")  # pronunciation and part of speech follow the headword
_REMARKS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>|\{[^{}]*\}")
_SENSE = re.compile(r"^(?:\d+\.|;)\s*")
_BETWEEN = re.compile(r"[;,|]|\s+or\s+|\s*\d+\.\s*$")
_PARTICLE = re.compile(r"^(?:plural of\s*:?|to|an?|the)\s+(?=\S)", re.IGNORECASE)
_LONG, _EMPTY, _DUPLICATE = "an explanation, not a translation", "empty side", "duplicate"


class Entry(NamedTuple):
    """A word or short phrase of English and one of X that translate each other; X may be an end, such as -soma."""

    english: str
    foreign: str


class Dictionary(NamedTuple):
    """Distinct entries, and what was left out of the files.

    Attributes:
        entries: In the order of the files.
        skipped: Reason -> how many entries were left out for it.
        examples: Reason -> ``path:line`` of the first one.
        sources: Path -> SHA-256 of the file.
    """

    entries: list[Entry]
    skipped: dict[str, int]
    examples: dict[str, str]
    sources: dict[str, str]


def read_dictionary(path: str | Path, lang: str, pairs: Sequence[Pair] = ()) -> Dictionary:
    """Read a dictionary of English and ``lang``.

    Remarks in brackets, parts of speech and cross references are dropped, and so are ``to``, ``a`` and ``the`` before
    an English word; translations between ``;`` or ``,`` are entries of their own. FreeDict dictionaries (the format of
    dictd) are read in both directions, which their title says.

    Args:
        path: A file, a folder (when it has a folder named ``lang``, that one alone is read), or several with commas.
        lang: Code of the other language.
        pairs: Bitext, whose sides say which column is which; without it that is not checked.

    Raises:
        DataError: A path that is missing, unreadable, not UTF-8, of no known format or without an entry; an index that
            does not fit its file; more than ``MAX_ENTRIES`` entries; by the bitext, swapped columns or another
            language.
    """
    english, foreign = (Counter(fold(w) for pair in pairs for w in split_words(pair[side])) for side in (0, 1))
    entries: dict[Entry, None] = {}
    skipped: Counter[str] = Counter()
    examples: dict[str, str] = {}
    sources: dict[str, str] = {}
    for file in _files(path, lang):
        before, first = len(entries), 0
        _check_text(file)
        for row in _dictd(file) if file.suffix == INDEX else columns(file, lang):
            found = [row.fault] if row.fault else list(_entries(row))
            for entry in found:
                reason = entry if isinstance(entry, str) else _DUPLICATE if entry in entries else ""
                if reason:
                    skipped[reason] += 1
                    examples.setdefault(reason, f"{file}:{row.line}")
                elif isinstance(entry, Entry):
                    entries[entry], first = None, first or row.line
            if len(entries) > MAX_ENTRIES:
                raise DataError(
                    f"more than {MAX_ENTRIES:,} entries, reached at {file}:{row.line}; a dictionary of this size would "
                    "not fit into a vocabulary: give the part of it that is used, such as the commonest words"
                )
        if len(entries) == before and not skipped[_DUPLICATE]:
            where = examples.get(WRONG_COLUMNS, f"{file}:1")
            raise DataError(
                f"no entry of a dictionary, at {where}; write English<TAB>{lang} on each line, with several "
                f"translations as one; two; {ACCEPTED.format(lang=lang)}"
            )
        if pairs:
            _check_sides(list(entries)[before:], english, foreign, lang, f"{file}:{first}")
        read = (file, _articles(file)) if file.suffix == INDEX else (file,)
        sources |= {str(part): file_checksum(part) for part in read}
    return Dictionary(list(entries), dict(skipped), examples, sources)


def _check_sides(entries: Sequence[Entry], english: Counter[str], foreign: Counter[str], lang: str, at: str) -> None:
    """Refuse swapped columns and other languages: a word belongs to the side of the bitext that has it more often."""
    share = np.zeros((2, 2))  # column, side
    for column, texts in enumerate(zip(*entries, strict=True)):
        words = [fold(word) for text in texts for word in split_words(text)]
        both = [(english[word], foreign[word]) for word in words]
        share[column] = [sum(e > f for e, f in both), sum(f > e for e, f in both)]
        share[column] /= max(1, len(words))
    (english_english, english_foreign), (foreign_english, foreign_foreign) = share
    if english_foreign + foreign_english > english_english + foreign_foreign:
        raise DataError(
            f"the columns of the dictionary are swapped: by the bitext, {english_foreign:.0%} of the words in the "
            f"first one are {lang} and {foreign_english:.0%} in the second are English, at {at}; English comes first, "
            "so swap them: awk -F'\\t' '{print $2 \"\\t\" $1}' old.tsv > new.tsv"
        )
    for name, own, other in (("English", english_english, foreign_foreign), (lang, foreign_foreign, english_english)):
        if len(entries) >= JUDGED and own < LEAST_SHARE * other:
            raise DataError(
                f"the dictionary's {name} is another language than the bitext's: {own:.1%} of its words are there, of "
                f"the other side's {other:.1%}, at {at}; give a dictionary of English and {lang}"
            )


def _entries(row: Row) -> Iterator[Entry | str]:
    """The entries of a line: each translation of each word; or why there is none."""
    if max(len(row.english), len(row.foreign)) > LONGEST_CELL:
        yield _LONG
        return
    english, foreign = [_PARTICLE.sub("", text) for text in _translations(row.english)], _translations(row.foreign)
    if not english or not foreign:
        yield _EMPTY
    if len(english) * len(foreign) > MOST_ENTRIES:
        yield _LONG
        return
    for one in english:
        for other in foreign:
            if max(len(split_words(one)), len(split_words(other))) > MAX_WORDS:
                yield _LONG
            elif fold(one) != fold(other):  # what is spelled alike needs no translation
                yield Entry(one, other)


def _translations(text: str) -> list[str]:
    """The parts of a cell between signs, without remarks; those without any letter are left out."""
    while text != (shorter := _REMARKS.sub(" ", text)):
        text = shorter
    return [part for piece in _BETWEEN.split(text) if split_words(part := tidy(piece))]


def _files(path: str | Path, lang: str) -> list[Path]:
    """The files that a path means; of a FreeDict dictionary, its index."""
    if "," in str(path) and (fault_of_path(str(path)) or not path_of(path).exists()):
        return list(chain.from_iterable(_files(part.strip(), lang) for part in str(path).split(",")))
    file = path_of(path)
    if file.is_dir():
        root = file / lang if (file / lang).is_dir() else file
        files = [one for one in sorted(root.iterdir()) if one.is_file() and not one.name.startswith(".")]
        found = [one for one in files if _is_table(one) or one.suffix == INDEX]
        if not found:
            raise DataError(f"no dictionary in the folder {root}; {ACCEPTED.format(lang=lang)}")
        return found
    if not file.exists():
        raise DataError(f"no such dictionary: {path}; {ACCEPTED.format(lang=lang)}")
    for suffix in ARTICLES:
        if file.name.endswith(suffix):
            index = file.with_name(file.name.removesuffix(suffix) + INDEX)
            if not index.is_file():
                raise DataError(f"articles without their index: {file}; put {index.name} beside it")
            return [index]
    if not _is_table(file) and file.suffix != INDEX:
        raise DataError(f"unknown format of a dictionary: {file}; {ACCEPTED.format(lang=lang)}")
    return [file]


def _check_text(file: Path) -> None:
    with open_bytes(file) as stream:
        if b"\0" in stream.read(CHUNK):
            raise DataError(f"a binary file, not a dictionary: {file}:1; save it as text in UTF-8")


def _is_table(file: Path) -> bool:
    return Path(file.name.removesuffix(".gz")).suffix in (".tsv", ".txt")


def _articles(index: Path) -> Path:
    """The file that an index is of."""
    for suffix in ARTICLES:
        if (file := index.with_name(index.name.removesuffix(INDEX) + suffix)).is_file():
            return file
    raise DataError(f"an index without its articles: {index}; put {index.stem}.dict or {index.stem}.dict.dz beside it")


def _dictd(index: Path) -> Iterator[Row]:
    """Rows of a dictionary for dictd, each numbered by the line of the index that says where its article is."""
    articles = _articles(index)
    with open_bytes(articles) as stream:
        text = at_most(stream, articles, MOST_ARTICLES)
    seen: set[tuple[int, int]] = set()
    found = []
    title = ""
    for number, line in lines(index):
        try:
            head, start, length = line.split("\t")[:3]
            at = _number(start[:_MOST_DIGITS]), _number(length[:_MOST_DIGITS])
            if sum(at) > len(text):
                raise ValueError("behind the end")
            article = text[at[0] : sum(at)].decode()
        except (ValueError, KeyError) as error:
            raise DataError(
                f"not an index of dictd, or of another file than {articles.name}: {index}:{number}; a line is "
                "headword, start and length with tabs between"
            ) from error
        if re.match(r"00-?database", head):
            title = article if head.replace("-", "") == "00databaseshort" else title
        elif at not in seen:
            seen.add(at)
            found.append((number, article))
    english_first = _english_first(title, index)
    for number, article in found:
        head, *body = article.split("\n")
        head = head if len(head) <= LONGEST_CELL else ""
        word, meaning = _HEAD.sub(r"\1", head).strip(), "; ".join(_meanings(body))
        yield Row(number, word, meaning) if english_first else Row(number, meaning, word)


def _meanings(body: Sequence[str]) -> Iterator[str]:
    """The lines of an article that translate: the first one, and the first one of each numbered sense."""
    wanted = True
    for line in body:
        sense = _SENSE.match(line)
        text = line[sense.end() :] if sense else line
        if (wanted or sense) and text.strip():
            yield text
        wanted = (wanted or bool(sense)) and not text.strip()


def _english_first(title: str, index: Path) -> bool:
    """Whether the headwords are English, by the title or else by the name of the file."""
    said = re.sub(r"^\s*00-?database-?short\s*", "", title)
    for pattern, text in ((r"\benglish\b", said), (r"(?<![a-z])en[a-z]{0,1}(?![a-z])", index.stem)):
        if match := re.search(pattern, text, re.IGNORECASE):
            return not re.search(r"\w\s*[-–]\s*$", text[: match.start()]) and not text[: match.start()].strip(" -")
    raise DataError(
        f"neither the title nor the name of {index} says which side is English; name it as in freedict-eng-swh{INDEX} "
        f"or freedict-swh-eng{INDEX}"
    )


def _number(digits: str) -> int:
    """A number as dictd writes it, in base 64."""
    total = 0
    for digit in digits:
        total = total * 64 + _DIGITS[digit]
    return total
