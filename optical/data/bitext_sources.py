"""Which files a path to bitext means, how often the pairs of each source are drawn, and what licence they are under."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from optical.data import bitext_formats
from optical.data.bitext_formats import Moses, Row
from optical.data.lines import CHUNK, files_below, lines
from optical.data.records import ENGLISH
from optical.errors import DataError
from optical.limits import check_regular, exists, fault_of_path, opened, path_of, read_whole

ACCEPTED = (
    "accepted are .tsv and .txt (English<TAB>{lang}), .jsonl, .tmx, .po, each also as .gz, two Moses files as"
    " corpus.en,corpus.{lang} or as their prefix corpus, a folder of these, and several of these with commas between"
)
FACTS = "source.toml"  # beside the files: licence = "...", and perhaps [corpus] with a licence of its own
_LICENCE_FILES = ("LICENSE", "LICENCE", "LICENSE.txt", "LICENCE.txt", "LICENSE.md", "LICENCE.md", "COPYING")
_READMES = ("README.md", "README.txt", "README")
_LINE = 500  # characters of a line that may name a licence
_LICENCE_LINE = re.compile(r"\W*licen[cs]e\W*:\W*(\w.*)", re.IGNORECASE)


class Files(NamedTuple):
    """One file, or two aligned ones; ``prose`` when it may be some other text that lies in the same folder."""

    files: Path | Moses
    prose: bool = False

    def paths(self) -> tuple[Path, ...]:
        """The file, or the English one and the other."""
        return self.files if isinstance(self.files, Moses) else (self.files,)

    def rows(self, lang: str) -> Iterator[Row]:
        """Read the pairs that stand in them, uncleaned."""
        if isinstance(self.files, Moses):
            return bitext_formats.moses(self.files)
        return bitext_formats.READERS[bitext_formats.format_of(self.files) or ""](self.files, lang)


class Source(NamedTuple):
    """A part of the bitext that was named by itself.

    Attributes:
        path: As it was named, without the weight.
        files: What it means, without files of the sources before it.
        name: Of its file or folder; the path where two would have the same name.
        weight: How often its pairs are drawn for each time that a pair of weight 1 is; 0 for words alone.
        licence: What is said beside the files; None where nothing is, or where they are under several.
    """

    path: str
    files: list[Files]
    name: str
    weight: float = 1.0
    licence: str | None = None


class _Part(NamedTuple):
    """A path out of a list of paths, and the weight that stands behind it."""

    path: str
    weight: float | None


def sources_of(path: str | Path | Sequence[str | Path], lang: str) -> list[Source]:
    """The sources that a path means: ``a.tsv,folder@0.5`` are two, of which the second is drawn half as often.

    A path that exists is taken as it is, whatever its name. A file is read once, by the first source that has it.

    Args:
        path: A path, or several with commas between, each perhaps with ``@weight``; or a sequence of these.
        lang: Code of the other language.

    Raises:
        DataError: A path that is not there or of no known format, a weight that is no number from 0 on, a source all of
            whose files belong to others.
    """
    given = [path] if isinstance(path, str | Path) else path
    found: list[Source] = []
    taken: dict[Path, str] = {}
    for part in (part for one in given for part in _parts(str(one))):
        files = _files(part.path, lang)
        for file in (file for one in files for file in one.paths()):
            check_regular(file)
        new = [one for one in files if any(file.resolve() not in taken for file in one.paths())]
        if not new:
            raise DataError(
                f"{part.path} was read already, as a part of {taken[files[0].paths()[0].resolve()]}; name a source once"
            )
        taken |= {file.resolve(): part.path for one in new for file in one.paths()}
        weight = 1.0 if part.weight is None else part.weight
        found.append(
            Source(part.path, new, _name(part.path, new[0], lang), weight, _licence_of(new, path_of(part.path)))
        )
    names = [source.name for source in found]
    return [one._replace(name=one.path) if names.count(one.name) > 1 else one for one in found]


def unnamed_files(path: str | Path | Sequence[str | Path], lang: str) -> list[Path]:
    """The files that :func:`optical.data.bitext.read_bitext` takes to be in ``lang`` only because the caller says so.

    Two columns and gettext catalogues do not say their language, nor does a file that is the second of two Moses files
    by its place alone. None of them can be the bitext of two languages.
    """
    found = []
    for file, prose in chain.from_iterable(source.files for source in sources_of(path, lang)):
        if isinstance(file, Moses):
            found += [file.foreign] if _side(file.foreign, lang) is None else []
        elif bitext_formats.format_of(file) not in bitext_formats.NAME_LANGUAGES:
            found += [] if prose and not any("\t" in text for _, text in lines(file)) else [file]
    return found


def _parts(text: str) -> Iterator[_Part]:
    """Take a list of paths apart; two files in a row that are of no known format are one part, a Moses pair."""
    if exists(text):
        yield _Part(text, None)
        return
    halves: list[str] = []
    for part in (_weighted(one.strip()) for one in text.split(",")):
        half = _is_half(part.path)
        if halves and not half:
            yield _Part(",".join(halves), None)
            halves = []
        halves.append(part.path)
        if not half or part.weight is not None:
            yield _Part(",".join(halves), part.weight)
            halves = []
    if halves:
        yield _Part(",".join(halves), None)


def _weighted(part: str) -> _Part:
    """Take a path and its weight apart; a path that exists has none."""
    path, mark, number = part.rpartition("@")
    if not mark or "/" in number or exists(part):
        return _Part(part, None)
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise DataError(
            f"the weight of bitext is a number from 0 on, received {number[:20]!r} in {part}; write path@0.5 for pairs"
            " that are drawn half as often, path@0 for words alone, without training on them"
        )
    return _Part(path, weight)


def _is_half(path: str) -> bool:
    """Whether a path may be one side of a Moses pair whose other side stands behind it."""
    file = path_of(path)
    return not file.is_dir() and not _beside(file, ENGLISH) and bitext_formats.format_of(file) in (None, ".txt")


def _name(path: str, first: Files, lang: str) -> str:
    """The name of a folder, of its parent where it is named by the language; or of a file, without its format."""
    folder = path_of(path)
    if folder.is_dir():
        whole = folder.resolve()
        return whole.parent.name if whole.name == lang and whole.parent.name else whole.name
    file = first.paths()[0]
    side = _side(file, ENGLISH) or _side(file, lang)
    return side["stem"] if side else file.name.removesuffix(".gz").removesuffix(bitext_formats.format_of(file) or "")


def _files(path: str, lang: str) -> list[Files]:
    """The files that a path means, or two paths of Moses files."""
    if fault_of_path(path) and "," in path:
        return [_joined(path.split(","), lang)]
    file = path_of(path)
    if file.is_dir():
        return _folder(file, lang)
    if file.exists():
        return [_file(file, lang)]
    if english := _beside(file, ENGLISH):
        return [_file(english, lang)]
    if "," in path:
        return [_joined(path.split(","), lang)]
    raise DataError(f"no such file, folder or Moses prefix: {path}; {ACCEPTED.format(lang=lang)}")


def _folder(folder: Path, lang: str) -> list[Files]:
    """Every bitext file and every Moses pair below a folder, in the order of their names."""
    root = folder / lang if (folder / lang).is_dir() else folder
    files = [file for file in files_below(root) if not _hidden(file.relative_to(root))]
    pairs = {pair.english: pair for file in files if (pair := _moses(file, lang))}
    taken = {file for pair in pairs.values() for file in pair}
    found = [
        Files(pairs[file]) if file in pairs else Files(file, prose=bitext_formats.format_of(file) == ".txt")
        for file in files
        if file in pairs or (file not in taken and bitext_formats.format_of(file))
    ]
    if not found:
        raise DataError(f"no bitext in the folder {root}; {ACCEPTED.format(lang=lang)}")
    return found


def _file(file: Path, lang: str) -> Files:
    """One file that exists: a side of a Moses pair, or of a known format."""
    if pair := _moses(file, lang):
        return Files(pair)
    if bitext_formats.format_of(file):
        return Files(file)
    if _side(file, ENGLISH) or _side(file, lang):
        raise DataError(
            f"one side of Moses files without the other: {file}; put the other side beside it, with the same name but"
            f" for .en and .{lang}, or give both as english-file,{lang}-file"
        )
    raise DataError(f"unknown bitext format: {file}; {ACCEPTED.format(lang=lang)}")


def _joined(paths: list[str], lang: str) -> Files:
    """Two Moses files that stand beside each other in a list, English first unless their names say otherwise."""
    if len(paths) != 2:
        raise DataError(
            f"a comma joins two Moses files, {len(paths)} were given: {','.join(paths)}; {ACCEPTED.format(lang=lang)}"
        )
    first, second = map(path_of, paths)
    return Files(Moses(second, first) if _side(second, ENGLISH) and not _side(first, ENGLISH) else Moses(first, second))


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


def _licence_of(files: Sequence[Files], source: Path) -> str | None:
    """The licence that all files of a source are under."""
    said = {_licence(path, source) for one in files for path in one.paths()}
    return said.pop() if len(said) == 1 else None


def _licence(file: Path, source: Path) -> str | None:
    """Find the licence of a file, stated in its folder or in a folder above it that belongs to the source."""
    for folder in (folder for folder in file.parents if folder == file.parent or folder.is_relative_to(source)):
        for said in (_stated(folder / FACTS, file), _first_line(folder), _readme_line(folder)):
            if said:
                return said
    return None


def _stated(facts: Path, file: Path) -> str | None:
    """The licence that a file of facts states, for one file or for all."""
    if not facts.is_file():
        return None
    try:
        stated = tomllib.loads(read_whole(facts).decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f'{facts}: not TOML ({error}); write licence = "CC BY 4.0"') from error
    own = stated.get(file.name.split(".")[0])
    licence = own.get("licence") if isinstance(own, dict) else stated.get("licence")
    if licence is not None and not isinstance(licence, str):
        raise DataError(f'{facts}: a licence is a text, received {licence!r}; write licence = "CC BY 4.0"')
    return licence


def _first_line(folder: Path) -> str | None:
    return next((line for name in _LICENCE_FILES for line in _lines(folder / name) if line), None)


def _readme_line(folder: Path) -> str | None:
    """The line ``Licence: ...`` of a README, where it is the only one: several are of several files."""
    found = [match[1] for name in _READMES for line in _lines(folder / name) if (match := _LICENCE_LINE.match(line))]
    return found[0].rstrip(" *_") if len(found) == 1 else None


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        return []
    with opened(file) as stream:  # a licence is said at the beginning
        return [line.strip()[:_LINE] for line in stream.read(CHUNK).decode("utf-8", "replace").splitlines()]
