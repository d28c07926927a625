"""The verb that examines bitext: bitext."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from optical.cli.app import chosen, console, found, hint, plain_command, show, take_threads
from optical.data.bitext_sources import sources_of
from optical.data.words import cut
from optical.errors import DataError

if TYPE_CHECKING:
    from optical.data.bitext import Line
    from optical.pipeline.bitext import Compared, Examination

UNNAMED = "x"  # the other language where --lang does not say it
BAR = 40  # characters of the longest bar
EXAMPLES = 5  # unlikely pairs that are shown
MUCH = 0.8  # share of a side that is in another language than it should be


@plain_command
def bitext(
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER", help="Sentence pairs: file, folder, Moses pair, or several: a.tsv,folder."
        ),
    ],
    lang: Annotated[
        str | None,
        typer.Option("--lang", "-l", help="Language of the other side, as so; Moses, .jsonl and .tmx need it."),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option("--clean", metavar="OUT.tsv", help="Write what is kept; what is not goes to OUT.tsv.left-out."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put shifted lines beside their translations instead of leaving them out.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME|FOLDER",
            help="Also leave out pairs that look paired by chance to an encoder that reads both languages, as "
            "multilingual-e5-small; some 30 pairs a second on a core.",
        ),
    ] = None,
) -> None:
    """Examine sentence pairs: languages, lengths, shifted lines, what is left out and why; needs no model.

    Reasons are those of `optical distill`; shifted, swapped and untranslated lines only this verb finds.
    """
    from optical.pipeline import bitext as pipeline_bitext

    if clean is not None:
        pipeline_bitext.check_clean(clean)
    reader = None
    if encoder is not None:
        sources_of(path, lang or UNNAMED)  # what is missing is said before the encoder is loaded
        take_threads()
        reader = pipeline_bitext.reader_of(encoder)
    try:
        examined = pipeline_bitext.examine(path, lang or UNNAMED, repair=repair, reader=reader)
    except DataError as error:
        if lang or path.partition("@")[0].removesuffix(".gz").endswith((".tsv", ".txt")):  # these need no language
            raise
        raise DataError(f"{error}; the other language has no name yet: --lang so") from error
    found(**examined.facts())
    if not chosen.json:
        _show(examined)
    if clean is not None:
        pipeline_bitext.write_clean(examined, clean)
        rest = pipeline_bitext.beside(clean)
        found(clean=str(clean), rest=str(rest))
        hint(escape(f"\n{len(examined.pairs):,} pairs are in {clean}, the rest with place and reason in {rest}"))


def _show(examined: Examination) -> None:
    """Print an examination: tables, bars, and a sentence for each thing to look at."""
    from optical.evaluation.tables import Table

    lang = examined.lang
    console.print(
        f"{len(examined.lines):,} lines, {len(examined.pairs):,} pairs of English and {lang} kept\n", highlight=False
    )
    sources = [(one.name, f"{one.lines:,}", f"{one.pairs:,}", one.licence or "not stated") for one in examined.parts]
    show(Table("", ("source", "lines", "kept", "licence"), sources))
    sides = [
        (name, _shares(side.languages), _shares(side.scripts))
        for name, side in zip(("English", lang), examined.sides, strict=True)
    ]
    show(Table("", ("side", "language", "script"), sides, left=3))
    if examined.left_out:
        reasons = [(reason, place, f"{count:,}") for reason, (count, place) in examined.left_out.items()]
        show(Table("", ("left out", "first at", "lines"), reasons, left=2))
    _show_ratios(examined)
    for sentence in _sentences(examined):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    _show_lines((line, "") for line in examined.unlikely[:EXAMPLES])
    if examined.compared:
        console.print(_compared(examined.compared), highlight=False, soft_wrap=True, markup=False)
        _show_lines((line, f"  {margin:.2f}") for line, margin in examined.compared.suspected[:EXAMPLES])


def _show_lines(lines: Iterable[tuple[Line, str]]) -> None:
    """Print lines with their places, and something behind these."""
    for line, behind in lines:
        console.print(f"  {line.place}{behind}", highlight=False, soft_wrap=True, markup=False)
        for text in line.pair:
            console.print(f"    {cut(text, console.width - 5)}", highlight=False, soft_wrap=True, markup=False)


def _compared(compared: Compared) -> str:
    """A sentence on what the encoder says."""
    if not compared.reads:
        return (
            f"To {compared.encoder}, {compared.share:.0%} of the {compared.pairs:,} pairs look paired by chance: it "
            "seems not to read one of the languages, and no pair is left out for it; name another --encoder."
        )
    said = (
        f"To {compared.encoder}, some {compared.share * compared.pairs:,.0f} of {compared.pairs:,} pairs "
        f"({compared.share:.1%}) look paired by chance, and {len(compared.suspected):,} are left out for it"
    )
    return said + ("; the least alike, with their margins:" if compared.suspected else ".")


def _shares(shares: dict[str, float] | None) -> str:
    """Languages or scripts with their shares."""
    if shares is None:
        return "pip install 'optical[bitext]' names it"
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.005) or "none"


def _show_ratios(examined: Examination) -> None:
    """Print how many characters of X stand for one of English, as bars."""
    from optical.pipeline.bitext import RATIOS

    console.print(f"\nCharacters of {examined.lang} for one of English", highlight=False)
    names = [f"to {RATIOS[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(RATIOS)), f"from {RATIOS[-1]:g}"]
    for name, count in zip(names, examined.ratios, strict=True):
        length = -(-BAR * count // max(1, *examined.ratios))  # a bar that is there is seen
        console.print(f"  {name:>12}  {'█' * length}{' ' * bool(length)}{count:,}", highlight=False)


def _sentences(examined: Examination) -> Iterator[str]:
    """A sentence for each thing that somebody should look at."""
    lang = examined.lang
    yield ""
    if examined.swapped:
        yield (
            "The columns are swapped, English is the second one; here, and in a clean copy, they are exchanged, but "
            "`optical distill` takes the first one for English."
        )
    for name, code, side in zip(("English", lang), ("en", lang), examined.sides, strict=True):
        first = next(iter(side.languages or {}), code)
        if code != UNNAMED and first != code and (side.languages or {})[first] >= MUCH:
            yield f"The {name} side reads as {first}: check the language of the file, or --lang."
    for file, first, last, by in examined.shifts:
        lines = f"{abs(by)} line{'s' * (abs(by) > 1)} {'below' if by > 0 else 'above'}"
        yield f"{file}:{first}-{last}: the translation stands {lines}."
    if examined.shifts:
        yield "Put them beside their translations" + (
            f": done for {examined.repaired:,} lines." if examined.repaired else ": --clean OUT.tsv --repair."
        )
    if any(examined.translations):
        yield "{:,} English texts stand with several translations, {:,} of the others.".format(*examined.translations)
    if examined.unlikely:
        yield f"{len(examined.unlikely):,} pairs kept hardly translate each other (words, lengths); the least likely:"
