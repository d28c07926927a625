"""Verbs that measure and search, evaluate and search, and that prepare documents, embed and index."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from optical.cli.app import (
    CollectionOption,
    DocsOption,
    Lang,
    RecipeFile,
    Run,
    RunCollection,
    Settings,
    Teacher,
    bold,
    command,
    console,
    found,
    kept,
    recipe_of,
    say,
    searched,
    show,
    show_reports,
)
from optical.cli.help import HelpAll
from optical.cli.serve import EngineOption, Name, PathOption, Url, check_place, opened_answers
from optical.data.feedback import read_feedback
from optical.data.words import cut
from optical.errors import DataError
from optical.files import check_writable
from optical.pipeline import preflight
from optical.pipeline.run_folder import MEASURED, SEARCHED

ROBUST = "Robustness"  # help panel of the options that perturb queries


@command("late_interaction", "cache", "device", "search.shard_size", "search.precision", "search.compute")
def embed(
    lang: Lang = None, collection: CollectionOption = None, docs: DocsOption = None, teacher: Teacher = None,
    finish: Annotated[
        Path | None, typer.Option("--finish", help="Folder into which several machines copied their shards.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes of this machine, which share its threads.")
    ] = 1,
    recipe: RecipeFile = None, settings: Settings = None, help_all: HelpAll = False,
) -> None:  # fmt: skip
    """Embed the documents of a collection with the teacher, once; later runs read the result.

    Works shard by shard; after Ctrl-C the same command goes on at the next shard.

    To share the shards between machines, or GPUs: accelerate launch -m optical.cli embed ...

    Machines without a common disk copy their shards into one folder, which --finish checks and completes.
    """
    if finish is not None:
        from optical.embeddings.write_shards import finish as complete

        count = complete(finish).manifest["count"]
        console.print(f"{count} documents are in {bold(finish)}")
        found(vectors=[{"documents": count, "folder": str(finish)}])
        return
    wanted = recipe_of(recipe, settings, lang=lang, teacher=teacher, collection=searched(collection, docs))
    preflight.before_embed(wanted)
    from optical.pipeline.embed import documents_cut, embed_collections

    made = embed_collections(wanted, say, workers)
    found(vectors=[{"documents": len(one.start) - 1, "folder": str(one.folder)} for one in made])
    for vectors in made:
        console.print(f"{len(vectors.start) - 1} documents are in {bold(vectors.folder)}")
        if line := documents_cut(vectors):
            console.print(line, markup=False)
        near = json.loads((vectors.folder / "optical.json").read_text(encoding="utf-8")).get("agreement")
        if near:
            console.print(
                f"bfloat16 beside float32, the first {near['compared']} documents: 1 - cosine is "
                f"{1 - near['min']:.1e} at most, {1 - near['mean']:.1e} on average"
            )


@command(
    "search.factory",
    "search.index_size",
    "search.late_index",
    "search.late_precision",
    "search.pool_factor",
)
def index(
    run: Run, collection: RunCollection = None, docs: DocsOption = None, settings: Settings = None,
    help_all: HelpAll = False,
) -> None:  # fmt: skip
    """Build the index of a run again, for another collection or of another kind."""
    wanted = recipe_of(kept(run), settings, collection=searched(collection, docs), out=str(run))
    preflight.before_index(wanted)
    from optical.pipeline.index import index_run

    folders = index_run(wanted, say)
    found(indexes=[str(folder) for folder in folders])
    for folder in folders:
        console.print(f"the index is in {bold(folder)}")
    if not folders:
        console.print("no index was built: this late-interaction run is searched exactly")


@command("device", "search.probe", "search.candidates", "search.mapped")
def search(
    run: Run,
    questions: Annotated[
        list[str],
        typer.Argument(metavar="QUESTION...", help="In LANG; - reads one a line, or ID<TAB>QUESTION."),
    ],
    depth: Annotated[
        int | None, typer.Option("--depth", "-k", min=1, help="How many passages.", show_default="5; --trec: 1,000")
    ] = None,
    trec: Annotated[Path | None, typer.Option("--trec", help="Write a TREC run instead of printing.")] = None,
    engine: EngineOption = "own",
    url: Url = None,
    path: PathOption = None,
    name: Name = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:  # fmt: skip
    """Search for questions: titles, snippets, scores; with late interaction, the words that matched."""
    wanted = recipe_of(kept(run, *SEARCHED), settings, out=str(run))
    check_place(engine, url, path, name)
    asked = _asked(questions)
    if trec:
        check_writable(trec.parent, [trec.name])
    preflight.before_search(wanted)
    with opened_answers(wanted, engine, url, path, name) as opened:
        hits = {query: opened.answer(text, depth or (1_000 if trec else 5)) for query, text in asked.items()}
    if trec:
        from optical.data.trec_run import write_run

        write_run({query: {hit.doc.id: hit.score for hit in own} for query, own in hits.items()}, trec, "optical")
        found(run=str(trec), queries=len(asked))
        console.print(f"{len(asked)} rankings are in {bold(trec)}")
        return
    from optical.web.endpoints import result

    found(
        answers=[
            {"id": query, "query": asked[query], "results": [result(asked[query], hit) for hit in own]}
            for query, own in hits.items()
        ]
    )
    for query, own in hits.items():
        if len(hits) > 1:
            console.print(f"\n[bold cyan]{escape(query)}  {escape(asked[query])}[/bold cyan]", highlight=False)
        _print_hits(asked[query], own)


def _asked(given: list[str]) -> dict[str, str]:
    """Query id -> question: q1, q2, ... or as standard input names them."""
    asked: dict[str, str] = {}
    for text in given:
        for line in (line for line in sys.stdin if line.strip()) if text == "-" else [text]:
            name, tab, question = line.partition("\t")
            query = name.strip() if tab and text == "-" else f"q{len(asked) + 1}"
            if query in asked:
                raise DataError(f"the query id {query!r} is there twice; name every question once")
            asked[query] = preflight.checked_question(question if tab and text == "-" else line)
    if not asked:
        raise DataError("no question was asked; standard input has no line; write one question a line")
    return asked


def _in_words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _print_hits(question: str, hits: Sequence[Any]) -> None:
    """Print titles, snippets, scores, and the words that matched."""
    for place, (doc, score, matches, span) in enumerate(hits, start=1):
        title = escape(doc.title or cut(doc.text, 60))
        name = escape(doc.id) + (f" characters {span.start}-{span.end}" if span else "")
        console.print(f"[bold]{place}. {title}[/bold]  [dim]{name}[/dim]  {score:.4f}", highlight=False)
        console.print(f"   {escape(cut(doc.text, 300))}", highlight=False)
        if others := " · ".join(f"{name}: {_in_words(value)}" for name, value in doc.metadata.items()):
            console.print(f"   [dim]{escape(cut(others, 300))}[/dim]", highlight=False)
        words = (f"{question[slice(*m.query)]} -> {doc.full[slice(*m.passage)]} {m.similarity:.2f}" for m in matches)
        if matches:
            console.print(f"   [dim]{escape(', '.join(words))}[/dim]", highlight=False)


@command("device", "search.depth", "search.bm25", "search.fusion", "search.translations", "search.probe")
def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Folder of a run; without one, --run files are compared with each other."),
    ] = None,
    collection: RunCollection = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Which judgements: dev, test, ...", show_default="the run's")
    ] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", "-l", help="Only these languages.", show_default="the run's")
    ] = None,
    student: Annotated[
        Path | None, typer.Option("--student", help="Another student.", show_default="the run's")
    ] = None,
    feedback: Annotated[
        Path | None, typer.Option("--feedback", help="Questions and judgements that `serve --feedback` wrote.")
    ] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--run", help="TREC run of another system, to compare with the student's own; repeatable."),
    ] = None,
    perturb: Annotated[
        list[str] | None,
        typer.Option(
            "--perturb",
            help="Measure on queries with typos, diacritics, case, codeswitch or drop instead; repeatable.",
            rich_help_panel=ROBUST,
        ),
    ] = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(
            "--rate", help="Share of words perturbed; repeatable.", show_default="0.1, 0.2", rich_help_panel=ROBUST
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="How often each perturbation is drawn.", rich_help_panel=ROBUST)
    ] = 3,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Measure a student: a table, TREC runs, and JSON with the measures of every query.

    With --run, the runs of other systems are measured with the same judgements and tested against the student's.
    """
    if run is None and not others:
        raise typer.BadParameter("name the folder of a run, or TREC files by --run", param_hint="RUN")
    if rate and not perturb:
        raise typer.BadParameter("a rate needs a kind of perturbation, as in --perturb typos", param_hint="--rate")
    if feedback and (others or perturb or split):
        raise typer.BadParameter("not with --run, --perturb or --split", param_hint="--feedback")
    options: dict[str, Any] = {"collection": collection, "lang": lang, "search.split": split}
    options |= {"out": str(run) if run else None}
    wanted = recipe_of(kept(run, *MEASURED) if run else None, settings, **options)
    if run and not others:
        preflight.before_evaluate(wanted, student)
    if feedback:
        read_feedback(feedback)
    from optical.pipeline import evaluate as pipeline_evaluate

    if others:
        from optical.evaluation.compare_runs import narrow_tables

        compared = pipeline_evaluate.compare_with(wanted, others, say, keep=run is not None)
        for table in narrow_tables(compared):
            show(table)
        return
    if perturb:
        from optical.evaluation import perturbed_results
        from optical.pipeline.perturb import RATES, perturb_run

        for result in perturb_run(wanted, perturb, rate or RATES, seeds=seeds, student=student, say=say):
            show(perturbed_results.table(result))
        return
    show_reports(pipeline_evaluate.evaluate_run(wanted, student, say, feedback))
