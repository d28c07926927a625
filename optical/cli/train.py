"""Commands that make a student or a teacher: distill, transplant, teach, data, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optical.cli.app import (
    EPILOG,
    BitextOption,
    CollectionOption,
    Lang,
    Out,
    RecipeFile,
    Run,
    Settings,
    Teacher,
    app,
    console,
    epilog,
    kept,
    overrides_of,
    recipe_of,
    say,
    show,
)
from optical.cli.serve import Name, PathOption, Target, Url, export_to_colbert, export_to_qdrant
from optical.config.recipe import Recipe, load_options, options
from optical.config.teaching import Teaching


@app.command(epilog=EPILOG)
def distill(
    recipe: RecipeFile = None, lang: Lang = None, teacher: Teacher = None, bitext: BitextOption = None,
    collection: CollectionOption = None, out: Out = None, settings: Settings = None,
) -> None:  # fmt: skip
    """The whole chain: transplant, distillation, index, runs, measures.

    Interrupted with Ctrl-C, the same command goes on from the last checkpoint.
    """
    from optical.evaluation import report
    from optical.pipeline import distill as pipeline_distill

    chosen = recipe_of(recipe, settings, lang=lang, teacher=teacher, bitext=bitext, collection=collection, out=out)
    reports = pipeline_distill.distil_languages(chosen, say)
    show(reports, report)
    if not reports:
        console.print("no collection was given, so nothing was measured: add --collection")
    folder = chosen.folder
    console.print(f"\nThe run is in [bold]{folder}[/bold]; the student is in [bold]{folder / 'student'}[/bold]. Next:")
    console.print(
        f"  optical search {folder} 'your question'\n  optical evaluate {folder} --collection FOLDER", highlight=False
    )


@app.command(epilog=EPILOG)
def transplant(
    recipe: RecipeFile = None, lang: Lang = None, teacher: Teacher = None, bitext: BitextOption = None, out: Out = None,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Give the teacher the words of a language, nothing trained: a student in under a minute."""
    from optical.pipeline import distill as pipeline_distill
    from optical.pipeline import index, inputs

    chosen = recipe_of(recipe, settings, lang=lang, teacher=teacher, bitext=bitext, out=out)
    pairs = inputs.read_inputs(chosen, say).pairs
    grown = pipeline_distill.make_transplant(chosen, index.load_teacher(chosen), pairs, say)
    for name, value in grown.report().items():
        console.print(f"  {name}: {value}", highlight=False)
    console.print(f"the student is in [bold]{chosen.folder / 'transplant'}[/bold]")


@app.command(epilog=epilog(options(Teaching)))
def teach(
    recipe: RecipeFile = None, teacher: Teacher = None, collection: CollectionOption = None, out: Out = None,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Teach English first: an encoder from the queries and judgements of a collection, with hard negatives.

    Interrupted with Ctrl-C, the same command goes on from the last checkpoint.
    """
    from optical.pipeline import teach as pipeline_teach

    named = {"teacher": teacher, "collection": collection, "out": out}
    chosen = load_options(Teaching, recipe, overrides_of(settings, named))
    for outcome in pipeline_teach.teach(chosen, say):
        console.print(pipeline_teach.as_table(outcome))
        for sentence in pipeline_teach.as_sentences(outcome):
            console.print(sentence)
    folder = chosen.folder / "teacher"
    console.print(f"\nThe encoder is in [bold]{folder}[/bold]. Next, a student of it:")
    console.print(f"  optical distill --lang LANG --teacher {folder}", highlight=False)


@app.command()
def export(
    run: Run,
    to: Annotated[
        Target, typer.Option("--to", help="The student as onnx or as a colbert folder; the documents to qdrant.")
    ] = "onnx",
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder of the export; default RUN/onnx.")] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="onnx: also a graph with int8 weights.")] = True,
    url: Url = None,
    path: PathOption = None,
    name: Name = None,
    shards: Annotated[int | None, typer.Option("--shards", min=1, help="Qdrant: parts, on a server.")] = None,
    replicas: Annotated[int | None, typer.Option("--replicas", min=1, help="Qdrant: copies of each part.")] = None,
    settings: Settings = None,
) -> None:
    """The student for use elsewhere, as ONNX without torch or as a ColBERT folder; or the documents in Qdrant.

    ONNX comes with a table of what each file costs and loses.
    """
    chosen = recipe_of(kept(run), settings, out=str(run))
    if to != "qdrant" and (url or path or name or shards or replicas):
        raise typer.BadParameter("these options are for --to qdrant", param_hint="--url, --path, --name, ...")
    if to == "qdrant":
        export_to_qdrant(chosen, url, path, name, shards, replicas, settings)
    elif to == "colbert":
        export_to_colbert(chosen, out)
    else:
        _export_onnx(chosen, out, int8)


def _export_onnx(recipe: Recipe, out: str | None, int8: bool) -> None:
    from optical.pipeline import export as pipeline_export

    result = pipeline_export.export_onnx(recipe, Path(out) if out else None, int8=int8, say=say)
    console.print(pipeline_export.as_table(result))
    for sentence in pipeline_export.as_sentences(result):
        console.print(sentence)
    console.print(f"\nThe export is in [bold]{result.folder}[/bold]. Next, in Python, without torch:")
    console.print("  from optical.models.onnx_encoder import OnnxEncoder", highlight=False)
    console.print(
        f"  OnnxEncoder.load({str(result.folder)!r}).encode(['your question'])", highlight=False, markup=False
    )


@app.command()
def data(
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language code as the hub has it.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows of each set.")] = 100_000,
    out: Out = None,
) -> None:
    """Fetch public bitext of a language, or of several, from the hub (needs a network)."""
    from optical.data.bitext_download import fetch_bitext
    from optical.pipeline.inputs import DOWNLOADS

    langs = recipe_of(None, None, lang=lang).langs
    for one in langs:
        folder = DOWNLOADS / one if out is None else Path(out) / one if len(langs) > 1 else Path(out)
        for file in fetch_bitext(one, folder, limit=limit):
            console.print(f"wrote [bold]{file}[/bold]")
