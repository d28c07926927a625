"""Experiments as they are described: a question, languages, seeds, the rows of a grid and the recipe that rows share.

Read from ``experiments/<name>/recipe.toml`` and validated like a recipe: an unknown option stops with the nearest name.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optical.config.recipe import Recipe, load_recipe
from optical.errors import DataError, RecipeError

FOLDER = Path(__file__).parent


class Row(BaseModel):
    """One row of the grid: a way of training.

    Attributes:
        name: In the table.
        set: Dotted options of a recipe that make this row different from the others.
        pairs: Most pairs of this row, instead of the experiment's.
        beside: Other languages that the same student is trained on, as with ``LANG=de,so``.
        more: Sources of ``DATA/bitext_more/<lang>`` beside the bitext, each as ``name`` or ``name@weight``; a language
            that lacks one goes without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    set: dict[str, Any] = Field(default_factory=dict)
    pairs: int | None = Field(default=None, ge=1)
    beside: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


class Experiment(BaseModel):
    """The grid: every row in every language with every seed.

    Attributes:
        question: What the table answers.
        langs: Languages; each has bitext in ``DATA/bitext/<lang>``.
        seeds: One training run each; a seed decides the order of the pairs.
        collections: Folders in ``DATA/clir``; those without queries in a language are passed over.
        split: Measured on the collections' judgements (test), or on held-out pairs that the teacher judges and no
            judgement (held-out; single vectors of one teacher).
        pairs: Most pairs trained on, drawn by a hash from those of the recipe's lengths; all where it is not given.
        transplant: Whether the vocabulary is aligned on all the bitext, or on the drawn pairs alone.
        against: Row that every other is compared with.
        compare: Pairs of rows that are tested against each other, beside ``against``.
        perturb: Perturbations of the queries that are measured beside the clean ones, as ``kind@rate``.
        probes: Folders of inference pairs in ``DATA/nli``, by which frozen classifiers, trained on English vectors of
            the teacher, judge the students too (:mod:`experiments.probes`).
        probe_items: Items of each of these folders that are asked, the same of every student; all by default.
        watched: Other languages that every student is probed in, to see what its training costs them.
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
    probes: tuple[str, ...] = ()
    probe_items: int | None = Field(default=None, ge=2)
    watched: tuple[str, ...] = ()
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
    recipes = [recipe_of(found, row, found.langs[0], found.seeds[0]) for row in found.rows]
    for row, recipe in zip(found.rows, recipes, strict=True):
        if found.split == "held-out" and (recipe.late_interaction or recipe.teacher != recipes[0].teacher):
            raise RecipeError(
                f"{path}: held-out pairs are judged by the single vectors of one teacher, and row {row.name!r} is of "
                'late interaction or has another teacher; use split = "test", or leave the row out'
            )
    names = [row.name for row in found.rows]
    named = {name for pair in found.compare for name in pair} | ({found.against} if found.against else set())
    if len(set(names)) < len(names) or named - set(names):
        raise RecipeError(
            f"{path}: rows need names of their own, and `against` and `compare` name some of them; rows are {names}, "
            f"named are {sorted(named)}"
        )
    return found


def more_of(row: Row, lang: str, data: Path) -> dict[Path, float]:
    """Files of a row's other sources in one language -> how often their pairs are drawn.

    Raises:
        DataError: A source that no language has.
    """
    found = {}
    for name, _, weight in (one.partition("@") for one in row.more):
        if not any((data / "bitext_more").glob(f"*/{name}.*")):
            raise DataError(f"no source {name!r} of row {row.name!r} in {data / 'bitext_more'}/<lang>; check its name")
        found |= {path: float(weight or 1) for path in sorted((data / "bitext_more" / lang).glob(f"{name}.*"))}
    return found


def recipe_of(experiment: Experiment, row: Row, lang: str, seed: int) -> Recipe:
    """The recipe of one cell."""
    return load_recipe(None, {"lang": lang, "seed": seed, **experiment.recipe, **row.set})
