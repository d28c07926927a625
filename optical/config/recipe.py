"""Recipes: every option of a run, validated, with its default and its unit; read and written as TOML.

A recipe describes a run completely: the command line and ``make`` set its fields, and every run folder keeps the one
that it was made by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from optical.config.options import describe, load_options, write_options

Weight = Annotated[float, Field(ge=0)]


def _positive(epsilon: float | tuple[float, ...]) -> float | tuple[float, ...]:
    values = epsilon if isinstance(epsilon, tuple) else (epsilon,)
    if not values or min(values) <= 0:
        raise ValueError("must be positive, in units of the cost; try 0.05")
    return epsilon


def _languages(lang: str) -> str:
    langs = [code.strip() for code in lang.split(",")]
    if not all(langs):
        raise ValueError("an empty language code; write one code, or several with a comma between: sw,so,tl")
    if twice := [code for code in langs if langs.count(code) > 1]:
        raise ValueError(f"{twice[0]} is there twice; name every language once")
    if "en" in langs:
        raise ValueError("en is the teacher's language, which every student keeps; name the languages to be learnt")
    return ",".join(langs)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


WEIGHTS = ("ot", "product", "greedy", "assignment", "posterior", "pooled", "contrastive", "scores")


class Vocabulary(_Section):
    """Options of the transplant (:func:`optical.vocabulary.transplant.transplant`)."""

    mode: Literal["extend", "replace", "trim", "off"] = Field(
        default="extend",
        description="extend keeps the teacher's pieces and adds words, replace learns other pieces, trim keeps the "
        "pieces in use (multilingual teacher), off changes nothing",
    )
    min_count: int = Field(
        default=1,
        ge=1,
        description="least occurrences of a word of X that gets a row (extend), or of a longer piece that stays (trim)",
    )
    max_words: int = Field(default=100_000, ge=1, description="most words added")
    size: int = Field(default=16_000, ge=100, description="vocabulary size, mode replace only")
    piece_types: int = Field(
        default=8, ge=0, description="words that share a beginning which becomes a piece; 0 adds no pieces"
    )
    lean: float = Field(
        default=1.0, ge=0, description="occurrences a word needs before they outweigh the parts it shares with others"
    )
    romanise: bool = Field(
        default=True, description="spell letters that the teacher cannot read in Latin, outside added words"
    )
    alignment: Literal["ibm1", "symmetric", "ot"] = Field(
        default="ibm1",
        description="of words and pieces: ibm1 (IBM model 1), symmetric (IBM models 1 of both directions, agreed), ot "
        "(transport on co-occurrence)",
    )
    rows: Literal["aligned", "random"] = Field(
        default="aligned", description="embeddings of new words: aligned (mixed by alignment) or random (ablation)"
    )


class Objective(_Section):
    """The losses and their weights; a weight of 0 leaves a loss out."""

    ot: Weight = Field(default=1.0, description="weight of the transport cost between tokens")
    product: Weight = Field(default=0.0, description="weight of the same under the uniform plan (ablation)")
    greedy: Weight = Field(default=0.0, description="weight of greedy one-to-one token alignment")
    assignment: Weight = Field(default=0.0, description="weight of the best one-to-one token alignment")
    posterior: Weight = Field(default=0.0, description="weight of Gaussian W2 and MMD between token posteriors")
    pooled: Weight = Field(default=1.0, description="weight of the distance between sentence vectors")
    contrastive: Weight = Field(
        default=0.0, description="weight of telling a translation from the others of the batch (0.2 in MIMO)"
    )
    scores: Weight = Field(
        default=1.0, description="weight of the divergence from the teacher's ranking; single vectors only"
    )
    masses: Literal["uniform", "norm", "idf"] = Field(
        default="uniform", description="mass of a token in ot: uniform, norm (by its length) or idf (by its rarity)"
    )
    marginals: Literal["balanced", "unbalanced", "partial"] = Field(
        default="balanced",
        description="what ot moves: all mass (balanced), what slack makes worth it (unbalanced), or a share (partial)",
    )
    slack: float = Field(
        default=0.5, gt=0, description="price of mass not moved, in units of the cost; marginals unbalanced only"
    )
    share: float = Field(default=0.8, gt=0, le=1, description="share of the mass moved; marginals partial only")
    solver: Literal["sinkhorn", "ipot", "exact"] = Field(
        default="sinkhorn",
        description="sinkhorn, ipot (proximal, epsilon its step) or exact; the last two solve balanced plans only",
    )
    epsilon: Annotated[float | tuple[float, ...], AfterValidator(_positive)] = Field(
        default=0.05, description="entropy of the plan in units of the cost; a list is a schedule within each solve"
    )
    distance: Literal["cosine", "squared"] = Field(
        default="cosine", description="distance of sentence vectors: cosine or squared"
    )
    temperature: float = Field(default=0.05, gt=0, description="of the score distributions, in units of the score")
    contrastive_temperature: float = Field(default=0.05, gt=0, description="of contrastive, in units of the cosine")
    false_negative: float = Field(
        default=0.9,
        gt=0,
        description="cosine of two teacher vectors from which one is no wrong answer for the other; contrastive only",
    )
    documents: int = Field(default=20_000, ge=1, description="most passages that scores ranks, drawn by the seed")

    @field_validator("solver")
    @classmethod
    def _moves_all_mass(cls, solver: str, info: ValidationInfo) -> str:
        if solver != "sinkhorn" and info.data.get("marginals", "balanced") != "balanced":
            raise ValueError(f"marginals = {info.data['marginals']!r} need solver = 'sinkhorn'")
        return solver

    @field_validator("epsilon")
    @classmethod
    def _one_proximal_step(cls, epsilon: float | tuple[float, ...], info: ValidationInfo) -> float | tuple[float, ...]:
        if info.data.get("solver") == "ipot" and isinstance(epsilon, tuple):
            raise ValueError("ipot anneals by itself; give one number, such as 1.0")
        return epsilon

    @model_validator(mode="after")
    def _asks_for_something(self) -> Objective:
        if not any(getattr(self, name) for name in WEIGHTS):
            raise ValueError(f"every weight is 0, so there is nothing to learn; raise one of {', '.join(WEIGHTS)}")
        return self


class Robustness(_Section):
    """Training on perturbed input beside the clean one (:mod:`optical.training`)."""

    method: Literal["none", "fgm", "pgd", "noise", "augment"] = Field(
        default="none",
        description="none, adversarial in one step (fgm) or several (pgd), random noise on embeddings, or augment "
        "(other words)",
    )
    weight: float = Field(default=1.0, gt=0, description="of the loss on the perturbed input; the clean one weighs 1")
    norm: Literal["l2", "linf"] = Field(
        default="l2", description="norm of the ball, over one token's embedding: l2 or linf"
    )
    radius: float = Field(
        default=0.1, gt=0, description="of the ball, as a share of the mean norm of the batch's token embeddings"
    )
    steps: int = Field(default=3, ge=1, description="gradient steps of pgd")
    rate: float = Field(default=0.15, gt=0, le=1, description="share of words replaced by augment")
    synonyms: str | None = Field(
        default=None,
        description="file of synonyms for augment, word<TAB>word; without it, words are replaced by their English "
        "translation from the bitext's own lexicon",
    )


class Training(_Section):
    """Options of the training loop; any other option has the default of the sentence-transformers trainer."""

    steps: int = Field(default=300, ge=0, description="optimizer steps; 0 saves the transplant as the student")
    batch_size: int = Field(default=64, ge=1, description="sentence pairs of one forward pass")
    batch_tokens: int | None = Field(
        default=None, ge=1, description="tokens of one forward pass, padding counted, instead of batch_size sentences"
    )
    accumulation: int = Field(default=1, ge=1, description="forward passes of one optimizer step")
    learning_rate: float = Field(default=3e-4, gt=0, description="of the transformer's body")
    embedding_learning_rate: float = Field(default=1e-4, gt=0, description="of the token embeddings")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps over which the learning rate rises")
    dropout: bool = Field(
        default=False, description="keep the teacher's dropout on; the targets are exact, so it is off"
    )
    word_dropout: float = Field(
        default=0.15, ge=0, lt=1, description="share of added words that fall apart into pieces while training"
    )
    averaging: bool = Field(default=True, description="try averages of start and student on the development score")
    min_words: int = Field(default=2, ge=1, description="fewest words of an X sentence to train on")
    max_words: int = Field(
        default=24, ge=1, description="most words of an X sentence to train on; the transplant reads all"
    )
    question_repeats: int = Field(default=3, ge=1, description="how often a question is drawn for every other sentence")
    held_out: int = Field(
        default=200, ge=0, description="pairs kept for the development score where the collection has no dev split"
    )
    evaluate_every: int = Field(default=50, ge=1, description="steps between two development scores and checkpoints")
    patience: int = Field(default=5, ge=1, description="development scores without a new best before training stops")
    language_temperature: float = Field(
        default=2.0, ge=1, description="several languages: pairs are drawn as count^(1/T); 1 as they are, large evenly"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto is bfloat16 on a GPU or processor with instructions for it, else float32"
    )
    compile: bool = Field(default=False, description="compile the student with torch.compile")
    report_to: str = Field(default="none", description="tensorboard, wandb, trackio, ... (the trainer's report_to)")
    hub_model_id: str | None = Field(default=None, description="push the student to this hub repository while training")


class Search(_Section):
    """Options of indexing, search and evaluation."""

    depth: int = Field(default=1000, ge=1, description="documents retrieved for a query")
    factory: str = Field(
        default="auto", description="faiss index, single vectors only, as Flat, HNSW32 or IVF1024,SQ8; auto by size"
    )
    index_size: int | None = Field(
        default=None,
        ge=1,
        description="documents of one faiss index, single vectors only; a larger collection becomes several, searched "
        "as one; default 50,000,000",
    )
    mapped: bool = Field(
        default=False, description="single vectors: leave the index on disk, which opens at once and is read as needed"
    )
    shard_size: int | None = Field(
        default=None, ge=1, description="documents of a shard on disk; default 50,000, late interaction 10,000"
    )
    late_index: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="late interaction: on looks in lists of tokens, then takes exact MaxSim of what they propose; off "
        "compares all; auto is off below 10,000 documents",
    )
    late_precision: Literal["int8", "float16", "int4"] = Field(
        default="int8",
        description="late index: tokens are stored as int8, float16 or int4, which takes half the disk of int8 and "
        "finds a little less",
    )
    pool_factor: float = Field(
        default=1.0, ge=1, description="late index: a document keeps about one token in so many, means of similar ones"
    )
    probe: int | None = Field(
        default=None,
        ge=1,
        description="clusters (IVF), or lists for each query token, that a query visits; default by the number of "
        "clusters, 16 lists",
    )
    candidates: int | None = Field(
        default=None, ge=1, description="late index: documents that are scored exactly; default 200 + 3 * depth"
    )
    precision: Literal["auto", "float32", "float16", "int8"] = Field(
        default="auto",
        description="of the documents' vectors on disk: float32, float16 or int8; auto is float32 for single vectors, "
        "float16 for tokens",
    )
    compute: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="documents are encoded in float32, or in bfloat16: faster on a GPU or processor that has it",
    )
    bm25: Literal["auto", "lucene", "bm25s", "off"] = Field(
        default="auto", description="baseline on words: lucene (needs Java 21), bm25s or off; auto takes what is there"
    )
    translations: str | None = Field(
        default=None,
        description="file of the queries in English, id<TAB>text, {lang} in it for each language; BM25 only",
    )
    fusion: Literal["off", "reciprocal", "min-max", "z-score"] = Field(
        default="reciprocal",
        description="student and BM25 as one more row: by ranks (reciprocal), by scores (min-max, z-score), or off",
    )
    bm25_weight: float = Field(
        default=0.5, ge=0, le=1, description="of BM25 in fusion by scores; the student has the rest"
    )
    split: str = Field(default="test", description="judgements that the table reports")


class StudentOptions(NamedTuple):
    """Everything that decides what a student is made of teacher and bitext.

    Attributes:
        vocabulary: The words of X that the teacher is given.
        objective: What the student is asked to do.
        robustness: Training on worse input.
        training: The loop.
        layers: Of the student, evenly taken from the teacher's; None for all of them.
        seed: Of everything random.
    """

    vocabulary: Vocabulary = Vocabulary()
    objective: Objective = Objective()
    robustness: Robustness = Robustness()
    training: Training = Training()
    layers: int | None = None
    seed: int = 0


class Recipe(_Section):
    """All options of a run."""

    lang: Annotated[str, AfterValidator(_languages)] = Field(
        description="language of the queries, as in the names of the files (sw, so, tl, mr, ...); several as sw,so,tl"
    )
    teacher: str = Field(default="all-MiniLM-L6-v2", description="folder or hub id of an English encoder")
    late_interaction: bool = Field(
        default=False, description="read a single-vector teacher token by token, under MaxSim"
    )
    query_length: int | None = Field(
        default=None, ge=4, description="late interaction: expand queries by [MASK] to so many tokens, as ColBERT does"
    )
    bitext: str | None = Field(
        default=None,
        description="file, folder or Moses pair, {lang} in it for each language; default data/bitext/<lang>, then the "
        "sample",
    )
    collection: str | None = Field(
        default=None,
        description="folder or irds:<id>, {lang} in it for each language; default the sample's, where there is one",
    )
    out: str | None = Field(default=None, description="folder of the run; default runs/<lang>, runs/sw+so for several")
    cache: str = Field(default="runs/cache", description="folder of the teacher's vectors, shared by all runs")
    seed: int = Field(default=0, ge=0, description="of sampling and initialisation")
    device: str | None = Field(default=None, description="cpu, cuda, ...; default what torch finds")
    layers: int | None = Field(
        default=None, ge=1, description="layers of the student, evenly taken from the teacher's; default all"
    )
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
    def _can_be_shifted(self) -> Recipe:
        if self.training.compile and self.robustness.method in ("fgm", "pgd", "noise"):
            raise ValueError(
                "a compiled student cannot be shifted: set training.compile = false, or another robustness.method "
                f"than {self.robustness.method!r}"
            )
        return self

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.out or f"runs/{'+'.join(self.langs)}")

    @property
    def langs(self) -> tuple[str, ...]:
        """The languages of the queries, one or several."""
        return tuple(self.lang.split(","))

    @property
    def student(self) -> StudentOptions:
        """How the student is made."""
        return StudentOptions(self.vocabulary, self.objective, self.robustness, self.training, self.layers, self.seed)

    def of(self, lang: str) -> Recipe:
        """The recipe as it reads for one language: ``{lang}`` in its paths is that language; the folder stays."""
        paths = {"bitext": self.bitext, "collection": self.collection}
        own = {name: path.replace("{lang}", lang) for name, path in paths.items() if path}
        return self.model_copy(update={"lang": lang, "out": str(self.folder), **own})


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
