"""The report of a run: its systems on one collection beside the ceiling, and a summary over several languages."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from statistics import fmean
from typing import Any, NamedTuple

from optical.evaluation.measures import Scores, share_of_ceiling
from optical.evaluation.significance import Comparison, compare, holm, t_test
from optical.evaluation.tables import Table, html

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
    """The systems of a run, measured on one split of one collection.

    Attributes:
        collection: Its name.
        split: Name of the judgements.
        lang: Language of the queries; the ceiling asks in English.
        documents: Number of documents searched.
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
        """AP of a system as a share of the ceiling's; None where there is no ceiling or it is 0."""
        ceiling = self.scores[CEILING].mean["AP"] if CEILING in self.scores else 0.0
        return share_of_ceiling(self.scores[system].mean["AP"], ceiling) if ceiling > 0 else None

    def tests(self) -> dict[str, Comparison]:
        """Compare the student with every other system but the ceiling: paired randomisation tests on AP."""
        return {name: compare(self.scores[STUDENT], self.scores[other]) for name, other in _compared(self).items()}

    def _repr_html_(self) -> str:
        return html(table(self)) + "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(self))


def as_dict(report: Report) -> dict[str, Any]:
    """The whole report for a JSON file; the language of the documents is left out when it is English."""
    systems = {
        name: {**scores._asdict(), "share_of_ceiling": report.share(name)} for name, scores in report.scores.items()
    }
    tests = {name: comparison._asdict() for name, comparison in report.tests().items()}
    for (name, other), adjusted in zip(_compared(report).items(), _adjusted(report), strict=True):
        tests[name] |= {"p_holm": adjusted, "t_p_value": t_test(report.scores[STUDENT], report.scores[other])}
    head = {k: v for k, v in report._asdict().items() if k != "scores" and (k, v) != ("docs_lang", "en")}
    return {**head, "systems": systems, "tests": tests}


def from_dict(kept: Mapping[str, Any]) -> Report:
    """The report that :func:`as_dict` wrote.

    Raises:
        KeyError: Something else was written, or by another version.
    """
    systems = {
        name: Scores(**{field: scores[field] for field in Scores._fields}) for name, scores in kept["systems"].items()
    }
    return Report(
        kept["collection"], kept["split"], kept["lang"], kept["documents"], systems, kept.get("docs_lang", "en")
    )


def table(report: Report) -> Table:
    """A row for each system: MAP, nDCG@10, R@100, and MAP as a share of the ceiling's."""
    head = ["system", "queries", *("MAP" if m == "AP" else m for m in MEASURES), "share of ceiling"]
    rows = []
    for name, scores in report.scores.items():
        lang = "en" if name == CEILING else report.lang
        rows.append([name, lang, *(f"{scores.mean[m]:.4f}" for m in MEASURES), _percent(report.share(name))])
    bold = [k for k, name in enumerate(report.scores) if name == STUDENT]
    return Table(_title(report), head, rows, left=2, bold=bold)


def _title(report: Report) -> str:
    queries = next(iter(report.scores.values())).queries if report.scores else 0
    language = "English" if report.docs_lang == "en" else report.docs_lang
    searched = f"{report.documents} {language} documents"
    return f"{report.collection} ({report.split}): {queries} {report.lang} queries, {searched}"


def sentences(report: Report) -> list[str]:
    """Each test in words; where there are several, with its p-value after Holm's correction for their number."""
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


def summary_table(reports: Mapping[str, Report]) -> Table:
    """A row for each language, and one for their means: MAP of each system, the student's share of the ceiling, p.

    p is of the student against the transplant. A mean is over the languages that have the figure.
    """
    sets = dict.fromkeys(f"{report.collection} ({report.split})" for report in reports.values())
    head = ["lang", "queries", *SUMMARISED.values(), "share", "p"]
    rows = []
    for lang, report in reports.items():
        row = _summary(report)
        figures = [_figure(row[system]) for system in SUMMARISED]
        rows.append([lang, str(row["queries"]), *figures, _percent(row["share_of_ceiling"]), _figure(row["p_value"])])
    means = mean_summary(reports)
    figures = [_figure(means[system]) for system in SUMMARISED]
    rows.append([MEAN, "", *figures, _percent(means["share_of_ceiling"]), ""])
    return Table(f"MAP by language, one student: {', '.join(sets)}", head, rows, left=2, bold=[len(rows) - 1])


def mean_summary(reports: Mapping[str, Report]) -> dict[str, float | None]:
    """Mean over the languages of each system's MAP and of the student's share of the ceiling; None without figures."""
    rows = [_summary(report) for report in reports.values()]
    means: dict[str, float | None] = {}
    for name in (*SUMMARISED, "share_of_ceiling"):
        there = [value for row in rows if (value := row[name]) is not None]
        means[name] = fmean(there) if there else None
    return means


def summary_as_dict(reports: Mapping[str, Report]) -> dict[str, Any]:
    """The summary for a JSON file, without per-query values, which are in the file of each language."""
    return {"languages": {lang: _summary(report) for lang, report in reports.items()}, "mean": mean_summary(reports)}


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
