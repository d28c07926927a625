"""Measure how well the token vectors of a run, or of any encoder, align the words of sentence pairs.

The words of X are read by the student (or by the encoder), the English ones by its teacher (or by the same encoder), as
:mod:`optical.pipeline.align` does it. Words are linked by their most alike pieces, each the other's best (``argmax``)
or one to one (``greedy``), and by the mass of the transport plan, each the other's largest (``ot``).

Right links come from a file, or are silver: those that IBM model 1 of both directions is sure of, learnt from one half
of the bitext, of which the measured pairs are no part. Then only links that share a word with a silver link count. The
row of IBM model 1 is that of a table learnt from the other half. Both tables share the mistakes of the model, so that
row says how reliable silver links are; they cannot tell whether an encoder aligns worse than the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex

from optical.config.recipe import Recipe
from optical.data.bitext import Pair, lines_of, read_bitext, split
from optical.data.bitext_sources import sources_of
from optical.data.words import word_places
from optical.errors import DataError
from optical.evaluation.alignment_error import (
    AlignmentError,
    Gold,
    Links,
    alignment_error,
    greedy,
    links_of,
    mutual,
    read_gold,
    touching,
)
from optical.evaluation.significance import holm, randomisation
from optical.evaluation.tables import Table
from optical.models.encoders import Encoder
from optical.pipeline.align import AFTER, BEFORE, Between, Compared, Read, asks_for_bitext, learnt_from, load_both
from optical.pipeline.embed import load_teacher
from optical.pipeline.inputs import bitext_path, read_inputs
from optical.retrieval.matches import token_places
from optical.vocabulary.word_links import WordAligner, learn_aligner

MEASURED = 500  # sentence pairs, a quarter of the bitext at most
LEARNT = 20_000  # pairs of each half that IBM model 1 is learnt from, at most
LEAST = 40  # pairs of bitext
ALIGNER = "IBM model 1, other half"
LINKS = ("argmax", "greedy", "ot")
Say = Callable[[str], None]
Places = Sequence[tuple[int, int]]


class Task(NamedTuple):
    """Sentence pairs with their right links.

    Attributes:
        pairs: Measured.
        words: Where the English words and those of X begin and end, in characters, of each pair.
        gold: Right links of each pair.
        silver: Whether these are IBM model 1's, so that links between words that they leave out are not counted.
        aligner: IBM model 1 of other sentences.
        others: Sentence pairs that it was learnt from.
    """

    pairs: list[Pair]
    words: Sequence[tuple[Places, Places]]
    gold: list[Gold]
    silver: bool
    aligner: WordAligner
    others: list[Pair]


class Measured(NamedTuple):
    """Alignment errors of an encoder or a run.

    Attributes:
        errors: (encoder, way to link) -> its error; the row ``ALIGNER`` has the way ``both directions``.
        pairs: Sentence pairs measured.
        silver: Whether the right links are IBM model 1's.
    """

    errors: dict[tuple[str, str], AlignmentError]
    pairs: int
    silver: bool


def measure_run(recipe: Recipe, bitext: str | None = None, gold: Path | None = None, say: Say = print) -> Measured:
    """Measure the teacher of a finished run, its start and its student.

    Args:
        recipe: Of the run; of several languages, the first is measured.
        bitext: Sentence pairs to measure on, of which those that the run was made from are left out; those of the run
            without it, which the student has seen.
        gold: Right links of the pairs of ``bitext``, line by line.
        say: Receives what was left out, and what to think of it.

    Raises:
        DataError: Bitext that cannot be read or is too small; links that do not fit; a tokenizer that does not tell
            where its tokens are.
    """
    own = recipe.of(recipe.langs[0])
    if len(recipe.langs) > 1:
        say(f"measuring {own.lang} of {', '.join(recipe.langs)}; another: --lang")
    if gold is not None or bitext is not None:
        known = set(read_inputs(own, lambda _: None).pairs)
        task = make_task(bitext or bitext_path(own), own.lang, gold, known, say)
    else:
        say("these are pairs that the run was made from, which flatters the student; others: --bitext FILE")
        task = make_task(bitext_path(own), own.lang, None, set(), say)
    students = load_both(own, say)
    teacher = load_teacher(own)
    return measure(own, teacher, {"teacher": teacher, **students}, task, learnt_from(own))


def measure_encoder(recipe: Recipe, gold: Path | None = None, say: Say = print) -> Measured:
    """Measure the teacher of a recipe alone, both sides read by it, on the recipe's bitext.

    Args:
        recipe: Names encoder, language and bitext; its objective has the options of the plan.
        gold: As in :func:`measure_run`.
        say: As in :func:`measure_run`.

    Raises:
        DataError: As :func:`measure_run`.
    """
    task = make_task(bitext_path(recipe), recipe.lang, gold, set(), say)
    encoder = load_teacher(recipe)
    learnt = task.others if asks_for_bitext(recipe) else ()
    return measure(recipe, encoder, {recipe.teacher: encoder}, task, learnt)


def make_task(path: str, lang: str, gold: Path | None, known: set[Pair], say: Say = print) -> Task:
    """Choose the sentence pairs to measure on, and their right links.

    Args:
        path: Of the bitext, as :func:`optical.data.bitext.read_bitext` takes it; with ``gold`` one file.
        lang: Of its other side.
        gold: A line of links for each line of ``path``, words being what stands between spaces; silver links without
            it, of words as :func:`optical.data.words.split_words` has them.
        known: Pairs that are not measured on, since a student has seen them; with ``gold``, those that IBM model 1 is
            learnt from where there are any, else it is learnt from the pairs measured.
        say: Receives how many pairs of which kind there are.

    Raises:
        DataError: See :func:`measure_run`.
    """
    if gold is not None:
        pairs = _every_line(path, lang)
        words = [(_between_spaces(pair.english), _between_spaces(pair.foreign)) for pair in pairs]
        right = read_gold(gold, [(len(english), len(foreign)) for english, foreign in words])
        others = sorted(known - set(pairs)) or pairs
        return Task(pairs, words, right, False, learn_aligner(others), others)
    bitext = read_bitext(path, lang)
    pairs = [pair for pair in bitext.pairs if pair not in known]
    if len(pairs) < LEAST:
        raise DataError(
            f"{path}: {len(pairs)} pairs{' that the run was not made from' if known else ''}; silver links take "
            f"{LEAST} at least and thousands to be of use; give more with --bitext, or right links with --gold"
        )
    rest, asked = split(pairs, min(MEASURED, len(pairs) // 4), 0)
    rest, first = split(rest, min(LEARNT, len(rest) // 2), 0)
    second = split(rest, min(LEARNT, len(rest) - 1), 1)[1]
    silver = learn_aligner(first)
    right = [Gold(links, links) for links in (links_of(silver.posteriors(pair).sure) for pair in asked)]
    say(
        f"{len(asked):,} held-out pairs with {sum(len(one.sure) for one in right):,} silver links, which IBM model 1 "
        f"is sure of in both directions, learnt from {len(first):,} other pairs"
    )
    words = [(word_places(pair.english), word_places(pair.foreign)) for pair in asked]
    return Task(asked, words, right, True, learn_aligner(second), second)


def measure(
    recipe: Recipe, teacher: Encoder, students: Mapping[str, Encoder], task: Task, learnt: Sequence[Pair] = ()
) -> Measured:
    """Measure students on chosen pairs; arguments as in :func:`optical.pipeline.align.word_plans`."""
    found: dict[tuple[str, str], list[Links]] = {
        (ALIGNER, "both directions"): [*map(_by_aligner(task), range(len(task.pairs)))]
    }
    compared = Compared(recipe, teacher, students, task.pairs, learnt)
    for name, student in students.items():
        for k, (pair, (english, foreign)) in enumerate(zip(task.pairs, task.words, strict=True)):
            between = compared.between(name, k)
            rows = pieces(teacher, pair.english, compared.english[k], english)
            columns = pieces(student, pair.foreign, between.read, foreign)
            for way, links in linked(between, rows, columns).items():
                found.setdefault((name, way), []).append(links)
    if task.silver:
        found = {
            key: [touching(links, one.sure) for links, one in zip(every, task.gold, strict=True)]
            for key, every in found.items()
        }
    return Measured(
        {key: alignment_error(every, task.gold) for key, every in found.items()}, len(task.pairs), task.silver
    )


def pieces(encoder: Encoder, text: str, read: Read, words: Places) -> list[list[int]]:
    """The real tokens that each word of a text is made of; none of a word that was cut off.

    Raises:
        DataError: A tokenizer that does not tell where its tokens are.
    """
    count = int(read.mask.sum())
    places = token_places(encoder, text, query=True)[-count:]
    if len(places) != count:
        raise DataError(
            "the tokenizer of the encoder does not tell where its tokens are, so words cannot be told apart; name an "
            "encoder with a fast tokenizer (tokenizer.json)"
        )
    return [
        [k for k, place in enumerate(places) if place and place.start < end and start < place.end]
        for start, end in words
    ]


def linked(between: Between, english: Sequence[list[int]], foreign: Sequence[list[int]]) -> dict[str, Links]:
    """Link the words of a pair in each of the ways ``LINKS``; words without a token are not linked.

    Args:
        between: Costs and masses of tokens of X (rows) and English ones.
        english: Tokens of each English word.
        foreign: Tokens of each word of X.
    """
    alike = np.full((len(english), len(foreign)), -np.inf)
    mass = np.full_like(alike, -np.inf)
    for j, own in enumerate(foreign):
        if not own:
            continue
        cost, moved = between.cost[own].min(axis=0), between.mass[own].sum(axis=0)
        for i, other in enumerate(english):
            if other:
                alike[i, j], mass[i, j] = -cost[other].min(), moved[other].sum()
    return {"argmax": mutual(alike), "greedy": greedy(alike), "ot": mutual(mass)}


def _by_aligner(task: Task) -> Callable[[int], Links]:
    """The links of IBM model 1 of both directions between the words of pair k, whatever words are."""

    def links(k: int) -> Links:
        pair = task.pairs[k]
        found = mutual(task.aligner.posteriors(pair).both)
        english, foreign = (
            [_holding(place, own) for place in word_places(text)] for text, own in zip(pair, task.words[k], strict=True)
        )
        return frozenset((english[i], foreign[j]) for i, j in found if english[i] >= 0 and foreign[j] >= 0)

    return links


def _holding(place: tuple[int, int], words: Places) -> int:
    """The first word that overlaps a place; -1 where none does."""
    return next((k for k, (start, end) in enumerate(words) if start < place[1] and place[0] < end), -1)


def _between_spaces(text: str) -> Places:
    return [match.span() for match in regex.finditer(r"\S+", text)]


def _every_line(path: str, lang: str) -> list[Pair]:
    """The pairs of one file, a pair a line, nothing left out.

    Raises:
        DataError: Several files, or a line that cannot be understood.
    """
    sources = sources_of(path, lang)
    if len(sources) != 1 or len(sources[0].files) != 1:
        raise DataError(f"{path}: links are of the lines of one file; name that file with --bitext")
    pairs: list[Pair] = []
    for line in lines_of(sources[0], lang):
        if line.fault:
            raise DataError(f"{line.fault}, at {line.place}; every line of bitext with links has to be a pair")
        pairs.append(line.pair)
    return pairs


def table(measured: Measured) -> Table:
    """Errors as a table, a row for each encoder and way to link."""
    rows = []
    for (name, way), error in measured.errors.items():
        low, high = error.interval()
        figures = (error.precision, error.recall, error.f1)
        rows.append([name, way, f"{error.aer:.4f}", f"{low:.4f} to {high:.4f}", *(f"{one:.4f}" for one in figures)])
    links = next(iter(measured.errors.values())).sure.sum()
    kind = "silver links of IBM model 1" if measured.silver else "sure links of the file"
    title = f"alignment error: {measured.pairs:,} sentence pairs, {links:,} {kind}"
    return Table(title, ["encoder", "links", "AER", "95 %", "precision", "recall", "F1"], rows, left=2)


def sentences(measured: Measured) -> list[str]:
    """Paired tests: of a run, student against start in each way; of one encoder, the other ways against argmax."""
    errors = measured.errors
    names = {name for name, _ in errors}
    tested = (
        [((AFTER, way), (BEFORE, way)) for way in LINKS]
        if {AFTER, BEFORE} <= names
        else [((name, way), (name, LINKS[0])) for name in sorted(names - {ALIGNER}) for way in LINKS[1:]]
    )
    differences = [errors[one].by_pair - errors[other].by_pair for one, other in tested]
    adjusted = holm([randomisation(difference) for difference in differences])
    said = [
        f"{', '.join(one)} - {', '.join(other)}: mean AER of a pair {difference.mean():+.4f}, p = {p:.4f} (paired "
        f"randomisation, Holm's correction for {len(tested)})"
        for (one, other), difference, p in zip(tested, differences, adjusted, strict=True)
    ]
    if measured.silver:
        said.append(f"Silver links favour what resembles IBM model 1: the row of {ALIGNER} says how reliable they are.")
    return said


def as_dict(measured: Measured) -> dict[str, object]:
    """Figures by encoder and way to link, and the tests in words, as ``--json`` prints them."""
    return {
        "pairs": measured.pairs,
        "silver": measured.silver,
        "tests": sentences(measured),
        "errors": [
            {
                "encoder": name, "links": way, "aer": error.aer, "interval": error.interval(),
                "precision": error.precision, "recall": error.recall, "f1": error.f1, "found": int(error.found.sum()),
                "sure": int(error.sure.sum()),
            }
            for (name, way), error in measured.errors.items()
        ],
    }  # fmt: skip
