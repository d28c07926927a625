"""Words of a language from any text: lists, dictionaries, documents, query logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from optical.data.hunspell import word_forms
from optical.data.lines import files_below, json_object, lines
from optical.data.words import fold, script_of, split_words
from optical.errors import DataError
from optical.files import file_checksum
from optical.limits import path_of

MOST_CHARACTERS = 100_000_000  # of all files together that are read; what comes after is left out, which is said
TEXTS = (".txt", ".tsv", ".csv", ".jsonl", ".json", ".dic")  # that are read in a folder
ACCEPTED = (
    "accepted are text files (one word a line, word<TAB>count, or running text) and .jsonl, each also as .gz, a "
    "Hunspell .dic with its .aff, and a folder of these"
)
LEAST_KNOWN = 20  # words that the bitext knows on either side, below which a list is too short to be judged
HALF = 0.5  # share of a list from which it is of another script


class WordList(NamedTuple):
    """Words with their frequency.

    Attributes:
        counts: Folded word -> occurrences, or the count that stands beside it.
        sources: File -> SHA-256.
        cut: What was not read, in words; empty where all was.
    """

    counts: Counter[str]
    sources: dict[str, str]
    cut: str = ""


def read_word_list(path: str | Path) -> WordList:
    """Read the words of a file or of every text file below a folder.

    Raises:
        DataError: A path that is missing, unreadable, binary or of no known format, or without a word.
    """
    files, counts, read, cut = _files(path_of(path)), Counter(), 0, ""
    for file in files:
        for text, count in _texts(file):
            for word in split_words(text):
                counts[fold(word)] += count
            read += len(text)
            if read > MOST_CHARACTERS:
                cut = f"only the first {MOST_CHARACTERS:,} characters of {path} were read, up to {file}"
                break
        if cut:
            break
    if not counts:
        raise DataError(f"no word in {path}; {ACCEPTED}")
    return WordList(counts, {str(file): file_checksum(file) for file in files}, cut)


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Folded word -> occurrences in some texts."""
    return Counter(fold(word) for text in texts for word in split_words(text))


def check_language(words: Iterable[str], english: Iterable[str], foreign: Iterable[str], name: str) -> None:
    """Refuse a list whose words are of another script than X, or whose known words are mostly English.

    Args:
        words: Folded words of the list.
        english: Folded words of the bitext's English side.
        foreign: Folded words of its X side.
        name: What the message calls the list.

    Raises:
        DataError: It says the share.
    """
    words, english, foreign = list(words), set(english), set(foreign)
    scripts = Counter(script_of(word[0]) for word in foreign)
    common = {script for script, count in scripts.items() if count > 0.01 * len(foreign)}
    other = Counter(script for word in words if (script := script_of(word[0])) not in common)
    if other.total() > HALF * len(words):
        found, _ = other.most_common(1)[0]
        raise DataError(
            f"{100 * other.total() / len(words):.0f} % of the {len(words)} words of {name} are in another script than "
            f"the bitext's X side, most in {found}, which has {', '.join(sorted(common))}; give a list of the language"
        )
    in_english, in_x = (
        sum(word in one and word not in two for word in words) for one, two in ((english, foreign), (foreign, english))
    )
    if in_english + in_x >= LEAST_KNOWN and in_english > in_x:
        raise DataError(
            f"{name} looks English: of its {len(words)} words the bitext has {in_english} on the English side alone "
            f"({100 * in_english / len(words):.0f} %) and {in_x} on the other alone ({100 * in_x / len(words):.0f} %); "
            "give a list of the language"
        )


def _files(path: Path) -> Sequence[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"no such word list: {path}; {ACCEPTED}")
    found = [
        f
        for f in files_below(path)
        if f.is_file() and _suffix(f) in TEXTS and not any(part.startswith(".") for part in f.relative_to(path).parts)
    ]
    if not found:
        raise DataError(f"no text file in the folder {path}; {ACCEPTED}")
    return found


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _texts(file: Path) -> Iterator[tuple[str, int]]:
    """Texts of a file, and how often each counts."""
    if _suffix(file) in (".dic", ".aff"):
        return ((form, 1) for form in word_forms(file))
    return (_of_json if _suffix(file) in (".jsonl", ".json") else _of_text)(file)


def _of_text(file: Path) -> Iterator[tuple[str, int]]:
    for _, line in lines(file):
        word, _, count = line.strip().rpartition("\t" if "\t" in line else " ")
        if count.isdecimal() and len(split_words(word)) == 1 and len(word.split()) == 1:
            yield word, max(1, min(int(count[:10]) if len(count) <= 10 else 10**9, 10**9))
        else:
            yield line, 1


def _of_json(file: Path) -> Iterator[tuple[str, int]]:
    """The texts of JSON objects, one a line: every value that is a text, but for ids."""
    for number, line in lines(file):
        try:
            record = json_object(line) if line.strip() else {}
        except ValueError as error:
            raise DataError(f"not a JSON object ({error}): {file}:{number}; write one object a line") from error
        texts = (value for key, value in record.items() if isinstance(value, str) and not key.lower().endswith("id"))
        yield from ((text, 1) for text in texts)


def merged(lists: Iterable[WordList]) -> WordList:
    """Several lists as one."""
    lists = list(lists)
    counts: Counter[str] = Counter()
    for one in lists:
        counts.update(one.counts)
    return WordList(
        counts,
        dict(chain.from_iterable(one.sources.items() for one in lists)),
        "; ".join(one.cut for one in lists if one.cut),
    )
