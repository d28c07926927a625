"""Runs of any systems beside each other: measured with the same judgements and compared with a baseline.

The runs are TREC files, whoever made them. What does not belong to the collection is counted.
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
from optical.evaluation.tables import Table

if TYPE_CHECKING:
    from optical.data.records import Qrel


class ComparedRuns(NamedTuple):
    """Runs measured with the same judgements.

    Attributes:
        scores: Name of the run -> its scores.
        against: Name of the baseline.
        measure: Measure that the tests compare.
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
        """List what does not fit, a sentence each: missing queries, unjudged ones, unknown documents."""
        lines = []
        for name, scores in self.scores.items():
            odd = {
                f"of {scores.queries} queries not in the run, they count 0": scores.missing,
                "queries passed over, none of their documents is relevant": self.passed_over[name],
                "documents not in the collection, they count as not relevant": self.unknown.get(name, 0),
            }
            lines += [f"{name}: {count} {what}" for what, count in odd.items() if count]
        return lines


def table(compared: ComparedRuns) -> Table:
    """A row for each run: its measures, and its tests against the baseline where there are other runs."""
    measures = list(next(iter(compared.scores.values())).mean)
    tests = [f"- {compared.against}", "p", "Holm", "t-test p", "Holm", "won / tied / lost"] if compared.tests else []
    head = ["run", *("MAP" if name == "AP" else name for name in measures), *tests]
    rows = [
        [name, *(f"{scores.mean[one]:.4f}" for one in measures), *_tested(compared, name)]
        for name, scores in compared.scores.items()
    ]
    return Table("", head, rows, framed=False)


def narrow_tables(compared: ComparedRuns) -> list[Table]:
    """The same figures for a terminal: a table of the measures, and one of the tests where there are any."""
    whole = table(compared)
    measured = range(1 + len(next(iter(compared.scores.values())).mean))
    tables = [_columns(whole, measured)._replace(title=f"{len(whole.rows)} runs")]
    if compared.tests:
        tests = _columns(whole, [0, *range(len(measured), len(whole.head))])
        title = f"paired tests on {compared.measure}, against {compared.against}"
        tables.append(tests._replace(title=title, rows=[row for row in tests.rows if row[0] != compared.against]))
    return tables


def _columns(table: Table, wanted: Sequence[int]) -> Table:
    return table._replace(head=[table.head[k] for k in wanted], rows=[[row[k] for k in wanted] for row in table.rows])


def _tested(compared: ComparedRuns, name: str) -> list[str]:
    if name not in compared.tests:
        return [""] * 6 if compared.tests else []
    one = compared.tests[name]
    ps = (one.p_value, one.p_holm, one.t_p_value, one.t_p_holm)
    return [f"{one.difference:+.4f}", *(f"{p:.4f}" for p in ps), f"{one.win} / {one.tie} / {one.loss}"]


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
) -> ComparedRuns:
    """Measure runs with the same judgements and compare them with one of them.

    Queries without a relevant document are passed over; queries that a run does not have score 0. The result says how
    many there are of both.

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
    return ComparedRuns(scores, base, measures[0], tests, passed_over, unknown)


def unknown_documents(run: Run, documents: Collection[str]) -> list[str]:
    """The documents of a run that a collection does not have, each once; they count as not relevant.

    Args:
        run: The run of any system.
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
