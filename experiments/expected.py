"""Expected figures: written after a run of the whole grid, and what a later run is held to.

How far a figure may be from the expected one comes from the spread over seeds. The seeds say little of one row, so the
spread is pooled over the rows of the experiment that have several; an experiment of one seed takes the pooled spread of
all experiments with several, divided by the root of its number of languages. A figure is OK within one standard
deviation, OKish within two, and FAIL beyond. Before training there are no seeds: ceiling, zero-shot and start are
OK within the last digit that is kept, and FAIL beyond.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from optical.errors import DataError

EXACT = 0.0001  # of figures that no seed decides, which are kept with four digits


class Verdict(NamedTuple):
    """One figure beside the expected one; ``found`` is None for a row that was not measured."""

    row: str
    found: float | None
    expected: float
    okay: float
    okayish: float

    @property
    def word(self) -> str:
        """OK, OKish or FAIL."""
        if self.found is None:
            return "FAIL"
        apart = round(abs(self.found - self.expected), 6)
        return "OK" if apart <= self.okay else "OKish" if apart <= self.okayish else "FAIL"

    def __str__(self) -> str:
        """A line for people."""
        if self.found is None:
            return f"{self.word:5s} {self.row}: not measured, expected {self.expected:.4f}"
        return f"{self.word:5s} {self.row}: {self.found:.4f}, expected {self.expected:.4f} +- {self.okayish:.4f}"


def text(
    header: str, commit: str, figures: Mapping[str, Mapping[str, Any]], starts: Mapping[str, float], langs: int
) -> str:
    """An ``expected.toml``.

    Args:
        header: The command, machine and date.
        commit: Of the code that measured.
        figures: Row -> ``MAP``, and ``sd`` over the seeds, None with one seed.
        starts: ceiling, zero-shot and start -> MAP; empty where rows start differently.
        langs: Number of languages.
    """
    spread = {row: f["sd"] for row, f in figures.items() if f["sd"] is not None}
    lines = [f"# {header}", f"commit = {json.dumps(commit)}", f"languages = {langs}"]
    for name, values in (("MAP", {row: f["MAP"] for row, f in figures.items()}), ("sd", spread), ("start", starts)):
        lines += [f"[{name}]", *(f"{json.dumps(row)} = {value:.4f}" for row, value in values.items())] if values else []
    return "\n".join(lines) + "\n"


def check(
    path: Path, figures: Mapping[str, Mapping[str, Any]], starts: Mapping[str, float], rows: Iterable[str] | None = None
) -> list[Verdict]:
    """Every expected figure beside the one that was found.

    Args:
        path: An ``expected.toml``; spreads of other experiments are read from the folders beside its own.
        figures: Row -> ``MAP``.
        starts: Baselines -> MAP; those that are not expected are passed over.
        rows: Only these rows; all that are expected where it is not given.

    Raises:
        DataError: Nothing is expected, or nothing of ``rows``.
    """
    wanted = _read(path)
    spread = tolerance(path)
    asked = [row for row in wanted["MAP"] if rows is None or row in set(rows)]
    if not asked:
        raise DataError(f"{path} expects none of these rows: {', '.join(figures)}; it has {', '.join(wanted['MAP'])}")
    found = [
        Verdict(row, figures[row]["MAP"] if row in figures else None, wanted["MAP"][row], spread, 2 * spread)
        for row in asked
    ]
    both = [name for name in wanted.get("start", {}) if name in starts]
    return found + [Verdict(name, starts[name], wanted["start"][name], EXACT, EXACT) for name in both]


def tolerance(path: Path) -> float:
    """The standard deviation over seeds by which the figures of an experiment are judged.

    Raises:
        DataError: Neither the experiment nor another one beside it has figures of several seeds.
    """
    own = _read(path)
    if "sd" in own:
        return _pooled([own])
    others = [found for other in sorted(path.parents[1].glob("*/expected.toml")) if "sd" in (found := _read(other))]
    if not others:
        raise DataError(f"no experiment beside {path.parent} has several seeds, so no spread is known; run one")
    return _pooled(others) / math.sqrt(own.get("languages", 1))


def _pooled(experiments: list[dict[str, Any]]) -> float:
    """The root of the mean variance of all rows, each as that of one language."""
    several = len(experiments) > 1
    variances = [
        sd**2 * (found.get("languages", 1) if several else 1) for found in experiments for sd in found["sd"].values()
    ]
    return math.sqrt(sum(variances) / len(variances))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path} is not there; run the experiment once without --check")
    return tomllib.loads(path.read_text(encoding="utf-8"))
