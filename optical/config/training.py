"""Options of the training loop: steps, batches, learning rates, checkpoints; and of robust training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optical.config.kinds import HubId, PathText, Report
from optical.config.section import Section


class Training(Section):
    """Options of the training loop; any other option has the default of the sentence-transformers trainer."""

    steps: int = Field(default=300, ge=0, description="optimizer steps; 0 saves the transplant as the student")
    batch_size: int = Field(default=64, ge=1, description="sentence pairs of one forward pass")
    batch_tokens: int | None = Field(
        default=None, ge=1, description="tokens of one forward pass, padding counted, instead of batch_size sentences"
    )
    accumulation: int = Field(default=1, ge=1, description="forward passes of one optimizer step")
    learning_rate: float = Field(default=3e-4, gt=0, description="of the transformer's body")
    embedding_learning_rate: float = Field(default=1e-4, gt=0, description="of the token embeddings")
    rows_steps: int = Field(
        default=0,
        ge=0,
        description="optimizer steps of a stage before, in which the rows of added words alone are trained; 0 is off",
    )
    rows_learning_rate: float = Field(default=1e-3, gt=0, description="of the rows in that stage")
    row_penalty: float = Field(
        default=0.0,
        ge=0,
        description="pull of embedding rows to their start: each step a row goes the share penalty x learning rate / "
        "occurrences of the way back; 0 is off",
    )
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
    report_to: Report = Field(default="none", description="tensorboard, wandb, trackio, ... (the trainer's report_to)")
    hub_model_id: HubId | None = Field(
        default=None, description="push the student to this hub repository while training"
    )


class Robustness(Section):
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
    synonyms: PathText | None = Field(
        default=None,
        description="file of synonyms for augment, word<TAB>word; without it, words are replaced by their English "
        "translation from the bitext's own lexicon",
    )
