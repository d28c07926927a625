"""Results of a probe: what each system scores in each language, on mixed pairs and perturbed texts, with paired tests.

A value is kept for every item, averaged over the seeds: whether it was classified right, its average precision, or its
share of a rank correlation. Items that share a sentence are not independent, so tests flip, and intervals draw, whole
groups of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from optical.evaluation.significance import EQUAL, Comparison, bootstrap_interval, comparison, holm, randomisation
from optical.evaluation.tables import Table, html

ONE_ANSWER = 0.9  # share of the pairs by which a classifier tells nothing of a language whose classes are balanced


class Outcome(NamedTuple):
    """One system asked in one language, or in two.

    Attributes:
        system: Its name.
        langs: Language of the first sentence and of the second.
        kind: Perturbation of the texts; empty for the texts as they are.
        values: Id of the item -> its value, mean over the seeds; the mean over the items is the measure.
        by_seed: The measure of each seed.
        f1: Macro F1, mean over the seeds; None where nothing is classified.
        commonest: Share of the pairs that got the answer most often given; None where nothing is classified.
    """

    system: str
    langs: tuple[str, str]
    kind: str
    values: dict[str, float]
    by_seed: list[float]
    f1: float | None = None
    commonest: float | None = None

    @property
    def mean(self) -> float:
        """The measure."""
        return float(np.mean(list(self.values.values())))

    @property
    def lang(self) -> str:
        """The language, or both: ``en-sw`` has an English premise."""
        return self.langs[0] if self.langs[0] == self.langs[1] else "-".join(self.langs)


class Difference(NamedTuple):
    """Two outcomes on the items that both have, and how sure their difference is.

    Attributes:
        tested: The first minus the second; the paired randomisation test flips groups.
        low: Lower end of the 95 % bootstrap interval, groups drawn anew.
        high: Upper end.
    """

    tested: Comparison
    low: float
    high: float


class ProbeResults(NamedTuple):
    """All systems in all languages.

    Attributes:
        task: Its name.
        measure: ``accuracy``, ``Spearman`` or ``MAP``.
        train: Language learnt from.
        learnt: Pairs that each classifier has learnt from, mean; 0 where nothing is learnt.
        seeds: How many.
        outcomes: Systems in the order of the table, languages, kinds.
        groups: Id of the item -> its group.
        scripts: Language -> the script of most of its letters.
        baseline: The system that others are compared with; empty where there is one system.
        notes: Sentences about what was left out.
        chance: Share of the commonest class; None where nothing is classified.
        fine_tuned: The whole encoder was trained.
        robust: On which perturbed pairs beside the clean ones, as ``robustness.method`` names it; empty for none.
    """

    task: str
    measure: str
    train: str
    learnt: float
    seeds: int
    outcomes: list[Outcome]
    groups: dict[str, int]
    scripts: dict[str, str]
    baseline: str = ""
    notes: tuple[str, ...] = ()
    chance: float | None = None
    fine_tuned: bool = False
    robust: str = ""

    def of(self, system: str, lang: str, second: str | None = None, kind: str = "") -> Outcome | None:
        """The outcome of a system in a language, or two; None where it was not asked."""
        langs = (lang, second or lang)
        return next((o for o in self.outcomes if (o.system, o.langs, o.kind) == (system, langs, kind)), None)

    @property
    def systems(self) -> list[str]:
        """Names of the systems."""
        return list(dict.fromkeys(outcome.system for outcome in self.outcomes))

    def _repr_html_(self) -> str:
        return "\n".join(html(one) for one in tables(self))


def one_answer(outcomes: Sequence[Outcome], chance: float | None) -> list[str]:
    """A sentence about each system that answers nearly all clean pairs of a language alike."""
    found: dict[str, list[str]] = {}
    for one in outcomes:
        if not one.kind and (one.commonest or 0.0) > max(ONE_ANSWER, chance or 0.0):
            found.setdefault(one.system, []).append(one.lang)
    return [f"{name} gives nearly all pairs one answer in {', '.join(langs)}" for name, langs in found.items()]


def difference(a: Outcome, b: Outcome, groups: Mapping[str, int]) -> Difference:
    """Compare two outcomes item by item, on the items that both have."""
    ids = [name for name in a.values if name in b.values]
    differences = np.array([a.values[name] - b.values[name] for name in ids])
    differences[np.abs(differences) < EQUAL] = 0.0
    number = {group: k for k, group in enumerate(dict.fromkeys(groups[name] for name in ids))}
    sums = np.bincount([number[groups[name]] for name in ids], weights=differences, minlength=len(number))
    low, high = bootstrap_interval(sums * len(number) / max(1, len(ids))) if ids else (0.0, 0.0)
    return Difference(comparison(differences, randomisation(sums)), low, high)


def against_train(results: ProbeResults) -> dict[tuple[str, str], tuple[Difference, float]]:
    """System and language -> its difference from the language learnt from, and p after Holm's correction by system."""
    found = {}
    for system in results.systems:
        base = results.of(system, results.train)
        others = [o for o in results.outcomes if o.system == system and not o.kind and o is not base]
        if base is not None:
            found |= _tested(results, {(system, o.lang): (o, base) for o in others})
    return found


def against_baseline(results: ProbeResults) -> dict[tuple[str, str], tuple[Difference, float]]:
    """System and language -> its difference from the baseline there, and p after Holm's correction for all of them."""
    pairs = {}
    for one in results.outcomes:
        base = results.of(results.baseline, *one.langs)
        if base is not None and not one.kind and one.system != results.baseline:
            pairs[one.system, one.lang] = (one, base)
    return _tested(results, pairs)


def lost(results: ProbeResults) -> dict[tuple[str, str, str], tuple[Difference, float]]:
    """System, language and kind -> perturbed minus clean, and p after Holm's correction by system."""
    found = {}
    for system in results.systems:
        pairs = {
            (system, one.lang, one.kind): (one, clean)
            for one in results.outcomes
            if one.system == system and one.kind and (clean := results.of(system, *one.langs)) is not None
        }
        found |= _tested(results, pairs)
    return found


def _tested(results: ProbeResults, pairs: Mapping[Any, tuple[Outcome, Outcome]]) -> dict[Any, tuple[Difference, float]]:
    found = {key: difference(a, b, results.groups) for key, (a, b) in pairs.items()}
    adjusted = holm([one.tested.p_value for one in found.values()])
    return {key: (one, p) for (key, one), p in zip(found.items(), adjusted, strict=True)}


def tables(results: ProbeResults) -> list[Table]:
    """Languages; then, where they were asked, mixed pairs, perturbed texts and scripts."""
    found = [_languages(results)]
    if any(one.langs[0] != one.langs[1] for one in results.outcomes):
        found += [_mixed(results, system) for system in results.systems]
    if any(one.kind for one in results.outcomes):
        found.append(_perturbed(results))
    if len(set(results.scripts.values())) > 1:
        found.append(_scripts(results))
    return found


def _languages(results: ProbeResults) -> Table:
    from_train, from_baseline = against_train(results), against_baseline(results)
    head = ["system", "language", "script", "items", results.measure, "seeds +-"]
    head += ["macro F1"] * (results.chance is not None) + [f"minus {results.train}", "p"]
    head += [f"minus {results.baseline}", "p"] * bool(results.baseline)
    rows = []
    for one in results.outcomes:
        if one.kind or one.langs[0] != one.langs[1]:
            continue
        spread = np.std(one.by_seed, ddof=1) if len(one.by_seed) > 1 else 0.0
        cells = [one.system, one.lang, results.scripts.get(one.lang, ""), f"{len(one.values):,}", f"{one.mean:.4f}"]
        cells.append(f"{spread:.4f}" if spread > 0 else "")
        cells += [f"{one.f1:.4f}" if one.f1 is not None else ""] * (results.chance is not None)
        cells += _signed(from_train.get((one.system, one.lang)))
        cells += _signed(from_baseline.get((one.system, one.lang))) if results.baseline else []
        rows.append(cells)
    bold = [k for k, row in enumerate(rows) if row[1] == results.train]
    return Table(_title(results), head, rows, left=3, bold=bold, framed=False)


def _signed(tested: tuple[Difference, float] | None) -> list[str]:
    return [f"{tested[0].tested.difference:+.4f}", f"{tested[1]:.4f}"] if tested else ["", ""]


def _title(results: ProbeResults) -> str:
    seeds = "1 seed" if results.seeds == 1 else f"{results.seeds} seeds"
    if results.chance is None:
        return f"{results.task}: {results.measure}; p of paired randomisation tests, after Holm's correction"
    robust = f", {results.robust}" if results.robust else ""
    how = f"fine-tuned encoder{robust}" if results.fine_tuned else "logistic regression on frozen vectors"
    return (
        f"{results.task}: {how}, learnt from {results.learnt:,.0f} {results.train} pairs, {seeds}; the commonest class "
        f"is {100 * results.chance:.1f} %; p of paired randomisation tests, after Holm's correction"
    )


def _mixed(results: ProbeResults, system: str) -> Table:
    own = [one for one in results.outcomes if one.system == system and not one.kind]
    firsts, seconds = (list(dict.fromkeys(one.langs[side] for one in own)) for side in (0, 1))
    cells = {one.langs: f"{one.mean:.4f}" for one in own}
    rows = [[first, *(cells.get((first, second), "") for second in seconds)] for first in firsts]
    title = f"{system}: {results.measure} by language of the first sentence (rows) and of the second (columns)"
    mixed = [one.mean for one in own if one.langs[0] != one.langs[1]]
    return Table(f"{title}; mean of mixed pairs {np.mean(mixed):.4f}" if mixed else title, ["", *seconds], rows)


def _perturbed(results: ProbeResults) -> Table:
    head = ["system", "language", "perturbation", results.measure, "lost", "95 % interval", "p"]
    rows = []
    for (system, lang, kind), (change, p) in lost(results).items():
        one = results.of(system, lang, kind=kind)
        interval = f"{-change.high:+.4f} to {-change.low:+.4f}"
        mean = f"{one.mean:.4f}" if one else ""
        rows.append([system, lang, kind, mean, f"{-change.tested.difference:+.4f}", interval, f"{p:.4f}"])
    return Table("perturbed beside clean; intervals by bootstrap", head, rows, left=3, framed=False)


def _scripts(results: ProbeResults) -> Table:
    kinds = list(dict.fromkeys(one.kind for one in results.outcomes if one.kind))
    from_train, by_kind = against_train(results), lost(results)
    rows = []
    for system in results.systems:
        for script in dict.fromkeys(results.scripts.values()):
            langs = [lang for lang, own in results.scripts.items() if own == script and lang != results.train]
            there = [lang for lang in langs if results.of(system, lang)]
            if not there:
                continue
            means = [one.mean for lang in there if (one := results.of(system, lang))]
            row = [system, script, " ".join(there), f"{np.mean(means):.4f}"]
            row.append(
                _mean(-from_train[key][0].tested.difference for lang in there if (key := (system, lang)) in from_train)
            )
            rows.append(
                row
                + [
                    _mean(-by_kind[key][0].tested.difference for lang in there if (key := (system, lang, k)) in by_kind)
                    for k in kinds
                ]
            )
    head = ["system", "script", "languages", results.measure, f"lost from {results.train}"]
    title = "means over the languages of a script"
    return Table(title, [*head, *(f"lost by {kind}" for kind in kinds)], rows, left=3, framed=False)


def _mean(values: Iterable[float]) -> str:
    found = list(values)
    return f"{np.mean(found):+.4f}" if found else ""


def as_dict(results: ProbeResults) -> dict[str, Any]:
    """Everything but the values by item, for JSON."""
    from_train, from_baseline, changes = against_train(results), against_baseline(results), lost(results)

    def told(tested: tuple[Difference, float] | None) -> dict[str, Any] | None:
        if tested is None:
            return None
        one, p_holm = tested
        return {**one.tested._asdict(), "p_holm": p_holm, "low": one.low, "high": one.high}

    rows = [
        {
            "system": one.system, "first": one.langs[0], "second": one.langs[1], "perturbation": one.kind,
            "items": len(one.values), results.measure: one.mean, "by_seed": one.by_seed, "macro_f1": one.f1,
            "commonest_answer": one.commonest,
            f"minus_{results.train}": told(from_train.get((one.system, one.lang))) if not one.kind else None,
            "minus_baseline": told(from_baseline.get((one.system, one.lang))) if not one.kind else None,
            "minus_clean": told(changes.get((one.system, one.lang, one.kind))),
        }
        for one in results.outcomes
    ]  # fmt: skip
    head = {"task": results.task, "measure": results.measure, "train": results.train, "learnt": results.learnt}
    head |= {
        "seeds": results.seeds,
        "chance": results.chance,
        "fine_tuned": results.fine_tuned,
        "robust": results.robust,
    }
    return {**head, "baseline": results.baseline, "scripts": results.scripts, "notes": [*results.notes], "rows": rows}


def classified(
    system: str, langs: tuple[str, str], kind: str, gold: Mapping[str, float], answers: Sequence[Mapping[str, int]]
) -> Outcome:
    """The outcome of classes that were answered, one mapping of ids a seed; items without a label are passed over.

    Macro F1 is the mean over the classes that the items have or that were answered.
    """
    from sklearn.metrics import f1_score

    by_item: dict[str, list[float]] = {}
    by_seed, f1, given = [], [], Counter[int]()
    for answered in answers:
        ids = [name for name in answered if name in gold]
        truth, said = [int(gold[name]) for name in ids], [answered[name] for name in ids]
        for name, a, b in zip(ids, truth, said, strict=True):
            by_item.setdefault(name, []).append(float(a == b))
        by_seed.append(float(np.mean(np.equal(truth, said))))
        given.update(said)
        f1.append(float(f1_score(truth, said, average="macro")))
    values = {name: float(np.mean(some)) for name, some in by_item.items()}
    commonest = given.most_common(1)[0][1] / given.total()
    return Outcome(system, langs, kind, values, by_seed, float(np.mean(f1)), commonest)


def correlated(
    system: str, langs: tuple[str, str], kind: str, gold: Mapping[str, float], scores: Sequence[Mapping[str, float]]
) -> Outcome:
    """The outcome of scores, one mapping of ids a seed, by Spearman's rank correlation with the gold ones.

    With ranks of mean 0 and variance 1, it is the mean over the items of the product of both ranks: the share of an
    item, whose difference between two systems is what a paired test flips.
    """
    from scipy.stats import rankdata

    def standard(values: list[float]) -> np.ndarray:
        ranks = rankdata(values)
        return (ranks - ranks.mean()) / (ranks.std() or 1.0)

    products: dict[str, list[float]] = {}
    by_seed = []
    for some in scores:
        ids = [name for name in some if name in gold]
        shares = standard([gold[name] for name in ids]) * standard([some[name] for name in ids])
        for name, share in zip(ids, shares.tolist(), strict=True):
            products.setdefault(name, []).append(share)
        by_seed.append(float(shares.mean()))
    return Outcome(system, langs, kind, {name: float(np.mean(some)) for name, some in products.items()}, by_seed)
