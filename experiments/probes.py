"""Students of a grid judged by natural language inference: a frozen classifier of English pairs, asked in X.

The classifier learns from the teacher's vectors of English pairs; those of X are the student's. Items that share a
premise are of one group, and no item of a group that was learnt from is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optical.config.probe import Probe
from optical.evaluation.probe_results import Difference, Outcome, difference
from optical.evaluation.significance import holm
from optical.evaluation.tables import Table
from optical.models.encoders import Encoder
from optical.pipeline.probe import probe
from optical.pipeline.probe_systems import System, Vectors

ABOUT = (
    "Accuracy of a logistic regression on frozen vectors of English pairs (the teacher's), asked in X (the student's), "
    "mean over seeds. Where the commonest answer has nearly all pairs, accuracy is the share of its class. p is of a "
    "paired randomisation test that flips groups of items which share a sentence; Holm's correction is over all rows "
    "and languages of a table."
)
FILES = "dev.*.tsv"
Probed = dict[str, dict[str, Any]]


def files(folder: Path) -> list[Path]:
    """The files of a folder of inference pairs, by name."""
    return sorted(folder.glob(FILES))


def probed(
    student: Encoder,
    teacher: Encoder,
    langs: Sequence[str],
    folders: Sequence[Path],
    vectors: Vectors,
    items: int | None = None,
) -> Probed:
    """Ask a student in the languages that a folder has.

    Args:
        student: Reads X.
        teacher: Reads English, of which the classifier learns.
        langs: Those that are asked.
        folders: With ``dev.LANG.tsv``.
        vectors: Afterwards those of the teacher alone, for the next student.
        items: Asked at most of each folder, the same of every student; None for all.

    Returns:
        Folder and language, as ``xnli sw`` -> ``right``, item -> share of right answers; ``groups``, item -> group; and
        ``commonest``, the share of the answer most often given.
    """
    found: Probed = {}
    for folder in folders:
        there = [lang for lang in langs if (folder / f"dev.{lang}.tsv").is_file()]
        if not there:
            continue
        options = Probe(task="xnli", test=",".join(there), data=str(folder), seeds=1, items=items)
        results = probe(System("student", student, teacher, teacher), options, vectors=vectors)
        for lang in there:
            outcome = results.of("student", lang)
            if outcome is not None:
                groups = {name: float(results.groups[name]) for name in outcome.values}
                found[f"{folder.name} {lang}"] = {
                    "right": outcome.values,
                    "groups": groups,
                    "commonest": outcome.commonest,
                }
    vectors.keep(teacher)
    return found


def tables(
    langs: Sequence[str],
    rows: Sequence[str],
    seeds: Sequence[int],
    cells: Mapping[tuple[str, str, int], Mapping[str, Any]],
    against: str | None,
) -> list[Table]:
    """A table of the languages that students are trained in, and one of those that are watched.

    A line is a row of the grid, trained in one language, by one probe: accuracy, and the difference from ``against``.
    """
    own: list[tuple[str, str, str, Outcome, Difference | None]] = []
    watched = list(own)
    for lang in langs:
        for name in cells[rows[0], lang, seeds[0]]["probe"]:
            base = against and _mean(name, [cells[against, lang, seed] for seed in seeds])
            for row in rows:
                some = [cells[row, lang, seed] for seed in seeds]
                mean = _mean(name, some)
                groups = {item: int(group) for item, group in some[0]["probe"][name]["groups"].items()}
                apart = difference(mean, base, groups) if base and row != against else None
                (own if name.split()[-1] == lang else watched).append((lang, name, row, mean, apart))
    head = [
        "trained in",
        "probe",
        "row",
        "accuracy",
        "commonest answer",
        f"{against}: difference",
        "95 %",
        "p",
        "p (Holm)",
        "won / lost",
    ]
    return [Table("", head, _lines(some), left=3) for some in (own, watched) if some]


def _lines(some: Sequence[tuple[str, str, str, Outcome, Difference | None]]) -> list[list[str]]:
    adjusted = iter(holm([apart.tested.p_value for *_, apart in some if apart]))
    lines = []
    for lang, name, row, outcome, apart in some:
        line = [lang, name, row, f"{outcome.mean:.4f}", f"{100 * (outcome.commonest or 0.0):.0f} %"]
        if apart:
            line += [
                f"{apart.tested.difference:+.4f}",
                f"{apart.low:+.4f} to {apart.high:+.4f}",
                f"{apart.tested.p_value:.4f}",
            ]
            line += [f"{next(adjusted):.4f}", f"{apart.tested.win} / {apart.tested.loss}"]
        lines.append(line + [""] * (10 - len(line)))
    return lines


def _mean(name: str, cells: Sequence[Mapping[str, Any]]) -> Outcome:
    """Each item's share of right answers over the seeds."""
    right = [cell["probe"][name]["right"] for cell in cells]
    values = {item: float(np.mean([one[item] for one in right])) for item in right[0]}
    means = [float(np.mean(list(one.values()))) for one in right]
    commonest = float(np.mean([cell["probe"][name]["commonest"] for cell in cells]))
    return Outcome("", ("", ""), "", values, means, commonest=commonest)
