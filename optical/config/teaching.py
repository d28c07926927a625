"""Options of teaching an English encoder (:mod:`optical.training.teacher`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from optical.config.kinds import Device, PathText, Report, Seed, Split
from optical.config.prompts import Prompts
from optical.config.section import OfRun
from optical.files import vectors_cache


class Teaching(OfRun):
    """Options of training an English encoder on queries and the passages that answer them."""

    collection: PathText = Field(description="folder or irds:<id> with English queries and judgements to learn from")
    teacher: PathText = Field(
        default="all-MiniLM-L6-v2", description="folder or hub id of the English encoder that training begins with"
    )
    split: Split | None = Field(
        default=None, description="judgements to learn from; default train, or the only ones that there are"
    )
    late_interaction: bool = Field(default=False, description="teach token vectors under MaxSim, not sentence vectors")
    dimension: int = Field(
        default=128, ge=0, description="of projected token vectors, late interaction only; 0 adds no projection"
    )
    test: PathText | None = Field(
        default=None, description="another collection, on which start and result are measured"
    )
    test_split: Split = Field(default="test", description="judgements of that collection")
    test_queries: int = Field(default=1000, ge=1, description="most queries of it, drawn by hash; all its passages")
    out: PathText = Field(default="runs/teacher", description="folder of the run; the encoder is in teacher/ below it")
    cache: PathText | None = Field(
        default=None,
        description="folder of mined negatives and vectors, shared by all runs; default "
        "$OPTICAL_CACHE/vectors, else runs/cache where it is there, else vectors in the user's cache folder",
    )
    seed: Seed = Field(default=0, ge=0, description="of the order of the pairs")
    device: Device | None = Field(default=None, description="cpu, cuda, ...; default what torch finds")
    threads: int | None = Field(
        default=None, ge=1, le=4096, description="of the processor; default as many as it has free cores"
    )
    pairs: int = Field(default=100_000, ge=1, description="most query-passage pairs to learn from, drawn by hash")
    documents: int = Field(
        default=100_000, ge=0, description="most passages, beside those of the pairs, that negatives are mined among"
    )
    negatives: int = Field(default=1, ge=0, description="mined wrong passages for a pair; 0 takes the batch's only")
    margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="a mined passage scores less than the right one by this share of the right one's score",
    )
    held_out: int = Field(default=500, ge=0, description="queries kept for the development score, a tenth at most")
    held_out_documents: int = Field(
        default=1000, ge=1, description="passages that they search: the right ones, and others drawn by hash"
    )
    loss: Literal["contrastive", "ranking"] = Field(
        default="contrastive",
        description="contrastive: each query finds its passage in the batch; ranking: the passages of a row are ranked "
        "as the start's sentence vectors rank them",
    )
    ranking_temperature: float = Field(
        default=0.02, gt=0, description="of the start's ranking, in units of the cosine; loss ranking only"
    )
    steps: int = Field(default=500, ge=0, description="optimizer steps; 0 saves the start, projected if that is asked")
    batch_size: int = Field(default=32, ge=2, description="pairs among which each query must find its passage")
    mini_batch: int | None = Field(
        default=None, ge=1, description="texts of one forward pass, for batches beyond memory; default the whole batch"
    )
    temperature: float | None = Field(
        default=None, gt=0, description="of the softmax, in units of the score; default 0.05, late interaction 1"
    )
    learning_rate: float = Field(default=2e-5, gt=0, description="of all weights")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps over which the learning rate rises")
    dropout: bool = Field(default=True, description="keep the start's dropout on while training")
    averaging: bool = Field(default=True, description="try averages of start and result on the development score")
    max_tokens: int | None = Field(
        default=None, ge=8, description="of a text while training; default what the start reads, as afterwards"
    )
    evaluate_every: int = Field(default=100, ge=1, description="steps between two development scores and checkpoints")
    patience: int = Field(default=5, ge=1, description="development scores without a new best before training stops")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto is bfloat16 on a GPU or processor with instructions for it, else float32"
    )
    report_to: Report = Field(default="none", description="tensorboard, wandb, trackio, ... (the trainer's report_to)")

    teacher_prompts: Prompts = Prompts()

    @model_validator(mode="after")
    def _ranks_something(self) -> Teaching:
        if self.loss == "ranking" and not self.negatives:
            raise ValueError("loss = 'ranking' needs wrong passages to rank: set negatives to 1 or more")
        if self.loss == "ranking" and self.mini_batch and not self.late_interaction:
            raise ValueError("loss = 'ranking' of sentence vectors reads whole batches: leave mini_batch out")
        return self

    @property
    def cache_folder(self) -> Path:
        """Where vectors are kept."""
        return Path(self.cache) if self.cache else vectors_cache()

    @property
    def home(self) -> Path:
        """The folder of the run."""
        return Path(self.out)
