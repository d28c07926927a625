"""``python -m experiments NAME DATA``: run a grid, write its tables; ``--check`` compares them with what is expected.

Cells that were measured with the same recipe, code and data (:mod:`experiments.fingerprints`) are read from
``runs/experiments/cells``, so a run that was stopped goes on, and new rows cost only themselves.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import signal
import sys
import warnings
from datetime import date
from pathlib import Path
from typing import Any

from experiments import expected, fingerprints, probes, table
from experiments.cell import baselines, run_cell, setting
from experiments.grid import FOLDER, Experiment, Row, load, more_of, recipe_of
from optical.errors import DataError, OpticalError
from optical.evaluation.tables import markdown
from optical.files import checksum, file_checksum, file_written_whole
from optical.pipeline.manifest import commit

CELLS = Path("runs/experiments/cells")  # shared: a cell that two experiments have is measured once
MEASURED_ON = {
    "test": "MAP is the mean over the collections (and languages); ",
    "held-out": "MAP is the mean over the kinds of held-out pairs (and languages); of all passages the one "
    "that the teacher ranks first for the English side is relevant, and no test judgement is read; ",
}
STARTS = (
    "vocabulary.",
    "layers",
    "late_interaction",
    "query_length",
    "teacher",
    "student",
)  # options that change the start


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", help="folder below experiments/")
    parser.add_argument("data", type=Path, help="folder with bitext/<lang> and clir/<collection>")
    parser.add_argument("--langs", nargs="+", help="only these languages, of those of the experiment")
    parser.add_argument("--seeds", nargs="+", type=int, help="only these seeds")
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--check", action="store_true", help="compare with expected.toml, write nothing")
    parser.add_argument("--measured-on", default="", help="machine, for the tables; default what Python says")
    asked = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is ended by `timeout` says so
    try:
        good = run(asked)
    except OpticalError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"stopped; the cells that were measured are in {CELLS}, and the same command goes on from them")
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(0 if good else 1)


def run(asked: argparse.Namespace) -> bool:
    """Measure every cell that is asked for, then write the tables; False when a figure is not as expected.

    Raises:
        DataError: A part of the languages or seeds is to be checked, or nothing is expected.
    """
    if asked.check and (asked.langs or asked.seeds):
        raise DataError("expected figures are means over all languages and seeds; leave --langs and --seeds out")
    experiment = load(asked.name)
    names = [row.name for row in experiment.rows]
    if unknown := set(asked.rows or ()) - set(names):
        raise DataError(f"no row {min(unknown)!r} in {asked.name}; it has: {', '.join(names)}")
    narrowed: dict[str, Any] = {k: tuple(getattr(asked, k)) for k in ("langs", "seeds") if getattr(asked, k)}
    if asked.rows:
        narrowed["rows"] = tuple(row for row in experiment.rows if row.name in asked.rows)
        narrowed["against"] = experiment.against if experiment.against in asked.rows else None
    part = experiment.model_copy(update=narrowed)
    cells, bases = measure_all(part, asked.name, asked.data)
    names = [row.name for row in part.rows]
    figures = table.summary(part.langs, names, part.seeds, cells, bases, part.against, part.perturb)
    text = document(asked, part, figures, cells, bases)
    print(text)
    path = FOLDER / asked.name / "expected.toml"
    starts = table.starts(part.langs, bases)
    if asked.check:
        return check(path, figures, starts, asked.rows)
    if not narrowed:
        header = f"Measured by `python -m experiments {asked.name} DATA`; {_machine(asked)}."
        _write(path.with_name("results.md"), text)
        _write(path, expected.text(header, commit() or "none", figures, starts, len(part.langs)))
    return True


def measure_all(experiment: Experiment, name: str, data: Path) -> tuple[dict, dict]:
    """Measure all cells.

    Returns:
        Cells by (row, lang, seed), and baselines by language, or by row and language where rows start differently.
    """
    cells: dict[tuple[str, str, int], Any] = {}
    bases: dict[str, Any] = {}
    # Of checkpoints; the code is in its name, so that a stopped cell is not continued by other code.
    folder = Path("runs/experiments") / name / fingerprints.code()
    for lang in experiment.langs:
        here: list[Any] = []  # read only when a cell is missing

        def shared(lang: str = lang, here: list[Any] = here):
            if not here:
                here.append(setting(experiment, recipe_of(experiment, experiment.rows[0], lang, 0), data, _say))
            return here[0]

        for row in experiment.rows:
            own = (
                experiment.transplant == "drawn"
                or row.beside
                or row.more
                or any(key.startswith(STARTS) for key in row.set)
            )
            key = f"{row.name} {lang}" if own else lang
            if key not in bases:
                start = {k: v for k, v in row.set.items() if k.startswith(STARTS)}
                start["objective.pooled"] = 1.0  # nothing is trained, and a recipe that asks for nothing is refused
                bare = Row(name="start", set=start, pairs=row.pairs, beside=row.beside, more=row.more)
                bases[key] = _kept(
                    experiment, bare, lang, 0, data,
                    lambda b=bare: baselines(experiment, b, _for(shared, experiment, b), data),
                )  # fmt: skip
            for seed in experiment.seeds:
                cells[row.name, lang, seed] = _kept(
                    experiment, row, lang, seed, data,
                    lambda r=row, s=seed: run_cell(experiment, r, s, _for(shared, experiment, r), data, folder, _say),
                )  # fmt: skip
    return cells, bases


def _for(shared, experiment: Experiment, row: Row):
    """The setting of a language; late interaction has other vectors of the passages."""
    found = shared()
    recipe = recipe_of(experiment, row, found.lang, 0)
    first = recipe_of(experiment, experiment.rows[0], found.lang, 0)
    same = (recipe.late_interaction, recipe.query_length, recipe.teacher)
    if same == (first.late_interaction, first.query_length, first.teacher):
        return found
    from optical.pipeline.embed import embed_documents, teacher_towers

    embedder = teacher_towers(recipe).documents
    searched = {n: embed_documents(recipe, embedder, part.collection) for n, part in found.searched.items()}
    return found._replace(searched=searched, measured=searched)  # here they are always the same


def kept_at(experiment: Experiment, row: Row, lang: str, seed: int, data: Path) -> Path:
    """The file of a cell, named by all that decides its value: recipe, code and data, but not the name of the row."""
    shared = experiment.model_dump(include={"collections", "split", "pairs", "transplant", "perturb"})
    if experiment.probes:
        shared |= experiment.model_dump(include={"probes", "probe_items", "watched"})
    # A cell does not depend on how a run is searched, or where it is stored.
    away = {"out", "cache", "search", "device", "bitext", "collection"}
    recipe = recipe_of(experiment, row, lang, seed).model_dump_json(exclude=away)
    kind = "start" if row.name == "start" else "trained"
    more = more_of(row, lang, data)
    files = fingerprints.data(data, [lang, *row.beside], experiment.collections, lang, more)
    parts = [json.dumps(shared, sort_keys=True), recipe, kind, str(row.pairs), *row.beside]
    parts += [*(f"{path.name}@{weight:g}" for path, weight in more.items()), fingerprints.code(), files]
    parts += [file_checksum(path) for name in experiment.probes for path in probes.files(data / "nli" / name)]
    return CELLS / f"{checksum(parts)}.json"


def _kept(experiment: Experiment, row: Row, lang: str, seed: int, data: Path, make) -> Any:
    """A cell from disk, or made and kept."""
    path = kept_at(experiment, row, lang, seed, data)
    if not path.is_file():
        value = make()
        _write(path, json.dumps({"row": row.name, "lang": lang, "seed": seed, **value}))
    return json.loads(path.read_text(encoding="utf-8"))


def document(asked: argparse.Namespace, experiment: Experiment, figures, cells, bases) -> str:
    """The page of an experiment."""
    names = [row.name for row in experiment.rows]
    lang = experiment.langs[0]
    shape = f"{_count(len(experiment.langs), 'language')}, {_count(len(experiment.seeds), 'seed')}, "
    shape += f"{experiment.pairs or 'all'} pairs, {_steps(experiment)}"
    lines = [
        f"# {asked.name}", "", experiment.question, "",
        f"`python -m experiments {asked.name} DATA`; {shape}; {_machine(asked)}.", "",
        MEASURED_ON[experiment.split] + "`dev` chose nothing but checkpoint and average, and is held-out bitext; "
        "p-values are of paired randomisation tests over all queries.",
        "", markdown(table.main_table(figures, experiment.against, experiment.perturb)), "",
    ]  # fmt: skip
    if pairs := [pair for pair in experiment.compare if set(pair) <= set(names)]:
        by_pair = table.comparisons(experiment.langs, pairs, experiment.seeds, cells)
        lines += ["## Pairs of rows", "", markdown(by_pair), ""]
    if experiment.probes:
        lines += ["## Probes", "", probes.ABOUT, ""]
        for one in probes.tables(experiment.langs, names, experiment.seeds, cells, experiment.against):
            lines += [markdown(one), ""]
    if len(experiment.langs) > 1:
        by_language = table.languages(experiment.langs, names, experiment.seeds, cells, bases)
        lines += ["## By language", "", markdown(by_language), ""]
    else:
        base = bases.get(lang) or next(iter(bases.values()))
        shown = ", ".join(f"{k} {table.overall(base[k]):.4f}" for k in table.BASELINES)
        lines += [f"Baselines ({lang}): {shown}.", ""]
    return "\n".join(lines)


def check(path: Path, figures: dict[str, dict[str, Any]], starts: dict[str, float], rows: list[str] | None) -> bool:
    """Print a line for each expected figure; whether none of them is a FAIL."""
    verdicts = expected.check(path, figures, starts, rows)
    spread = expected.tolerance(path)
    print(f"OK within {spread:.4f}, OKish within {2 * spread:.4f}: one and two standard deviations over seeds")
    print(*verdicts, sep="\n")
    return all(verdict.word != "FAIL" for verdict in verdicts)


def _machine(asked: argparse.Namespace) -> str:
    return f"{asked.measured_on or platform.machine()}, {date.today()}, commit {(commit() or 'none')[:7]}"


def _steps(experiment: Experiment) -> str:
    """Optimizer steps of the rows, the most first: a row that is the start itself has none."""
    steps = {recipe_of(experiment, row, experiment.langs[0], 0).training.steps for row in experiment.rows}
    return f"{' or '.join(map(str, sorted(steps, reverse=True)))} step{'s' * (steps != {1})}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _write(path: Path, text: str) -> None:
    with file_written_whole(path, anyones=True) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
