"""The closing words of a run: what was not measured, what its development score is worth, what can be done next."""

from __future__ import annotations

import json
import shlex

from optical.config.recipe import Recipe
from optical.pipeline.inputs import collection_path

SEEN = 2  # standard errors that a difference must have to be told from chance, about


def not_measured(recipe: Recipe) -> str:
    """Say what was not measured in a finished run, and how little its development score shows, by its manifest."""
    made = json.loads((recipe.folder / "manifest.json").read_text(encoding="utf-8"))
    known = made["collection"] if len(recipe.langs) == 1 else next(filter(None, made["collection"].values()), None)
    where = f"{known['name']} has no judgements" if known else "no documents were given"
    return f"Not measured: how well questions find their documents ({where}). {_development(made['development'])}"


def next_steps(recipe: Recipe, *, measured: bool) -> list[str]:
    """The commands that a finished run is ready for."""
    folder = shlex.quote(str(recipe.folder))
    if not any(collection_path(recipe.of(lang)) for lang in recipe.langs):
        return [f"index {folder} --docs FOLDER", f"search {folder} 'your question'"]
    other = f"evaluate {folder} --collection FOLDER" if measured else f"serve {folder}"
    return [f"search {folder} 'your question'", other]


def _development(score: dict[str, float | None]) -> str:
    """The development score in words; of a run without training or with too few pairs there is none."""
    if score["best"] is None or score["start"] is None:
        return "There is no development score either: the bitext has too few pairs to hold any out."
    error, kept = score["standard_error"], score["share"] == 0
    end = f"stayed at {score['start']:.4f}, that of the start" if kept else f"rose to {score['best']:.4f} in training"
    said = f"The development score, on sentences held out of the bitext, {end}"
    if not kept:
        said += f", from {score['start']:.4f}"
    if error is None:
        return f"{said}; there were too few sentences to test it. It says nothing about real questions."
    return (
        f"{said}; the standard error of the difference is {error:.4f}, so that one below some {SEEN * error:.4f} does "
        "not show on so few sentences. It chose the student, and says nothing about real questions."
    )
