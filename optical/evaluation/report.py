"""Scores of several systems on one collection: the table that is printed, and the JSON that is kept.

Takes measured scores, of several languages by language, gives text and plain dicts. Knows no torch, no model and no
retrieval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from optical.evaluation.measures import Scores, share_of_ceiling
from optical.evaluation.significance import Comparison, compare, holm, t_test

if TYPE_CHECKING:
    from rich.table import Table

CEILING, ZERO_SHOT, TRANSPLANT, STUDENT = (
    "teacher, English queries",
    "teacher as it is",
    "transplant, untrained",
    "student",
)
MEASURES = ("AP", "nDCG@10", "R@100")
SUMMARISED = {CEILING: "ceiling", ZERO_SHOT: "zero-shot", TRANSPLANT: "transplant", STUDENT: "student"}
MEAN = "mean"


class Report(NamedTuple):
    """What was measured on one split of one collection.

    Attributes:
        collection: Its name.
        split: Which judgements.
        lang: Language of the queries of every row but the ceiling, which asks in English.
        documents: How many documents were searched.
        scores: System -> scores, in the order of the table; the ceiling first, where there are English queries.
        docs_lang: Language of the documents.
    """

    collection: str
    split: str
    lang: str
    documents: int
    scores: dict[str, Scores]
    docs_lang: str = "en"

    def share(self, system: str) -> float | None:
        """AP of a system as a share of the ceiling's; None without a ceiling, or with one of 0."""
        ceiling = self.scores[CEILING].mean["AP"] if CEILING in self.scores else 0.0
        return share_of_ceiling(self.scores[system].mean["AP"], ceiling) if ceiling > 0 else None

    def tests(self) -> dict[str, Comparison]:
        """The student against every other system in X: paired randomisation tests on AP."""
        return {name: compare(self.scores[STUDENT], self.scores[other]) for name, other in _compared(self).items()}


def as_dict(report: Report) -> dict[str, Any]:
    """Everything, for a JSON file: means, per-query values, shares, tests; the documents' language unless English."""
    systems = {
        name: {**scores._asdict(), "share_of_ceiling": report.share(name)} for name, scores in report.scores.items()
    }
    tests = {name: comparison._asdict() for name, comparison in report.tests().items()}
    for (name, other), adjusted in zip(_compared(report).items(), _adjusted(report), strict=True):
        tests[name] |= {"p_holm": adjusted, "t_p_value": t_test(report.scores[STUDENT], report.scores[other])}
    head = {k: v for k, v in report._asdict().items() if k != "scores" and (k, v) != ("docs_lang", "en")}
    return {**head, "systems": systems, "tests": tests}


def as_lines(report: Report) -> list[list[str]]:
    """The cells of the table, headings first."""
    rows = [["system", "queries", *("MAP" if m == "AP" else m for m in MEASURES), "share of ceiling"]]
    for name, scores in report.scores.items():
        share = report.share(name)
        lang = "en" if name == CEILING else report.lang
        cells = [f"{scores.mean[m]:.4f}" for m in MEASURES]
        rows.append([name, lang, *cells, _percent(share)])
    return rows


def as_sentences(report: Report) -> list[str]:
    """The tests in words, each with what Holm's correction for their number makes of its p."""
    tests = report.tests()
    words = [comparison.in_words(name) for name, comparison in tests.items()]
    if len(words) < 2:
        return words
    return [f"{line}; Holm {p:.4f}" for line, p in zip(words, _adjusted(report), strict=True)]


def _compared(report: Report) -> dict[str, str]:
    """Name of the comparison -> the system that the student is compared with."""
    others = [s for s in report.scores if s not in (CEILING, STUDENT)] if STUDENT in report.scores else []
    return {f"{STUDENT} - {other}": other for other in others}


def _adjusted(report: Report) -> list[float]:
    return holm([comparison.p_value for comparison in report.tests().values()])


def title(report: Report) -> str:
    """What the table is about."""
    queries = next(iter(report.scores.values())).queries if report.scores else 0
    language = "English" if report.docs_lang == "en" else report.docs_lang
    searched = f"{report.documents} {language} documents"
    return f"{report.collection} ({report.split}): {queries} {report.lang} queries, {searched}"


def as_markdown(report: Report) -> str:
    """The table and the tests, for a file."""
    return "\n\n".join([title(report), _markdown(as_lines(report)), *as_sentences(report)]) + "\n"


def as_table(report: Report) -> Table:
    """The table for a terminal."""
    return _table(title(report), as_lines(report), STUDENT)


def summary_lines(reports: Mapping[str, Report]) -> list[list[str]]:
    """One line a language, headings first, means last: MAP of every system, the student's share of the ceiling, p.

    p is of the student against the transplant. A mean is over the languages that have the figure.
    """
    head = ["lang", "queries", *SUMMARISED.values(), "share", "p"]
    body = []
    for lang, report in reports.items():
        row = _summary(report)
        figures = [_figure(row[system]) for system in SUMMARISED]
        body.append([lang, str(row["queries"]), *figures, _percent(row["share_of_ceiling"]), _figure(row["p_value"])])
    means = mean_summary(reports)
    figures = [_figure(means[system]) for system in SUMMARISED]
    return [head, *body, [MEAN, "", *figures, _percent(means["share_of_ceiling"]), ""]]


def mean_summary(reports: Mapping[str, Report]) -> dict[str, float | None]:
    """Mean over the languages of each system's MAP and of the student's share of the ceiling; None without figures."""
    rows = [_summary(report) for report in reports.values()]
    means: dict[str, float | None] = {}
    for name in (*SUMMARISED, "share_of_ceiling"):
        there = [value for row in rows if (value := row[name]) is not None]
        means[name] = fmean(there) if there else None
    return means


def summary_as_dict(reports: Mapping[str, Report]) -> dict[str, Any]:
    """The summary for a JSON file; per-query values are in each language's own."""
    return {"languages": {lang: _summary(report) for lang, report in reports.items()}, "mean": mean_summary(reports)}


def summary_title(reports: Mapping[str, Report]) -> str:
    """What the summary is about."""
    about = dict.fromkeys(f"{report.collection} ({report.split})" for report in reports.values())
    return f"MAP by language, one student: {', '.join(about)}"


def summary_as_markdown(reports: Mapping[str, Report]) -> str:
    """The summary for a file."""
    return "\n\n".join([summary_title(reports), _markdown(summary_lines(reports))]) + "\n"


def summary_as_table(reports: Mapping[str, Report]) -> Table:
    """The summary for a terminal."""
    return _table(summary_title(reports), summary_lines(reports), MEAN)


def _summary(report: Report) -> dict[str, Any]:
    ap = {system: report.scores[system].mean["AP"] if system in report.scores else None for system in SUMMARISED}
    test = report.tests().get(f"{STUDENT} - {TRANSPLANT}")
    return {
        "collection": report.collection,
        "queries": next(iter(report.scores.values())).queries,
        **ap,
        "share_of_ceiling": report.share(STUDENT) if STUDENT in report.scores else None,
        "p_value": test and test.p_value,
    }


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _markdown(lines: Sequence[list[str]]) -> str:
    head, *body = lines
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *body])


def _table(title: str, lines: Sequence[list[str]], bold: str) -> Table:
    from rich.table import Table

    head, *body = lines
    table = Table(title=title, title_justify="left")
    for k, cell in enumerate(head):
        table.add_column(cell, justify="left" if k < 2 else "right")
    for cells in body:
        table.add_row(*cells, style="bold" if cells[0] == bold else "")
    return table
