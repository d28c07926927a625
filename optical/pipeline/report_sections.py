"""Sections of a run's page: what each shows, read from what the run folder keeps.

Plain values, ready to be put on a page. A part that a run does not have, because it is of an older program or had no
judgements, is empty, and a line in ``missing`` says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.data.document_store import ids_of
from optical.data.records import ENGLISH
from optical.data.trec_run import first_documents
from optical.evaluation.report import CEILING, STUDENT, TRANSPLANT, ZERO_SHOT
from optical.evaluation.significance import EQUAL, bootstrap_interval
from optical.pipeline.run_folder import check_results

EACH_WAY = 20  # queries that gained most, and that lost most
PASSAGES = 2  # of each system for such a query
SNIPPET = 240  # characters of a passage
POINTS = 200  # of a curve
WORDS_OF = ("BM25, ", "PSQ, ")  # how the names of systems that find words begin


class Bar(NamedTuple):
    """One system on one collection: means over the queries, and the bootstrap interval of MAP."""

    system: str
    kind: str
    mean: dict[str, float]
    low: float
    high: float
    share: float | None


class Passage(NamedTuple):
    """A document as the page shows it; without a text where the collection was not at hand."""

    id: str
    title: str
    text: str


class Change(NamedTuple):
    """One query on which two systems differ; ``passages`` are what each found first, and what answers it."""

    query: str
    text: str
    english: str
    ap: float
    other: float
    passages: dict[str, list[Passage]]


class Changes(NamedTuple):
    """Queries on which the student and another system differ most.

    Attributes:
        other: The other system.
        counts: Queries won, tied and lost.
        gains: The largest first.
        losses: The largest first.
    """

    other: str
    counts: tuple[int, int, int]
    gains: list[Change]
    losses: list[Change]


class Results(NamedTuple):
    """The systems of a run on one collection.

    Attributes:
        title: Collection, split and numbers.
        key: The same for runs that can be compared: collection, split, languages, number of documents.
        bars: One a system.
        tests: The student and each other system: difference, p, Holm's p, won, tied, lost.
        changes: By query.
        per_query: AP of the student by query.
    """

    title: str
    key: tuple[Any, ...]
    bars: list[Bar]
    tests: dict[str, dict[str, Any]]
    changes: list[Changes]
    per_query: dict[str, float]

    def bar(self, system: str) -> Bar | None:
        """The bar of a system; None without it."""
        return next((bar for bar in self.bars if bar.system == system), None)


class Line(NamedTuple):
    """A line of a chart: points with x and y between 0 and 100, y downwards, and perhaps a band around them."""

    name: str
    points: str
    last: float
    band: str = ""


class Chart(NamedTuple):
    """Lines over the steps of training.

    Attributes:
        title: What is drawn.
        lines: With the same scales.
        low: Value at the lower edge.
        high: Value at the upper edge.
        steps: Step at the right edge.
    """

    title: str
    lines: list[Line]
    low: float
    high: float
    steps: int


class RunPage(NamedTuple):
    """Everything that the page says of a run.

    Attributes:
        name: Of its folder.
        recipe: As it was written.
        manifest: What it was made of.
        results: By collection.
        charts: Learning curves.
        dev: Steps with a development score: step, score, its standard error or None.
        plans: As :func:`optical.pipeline.align.plans_for_page` keeps them.
        missing: Sentences about parts that the run does not have.
    """

    name: str
    recipe: Recipe
    manifest: dict[str, Any]
    results: list[Results]
    charts: list[Chart]
    dev: list[tuple[int, float, float | None]]
    plans: list[dict[str, Any]]
    missing: list[str]


def read_run_page(recipe: Recipe, collections: Mapping[str, Collection | None] | None) -> RunPage:
    """Read what a run folder keeps, whatever program wrote it.

    Args:
        recipe: Of the run.
        collections: Language -> collection, for the texts of queries and passages; None where they cannot be read.
    """
    folder, missing = recipe.folder, []
    manifest = _json(folder / "manifest.json") or {}
    history = _json(folder / "training.json") or []
    plans = [{**one, "plans": _once(one["plans"])} for one in _json(folder / "plans.json") or []]
    found = [c for c in (collections or {}).values() if c]
    files = sorted(folder.glob("evaluation/*/results.json"))
    kept = [(file.parent, data) for file in files if STUDENT in ((data := _json(file)) or {}).get("systems", {})]
    for place, data in kept:
        check_results(recipe, place / "results.json", data, manifest)
    results = [_results(place, data, found) for place, data in kept]
    if not results:
        missing.append("Nothing was measured: the run has no judged questions, so there are no bars and no queries.")
    elif collections is None:
        missing.append("The collection cannot be read now, so questions and passages are shown by their ids.")
    dev = _development(history)
    if not history:
        missing.append("training.json is empty or not there, so there is no learning curve.")
    elif not dev:
        missing.append("No development score was taken during training.")
    if not plans:
        missing.append(f"No transport plans are kept; optical align {recipe.home} X ENGLISH shows them.")
    if "left_out" not in manifest.get("text", {}):
        missing.append("The manifest does not say what was left out of the bitext, or why.")
    charts = [chart for chart in (_losses(history), _dev_chart(dev, manifest)) if chart]
    return RunPage(folder.resolve().name, recipe, manifest, results, charts, dev, plans, missing)


def _once(plans: dict[str, Any]) -> dict[str, Any]:
    """Plans that are all the same, as those of a run that kept its start, as one."""
    first = next(iter(plans.values()))
    return {" and ".join(plans): first} if all(plan == first for plan in plans.values()) else plans


def _json(path: Path) -> Any:
    """Read a JSON file; None where there is none, or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _results(place: Path, data: dict[str, Any], collections: Sequence[Collection]) -> Results:
    systems = data["systems"]
    asked = next(iter(systems.values()))["queries"]
    documents_lang = data.get("docs_lang", ENGLISH)
    key = (data["collection"], data["split"], data["lang"], documents_lang, data["documents"])
    title = f"{data['collection']} ({data['split']}): {asked:,} {data['lang']} questions, "
    title += f"{data['documents']:,} documents in {documents_lang}"
    own = next((c for c in collections if c.name == data["collection"] and data["lang"] in c.queries), None)
    changes = [_changes(place, data, other, own) for other in _compared(systems)]
    bars = [_bar(name, scores) for name, scores in systems.items()]
    return Results(title, key, bars, data.get("tests", {}), changes, systems[STUDENT]["per_query"]["AP"])


def _bar(name: str, scores: dict[str, Any]) -> Bar:
    kinds = {CEILING: "ceiling", STUDENT: "student", ZERO_SHOT: "zero"}
    low, high = bootstrap_interval(np.array(list(scores["per_query"]["AP"].values())))
    return Bar(name, kinds.get(name, "other"), scores["mean"], low, high, scores.get("share_of_ceiling"))


def _compared(systems: Mapping[str, Any]) -> list[str]:
    """The systems that the student is compared with by query: its start, the best on words, and the ceiling."""
    words = [name for name in systems if name.startswith(WORDS_OF)]
    best = [max(words, key=lambda name: systems[name]["mean"]["AP"])] if words else []
    return [name for name in (TRANSPLANT, *best, CEILING) if name in systems]


def _changes(place: Path, data: dict[str, Any], other: str, collection: Collection | None) -> Changes:
    own, others = (data["systems"][name]["per_query"]["AP"] for name in (STUDENT, other))
    differences = {query: own[query] - others[query] for query in own if query in others}
    ranked = sorted(differences, key=lambda query: (-differences[query], query))
    gains = [query for query in ranked if differences[query] > EQUAL]
    losses = [query for query in reversed(ranked) if differences[query] < -EQUAL]
    counts = (len(gains), len(differences) - len(gains) - len(losses), len(losses))
    shown = [*gains[:EACH_WAY], *losses[:EACH_WAY]]
    found = {name: _first(place, name, shown) for name in (STUDENT, other)}
    texts = _Texts(collection, data, shown, [doc for run in found.values() for docs in run.values() for doc in docs])

    def change(query: str) -> Change:
        passages = {name: texts.passages(run.get(query, [])) for name, run in found.items()}
        passages["judged relevant"] = texts.passages(texts.relevant.get(query, [])[:PASSAGES])
        return Change(
            query, texts.asked.get(query, ""), texts.english.get(query, ""), own[query], others[query], passages
        )

    return Changes(other, counts, [*map(change, gains[:EACH_WAY])], [*map(change, losses[:EACH_WAY])])


def _first(place: Path, system: str, queries: Sequence[str]) -> dict[str, list[str]]:
    """The first documents of some queries in a system's run file; nothing where the file is not there."""
    file = place / f"{system.replace(', ', '-').replace(' ', '-')}.trec"
    return first_documents(file, queries, PASSAGES) if queries and file.is_file() else {}


class _Texts:
    """Texts of some queries and documents of a collection.

    Attributes:
        asked: Query -> its text.
        english: Query -> its text in English, where another language is asked.
        relevant: Query -> ids of the documents that answer it.
    """

    def __init__(
        self, collection: Collection | None, data: dict[str, Any], queries: Sequence[str], docs: Iterable[str]
    ) -> None:
        self.asked: dict[str, str] = {}
        self.english: dict[str, str] = {}
        self.relevant: dict[str, list[str]] = {}
        self.found: dict[str, Passage] = {}
        if collection is None:
            return
        wanted, lang = set(queries), data["lang"]
        self.asked = {q.id: q.text for q in collection.queries[lang] if q.id in wanted}
        english = collection.queries.get(ENGLISH, []) if lang != ENGLISH else []
        self.english = {q.id: q.text for q in english if q.id in wanted}
        for qrel in collection.qrels.get(data["split"], []):
            if qrel.query_id in wanted and qrel.relevance > 0:
                self.relevant.setdefault(qrel.query_id, []).append(qrel.doc_id)
        ids = {*docs, *(doc for found in self.relevant.values() for doc in found[:PASSAGES])}
        for row, name in enumerate(ids_of(collection.docs)):
            if name in ids:
                doc = collection.docs[row]
                cut = doc.text if len(doc.text) <= SNIPPET else doc.text[:SNIPPET].rsplit(" ", 1)[0] + " ..."
                self.found[name] = Passage(name, doc.title, cut)

    def passages(self, ids: Iterable[str]) -> list[Passage]:
        """Documents as they are shown."""
        return [self.found.get(name, Passage(name, "", "")) for name in ids]


def _steps(history: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each entry of a history with its step; a second stage, which counts from 1 again, goes on after the first."""
    before, last = 0, 0
    for entry in history:
        step = int(entry.get("step", 0))
        if before + step < last:
            before = last
        last = before + step
        yield last, entry


_NOT_LOSSES = {"grad_norm", "learning_rate", "epoch", "step", "plan_error", "plan_steps"}


def _losses(history: Sequence[dict[str, Any]]) -> Chart | None:
    """The losses by name; the mean of neighbouring steps where there are many."""
    series: dict[str, list[tuple[float, float]]] = {}
    for step, entry in _steps(history):
        for name, value in entry.items() if "loss" in entry else ():
            if name not in _NOT_LOSSES and isinstance(value, int | float):
                series.setdefault("sum" if name == "loss" else name, []).append((step, value))
    thin = {name: _thinned(points) for name, points in series.items()}
    return chart("Losses, with their weights", thin, from_zero=True)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    blocks = np.array_split(np.array(points), min(POINTS, len(points)))
    return [(float(x), float(y)) for x, y in (block.mean(axis=0) for block in blocks)]


def _development(history: Sequence[dict[str, Any]]) -> list[tuple[int, float, float | None]]:
    scored = ((step, entry) for step, entry in _steps(history) if isinstance(entry.get("eval_dev"), int | float))
    return [(step, entry["eval_dev"], entry.get("eval_dev_error")) for step, entry in scored]


def _dev_chart(dev: Sequence[tuple[int, float, float | None]], manifest: Mapping[str, Any]) -> Chart | None:
    start = manifest.get("development", {}).get("start")
    scored = [(float(step), score) for step, score, _ in dev]
    first = [(0.0, float(start))] if isinstance(start, int | float) and dev else []
    band = [(float(step), score, error) for step, score, error in dev if error is not None]
    title = "Development score" + (", with a band of one standard error" if band else "")
    return chart(title, {"development score": [*first, *scored]}, band)


def chart(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    band: Sequence[tuple[float, float, float]] = (),
    *,
    from_zero: bool = False,
) -> Chart | None:
    """Scale lines to 0 to 100; None where there is nothing to draw.

    Args:
        title: What is drawn.
        series: Name of a line -> its points, step and value.
        band: Step, value and half the width of a band around the one line.
        from_zero: Whether the lower edge is 0.
    """
    every = [point for points in series.values() for point in points]
    if not every:
        return None
    edges = [y for _, y in every] + [y + sign * e for _, y, e in band for sign in (1, -1)]
    steps, high = max(1.0, *(x for x, _ in every)), max(edges)
    low = 0.0 if from_zero else min(edges)
    low, high = (low, high) if high - low > EQUAL else (low - 0.5, high + 0.5)

    def placed(points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{100 * x / steps:.2f},{100 * (high - y) / (high - low):.2f}" for x, y in points)

    around = placed([*((x, y + e) for x, y, e in band), *((x, y - e) for x, y, e in reversed(band))])
    lines = [Line(name, placed(points), points[-1][1], around) for name, points in series.items()]
    return Chart(title, lines, low, high, int(steps))
