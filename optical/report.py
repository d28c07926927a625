"""Scores of several systems on one collection: the table that is printed, and the JSON that is kept.

Takes measured scores, gives text and plain dicts. Knows no torch, no model and no retrieval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from optical.evaluate import Comparison, Scores, compare, share_of_ceiling

if TYPE_CHECKING:
    from rich.table import Table

CEILING, ZERO_SHOT, TRANSPLANT, STUDENT = (
    "teacher, English queries",
    "teacher as it is",
    "transplant, untrained",
    "student",
)
MEASURES = ("AP", "nDCG@10", "R@100")


class Report(NamedTuple):
    """What was measured on one split of one collection.

    Attributes:
        collection: Its name.
        split: Which judgements.
        lang: Language of the queries of every row but the ceiling.
        documents: How many documents were searched.
        scores: System -> scores, in the order of the table; the ceiling first, where there are English queries.
    """

    collection: str
    split: str
    lang: str
    documents: int
    scores: dict[str, Scores]

    def share(self, system: str) -> float | None:
        """AP of a system as a share of the ceiling's; None without a ceiling, or with one of 0."""
        ceiling = self.scores[CEILING].mean["AP"] if CEILING in self.scores else 0.0
        return share_of_ceiling(self.scores[system].mean["AP"], ceiling) if ceiling > 0 else None

    def tests(self) -> dict[str, Comparison]:
        """The student against every other system in X: paired randomisation tests on AP."""
        others = [s for s in self.scores if s not in (CEILING, STUDENT)] if STUDENT in self.scores else []
        return {f"{STUDENT} - {other}": compare(self.scores[STUDENT], self.scores[other]) for other in others}


def as_dict(report: Report) -> dict[str, Any]:
    """Everything, for a JSON file: means, per-query values, shares, tests."""
    systems = {
        name: {**scores._asdict(), "share_of_ceiling": report.share(name)} for name, scores in report.scores.items()
    }
    tests = {name: comparison._asdict() for name, comparison in report.tests().items()}
    head = {k: v for k, v in report._asdict().items() if k != "scores"}
    return {**head, "systems": systems, "tests": tests}


def as_lines(report: Report) -> list[list[str]]:
    """The cells of the table, headings first."""
    rows = [["system", "queries", *("MAP" if m == "AP" else m for m in MEASURES), "share of ceiling"]]
    for name, scores in report.scores.items():
        share = report.share(name)
        lang = "en" if name == CEILING else report.lang
        cells = [f"{scores.mean[m]:.4f}" for m in MEASURES]
        rows.append([name, lang, *cells, "" if share is None else f"{100 * share:.1f} %"])
    return rows


def as_sentences(report: Report) -> list[str]:
    """The tests in words."""
    return [comparison.in_words(name) for name, comparison in report.tests().items()]


def title(report: Report) -> str:
    """What the table is about."""
    queries = next(iter(report.scores.values())).queries if report.scores else 0
    return (
        f"{report.collection} ({report.split}): {queries} {report.lang} queries, {report.documents} English documents"
    )


def as_markdown(report: Report) -> str:
    """The table and the tests, for a file."""
    head, *body = as_lines(report)
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *body])
    return "\n\n".join([title(report), table, *as_sentences(report)]) + "\n"


def as_table(report: Report) -> Table:
    """The table for a terminal."""
    from rich.table import Table

    head, *body = as_lines(report)
    table = Table(title=title(report), title_justify="left")
    for k, cell in enumerate(head):
        table.add_column(cell, justify="left" if k < 2 else "right")
    for cells in body:
        table.add_row(*cells, style="bold" if cells[0] == STUDENT else "")
    return table
