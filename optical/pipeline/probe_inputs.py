"""Read the pairs of a probe and divide them, and refuse what cannot be tested before any model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from optical.config.probe import Probe
from optical.data.bitext import read_bitext
from optical.data.labelled_pairs import (
    TASKS,
    LabelledPair,
    LabelledPairs,
    PairTask,
    check_parallel,
    read_labelled_pairs,
)
from optical.data.records import Query
from optical.data.words import Lexicon, fold_text, script_of
from optical.errors import DataError, RecipeError
from optical.evaluation.divisions import Division, asked, divide, draw, groups_of, sentences_of
from optical.evaluation.perturbations import check
from optical.evaluation.perturbed_results import perturb_queries
from optical.vocabulary.lexicon import bitext_lexicon

Perturbed: TypeAlias = dict[tuple[str, str, int], dict[str, str]]
LEARNT_SHARE = 0.9  # of pairs that are not divided, drawn by each seed, so that seeds differ
_TOLD = 200  # texts that tell a script
_NAMES = {"Cjk": "Han", "Ethiopic": "Ge'ez"}  # of scripts, where Unicode's first word is another
_OTHERS = "learnt:"  # before the ids of pairs that are learnt from alone


class ProbeData(NamedTuple):
    """The pairs that are learnt from and those that are asked.

    Attributes:
        task: Its labels.
        pairs: Language -> item -> its pair; the language learnt from first, where the tested data has it.
        learnt: Item -> its pair in the language learnt from.
        groups: Item -> its group, of those tested and those learnt from.
        divisions: Who learns from which items and is asked which.
        scripts: Language -> the script of most letters.
        notes: What was left out.
    """

    task: PairTask
    pairs: dict[str, dict[str, LabelledPair]]
    learnt: dict[str, LabelledPair]
    groups: dict[str, int]
    divisions: list[Division]
    scripts: dict[str, str]
    notes: list[str]

    @property
    def chance(self) -> float | None:
        """Share of the commonest class among the tested items of the last language; None of scores."""
        if not self.task.classes:
            return None
        counts = Counter(pair.gold for pair in list(self.pairs.values())[-1].values())
        return counts.most_common(1)[0][1] / counts.total()


def check_perturbations(options: Probe) -> None:
    """Refuse perturbations that there are not.

    Raises:
        RecipeError: It names the nearest one.
    """
    for kind in options.kinds:
        check(kind, options.rate)


def read_probe(options: Probe) -> ProbeData:
    """Read the pairs of all languages and divide them by item.

    Raises:
        DataError: Pairs that are missing, broken, not parallel, or too few for their classes.
    """
    task, notes = TASKS[options.task], []
    source = options.data or task.hub
    langs = dict.fromkeys((options.train, *options.langs))
    apart = bool(options.train_data or options.train_split)
    read: dict[str, LabelledPairs] = {}
    for lang in langs:
        try:
            read[lang] = read_labelled_pairs(source, lang, task, options.split)
        except DataError:
            if lang in options.langs or not apart:
                raise
            notes.append(f"the tested pairs are not there in {lang}: whether some are learnt from cannot be told")
    for lang, count in check_parallel(read).items():
        if count:
            notes.append(f"{count:,} items have another label in {lang} than in {next(iter(read))}; each keeps its own")
    if left := sum(one.ungraded for one in read.values()):
        notes.append(f"{left:,} pairs without a label that their annotators agreed on are left out")
    pairs = {lang: one.items for lang, one in read.items()}
    if apart:
        learnt = _others(options, source, task, pairs, notes)
        groups = _apart(learnt, pairs)
        divisions = _undivided(options, learnt, [*dict.fromkeys(name for one in pairs.values() for name in one)])
    else:
        learnt = pairs[options.train]
        groups = groups_of(learnt) if task.classes else {name: k for k, name in enumerate(learnt)}
        divisions = _divided(options, groups, task)
    if options.items:
        some = asked({name: groups[name] for one in divisions for name in one.test}, options.items, options.seed)
        divisions = [one._replace(test=[name for name in one.test if name in some]) for one in divisions]
    if task.classes:
        _check_classes(divisions, learnt, task)
    scripts = {lang: script_of_texts(text for pair in one.values() for text in pair[1:]) for lang, one in pairs.items()}
    return ProbeData(task, pairs, learnt, groups, divisions, scripts, notes)


def _divided(options: Probe, groups: Mapping[str, int], task: PairTask) -> list[Division]:
    seeds = range(options.seed, options.seed + options.seeds)
    if not task.classes:  # nothing is learnt
        return [Division(seed, [], list(groups)) for seed in seeds]
    return divide(groups, seeds, options.folds, rows=options.rows, only_first=options.fine_tune)


def _others(
    options: Probe, source: str, task: PairTask, pairs: Mapping[str, Mapping[str, LabelledPair]], notes: list[str]
) -> dict[str, LabelledPair]:
    """The pairs learnt from alone, without those that share a sentence with a tested one."""
    found = read_labelled_pairs(options.train_data or source, options.train, task, options.train_split)
    tested = set[str]().union(*(sentences_of(one.values()) for one in pairs.values()))
    kept = {
        _OTHERS + name: pair
        for name, pair in found.items.items()
        if fold_text(pair.first) not in tested and fold_text(pair.second) not in tested
    }
    if len(kept) < len(found.items):
        notes.append(
            f"{len(found.items) - len(kept):,} of {len(found.items):,} pairs of {found.place} share a sentence with a "
            "tested one and are not learnt from"
        )
    if not kept:
        raise DataError(f"every pair of {found.place} shares a sentence with a tested one; learn from others")
    return kept


def _apart(learnt: Mapping[str, LabelledPair], pairs: Mapping[str, Mapping[str, LabelledPair]]) -> dict[str, int]:
    """Groups of the tested items and of those learnt from, numbered on."""
    tested: dict[str, LabelledPair] = {}
    for one in pairs.values():
        tested = {**one, **tested}  # the first language says who belongs together
    groups = groups_of(tested)
    more = len(tested)
    return groups | {name: more + group for name, group in groups_of(learnt).items()}


def _undivided(options: Probe, learnt: Mapping[str, LabelledPair], tested: list[str]) -> list[Division]:
    """All tested items asked by each seed, which learns from a draw of the others."""
    most = min(options.rows or len(learnt), max(1, round(LEARNT_SHARE * len(learnt))))
    return [
        Division(seed, draw(list(learnt), most, np.random.default_rng(seed)), tested)
        for seed in range(options.seed, options.seed + options.seeds)
    ]


def _check_classes(divisions: Iterable[Division], learnt: Mapping[str, LabelledPair], task: PairTask) -> None:
    """Refuse to learn from pairs that lack a class.

    Raises:
        DataError: It says which.
    """
    for division in divisions:
        there = {int(learnt[name].gold) for name in division.train}
        if missing := [name for k, name in enumerate(task.classes) if k not in there]:
            raise DataError(
                f"{len(division.train)} pairs are learnt from, none of them {' or '.join(missing)}, of the "
                f"{len(task.classes)} classes of {task.name}; give more pairs to learn from"
            )


def script_of_texts(texts: Iterable[str]) -> str:
    """The script of most letters, by its English name; empty where there are none."""
    sample = "".join(text for text, _ in zip(texts, range(_TOLD), strict=False))
    counts = Counter(script for c in sample if (script := script_of(c)))
    name = counts.most_common(1)[0][0].capitalize() if counts else ""
    return _NAMES.get(name, name)


def lexicons(options: Probe, of_run: Callable[[str], Lexicon | None]) -> dict[str, Lexicon]:
    """Language -> its lexicon for code-switching, of the sentence pairs named or of those of the run.

    Raises:
        RecipeError: No language has one.
    """
    if "codeswitch" not in options.kinds:
        return {}
    found: dict[str, Lexicon] = {}
    for lang in options.langs:
        if options.bitext and lang != options.train:
            found[lang] = bitext_lexicon(read_bitext(options.bitext.replace("{lang}", lang), lang).pairs)
        elif (own := of_run(lang)) is not None:
            found[lang] = own
    if not found:
        raise RecipeError(
            "codeswitch takes English words from sentence pairs, and no language has any; name them by --bitext, "
            "folder/{lang}, or take other perturbations"
        )
    return found


def perturbed_texts(options: Probe, texts: Mapping[str, Sequence[str]], words: Mapping[str, Lexicon]) -> Perturbed:
    """Language, kind and seed -> what each sentence becomes; without code-switching where there is no lexicon."""
    found: Perturbed = {}
    for lang, given in texts.items():
        distinct = list(dict.fromkeys(given))
        for kind in options.kinds:
            if kind == "codeswitch" and lang not in words:
                continue
            queries = [Query("", text) for text in distinct]
            case = perturb_queries(queries, kind, options.rate, options.seeds, words.get(lang))
            for k, become in enumerate(case.texts):
                found[lang, kind, options.seed + k] = dict(zip(distinct, become, strict=True))
    return found
