"""Options of what a student is asked to do: the weights of the losses, and theirs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from optical.config.section import Section

WEIGHTS = ("ot", "product", "greedy", "assignment", "posterior", "pooled", "contrastive", "scores")

Weight = Annotated[float, Field(ge=0)]


def _positive(epsilon: float | tuple[float, ...]) -> float | tuple[float, ...]:
    values = epsilon if isinstance(epsilon, tuple) else (epsilon,)
    if not values or min(values) <= 0:
        raise ValueError("must be positive, in units of the cost; try 0.05")
    return epsilon


class Objective(Section):
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
    prior: float = Field(
        default=0.0,
        ge=0,
        description="lambda of a prior of the plan of ot, which is that of the costs C - lambda log t(e|f), t of IBM "
        "model 1; 0 is off, and as much as epsilon multiplies the kernel by t",
    )
    distance: Literal["cosine", "squared"] = Field(
        default="cosine", description="distance of sentence vectors: cosine or squared"
    )
    centre: bool = Field(
        default=False,
        description="subtract the mean of the teacher's vectors before tokens and sentences are compared, for teachers "
        "whose vectors all point one way (E5)",
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
        if self.prior and not self.ot:
            raise ValueError("prior is of the plan of ot, whose weight is 0; set objective.ot = 1, or prior = 0")
        return self
