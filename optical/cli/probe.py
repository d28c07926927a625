"""Verb that asks encoders what they know of other languages: probe."""

from __future__ import annotations

from typing import Annotated

import typer

from optical.cli.app import Settings, command, found, overrides_of, say, show
from optical.cli.help import HelpAll
from optical.config.probe import Probe
from optical.config.toml import load_options
from optical.pipeline import preflight

ROBUST = {"rs-rp": "noise", "rs-da": "augment"}  # names of the literature -> those of the recipe


@command("split", "rows", "folds", "rate", "fine_tuning.steps", "device", model=Probe)
def probe(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Folder of a run (its teacher and its student), or a model by folder, hub id or name."
        ),
    ],
    task: Annotated[str, typer.Option("--task", help="xnli, pawsx, sts, xquad-retrieval.")],
    test: Annotated[str, typer.Option("--test", help="Languages that are tested: sw,de.")],
    train: Annotated[str | None, typer.Option("--train", help="Language learnt from.", show_default="en")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Folder with dev.LANG.tsv or the published files, or a hub id.", show_default="the hub's"
        ),
    ] = None,
    train_data: Annotated[
        str | None,
        typer.Option("--train-data", help="Other pairs to learn from.", show_default="those of --data, divided"),
    ] = None,
    against: Annotated[str | None, typer.Option("--against", help="A second model, to compare with.")] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train the whole encoder, not a classifier of frozen vectors.")
    ] = False,
    robust: Annotated[
        str | None,
        typer.Option(
            "--robust",
            help="With --fine-tune: learn from perturbed pairs too, fgm, pgd, rs-rp (noise), rs-da (synonyms).",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Divisions of the pairs.", show_default="3")] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Pairs of two languages too.")] = False,
    perturb: Annotated[
        str | None, typer.Option("--perturb", help="Perturbed tests too: typos,diacritics,codeswitch,order,case,drop.")
    ] = None,
    bitext: Annotated[
        str | None, typer.Option("--bitext", help="Sentence pairs for codeswitch: folder/{lang}.")
    ] = None,
    settings: Settings = None,
    help_all: HelpAll = False,
) -> None:
    """Train a classifier of sentence pairs in one language, test it in others: how far what an encoder knows goes.

    Items of a test are never learnt from, in no language.
    """
    named = {
        "task": task, "test": test, "train": train, "data": data, "train_data": train_data, "seeds": seeds,
        "perturb": perturb, "bitext": bitext, "mixed": mixed or None, "fine_tune": fine_tune or None,
        "robustness.method": robust and ROBUST.get(robust, robust),
    }  # fmt: skip
    options = load_options(Probe, None, overrides_of(settings, named))
    preflight.before_probe([model, *([against] if against else [])], options)
    from optical.evaluation import probe_results
    from optical.pipeline import probe as pipeline_probe

    results = pipeline_probe.probe(model, options, against, say)
    found(probe=probe_results.as_dict(results))
    for table in probe_results.tables(results):
        show(table)
