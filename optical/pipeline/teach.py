"""Teach an English teacher from a judged collection, and measure it beside its start, one folder a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from optical.config.recipe import write_recipe
from optical.config.teaching import Teaching
from optical.data.collection import Collection, documents_of, read_collection
from optical.data.document_store import FullTexts, ids_of
from optical.data.records import ENGLISH
from optical.data.trec_run import write_run
from optical.embeddings.cache import document_vectors
from optical.errors import DataError
from optical.evaluation.measures import Scores, measure
from optical.evaluation.significance import Comparison, compare
from optical.evaluation.tables import Table, page
from optical.files import strict_json, write_text
from optical.models.encoders import Encoder, as_multi_vector, fingerprint
from optical.models.load import load_encoder
from optical.models.precision import check_precision
from optical.models.prompts import with_prompts
from optical.models.save import save_encoder
from optical.pipeline.dev_score import score_anew
from optical.pipeline.inputs import say_skipped
from optical.pipeline.manifest import write_manifest
from optical.pipeline.run_folder import TAUGHT as TAUGHT_PARTS
from optical.pipeline.run_folder import check_part, check_teach, next_generation
from optical.pipeline.sides import check_english
from optical.progress import clock
from optical.retrieval.search import search
from optical.training.hard_negatives import mine
from optical.training.teacher import at_most_tokens, beginning, ranking_of, teach
from optical.training.teacher_data import HeldOut, TeachingData, divide, draw_queries
from optical.training.trainer import Trained, Workspace

START, PROJECTED, TAUGHT = "start", "start, projected", "taught"
MEASURES = ("AP", "nDCG@10", "R@100")
DEPTH = 100


class TaughtScores(NamedTuple):
    """Scores of all encoders on one set of queries.

    Attributes:
        title: Which.
        scores: Encoder -> scores, the start first and the taught one last.
    """

    title: str
    scores: dict[str, Scores]

    def tests(self) -> dict[str, Comparison]:
        """The taught encoder against every other: paired randomisation tests on AP."""
        others = [name for name in self.scores if name != TAUGHT]
        return {f"{TAUGHT} - {other}": compare(self.scores[TAUGHT], self.scores[other]) for other in others}


def teach_run(
    options: Teaching, say: Callable[[str], None] = lambda _: None, *, progress: bool = True
) -> list[TaughtScores]:
    """Teach, save and measure: on the held-out queries, which chose the checkpoint, and on the test collection.

    Interrupted (Ctrl-C), it writes a checkpoint and stops; called again with the same options it goes on from there.

    Raises:
        DataError: A collection or encoder that cannot be used, fewer pairs than a batch.
        RecipeError: Options that do not fit the encoder, or the processor.
        Diverged: The loss is no number.
        Interrupted: Stopped by Ctrl-C.
    """
    check_teach(options.folder)
    with clock(), next_generation(options, say, TAUGHT_PARTS) as (options, say):
        outcomes, taught = _teach(options, say, progress)
    taught.clear_checkpoints()  # now that all is saved
    return outcomes


def _teach(options: Teaching, say: Callable[[str], None], progress: bool) -> tuple[list[TaughtScores], Trained]:
    ended = clock()
    ended("start")
    collection = _read(options.collection)
    say_skipped([collection], say)
    data = divide(collection, options)
    measured_on = _measured_on(options, data, collection.name)
    check_part(Path(options.teacher))
    start = load_encoder(options.teacher, options.device)
    start = with_prompts(start, options.teacher_prompts.model_dump(), options.teacher)
    check_precision(options.precision, start.device.type)
    encoder = beginning(start, [example.doc.full for example in data.examples], options, options.teacher)
    systems = {START: as_multi_vector(start) if options.late_interaction else start}
    if len(encoder) > len(systems[START]):
        systems[PROJECTED] = encoder
    ended("read")
    with at_most_tokens(start, options.max_tokens):
        rows, drawn = mine(start, data, options, options.cache_folder)
        ranking = ranking_of(start, rows) if options.loss == "ranking" else None
    say(f"{len(rows)} pairs to learn from" + (f", {drawn} with wrong passages drawn, not mined" if drawn else ""))
    ended("negatives")
    workspace = Workspace(options.home, options.cache_folder, progress)
    dev = score_anew(*data.held_out) if data.held_out else None
    taught = teach(encoder, rows, options, workspace, dev=dev, ranking=ranking)
    ended("training")
    save_encoder(taught.encoder, options.folder / "teacher")
    systems[TAUGHT] = taught.encoder
    outcomes = [_measure(title, queries, systems, options) for title, queries in measured_on.items()]
    ended("evaluation")
    write_text(options.folder / "recipe.toml", write_recipe(options))
    write_text(options.folder / "training.json", strict_json(taught.history))
    facts = {"pairs": len(rows), "development": taught.facts, "fingerprint": fingerprint(taught.encoder)}
    facts |= {"collection": {"name": collection.name, "checksum": collection.checksum}}
    write_manifest(options, start, facts | ended.facts())
    return outcomes, taught


def _read(path: str) -> Collection:
    """A collection to teach English with, or to measure it on; documents in X are refused before they are read."""
    lang = documents_of(path).lang
    why = (
        "an English teacher learns from English queries and passages; give a collection whose documents are English "
        f"(docs.jsonl), or teach {lang} to a student with `optical distill --lang {lang}`"
    )
    check_english(path, lang, why)
    collection = read_collection(path, [ENGLISH])
    if not collection.qrels:
        raise DataError(
            f"no judgements in {path}, from which a teacher learns; put qrels.tsv beside its documents, with query 0"
            " document relevance on each line"
        )
    return collection


def _measured_on(options: Teaching, data: TeachingData, name: str) -> dict[str, HeldOut]:
    """Title -> queries to measure on."""
    found = {}
    if data.held_out:
        found[f"{name}, held out"] = data.held_out
    if options.test:
        other = _read(options.test)
        found[f"{other.name}, {options.test_split}"] = draw_queries(other, options.test_split, options.test_queries)
    return found


def _measure(title: str, held_out: HeldOut, systems: dict[str, Encoder], options: Teaching) -> TaughtScores:
    """Search with every encoder; runs, JSON and table go to a folder of that title."""
    folder = options.folder / "evaluation" / title.replace(", ", "-").replace(" ", "-").replace("/", "-")
    ids, texts, scores = ids_of(held_out.docs), FullTexts(held_out.docs), {}
    for name, encoder in systems.items():
        vectors = document_vectors(encoder, ids, texts, options.cache_folder)
        run = search(encoder, held_out.queries, vectors, ids, DEPTH)
        scores[name] = measure(run, held_out.qrels)
        tag = name.replace(", ", "-")
        write_run(run, folder / f"{tag}.trec", f"optical-{tag}")
    queries, docs = len(held_out.queries), len(held_out.docs)
    outcome = TaughtScores(f"{title}: {queries} English queries, {docs} passages", scores)
    tests = {name: test._asdict() for name, test in outcome.tests().items()}
    plain = {"title": outcome.title, "scores": {n: s._asdict() for n, s in scores.items()}, "tests": tests}
    plain |= {"fingerprint": fingerprint(systems[TAUGHT])}
    write_text(folder / "results.json", strict_json(plain))
    write_text(folder / "table.md", page(table(outcome), sentences(outcome)))
    return outcome


def table(outcome: TaughtScores) -> Table:
    """A row for each encoder: MAP, nDCG@10 and R@100."""
    head = ["encoder", *("MAP" if name == "AP" else name for name in MEASURES)]
    rows = [[name, *(f"{scores.mean[m]:.4f}" for m in MEASURES)] for name, scores in outcome.scores.items()]
    return Table(outcome.title, head, rows, bold=[k for k, name in enumerate(outcome.scores) if name == TAUGHT])


def sentences(outcome: TaughtScores) -> list[str]:
    """Each test in words."""
    return [comparison.in_words(name) for name, comparison in outcome.tests().items()]
