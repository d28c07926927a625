"""Examine bitext before anything is trained on it: what is in it, what is wrong with it, and a copy without that.

Whatever read_bitext sets aside is counted under the same reasons; besides, lines whose translation stands elsewhere,
swapped sides, lines that were never translated and pairs that hardly translate each other are found, without a model.
With an encoder that reads both languages, pairs are found that are likelier paired by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optical.data.bitext import Line, Pair, fault_of, lines_of
from optical.data.bitext_languages import Side, describe, swapped
from optical.data.bitext_sources import Source, sources_of
from optical.data.words import fold, fold_text, split_words
from optical.errors import DataError
from optical.files import check_writable, file_written_whole
from optical.pipeline.run_folder import check_part
from optical.retrieval.margin import LEAST, Suspicion, suspect
from optical.vocabulary.line_shifts import LineAlignment, align_lines

NOT_TRANSLATED, SWAPPED, SHIFTED = "not translated", "sides swapped", "shifted by {by:+d}"
NO_PLACE = "shifted, its translation is missing"
BY_CHANCE = "like pairs by chance (encoder)"
UNLIKELY = -3.0  # nats of evidence, below which a pair hardly translates each other
LEAST_WORDS = 3  # words of a line that say which language it is in
TIMES = 2  # as often on the other side
OTHER_SIDE = 0.8  # share of a line's words that the other side has more often
RATIOS = (0.2, 0.33, 0.5, 0.67, 0.8, 0.95, 1.05, 1.25, 1.5, 2, 3, 5)  # bounds of the bars of the histogram
LEFT_OUT = ".left-out"  # behind the name of the clean copy; no reader takes such a file for bitext


class Shifted(NamedTuple):
    """Lines of a file in a row whose translation stands ``by`` lines further down."""

    file: Path
    first: int
    last: int
    by: int


class Part(NamedTuple):
    """A source: how many lines it has, how many of them are kept, and the licence that is said beside it."""

    name: str
    path: str
    lines: int
    pairs: int
    licence: str | None


class Reader(NamedTuple):
    """An encoder that reads both languages.

    Attributes:
        name: As it was asked for.
        encode: Texts -> their unit vectors ``(n, e)``.
    """

    name: str
    encode: Callable[[Sequence[str]], np.ndarray]


class Compared(NamedTuple):
    """Pairs compared with pairs by chance.

    Attributes:
        encoder: Its name.
        pairs: How many were compared.
        share: Of pairs by chance among them, estimated.
        reads: Whether the encoder seems to read both languages; where it does not, no pair is left out.
        suspected: Lines that are left out for it, the least alike first, and their margins.
    """

    encoder: str
    pairs: int
    share: float
    reads: bool
    suspected: list[tuple[Line, float]]


class Examination(NamedTuple):
    """All that was found.

    Attributes:
        lang: Code of the other language.
        lines: Every line of every source, its ``fault`` being the reason for which it is left out.
        parts: The sources.
        sides: English and the other side of the pairs kept.
        swapped: Whether the columns are in each other's place throughout; they are exchanged here.
        shifts: Lines whose translation stands elsewhere.
        repaired: Lines that were put beside their translation, or the right way round.
        unlikely: Lines that are kept although they hardly translate each other, the least likely first.
        ratios: How many pairs kept have so many X characters per English one, bar by bar between ``RATIOS``.
        translations: English texts that stand with several X ones, and X texts with several English ones.
        compared: What the encoder says; None without one.
    """

    lang: str
    lines: list[Line]
    parts: list[Part]
    sides: Sequence[Side]
    swapped: bool
    shifts: list[Shifted]
    repaired: int
    unlikely: list[Line]
    ratios: list[int]
    translations: Sequence[int]
    compared: Compared | None = None

    @property
    def pairs(self) -> list[Pair]:
        """The pairs that are kept."""
        return [line.pair for line in self.lines if not line.fault]

    @property
    def left_out(self) -> dict[str, tuple[int, str]]:
        """Reason -> how many lines are left out for it, and ``path:line`` of the first, the commonest reason first."""
        counts = Counter(line.fault for line in self.lines if line.fault)
        first = {line.fault: line.place for line in reversed(self.lines)}
        return {reason: (count, first[reason]) for reason, count in counts.most_common()}

    def facts(self) -> dict[str, Any]:
        """The examination for a program."""
        told: dict[str, Any] = {}
        if self.compared:
            suspected = [{**_told(line), "margin": round(margin, 4)} for line, margin in self.compared.suspected]
            told["compared"] = self.compared._asdict() | {"suspected": suspected}
        return told | {
            "lang": self.lang, "lines": len(self.lines), "pairs": len(self.pairs),
            "sources": [part._asdict() for part in self.parts],
            "left_out": {reason: {"lines": n, "first": place} for reason, (n, place) in self.left_out.items()},
            "english": self.sides[0]._asdict(), "foreign": self.sides[1]._asdict(), "swapped": self.swapped,
            "shifted": [{**one._asdict(), "file": str(one.file)} for one in self.shifts], "repaired": self.repaired,
            "length_ratios": {"bounds": RATIOS, "pairs": self.ratios},
            "several_translations": dict(zip(("english", "foreign"), self.translations, strict=True)),
            "unlikely": [_told(one) for one in self.unlikely],
        }  # fmt: skip


def examine(path: str | Sequence[str], lang: str, *, repair: bool = False, reader: Reader | None = None) -> Examination:
    """Examine bitext of English and ``lang``.

    Args:
        path: What :func:`optical.data.bitext.read_bitext` takes.
        lang: Code of the other language.
        repair: Put shifted lines beside their translations, and swapped sides right, instead of leaving them out.
        reader: Reads the pairs that are kept; those likelier paired by chance are left out.

    Raises:
        DataError: See :func:`optical.data.bitext.read_bitext`; no line at all, or too few for the reader.
    """
    given = sources_of(path, lang)
    read = [
        (source, list(lines)) for source in given for _, lines in groupby(lines_of(source, lang), lambda one: one.file)
    ]
    filled = [line.pair for _, lines in read for line in lines if all(line.pair)]
    if not filled:
        raise DataError(f"no line of {path} has two sides; name bitext of English and {lang}")
    if whole := swapped(filled):
        read = [(source, [_turned(line) for line in lines]) for source, lines in read]
        filled = [_reversed(pair) for pair in filled]
    aligned = align_lines([[line.pair for line in lines] for _, lines in read])
    judge = _Judge(filled, repair)
    lines = [judge.lines(lines, own) for (_, lines), own in zip(read, aligned, strict=True)]
    shifts = [
        Shifted(one[0].file, one[s.first].line, one[s.last].line, s.by)
        for one, own in zip(lines, aligned, strict=True)
        for s in own.shifts
    ]
    compared = None
    if reader:
        lines, compared = _compared(lines, reader)
    pairs = [line.pair for line in chain.from_iterable(lines) if not line.fault]
    ratios = np.digitize([len(foreign) / len(english) for english, foreign in pairs], RATIOS)
    return Examination(
        lang,
        list(chain.from_iterable(lines)),
        [
            _part(source, [one for (of, _), part in zip(read, lines, strict=True) if of is source for one in part])
            for source in given
        ],
        [describe([pair[side] for pair in pairs]) for side in (0, 1)],
        whole,
        shifts,
        judge.repaired,
        sorted(judge.unlikely.keys() - _faulty(compared), key=judge.unlikely.__getitem__),
        np.bincount(ratios, minlength=len(RATIOS) + 1).tolist(),
        [_several(pairs, side) for side in (0, 1)],
        compared,
    )


def reader_of(name: str, progress: bool = True) -> Reader:
    """Load an encoder to compare pairs by.

    Raises:
        DataError: See :func:`optical.models.load.load_encoder`; it has a vector for each token.
    """
    from optical.embeddings.encode import sentence_vectors
    from optical.models.encoders import is_multi_vector
    from optical.models.load import load_encoder

    check_part(Path(name))
    encoder = load_encoder(name)
    if is_multi_vector(encoder):
        raise DataError(f"{name} has a vector for each token; --encoder takes one that has a vector for each text")

    return Reader(name, partial(sentence_vectors, encoder, progress=progress))


def _compared(lines: Sequence[Sequence[Line]], reader: Reader) -> tuple[list[list[Line]], Compared]:
    """The lines, of which those that are kept and likelier paired by chance have that for a fault."""
    kept = [line for own in lines for line in own if not line.fault]
    if len(kept) < LEAST:
        raise DataError(
            f"{len(kept)} pairs are kept, and --encoder compares them with each other paired by chance, which takes "
            f"{LEAST}; leave it out, or add more bitext"
        )
    found = _suspicion([line.pair for line in kept], reader)
    margins = dict(zip(kept, found.margins.tolist(), strict=True))
    suspected = dict.fromkeys(line for line, yes in zip(kept, found.suspected, strict=True) if yes)
    judged = [
        [line._replace(fault=BY_CHANCE) if not line.fault and line in suspected else line for line in own]
        for own in lines
    ]
    least = sorted(suspected, key=margins.__getitem__)
    told = [(line._replace(fault=BY_CHANCE), margins[line]) for line in least]
    return judged, Compared(reader.name, len(kept), found.share, found.reads, told)


def _suspicion(pairs: Sequence[Pair], reader: Reader) -> Suspicion:
    """Margins of the pairs; every text is read once."""
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    row = {text: k for k, text in enumerate(texts)}
    vectors = reader.encode(texts)
    return suspect(*(vectors[[row[pair[side]] for pair in pairs]] for side in (0, 1)), texts=pairs)


def _faulty(compared: Compared | None) -> set[Line]:
    """The lines that an encoder suspects, as they were before."""
    return {line._replace(fault="") for line, _ in compared.suspected} if compared else set()


def _told(line: Line) -> dict[str, str]:
    return {"place": line.place, **line.pair._asdict()}


class _Judge:
    """Judges lines in their order, since of duplicates the first is kept."""

    def __init__(self, pairs: Sequence[Pair], repair: bool) -> None:
        self.words = [Counter(fold(word) for pair in pairs for word in split_words(pair[side])) for side in (0, 1)]
        self.repair = repair
        self.seen: set[tuple[str, str]] = set()
        self.repaired = 0
        self.unlikely: dict[Line, float] = {}

    def lines(self, lines: Sequence[Line], aligned: LineAlignment) -> list[Line]:
        """The lines of a file with the reason for which each is left out, repaired where that is asked for."""
        takers = _takers(aligned)
        judged = []
        for i, line in enumerate(lines):
            by = int(aligned.offsets[i])
            pair, fault = line.pair, line.fault
            if self.repair and (takers.get(i + by) != i or not 0 <= i + by < len(lines)):
                fault = fault or NO_PLACE
            elif by and self.repair:
                pair = Pair(pair.english, lines[i + by].pair.foreign)
            elif by:
                fault = fault or SHIFTED.format(by=by)
            if not fault and (fault := self._language(pair)) == SWAPPED and self.repair:
                pair, fault = _reversed(pair), ""
            fault = fault or fault_of(pair, self.seen)
            judged.append(line._replace(pair=pair, fault=fault))
            self.repaired += not fault and pair != line.pair
            if not fault and aligned.evidence[i] < UNLIKELY:
                self.unlikely[judged[-1]] = float(aligned.evidence[i])
        return judged

    def _language(self, pair: Pair) -> str:
        """Whether the sides of a pair are swapped, or one is in the language of the other."""
        astray = [self._astray(pair[side], side) for side in (0, 1)]
        return SWAPPED if all(astray) else NOT_TRANSLATED if any(astray) else ""

    def _astray(self, text: str, side: int) -> bool:
        """Whether the words of a text are those of the other side."""
        here = Counter(fold(word) for word in split_words(text))
        own, other = self.words[side], self.words[1 - side]
        met = {word: n for word, n in here.items() if own[word] > n or other[word]}  # the text itself says nothing
        share = own.total() / max(1, other.total())
        astray = sum(n for word, n in met.items() if other[word] * share > TIMES * (own[word] - n))
        return sum(met.values()) >= LEAST_WORDS and astray >= OTHER_SIDE * sum(met.values())


def write_clean(found: Examination, out: Path) -> None:
    """Write the pairs that are kept, and beside them what was left out: place, reason and both sides.

    Raises:
        DataError: There is such a file, and this program did not write it.
    """
    with file_written_whole(out) as clean, file_written_whole(beside(out)) as rest:
        clean.write_text("".join(f"{e}\t{f}\n" for e, f in found.pairs), encoding="utf-8")
        left = (
            f"{line.place}\t{line.fault}\t{line.pair.english}\t{line.pair.foreign}\n"
            for line in found.lines
            if line.fault
        )
        rest.write_text("".join(left), encoding="utf-8")


def check_clean(out: Path) -> None:
    """Refuse the name of a clean copy before any work.

    Raises:
        DataError: It does not end with .tsv, or something that this program did not write is in the way.
    """
    if out.suffix != ".tsv":
        raise DataError(f"the clean copy is a .tsv, received {out}; name it {out.with_suffix('.tsv')}")
    check_writable(out.parent, [out.name, beside(out).name])


def beside(out: Path) -> Path:
    """The file of what was left out of a clean copy; no reader takes it for bitext."""
    return out.with_name(f"{out.name}.left-out")


def _takers(aligned: LineAlignment) -> dict[int, int]:
    """X line -> the English line that it translates, by the evidence where the offsets of several lead to it."""
    takers: dict[int, int] = {}
    for i in np.argsort(aligned.evidence, kind="stable").tolist():
        takers[i + int(aligned.offsets[i])] = i
    return takers


def _turned(line: Line) -> Line:
    return line._replace(pair=_reversed(line.pair))


def _reversed(pair: Pair) -> Pair:
    return Pair(pair.foreign, pair.english)


def _part(source: Source, lines: Sequence[Line]) -> Part:
    return Part(source.name, source.path, len(lines), sum(not line.fault for line in lines), source.licence)


def _several(pairs: Sequence[Pair], side: int) -> int:
    """Count the texts of a side that stand with more than one of the other."""
    return sum(n > 1 for n in Counter(fold_text(pair[side]) for pair in pairs).values())
