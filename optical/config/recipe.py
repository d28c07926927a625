"""Recipes: every option of a run, validated, with its default and its unit; read and written as TOML.

A recipe describes a run completely: the command line and ``make`` set its fields, and every run folder keeps the one
that it was made by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator, model_validator

from optical.config.kinds import Device, Languages, PathText, Seed
from optical.config.objective import Objective
from optical.config.prompts import Prompts
from optical.config.search import Search
from optical.config.section import OfRun
from optical.config.toml import describe, load_options, write_options
from optical.config.training import Robustness, Training
from optical.config.vocabulary import Vocabulary
from optical.files import vectors_cache


def _without_english(lang: str) -> str:
    if "en" in lang.split(","):
        raise ValueError("en is the teacher's language, which every student keeps; name the languages to be learnt")
    return lang


class StudentOptions(NamedTuple):
    """Everything that decides what a student is made of teacher and bitext.

    Attributes:
        vocabulary: The words of X that the teacher is given.
        objective: What the student is asked to do.
        robustness: Training on worse input.
        training: The loop.
        layers: Of the student, evenly taken from those of the encoder that it starts from; None for all of them.
        seed: Of everything random.
        entries: Of a dictionary, (English, X), for words that the bitext lacks or has seldom.
        weights: Pair -> how often it is drawn for each time that others are; 0 for words alone, without training on it.
        names: Of English documents, folded: words that are not composed where the bitext lacks them.
    """

    vocabulary: Vocabulary = Vocabulary()
    objective: Objective = Objective()
    robustness: Robustness = Robustness()
    training: Training = Training()
    layers: int | None = None
    seed: Seed = 0
    entries: Sequence[tuple[str, str]] = ()
    weights: Mapping[tuple[str, str], float] = {}
    names: Collection[str] = ()


class Recipe(OfRun):
    """All options of a run."""

    lang: Annotated[Languages, AfterValidator(_without_english)] = Field(
        description="language of the queries, as in the names of the files (sw, so, tl, mr, ...); several as sw,so,tl"
    )
    teacher: PathText = Field(
        default="all-MiniLM-L6-v2",
        description="folder, hub id or packaged name of an encoder that reads English; with a comma, one of queries "
        "and one of documents",
    )
    student: PathText | None = Field(
        default=None,
        description="folder, hub id or packaged name of an encoder that reads the languages, which the student starts "
        "from, put into the teacher's space by a linear map; default the teacher itself",
    )
    late_interaction: bool = Field(
        default=False, description="read a single-vector teacher token by token, under MaxSim"
    )
    query_length: int | None = Field(
        default=None, ge=4, description="late interaction: expand queries by [MASK] to so many tokens, as ColBERT does"
    )
    bitext: PathText | None = Field(
        default=None,
        description="file, folder or Moses pair, {lang} in it for each language; several with commas between, path@0.5 "
        "for pairs drawn half as often, path@0 for words alone; default data/bitext/<lang>, then the sample",
    )
    collection: PathText | None = Field(
        default=None,
        description="folder or irds:<id>, {lang} in it for each language; default the sample's, where there is one",
    )
    out: PathText | None = Field(
        default=None, description="folder of the run; default runs/<lang>, runs/sw+so for several"
    )
    cache: PathText | None = Field(
        default=None,
        description="folder of the teacher's vectors, shared by all runs; default "
        "$OPTICAL_CACHE/vectors, else runs/cache where it is there, else vectors in the user's cache folder",
    )
    seed: Seed = Field(default=0, ge=0, description="of sampling and initialisation")
    device: Device | None = Field(default=None, description="cpu, cuda, ...; default what torch finds")
    threads: int | None = Field(
        default=None, ge=1, le=4096, description="of the processor; default as many as it has free cores"
    )
    layers: int | None = Field(
        default=None, ge=1, description="layers of the student, evenly taken from those it starts with; default all"
    )
    teacher_prompts: Prompts = Prompts()
    student_prompts: Prompts = Prompts()
    vocabulary: Vocabulary = Vocabulary()
    objective: Objective = Objective()
    robustness: Robustness = Robustness()
    training: Training = Training()
    search: Search = Search()

    @field_validator("query_length")
    @classmethod
    def _needs_late_interaction(cls, length: int | None, info: ValidationInfo) -> int | None:
        if length is not None and not info.data.get("late_interaction"):
            raise ValueError("single vectors have no query to expand: set late_interaction = true, or leave this out")
        return length

    @model_validator(mode="after")
    def _has_own_prompts(self) -> Recipe:
        if self.student is None and self.student_prompts != Prompts():
            raise ValueError(
                "student_prompts are of another encoder that the student starts from, and none is given: name it by "
                "student, or set teacher_prompts, which a student of the teacher has too"
            )
        return self

    @model_validator(mode="after")
    def _can_be_shifted(self) -> Recipe:
        if self.training.compile and self.robustness.method in ("fgm", "pgd", "noise"):
            raise ValueError(
                "a compiled student cannot be shifted: set training.compile = false, or another robustness.method "
                f"than {self.robustness.method!r}"
            )
        return self

    @property
    def cache_folder(self) -> Path:
        """Where vectors are kept."""
        return Path(self.cache) if self.cache else vectors_cache()

    @property
    def home(self) -> Path:
        """The folder of the run."""
        return Path(self.out or f"runs/{'+'.join(self.langs)}")

    @property
    def langs(self) -> tuple[str, ...]:
        """The languages of the queries, one or several."""
        return tuple(self.lang.split(","))

    @property
    def student_options(self) -> StudentOptions:
        """Options by which the student is made, taken from the sections of the recipe."""
        return StudentOptions(self.vocabulary, self.objective, self.robustness, self.training, self.layers, self.seed)

    def of(self, lang: str) -> Recipe:
        """The recipe as it reads for one language: ``{lang}`` in its paths is that language; the folder stays."""
        paths = {"bitext": self.bitext, "collection": self.collection}
        own: dict[str, Any] = {name: path.replace("{lang}", lang) for name, path in paths.items() if path}
        if lexicon := self.vocabulary.lexicon:
            own["vocabulary"] = self.vocabulary.model_copy(update={"lexicon": lexicon.replace("{lang}", lang)})
        return self.model_copy(update={"lang": lang, "out": str(self.home), **own})


def load_recipe(path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe and change single options.

    Args:
        path: A TOML file, or None for the defaults.
        overrides: Dotted names to values, ``{"training.steps": "100"}``. Text is read as TOML where it can be, unless
            the option is a text itself: a folder may be named 2024, and nan is a language.

    Raises:
        RecipeError: Not readable, not TOML, an unknown option (the nearest known one is named), a wrong type or range.
    """
    return load_options(Recipe, path, overrides)


def write_recipe(recipe: BaseModel) -> str:
    """A recipe, or other options, as TOML with every option spelled out; reading it gives the same again."""
    return write_options(recipe)


def options(model: type[BaseModel] = Recipe) -> dict[str, str]:
    """Every option's dotted name -> its description with its default, for help texts."""
    return describe(model)
