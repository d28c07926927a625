"""Runs of several systems beside each other: read, measured with the same judgements, compared with a baseline.

Takes TREC runs of whatever system, gives measures and paired tests, and says what in the runs does not belong to the
collection. Knows no model, no text and no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from optical.data.trec_run import Run, read_run
from optical.errors import DataError, RecipeError
from optical.evaluation.measures import ALL_MEASURES, Scores, measure
from optical.evaluation.significance import Tested, compare_all

if TYPE_CHECKING:
    from rich.table import Table

    from optical.data.collection import Qrel


class RunTable(NamedTuple):
    """Runs measured with the same judgements.

    Attributes:
        scores: Name of the run -> what it is worth.
        against: Name of the baseline.
        measure: What the tests compare.
        tests: Name of each other run -> its comparison with the baseline.
        passed_over: Name of the run -> how many of its queries have no relevant document, or no judgement at all.
        unknown: Name of the run -> how many different documents of it are not in the collection; empty where the
            collection was not given.
    """

    scores: dict[str, Scores]
    against: str
    measure: str
    tests: dict[str, Tested]
    passed_over: dict[str, int]
    unknown: dict[str, int]

    def notes(self) -> list[str]:
        """What is odd about the runs, a sentence each."""
        lines = []
        for name, scores in self.scores.items():
            odd = {
                f"of {scores.queries} queries not in the run, they count 0": scores.missing,
                "queries passed over, none of their documents is relevant": self.passed_over[name],
                "documents not in the collection, they count as not relevant": self.unknown.get(name, 0),
            }
            lines += [f"{name}: {count} {what}" for what, count in odd.items() if count]
        return lines


def as_lines(table: RunTable) -> list[list[str]]:
    """The cells of the table, headings first; tests are against the baseline, which has none."""
    measures = list(next(iter(table.scores.values())).mean)
    tests = [f"- {table.against}", "p", "Holm", "t-test p", "Holm", "won / tied / lost"] if table.tests else []
    lines = [["run", *("MAP" if name == "AP" else name for name in measures), *tests]]
    for name, scores in table.scores.items():
        lines.append([name, *(f"{scores.mean[one]:.4f}" for one in measures), *_tested(table, name)])
    return lines


def _tested(table: RunTable, name: str) -> list[str]:
    if name not in table.tests:
        return [""] * 6 if table.tests else []
    one = table.tests[name]
    ps = (one.p_value, one.p_holm, one.t_p_value, one.t_p_holm)
    return [f"{one.difference:+.4f}", *(f"{p:.4f}" for p in ps), f"{one.win} / {one.tie} / {one.loss}"]


def as_markdown(table: RunTable) -> str:
    """The table and what is odd about the runs, for a file."""
    head, *body = as_lines(table)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n\n".join([text, *table.notes()]) + "\n"


def as_tables(table: RunTable, title: str) -> list[Table]:
    """For a terminal: the measures, and the tests in a table of their own, for both are wide."""
    width = 1 + len(next(iter(table.scores.values())).mean)
    lines = as_lines(table)
    tables = [_rendered(title, [line[:width] for line in lines])]
    if table.tests:
        tested = [[line[0], *line[width:]] for line in lines if line[0] != table.against]
        tables.append(_rendered(f"paired tests on {table.measure}, against {table.against}", tested))
    return tables


def _rendered(title: str, lines: Sequence[list[str]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    head, *body = lines
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for k, cell in enumerate(head):  # the name gives way in a narrow terminal, no figure does
        table.add_column(cell, justify="right" if k else "left", no_wrap=bool(k), overflow="fold")
    for cells in body:
        table.add_row(*cells)
    return table


def read_runs(paths: Sequence[str | Path]) -> dict[str, Run]:
    """Read TREC runs, named by their files without the suffix, or by the whole path where two would be called alike.

    Raises:
        DataError: A file is given twice, or is no TREC run (see :func:`optical.data.trec_run.read_run`).
    """
    files = [Path(path) for path in paths]
    stems = Counter(file.stem for file in files)
    runs: dict[str, Run] = {}
    for file in files:
        name = file.stem if stems[file.stem] == 1 else str(file)
        if name in runs:
            raise DataError(f"a run is given twice; got {file} again; leave one of the two out")
        runs[name] = read_run(file)
    return runs


def compare_runs(
    runs: Mapping[str, Run],
    qrels: Sequence[Qrel],
    *,
    against: str | None = None,
    measures: Sequence[str] = ALL_MEASURES,
    documents: Collection[str] | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> RunTable:
    """Measure runs with the same judgements and compare them with one of them, whoever made them.

    Queries without a relevant document are passed over and those that a run lacks count 0, both are counted.

    Args:
        runs: Name -> run, at least one.
        qrels: Judgements.
        against: Name of the baseline; the first run when not given.
        measures: As of :func:`measure`; the tests are on the first of them.
        documents: Ids of all documents of the collection, to find those that it does not have.
        permutations: Of each randomisation test.
        seed: Of each randomisation test.

    Raises:
        RecipeError: There is no run or no measure, a name is no known measure, or the baseline is none of the runs.
        DataError: A run shares no query with the judgements or no document with the collection; it is named.
    """
    if not runs or not measures:
        raise RecipeError(f"nothing to compare; got {len(runs)} runs and {len(measures)} measures; name at least one")
    scores, unknown = {}, {}
    for name, run in runs.items():
        try:
            scores[name] = measure(run, qrels, measures)
            if documents is not None:
                unknown[name] = len(unknown_documents(run, documents))
        except DataError as error:
            raise DataError(f"the run {name!r}: {error}") from error
    relevant = {qrel.query_id for qrel in qrels if qrel.relevance > 0}
    passed_over = {name: len(run.keys() - relevant) for name, run in runs.items()}
    base = next(iter(runs)) if against is None else against
    tests = compare_all(scores, base, measures[0], permutations=permutations, seed=seed)
    return RunTable(scores, base, measures[0], tests, passed_over, unknown)


def unknown_documents(run: Run, documents: Collection[str]) -> list[str]:
    """The documents of a run that a collection does not have, each once; they can only count as not relevant.

    Args:
        run: From wherever.
        documents: Ids of all documents of the collection.

    Raises:
        DataError: The collection has none of the documents, so the run is of another one.
    """
    known = set(documents)
    found = dict.fromkeys(doc_id for ranking in run.values() for doc_id in ranking)
    unknown = [doc_id for doc_id in found if doc_id not in known]
    if unknown and len(unknown) == len(found):
        raise DataError(
            f"none of the {len(found)} documents of the run is in the collection; the run has e.g. {unknown[0]!r}, the "
            f"collection {min(known, default='none')!r}; give the collection that was searched"
        )
    return unknown
