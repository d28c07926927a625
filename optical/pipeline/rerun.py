"""Make a finished run again by its own recipe, elsewhere, and tell whether it comes out the same."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from optical.config.recipe import Recipe
from optical.errors import DataError
from optical.evaluation.tables import Table
from optical.pipeline.distill import distill_run
from optical.pipeline.verify import FILES, read_manifest

COMPARED = ("student/", "transplant/", "index/", "index-", "evaluation/")  # what answers are made of, and figures
CIRCUMSTANCES = (
    "threads",
    "processor",
    "python",
    "packages",
    "optical",
    "commit",
    "bitext",
    "dictionary",
    "collection",
)


class Rerun(NamedTuple):
    """A run and the same made again.

    Attributes:
        same: Files that have the same bits.
        different: Files that have not, or are in one of the two only.
        figures: ``(collection, system)`` -> MAP of the run, and made again; where files differ.
        circumstances: What the manifests say differently of how the two were made: name -> both values.
    """

    same: list[str]
    different: list[str]
    figures: dict[tuple[str, str], tuple[float, float]]
    circumstances: dict[str, tuple[Any, Any]]


def rerun(recipe: Recipe, say: Callable[[str], None] = lambda _: None, *, progress: bool = True) -> Rerun:
    """Distill again by the recipe of a finished run, in a temporary folder, and compare; the run is not changed.

    Vectors of the teacher are taken from the cache where they are there.

    Raises:
        DataError: The run has no checksums, since it was made before they were noted; or see ``distill_run``.
    """
    made = read_manifest(recipe.home)
    if FILES not in made:
        raise DataError(f"{recipe.home / 'manifest.json'} has no checksums to compare with; distill the run again")
    with tempfile.TemporaryDirectory(prefix="optical-rerun-") as folder:
        other = recipe.model_copy(update={"out": str(Path(folder) / recipe.home.resolve().name)})
        distill_run(other, say, progress=progress)
        again = read_manifest(other.home)
        sums = [_checksums(one) for one in (made, again)]
        # What was measured later, on other collections, is not made again.
        names = sorted({name for name in sums[0] if not name.startswith("evaluation/")} | {*sums[1]})
        same = [name for name in names if sums[0].get(name) == sums[1].get(name)]
        different = [name for name in names if name not in same]
        figures = {}
        for name in different:
            if name.endswith("/results.json") and name in sums[0] and name in sums[1]:
                found = [_maps(home / name) for home in (recipe.home, other.home)]
                figures |= {(Path(name).parent.name, one): (found[0][one], found[1].get(one, 0.0)) for one in found[0]}
    told = {name: (made.get(name), again.get(name)) for name in CIRCUMSTANCES if made.get(name) != again.get(name)}
    return Rerun(same, different, figures, told)


def table(outcome: Rerun) -> Table:
    """MAP of each system on each collection, of the run and made again."""
    rows = [
        [*key, *(f"{value:.5f}" for value in both), f"{both[1] - both[0]:+.5f}"]
        for key, both in outcome.figures.items()
    ]
    return Table("MAP", ["collection", "system", "run", "again", "difference"], rows, left=2)


def _checksums(made: dict[str, Any]) -> dict[str, str]:
    """Of the files that are compared; the card and markers of folders name places and times."""
    return {
        name: note["sha256"]
        for name, note in made[FILES].items()
        if name.startswith(COMPARED) and not name.endswith("README.md")
    }


def _maps(results: Path) -> dict[str, float]:
    systems = json.loads(results.read_text(encoding="utf-8")).get("systems", {})
    return {name: scores["mean"]["AP"] for name, scores in systems.items()}
