"""Options of a probe: a classifier of sentence pairs that is trained in one language and asked in others."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from optical.config.kinds import Device, Languages, PathText, Seed, Split
from optical.config.prompts import Prompts
from optical.config.section import Section
from optical.config.training import Robustness

Task = Literal["xnli", "pawsx", "sts", "xquad-retrieval"]


class FineTuning(Section):
    """Options of training the whole encoder with a new head; of ``fine_tune`` alone."""

    steps: int = Field(default=600, ge=1, description="optimizer steps")
    batch_size: int = Field(default=16, ge=1, description="pairs of a step")
    learning_rate: float = Field(default=5e-5, gt=0, description="of all weights")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps over which the learning rate rises")
    max_tokens: int = Field(default=128, ge=8, description="of a pair, both sentences together")
    embeddings: bool = Field(
        default=True,
        description="train the embedding matrix too, four fifths of a multilingual encoder; a step takes longer",
    )


class Probe(Section):
    """Options of a probe."""

    task: Task = Field(description="xnli, pawsx, sts or xquad-retrieval")
    test: Languages = Field(description="languages that are tested, with commas between: sw,de")
    train: Languages = Field(default="en", description="the language of the pairs that the classifier learns from")
    data: PathText | None = Field(
        default=None, description="folder, file or hub id of the pairs; default the task's own on the hub"
    )
    train_data: PathText | None = Field(
        default=None, description="other pairs to learn from; default those of data, which are divided by item"
    )
    split: Split = Field(default="dev", description="part of data that is tested, by the name of its files")
    train_split: Split | None = Field(
        default=None, description="part that is learnt from, of train_data or else of data; default the only one there"
    )
    rows: int | None = Field(default=None, ge=2, description="pairs to learn from at most, drawn by seed; default all")
    items: int | None = Field(
        default=None,
        ge=2,
        description="items asked at most, drawn by the first seed with those that share their sentences; default all",
    )
    seeds: int = Field(default=3, ge=1, le=100, description="how often pairs are divided anew; of perturbations too")
    seed: Seed = Field(default=0, ge=0, description="the first of them")
    folds: int = Field(
        default=3, ge=2, le=20, description="parts of the items, each tested by a classifier of the others"
    )
    mixed: bool = Field(default=False, description="test pairs of two languages too, every one with every other")
    perturb: str = Field(
        default="", description="perturbations of the tests, with commas between: typos,diacritics,codeswitch,order"
    )
    rate: float = Field(default=0.2, gt=0, le=1, description="share of the words that a perturbation changes")
    bitext: PathText | None = Field(
        default=None,
        description="sentence pairs, {lang} in it for each language, whose words codeswitch takes; default those of "
        "the run",
    )
    fine_tune: bool = Field(default=False, description="train the whole encoder with a head, not a classifier of it")
    device: Device | None = Field(default=None, description="cpu, cuda, ...; default what torch finds")
    fine_tuning: FineTuning = FineTuning()
    robustness: Robustness = Robustness()
    teacher_prompts: Prompts = Prompts()

    @property
    def langs(self) -> tuple[str, ...]:
        """The languages that are tested."""
        return tuple(self.test.split(","))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The perturbations, each once."""
        return tuple(dict.fromkeys(kind.strip() for kind in self.perturb.split(",") if kind.strip()))

    @model_validator(mode="after")
    def _fits_the_task(self) -> Probe:
        if "," in self.train:
            raise ValueError(f"train = {self.train!r}: one language is learnt from; name the others by test")
        if self.task in ("sts", "xquad-retrieval") and self.fine_tune:
            raise ValueError(f"{self.task} compares vectors and trains nothing: leave fine_tune out")
        if self.robustness.method != "none" and not self.fine_tune:
            raise ValueError(
                f"robustness.method = {self.robustness.method!r} trains the encoder, and frozen vectors are not "
                "trained: add fine_tune"
            )
        if self.robustness.method == "augment" and not self.robustness.synonyms:
            raise ValueError(
                f"augment (rs-da) replaces words of {self.train} by synonyms, of which there are none: set "
                "robustness.synonyms to a file, word<TAB>synonym"
            )
        if self.task == "xquad-retrieval" and self.mixed:
            raise ValueError("xquad-retrieval has questions and no pairs: leave mixed out")
        if self.task == "xquad-retrieval" and self.items:
            raise ValueError("xquad-retrieval asks every question of the collection: leave items out")
        if self.task in ("sts", "xquad-retrieval") and (self.train_data or self.train_split or self.rows):
            raise ValueError(f"{self.task} trains nothing: leave train_data, train_split and rows out")
        return self
