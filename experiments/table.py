"""Tables of an experiment from its cells: means over seeds, shares, distances closed, paired tests.

A test compares two rows query by query, over all collections of all languages: average precision is first averaged
over the seeds, so that a query counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from optical.evaluation.measures import Scores
from optical.evaluation.significance import Comparison, compare, holm
from optical.evaluation.tables import Table

BASELINES = ("ceiling", "zero-shot", "start")
Cells = Mapping[tuple[str, str, int], Mapping[str, Any]]
Baselines = Mapping[str, Mapping[str, Any]]


def clean(ap: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The collections, without those of perturbed queries."""
    return [name for name in ap if "@" not in name]


def mean_ap(ap: Mapping[str, Mapping[str, float]], collection: str) -> float:
    """MAP on one collection."""
    return float(np.mean(list(ap[collection].values())))


def overall(ap: Mapping[str, Mapping[str, float]], suffix: str = "") -> float:
    """Mean MAP of the clean collections, or under one perturbation of the queries; NaN without any."""
    names = [n for n in ap if n.endswith(f" {suffix}")] if suffix else clean(ap)
    return float(np.mean([mean_ap(ap, n) for n in names])) if names else float("nan")


def per_query(rows: Iterable[tuple[str, Sequence[Mapping[str, Any]]]], suffix: str = "") -> Scores:
    """Average precision of each query of each language, averaged over the seeds; ids carry language and collection."""
    values: dict[str, float] = {}
    for lang, cells in rows:
        names = clean(cells[0]["ap"]) if not suffix else [n for n in cells[0]["ap"] if n.endswith(f" {suffix}")]
        for name in names:
            for query in cells[0]["ap"][name]:
                values[f"{lang} {name} {query}"] = float(np.mean([cell["ap"][name][query] for cell in cells]))
    return Scores({"AP": float(np.mean(list(values.values())))}, {"AP": values}, len(values), 0)


def closed(value: float, start: float, ceiling: float) -> float:
    """The part of the distance from start to ceiling that a value covers; negative below the start."""
    return (value - start) / (ceiling - start)


def summary(
    langs: Sequence[str],
    rows: Sequence[str],
    seeds: Sequence[int],
    cells: Cells,
    baselines: Baselines,
    against: str | None,
    perturb: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Row -> its figures.

    ``cells`` are by (row, lang, seed); ``baselines`` by lang, or by ``row lang`` where rows start differently.
    """
    found = {}
    every = {row: [(lang, [cells[row, lang, s] for s in seeds]) for lang in langs] for row in rows}
    for row in rows:
        keys = {lang: f"{row} {lang}" if f"{row} {lang}" in baselines else lang for lang in langs}
        base = {lang: baselines[key] for lang, key in keys.items()}
        values = np.array([[overall(cell["ap"]) for cell in some] for _, some in every[row]])  # (langs, seeds)
        start = np.array([overall(base[lang]["start"]) for lang in langs])
        ceiling = np.array([overall(base[lang]["ceiling"]) for lang in langs])
        by_seed = values.mean(axis=0)
        figures: dict[str, Any] = {
            "dev": float(np.mean([[cell["dev"]["best"] for cell in some] for _, some in every[row]])),
            "MAP": float(values.mean()),
            "sd": float(by_seed.std(ddof=1)) if len(seeds) > 1 else None,
            "share": float((values.mean(axis=1) / ceiling).mean()),
            "closed": float(closed(values.mean(), start.mean(), ceiling.mean())),
            "seconds": float(np.mean([[cell["seconds"] for cell in some] for _, some in every[row]])),
        }
        names = dict.fromkeys(name for _, some in every[row] for name in clean(some[0]["ap"]))
        figures["collections"] = {
            name: float(np.mean([mean_ap(c["ap"], name) for _, some in every[row] for c in some if name in c["ap"]]))
            for name in names
        }
        figures["perturbed"] = {
            kind: float(np.mean([[overall(c["ap"], kind) for c in some] for _, some in every[row]])) for kind in perturb
        }
        begin = per_query([(lang, [{"ap": base[lang]["start"]}]) for lang in langs])
        figures["against start"] = _test(compare(per_query(every[row]), begin))
        if against and row != against:
            figures["against"] = _test(compare(per_query(every[row]), per_query(every[against])))
        found[row] = figures
    return found


def starts(langs: Sequence[str], baselines: Baselines) -> dict[str, float]:
    """Ceiling, zero-shot and start as means over the languages; none where rows start differently."""
    if any(lang not in baselines for lang in langs):
        return {}
    return {name: float(np.mean([overall(baselines[lang][name]) for lang in langs])) for name in BASELINES}


def main_table(
    figures: Mapping[str, Mapping[str, Any]], against: str | None, perturb: Sequence[str] = (), *, trained: bool = True
) -> Table:
    """The main table: a row for each row of the grid."""
    names = dict.fromkeys(name for row in figures.values() for name in row["collections"])
    head = ["row", "dev", "MAP", "sd", *names, *perturb, "share of ceiling", "distance closed", "p (start)"]
    head += [f"{against}: difference", "p (Holm)", "won / lost"] if against else []
    head += ["s"] if trained else []
    tested = [row for row in figures if "against" in figures[row]]
    adjusted = dict(zip(tested, holm([figures[row]["against"]["p_value"] for row in tested]), strict=True))
    lines = []
    for row, f in figures.items():
        line = [row, f"{f['dev']:.4f}", f"{f['MAP']:.4f}", "" if f["sd"] is None else f"{f['sd']:.4f}"]
        line += [f"{f['collections'][n]:.4f}" if n in f["collections"] else "" for n in names]
        line += [f"{f['perturbed'][kind]:.4f}" for kind in perturb]
        line += [f"{100 * f['share']:.1f} %", f"{100 * f['closed']:+.1f} %", f"{f['against start']['p_value']:.4f}"]
        if row in adjusted:
            test = f["against"]
            line += [f"{test['difference']:+.4f}", f"{adjusted[row]:.4f}", f"{test['win']} / {test['loss']}"]
        else:
            line += ["", "", ""] if against else []
        lines.append(line + ([f"{f['seconds']:.0f}"] if trained else []))
    return Table("", head, lines)


def languages(
    langs: Sequence[str], rows: Sequence[str], seeds: Sequence[int], cells: Cells, baselines: Baselines
) -> Table:
    """A table by language: ceiling, zero-shot, start and each row, as MAP and as share of the ceiling."""
    head = ["language", "collections", "ceiling", "zero-shot", "start"]
    head += [f"{row}" for row in rows] + [f"{row}: closed" for row in rows] + [f"{row}: p (start)" for row in rows]
    lines = []
    for lang in langs:
        base = baselines.get(lang) or baselines[f"{rows[0]} {lang}"]
        ceiling, zero, start = (overall(base[k]) for k in ("ceiling", "zero-shot", "start"))
        line = [lang, ", ".join(clean(base["start"])), f"{ceiling:.4f}", *(_shared(v, ceiling) for v in (zero, start))]
        done = {row: [cells[row, lang, s] for s in seeds] for row in rows}
        means = {row: float(np.mean([overall(cell["ap"]) for cell in some])) for row, some in done.items()}
        line += [_shared(means[row], ceiling) for row in rows]
        line += [f"{100 * closed(means[row], start, ceiling):+.1f} %" for row in rows]
        begin = per_query([(lang, [{"ap": base["start"]}])])
        line += [f"{compare(per_query([(lang, done[row])]), begin).p_value:.4f}" for row in rows]
        lines.append(line)
    return Table("", head, lines, left=2)


def comparisons(langs: Sequence[str], pairs: Sequence[tuple[str, str]], seeds: Sequence[int], cells: Cells) -> Table:
    """A table of pairs of rows: the difference of the first from the second, tested, Holm's over all pairs."""
    rows = {
        name: per_query([(lang, [cells[name, lang, s] for s in seeds]) for lang in langs]) for p in pairs for name in p
    }
    tests = [compare(rows[first], rows[second]) for first, second in pairs]
    adjusted = holm([test.p_value for test in tests])
    lines = []
    for (first, second), test, p in zip(pairs, tests, adjusted, strict=True):
        won = f"{test.win} / {test.loss}"
        lines.append([f"{first} - {second}", f"{test.difference:+.4f}", f"{test.p_value:.4f}", f"{p:.4f}", won])
    return Table("", ["rows", "difference", "p", "p (Holm)", "won / lost"], lines)


def _shared(value: float, ceiling: float) -> str:
    return f"{value:.4f} ({100 * value / ceiling:.1f} %)"


def _test(comparison: Comparison) -> dict[str, Any]:
    return comparison._asdict()
