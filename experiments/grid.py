"""What an experiment is: a question, the languages, seeds and rows of its grid, and the recipe that rows share.

Read from ``experiments/<name>/recipe.toml``, validated like a recipe: an unknown option stops with the nearest name.
Knows no model and no data.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optical.config.recipe import Recipe, load_recipe
from optical.errors import RecipeError

FOLDER = Path(__file__).parent


class Row(BaseModel):
    """One way of doing it.

    Attributes:
        name: As the table has it.
        set: Dotted options of a recipe that make this row different from the others.
        beside: Other languages that the same student is trained on, as ``LANG=de,so`` has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    set: dict[str, Any] = Field(default_factory=dict)
    pairs: int | None = Field(default=None, ge=1, description="pairs of this row, instead of the experiment's")
    beside: tuple[str, ...] = ()


class Experiment(BaseModel):
    """The grid: every row in every language with every seed.

    Attributes:
        question: What the table is to answer.
        langs: Languages; each has bitext in ``DATA/bitext/<lang>``.
        seeds: Of the order of the pairs, one training run each.
        collections: Folders in ``DATA/clir``; those without queries in a language are passed over.
        split: What is measured: the collections' judgements, or held-out pairs that the teacher judges.
        pairs: Most pairs trained on, drawn by a hash from those of the recipe's lengths; all where it is not given.
        transplant: Whether the vocabulary is aligned on all the bitext, or on the drawn pairs alone.
        against: Row that every other is compared with.
        compare: Pairs of rows that are tested against each other, beside ``against``.
        perturb: Perturbations of the queries that are measured beside the clean ones, as ``kind@rate``.
        recipe: Options that all rows share, by dotted name.
        rows: The rows, in the order of the table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    langs: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    collections: tuple[str, ...] = ("afriqa", "xquad", "squad_fi_mt", "ntrex_doc", "flores_doc")
    split: Literal["test", "held-out"] = "test"
    pairs: int | None = Field(default=None, ge=1)
    transplant: Literal["all", "drawn"] = "all"
    against: str | None = None
    compare: tuple[tuple[str, str], ...] = ()
    perturb: tuple[str, ...] = ()
    recipe: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[Row, ...]


def load(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        RecipeError: No such experiment, or a recipe that cannot be used; every row is checked before anything runs.
    """
    path = FOLDER / name / "recipe.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in FOLDER.glob("*/recipe.toml")))
        raise RecipeError(f"no experiment {name!r}: {path} is not there; known: {known}")
    try:
        found = Experiment.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise RecipeError(f"{path}: {where}: {fault['msg']}; this is no grid of an experiment") from error
    for row in found.rows:
        recipe = recipe_of(found, row, found.langs[0], found.seeds[0])
        if recipe.late_interaction and found.split == "held-out":
            raise RecipeError(
                f"{path}: row {row.name!r} is of late interaction, and held-out pairs are measured by "
                'single vectors; use split = "test", or leave the row out'
            )
    names = [row.name for row in found.rows]
    named = {name for pair in found.compare for name in pair} | ({found.against} if found.against else set())
    if len(set(names)) < len(names) or named - set(names):
        raise RecipeError(
            f"{path}: rows need names of their own, and `against` and `compare` name some of them; rows are {names}, "
            f"named are {sorted(named)}"
        )
    return found


def recipe_of(experiment: Experiment, row: Row, lang: str, seed: int) -> Recipe:
    """The recipe of one cell."""
    return load_recipe(None, {"lang": lang, "seed": seed, **experiment.recipe, **row.set})
