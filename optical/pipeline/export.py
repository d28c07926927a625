"""Export the student of a finished run: as ONNX graphs, which are measured, in ColBERT's format, or as a Router.

Beside the graphs (:mod:`optical.models.onnx_export`) is written what they cost and what they lose: size, agreement with
torch, MAP on the run's collection, and the time of one query on one thread. A graph encodes queries in X, so a
collection that asks in English has no MAP for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from optical.config.recipe import Recipe
from optical.data.bitext import read_bitext
from optical.data.collection import Collection, judgements_of, queries_of, read_collection
from optical.data.records import ENGLISH, Query
from optical.evaluation.measures import Scores, measure
from optical.evaluation.significance import Comparison, compare
from optical.evaluation.tables import Table, page
from optical.files import check_replaceable, strict_json, write_text, written_whole
from optical.models import colbert_format
from optical.models.encoders import Encoder, encode_queries
from optical.models.load import load_encoder, load_student
from optical.models.onnx_encoder import OnnxEncoder
from optical.models.onnx_export import Check, export
from optical.models.router_format import save_router
from optical.models.towers import Towers, check_towers
from optical.pipeline.embed import embed_documents, teacher_towers
from optical.pipeline.hubness import hubness_of
from optical.pipeline.inputs import bitext_path, collection_path, first_judged
from optical.pipeline.manifest import versions
from optical.pipeline.run_folder import check_read, next_generation
from optical.pipeline.sides import check_split
from optical.retrieval.search import search_vectors

TORCH = "torch"
BITEXT_TEXTS = 200  # sentences that stand for queries where there is no collection
TIMED = 100  # queries that are timed, each alone
CHECKED = 200  # passages that a saved Router is checked on


class Latency(NamedTuple):
    """Milliseconds of one query on one thread."""

    p50: float
    p95: float


class System(NamedTuple):
    """The student in one form.

    Attributes:
        megabytes: Size of its weights on disk, without the tokenizer.
        check: Agreement with torch; None for torch itself.
        scores: On the run's collection; None where it has none, or none that is asked in X.
        latency: Of single queries on this machine.
    """

    megabytes: float
    check: Check | None
    scores: Scores | None
    latency: Latency


class ExportReport(NamedTuple):
    """An exported student: its size, agreement with torch, MAP and latency in each form.

    Attributes:
        folder: Of the export.
        texts: What the graphs were compared on, in words.
        text_count: How many texts that were.
        collection: Name and split that MAP is of; None without a collection.
        systems: Form of the student -> its figures, torch first.
    """

    folder: Path
    texts: str
    text_count: int
    collection: str | None
    systems: dict[str, System]

    def lost(self) -> dict[str, Comparison]:
        """Each graph against torch on AP: paired randomisation tests; none without a collection."""
        reference = self.systems[TORCH].scores
        return {
            name: compare(system.scores, reference)
            for name, system in self.systems.items()
            if name != TORCH and system.scores and reference
        }


def export_colbert(recipe: Recipe, folder: Path | None = None, say: Callable[[str], None] = lambda _: None) -> Path:
    """Save the student of a finished late-interaction run for sentence-transformers, PyLate and Stanford's ColBERT.

    Args:
        recipe: Of the run.
        folder: Where it goes; default RUN/colbert.
        say: Called with each line of progress.

    Returns:
        The folder.

    Raises:
        DataError: The run has no student or one of single vectors, the format has no place for a part of it, or the
            folder holds something else.
    """
    with _place(recipe, folder, "colbert", say) as (recipe, place, say):
        colbert_format.save_combined(load_encoder(recipe.folder / "student", "cpu"), place, say)
    return folder or recipe.home / "colbert"


def export_router(recipe: Recipe, folder: Path | None = None, say: Callable[[str], None] = lambda _: None) -> Path:
    """Save the student of a finished run and the teacher's encoder of English documents as one model with two routes.

    It is checked on the run's questions and passages, or on sentences of the bitext where there are none.

    Args:
        recipe: Of the run.
        folder: Where it goes; default RUN/router.
        say: Called with each line of progress.

    Returns:
        The folder.

    Raises:
        DataError: The run has no student, or one whose vectors cannot be compared with the teacher's, the saved model
            gives others, or the folder holds something else.
    """
    with _place(recipe, folder, "router", say) as (recipe, place, say):
        _export_router(recipe, place, say)
    return folder or recipe.home / "router"


def _export_router(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> None:
    recipe = first_judged(recipe, say).model_copy(update={"device": "cpu"})
    # Two routes in one folder: there a student has no place for what it composes of.
    towers = Towers(load_encoder(recipe.folder / "student", recipe.device), teacher_towers(recipe).documents)
    check_towers(towers, ["the student", recipe.teacher])
    collection = _collection(recipe, lambda _: None)
    texts = [query.text for query in _queries(recipe, collection)[0]]
    passages = texts
    if collection and collection.docs_lang == ENGLISH:
        passages = [doc.full for doc in islice(collection.docs, CHECKED)]
    save_router(towers, folder, texts, passages, say)
    say(f"in Python: sentence_transformers.{type(towers.queries).__name__}({str(folder)!r})")


def export_onnx(
    recipe: Recipe, folder: Path | None = None, *, int8: bool = True, say: Callable[[str], None] = lambda _: None
) -> ExportReport:
    """Export the student of a finished run, and measure torch and each graph on the same questions.

    The collection is searched exactly, without an index, so that nothing but the query vectors differs. Documents in X
    are embedded by torch for all. Where only English queries are judged there, sentences of the bitext are compared
    instead and there is no MAP, which is said.

    Raises:
        DataError: The run has no student, or it cannot be exported, or the collection judges no query that goes with
            its documents.
    """
    with _place(recipe, folder, "onnx", say) as (recipe, place, say):
        report = _export_onnx(recipe, place, int8, say)
    return report._replace(folder=folder or recipe.home / "onnx")


@contextmanager
def _place(
    recipe: Recipe, folder: Path | None, name: str, say: Callable[[str], None]
) -> Iterator[tuple[Recipe, Path, Callable[[str], None]]]:
    """Where an export is made: in the run's next generation, or beside the folder that it takes the place of."""
    check_replaceable(folder or recipe.folder / name)
    check_read(recipe)
    if folder is None:
        with next_generation(recipe, say) as (recipe, say):
            yield recipe, recipe.folder / name, say
    else:
        with written_whole(folder, sealed=True) as made:
            yield recipe, made, lambda line: say(line.replace(str(made), str(folder)))


def _export_onnx(recipe: Recipe, folder: Path, int8: bool, say: Callable[[str], None]) -> ExportReport:
    recipe = first_judged(recipe, say)
    student = load_student(recipe.folder / "student", "cpu")
    collection = _collection(recipe, say)
    queries, about_texts = _queries(recipe, collection)
    texts = [query.text for query in queries]
    say(f"writing the graphs, and comparing them with torch on {len(texts)} {about_texts}")
    exported = export(student, folder, int8=int8, texts=texts)
    checks = {f"ONNX {precision}": check for precision, check in exported.checks.items()}
    graphs = {f"ONNX {precision}": OnnxEncoder.load(folder, precision=precision) for precision in exported.checks}
    vectors = {TORCH: encode_queries(student, texts)} | {name: graph.encode(texts) for name, graph in graphs.items()}
    scores = _scores(recipe, student, collection, queries, vectors) if collection else {}
    say(f"timing single queries on one thread: {min(TIMED, len(texts))} of them, all forms in turn")
    alone: dict[str, Callable[[str], object]] = {TORCH: lambda text: encode_queries(student, [text])}
    alone |= {name: lambda text, graph=graph: graph.encode([text]) for name, graph in graphs.items()}
    times = latencies(alone, texts[:TIMED])
    systems = {TORCH: System(_weights(student), None, scores.get(TORCH), times[TORCH])}
    systems |= {name: System(check.megabytes, check, scores.get(name), times[name]) for name, check in checks.items()}
    measured_on = _measured_on(collection, recipe.search.split) if collection else None
    report = ExportReport(folder, about_texts, len(texts), measured_on, systems)
    write_text(folder / "report.json", strict_json(as_dict(report)))
    write_text(folder / "table.md", page(table(report), sentences(report)))
    return report


def latencies(alone: Mapping[str, Callable[[str], object]], texts: Sequence[str]) -> dict[str, Latency]:
    """Measure the time of one query at a time on one thread of torch; the candidates take turns at every text.

    Args:
        alone: Candidate -> what answers one query. Threads of a graph are chosen where it is loaded.
        texts: Queries; the first is also asked beforehand, untimed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in alone}
    try:
        for answer in alone.values():
            answer(texts[0])
        for text in texts:
            for name, answer in alone.items():
                start = time.perf_counter()
                answer(text)
                seconds[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return {name: Latency(*(1e3 * np.percentile(s, (50, 95))).tolist()) for name, s in seconds.items()}


def table(report: ExportReport) -> Table:
    """A row for each form of the student; the columns of MAP only where it was measured."""
    head = ["student", "MB", "cos min", "cos mean", "MAP", "MAP lost", "p50 ms", "p95 ms"]
    reference, rows = report.systems[TORCH].scores, []
    for name, (megabytes, check, scores, latency) in report.systems.items():
        agreement = [f"{check.cosine_min:.5f}", f"{check.cosine_mean:.5f}"] if check else ["", ""]
        found = ["", ""]
        if scores and reference:
            ap, lost = scores.mean["AP"], reference.mean["AP"] - scores.mean["AP"]
            found = [f"{ap:.4f}", f"{lost:+.4f}" if name != TORCH else ""]
        rows.append([name, f"{megabytes:.1f}", *agreement, *found, f"{latency.p50:.1f}", f"{latency.p95:.1f}"])
    measured = f"; MAP on {report.collection}" if report.collection else ""
    title = f"cosine with torch on {report.text_count} {report.texts}{measured}; time of one query on one thread"
    if not report.collection:
        head, *rows = (row[:4] + row[6:] for row in (head, *rows))
    return Table(title, head, rows)


def sentences(report: ExportReport) -> list[str]:
    """The MAP of each graph against torch's, with its test; none without a collection."""
    return [comparison.in_words(f"{name} - {TORCH}") for name, comparison in report.lost().items()]


def as_dict(report: ExportReport) -> dict[str, Any]:
    """The report as it is kept in JSON, with the tests and the versions of the packages."""
    systems = {
        name: {
            "megabytes": system.megabytes,
            "check": system.check and system.check._asdict(),
            "scores": system.scores and system.scores._asdict(),
            "milliseconds": system.latency._asdict(),
        }
        for name, system in report.systems.items()
    }
    packages = versions(("torch", "sentence-transformers", "onnxruntime", "tokenizers", "numpy"))
    tests = {name: comparison._asdict() for name, comparison in report.lost().items()}
    head = {"texts": report.texts, "count": report.text_count, "collection": report.collection}
    return {**head, "systems": systems, "tests": tests, "packages": packages}


def _collection(recipe: Recipe, say: Callable[[str], None]) -> Collection | None:
    """The collection of the run, where it is asked in X: a graph encodes no English query."""
    path = collection_path(recipe)
    if not path:
        return None
    collection = read_collection(path, [ENGLISH, recipe.lang])
    if not collection.qrels:
        say(f"no MAP: {collection.name} has no judgements")
        return None
    check_split(collection, recipe.lang, recipe.search.split)
    if recipe.lang in collection.queries and queries_of(collection, recipe.lang, recipe.search.split):
        return collection
    say(
        f"no MAP: {collection.name} has {collection.docs_lang} documents and judges only English queries in "
        f"{recipe.search.split!r}, which the teacher embeds, and no graph of the student"
    )
    return None


def _measured_on(collection: Collection, split: str) -> str:
    documents = "" if collection.docs_lang == ENGLISH else f", {collection.docs_lang} documents"
    return f"{collection.name} ({split}{documents})"


def _queries(recipe: Recipe, collection: Collection | None) -> tuple[list[Query], str]:
    """Texts to compare the graphs on, and their name: the judged questions, or else sentences of the bitext."""
    if collection is None:
        pairs = read_bitext(bitext_path(recipe), recipe.lang).pairs[:BITEXT_TEXTS]
        return [Query(f"s{k}", pair.foreign) for k, pair in enumerate(pairs)], f"{recipe.lang} sentences of the bitext"
    return queries_of(collection, recipe.lang, recipe.search.split), f"{recipe.lang} questions"


def _scores(
    recipe: Recipe, student: Encoder, collection: Collection, queries: list[Query], vectors: Mapping[str, Any]
) -> dict[str, Scores]:
    """MAP of each form's query vectors over the same documents: English ones by the teacher, those in X by torch."""
    embedder = teacher_towers(recipe).documents if collection.docs_lang == ENGLISH else student
    _, documents, ids = embed_documents(recipe, embedder, collection, False)
    documents = hubness_of(recipe).penalised(student, recipe.lang, documents)
    qrels = judgements_of(queries, collection.qrels[recipe.search.split])
    asked = [query.id for query in queries]
    return {
        name: measure(search_vectors(found, asked, documents, ids, recipe.search.depth), qrels)
        for name, found in vectors.items()
    }


def _weights(encoder: Encoder) -> float:
    """Size of the weights in MB."""
    return round(sum(p.numel() * p.element_size() for p in encoder.parameters()) / 1e6, 3)
