"""Labelled pairs of sentences in several languages: entailment (XNLI), paraphrase (PAWS-X), similarity (STS).

Read from a folder, a file or a data set of the hub. Files are ``label<TAB>sentence<TAB>sentence`` without a header, or
have a header with the columns of XNLI's and PAWS-X's own releases. Languages are parallel: an item has the same id, or
the same row, in each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optical.data.lines import lines
from optical.data.words import tidy
from optical.errors import DataError
from optical.limits import exists, path_of

_LABEL = ("gold_label", "label", "score", "similarity_score", "relatedness_score")  # names of columns, best first
_FIRST = ("sentence1", "premise", "sentence_A")
_SECOND = ("sentence2", "hypothesis", "hypo", "sentence_B")
_ID = ("pairID", "pair_ID", "id")
_LANG = ("language", "lang")
_NO_GOLD = "-"  # the label of a pair on which its annotators did not agree (Bowman et al. 2015, section 2.2)
_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_HUB_SPLITS = {"dev": "validation"}
SECONDS = 5.0  # that the hub has to answer
MOST_OTHER = 0.1  # share of items whose label differs between two languages; more, and the rows are not the same items


class PairTask(NamedTuple):
    """The labels that pairs of a task have.

    Attributes:
        name: As the option ``task`` has it.
        classes: Names of the labels; none where the label is a number.
        also: Other spellings of labels, in small letters -> name.
        hub: Where the hub has the pairs.
    """

    name: str
    classes: tuple[str, ...]
    also: Mapping[str, str]
    hub: str


TASKS = {
    "xnli": PairTask(
        "xnli", ("entailment", "neutral", "contradiction"), {"contradictory": "contradiction"}, "facebook/xnli"
    ),
    "pawsx": PairTask("pawsx", ("0", "1"), {}, "google-research-datasets/paws-x"),
    "sts": PairTask("sts", (), {}, "PhilipMay/stsb_multi_mt"),
}
"""Task -> its labels."""


class LabelledPair(NamedTuple):
    """Two sentences and what is true of them.

    Attributes:
        gold: Number of the class among the task's, or the score.
        first: Premise, or first sentence.
        second: Hypothesis, or second sentence.
    """

    gold: float
    first: str
    second: str


class LabelledPairs(NamedTuple):
    """The pairs of one language.

    Attributes:
        items: Id of the item, the same in every language, -> its pair, in the order of the file.
        place: The file, or the data set, for messages.
        numbered: The ids are numbers of rows, since the file has no column of them.
        ungraded: Pairs left out since their annotators did not agree.
    """

    items: dict[str, LabelledPair]
    place: str
    numbered: bool
    ungraded: int


class _Fields(NamedTuple):
    """A row before it is checked; ``at`` is its place."""

    id: str | None
    label: str
    first: str
    second: str
    at: str


def read_labelled_pairs(source: str, lang: str, task: PairTask, split: str | None = "dev") -> LabelledPairs:
    """Read the pairs of one language.

    Args:
        source: A folder, a file ({lang} in its name is the language), or an id of the hub, as ``facebook/xnli``, which
            is read by ``datasets``.
        lang: Code of the language.
        task: Of :data:`TASKS`.
        split: Part of the data, as the names of its files have it: ``dev.sw.tsv``, ``xnli.dev.tsv``,
            ``de/dev_2k.tsv``. None takes the only file that there is of the language. On the hub ``dev`` is
            ``validation``.

    Raises:
        DataError: No pairs of the language, an unknown label, an empty side, an id that is there twice.
    """
    named = source.replace("{lang}", lang)
    if exists(named) and not (path := path_of(named)).is_dir():
        return _checked(_file_rows(path, lang), task, str(path))
    if exists(named):
        path = _file_of(path_of(named), lang, split)
        return _checked(_file_rows(path, lang), task, f"{path}")
    if _HUB_ID.fullmatch(named):
        return _checked(_hub_rows(named, lang, split), task, f"{named} ({lang})")
    raise DataError(f"no such folder, file or hub id of labelled pairs: {named}; check the path")


def check_parallel(pairs: Mapping[str, LabelledPairs]) -> dict[str, int]:
    """Refuse languages whose items do not correspond, so that no test item is learnt from in another language.

    Returns:
        Language -> items that have another label than in the first language.

    Raises:
        DataError: Files without ids have different numbers of rows, no id is shared, or a tenth of the labels differ.
    """
    (base, first), *others = pairs.items()
    differing = {}
    for lang, one in others:
        if (first.numbered or one.numbered) and len(first.items) + first.ungraded != len(one.items) + one.ungraded:
            raise DataError(
                f"{one.place} has {len(one.items):,} pairs and {first.place} {len(first.items):,}, and without a "
                "column of ids row i has to be the same item in each; give files of the same rows, or a column id"
            )
        shared = first.items.keys() & one.items.keys()
        if not shared:
            raise DataError(f"{one.place} and {first.place} share no id; give files of the same items")
        other = [name for name in shared if first.items[name].gold != one.items[name].gold]
        if len(other) > MOST_OTHER * len(shared):
            name = min(other, key=list(one.items).index)
            raise DataError(
                f"{len(other):,} of {len(shared):,} items have another label in {lang} than in {base}, the first of "
                f"them {name} in {one.place} and {first.place}; give files of the same items in the same order"
            )
        differing[lang] = len(other)
    return differing


def _file_of(folder: Path, lang: str, split: str | None) -> Path:
    """The file of a language in a folder.

    Raises:
        DataError: There is none, or several and no split is named.
    """
    names = [f"{split or '*'}.{lang}.tsv", f"xnli.{split or '*'}.tsv", f"multinli.{split or '*'}.{lang}.tsv"]
    names += [f"{lang}/{part}{split or '*'}{size}.tsv" for part in ("", "translated_") for size in ("", "_2k")]
    for pattern in names:
        found = sorted({path for end in ("", ".gz") for path in folder.glob(pattern + end) if path.is_file()})
        if len(found) > 1 and split is None:
            listed = ", ".join(path.name for path in found)
            raise DataError(f"{folder} has several parts in {lang}: {listed}; name one by --set train_split=dev")
        if found:
            return found[0]
    there = sorted({path.name.removesuffix(".gz") for path in folder.rglob("*.tsv*")})
    listed = f"it has {', '.join(there[:12])}{', ...' if len(there) > 12 else ''}" if there else "it has no .tsv"
    part = f"of the part {split!r} " if split else ""
    raise DataError(
        f"no pairs {part}in {lang} in {folder}: {listed}; wanted is {split or 'dev'}.{lang}.tsv (label, sentence, "
        f"sentence), xnli.{split or 'dev'}.tsv or {lang}/{split or 'dev'}_2k.tsv; name other languages, or set split"
    )


def _file_rows(path: Path, lang: str) -> Iterator[_Fields]:
    """The rows of a file; of one with a column of languages, those in ``lang``.

    Raises:
        DataError: A line with other columns, or no row in the language.
    """
    place: dict[str, int] = {}
    headed, found, others = False, False, dict[str, None]()
    for number, text in lines(path):
        cells = [cell.strip() for cell in text.split("\t")]
        if not place:
            headed = bool(named := _columns(cells))
            place = named or {"label": 0, "first": 1, "second": 2}
            if headed:
                continue
        if len(cells) <= max(place.values()) or not (headed or len(cells) == 3):
            raise DataError(
                f"{len(cells) if text.strip() else 'no'} columns at {path}:{number}; wanted is label<TAB>sentence<TAB>"
                "sentence on each line, or a header that names gold_label, sentence1 and sentence2"
            )
        if "lang" in place and cells[place["lang"]] != lang:
            others[cells[place["lang"]]] = None
            continue
        found = True
        label, first, second = (cells[place[name]] for name in ("label", "first", "second"))
        yield _Fields(cells[place["id"]] if "id" in place else None, label, first, second, f"{path}:{number}")
    if others and not found:
        raise DataError(f"no pairs in {lang} in {path}, only in {', '.join(others)}; name other languages")


def _columns(cells: Sequence[str]) -> dict[str, int] | None:
    """Where what stands by a header; None where the first line is none."""
    named = {cell.strip(): k for k, cell in enumerate(cells)}
    known = {"label": _LABEL, "first": _FIRST, "second": _SECOND, "id": _ID, "lang": _LANG}
    found = {
        name: named[column]
        for name, columns in known.items()
        if (column := next((one for one in columns if one in named), None)) is not None
    }
    return found if {"label", "first", "second"} <= found.keys() else None


def _hub_rows(name: str, lang: str, split: str | None) -> Iterator[_Fields]:
    """The rows of a data set of the hub, whose configuration is the language; ``dev`` is ``validation`` there.

    Raises:
        DataError: It cannot be had, or lacks a column.
    """
    _ask_hub(name)
    from datasets import load_dataset

    part = _HUB_SPLITS.get(split or "train", split or "train")
    try:
        rows: Any = load_dataset(name, lang, split=part)
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise DataError(
            f"{name} ({lang}, {part}) cannot be had from the hub: {why}; check the network and the language, or give a "
            "folder by --data"
        ) from error
    place = _columns(rows.column_names)
    if place is None:
        listed = ", ".join(rows.column_names)
        raise DataError(
            f"{name} has the columns {listed}; wanted are label, sentence1 (premise), sentence2 (hypothesis)"
        )
    column = {what: rows.column_names[k] for what, k in place.items()}
    spelled = getattr(rows.features[column["label"]], "int2str", str)
    for number, row in enumerate(rows):
        label = row[column["label"]]
        yield _Fields(
            str(row[column["id"]]) if "id" in column else None,
            _NO_GOLD if label == -1 else spelled(label) if isinstance(label, int) else str(label),
            row[column["first"]] or "",
            row[column["second"]] or "",
            f"{name} ({lang}, {part}), row {number}",
        )


def _ask_hub(name: str) -> None:
    """Ask the hub once whether it answers: the library tries six times with growing pauses, more than a minute.

    Raises:
        DataError: It does not.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE or Path(name).is_dir():
        return  # the library looks into its cache, or there
    try:
        HfApi().dataset_info(name, timeout=SECONDS)
    except HfHubHTTPError:
        return  # it answers, and the library says what is wrong
    except Exception as error:  # whatever the HTTP library of the day raises without a network
        raise DataError(
            f"{name}: no such folder or file, and the hub of data sets cannot be asked ({type(error).__name__}); give "
            "a folder by --data, or connect to a network"
        ) from error


def _checked(rows: Iterable[_Fields], task: PairTask, place: str) -> LabelledPairs:
    """Pairs by id, every one of them whole.

    Raises:
        DataError: An unknown label, an empty side, an id that is there twice, or no pair.
    """
    items: dict[str, LabelledPair] = {}
    ungraded, numbered = 0, True
    for number, row in enumerate(rows):
        numbered = row.id is None
        if row.label == _NO_GOLD:
            ungraded += 1
            continue
        name = row.id or str(number)
        if name in items:
            raise DataError(f"the id {name[:80]!r} is there twice, again at {row.at}; ids are of one pair each")
        first, second = tidy(row.first), tidy(row.second)
        if not first or not second:
            side = "first" if not first else "second"
            raise DataError(f"the {side} sentence is empty at {row.at}; fill it, or cut the item in every language")
        items[name] = LabelledPair(_gold(row, task), first, second)
    if not items:
        raise DataError(f"no pairs in {place}; give label<TAB>sentence<TAB>sentence on each line")
    return LabelledPairs(items, place, numbered, ungraded)


def _gold(row: _Fields, task: PairTask) -> float:
    """The number of the class, or the score.

    Raises:
        DataError: The label is neither.
    """
    if not task.classes:
        try:
            score = float(row.label)
        except ValueError:
            score = math.nan
        if math.isfinite(score):
            return score
        raise DataError(f"{row.label[:60]!r} is no score of similarity, at {row.at}; give a number")
    label = row.label.lower()
    label = task.also.get(label, label)
    if label in task.classes:
        return float(task.classes.index(label))
    raise DataError(
        f"unknown label {row.label[:60]!r} at {row.at}; the labels of {task.name} are {', '.join(task.classes)}"
    )
