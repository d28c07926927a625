"""The loss of distillation: the weighted objectives of a recipe on one batch, on clean and on perturbed input.

Takes a student, the teacher's vectors of the English sides and the weights of the objectives
(:mod:`optical.training.losses`); gives named losses, which the trainer adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from optical.config.objective import Objective
from optical.config.training import Robustness
from optical.embeddings.vectors import Vectors
from optical.models.encoders import Encoded, Encoder, encode_batch, transformer
from optical.models.tokens import Tokens
from optical.training.losses.assignment import assignment
from optical.training.losses.contrastive import contrastive
from optical.training.losses.greedy import greedy
from optical.training.losses.ot import PlanOptions, coupled, ot
from optical.training.losses.pooled import pooled
from optical.training.losses.posterior import posterior
from optical.training.losses.product import product
from optical.training.losses.scores import scores
from optical.training.plan_terms import PlanTerms
from optical.training.robust import SHIFTED, shifted_loss
from optical.transport.cost import norm_mass, uniform_mass, weighted_mass
from optical.transport.plan import Plan

BETWEEN_TOKENS: dict[str, Callable[[Tokens, Tokens], Tensor]] = {
    "product": product,
    "greedy": greedy,
    "assignment": assignment,
    "posterior": posterior,
}
"""Objectives that compare token matrices and have no options, by their names in the recipe."""

NO_TERMS = PlanTerms()
_ROWS = 65_536  # token vectors that are summed at a time


class Centre(NamedTuple):
    """Mean of the teacher's vectors, which the objectives subtract from both sides before they compare.

    Attributes:
        tokens: Mean token vector, ``(d,)``.
        sentence: Mean unit sentence vector, ``(e,)``.
    """

    tokens: Float[Tensor, " d"]
    sentence: Float[Tensor, " e"]

    def subtracted(self, encoded: Encoded) -> Encoded:
        """Move token vectors and unit sentence vectors by the means; neither has unit length after it."""
        unit = torch.nn.functional.normalize(encoded.sentence.float(), dim=-1)
        tokens = encoded.tokens._replace(vectors=encoded.tokens.vectors - self.tokens.to(unit.device))
        return Encoded(tokens, unit - self.sentence.to(unit.device))


def centre_of(vectors: Vectors) -> Centre:
    """Compute the centre of the teacher's vectors of the English sides, over all tokens and all sentences."""
    total = np.zeros(vectors.tokens.shape[1])
    for begin in range(0, len(vectors.tokens), _ROWS):
        total += np.asarray(vectors.tokens[begin : begin + _ROWS], dtype=np.float64).sum(axis=0)
    means = total / max(1, len(vectors.tokens)), np.asarray(vectors.sentences[:], dtype=np.float64).mean(axis=0)
    return Centre(*(torch.from_numpy(mean.astype(np.float32)) for mean in means))


class Health(NamedTuple):
    """Signs of divergence in one batch.

    Attributes:
        finite: Whether all losses are numbers.
        spread: Mean cosine distance between the student's sentence vectors, divided by the teacher's for the same
            sentences: 1 where the student's differ as much, 0 where all are alike. NaN for a batch of one.
    """

    finite: bool = True
    spread: float = float("nan")


class DistillationLoss(nn.Module):
    """The weighted objectives as the trainer calls them: student features and row numbers in, named losses out.

    Attributes:
        model: The student.
        plan: Mean marginal error and mean number of iterations of the last batch's transport plans.
        health: Of the last batch.
    """

    def __init__(
        self,
        model: Encoder,
        vectors: Vectors,
        documents: np.ndarray | None,
        objective: Objective,
        *,
        robustness: Robustness | None = None,
        terms: PlanTerms = NO_TERMS,
        seed: int = 0,
    ) -> None:
        """Keep the student, the options and the targets.

        Args:
            model: The student.
            vectors: The teacher's, one row a sentence.
            documents: Vectors ``(k, e)`` that the ``scores`` objective ranks; None leaves it out.
            objective: Weights and options of the objectives.
            robustness: How the input is perturbed; not at all by default.
            terms: What plans are told of the tokens, for ``masses = "idf"`` and for ``prior``.
            seed: Of random shifts.
        """
        super().__init__()
        self.model = model
        self.vectors = vectors
        self.objective = objective
        self.robustness = robustness or Robustness()
        self.terms = terms
        self.seed = seed
        self.centre = centre_of(vectors) if objective.centre else None
        self.plan = (0.0, 0.0)
        self.health = Health()
        passages = None if documents is None else torch.from_numpy(np.ascontiguousarray(documents, dtype=np.float32))
        self.documents: Tensor | None
        self.register_buffer("documents", passages, persistent=False)

    def forward(self, features: Sequence[dict[str, Tensor]], labels: Tensor) -> dict[str, Tensor]:
        """Compute the weighted losses by name; the trainer adds them up and logs each.

        Args:
            features: One entry, the tokenized X sentences ``(b, n)``.
            labels: Row of each sentence in the teacher's vectors, ``(b,)``.
        """
        rows = labels.tolist()
        y = self._targets(rows)
        x = encode_batch(self.model, features[0])
        losses = self._losses(x, y, features[0], rows)
        self.health = _health(x.sentence, y.sentence, losses)
        if self.robustness.method in SHIFTED:
            losses["robust"] = self.robustness.weight * self._perturbed(features[0], y, rows)
        return losses

    @torch.no_grad()
    def plans(self, features: dict[str, Tensor], rows: list[int]) -> tuple[Float[Tensor, "b n m"], Plan]:
        """Costs and transport plans of a batch, as ``ot`` has them, whatever its weight; arguments of :meth:`forward`.

        A plan has a row for each column of ``features``, padding too, and one column for each of the teacher's tokens.
        """
        x, y = encode_batch(self.model, features), self._targets(rows)
        a, b = self._masses(x, y, features, rows)
        if self.centre is not None:
            x, y = self.centre.subtracted(x), self.centre.subtracted(y)
        return coupled(x.tokens, y.tokens, plan_options(self.objective), a=a, b=b, prior=self._prior(features, rows))

    def _targets(self, rows: list[int]) -> Encoded:
        """The teacher's vectors on the student's device."""
        y, device = self.vectors.batch(rows), next(self.model.parameters()).device
        return Encoded(Tokens(*(t.to(device) for t in y.tokens)), y.sentence.to(device))

    def _losses(self, x: Encoded, y: Encoded, features: dict[str, Tensor], rows: list[int]) -> dict[str, Tensor]:
        chosen, losses = self.objective, {}
        a, b = self._masses(x, y, features, rows) if chosen.ot else (None, None)
        whole_x, whole_y = x.sentence, y.sentence  # a ranking does not change with the centre
        if self.centre is not None:
            x, y = self.centre.subtracted(x), self.centre.subtracted(y)
        if chosen.ot:
            transport = ot(x.tokens, y.tokens, plan_options(chosen), a=a, b=b, prior=self._prior(features, rows))
            losses["ot"] = chosen.ot * transport.loss
            self.plan = (float(transport.error), float(transport.steps))
        for name, objective in BETWEEN_TOKENS.items():
            if weight := getattr(chosen, name):
                losses[name] = weight * objective(x.tokens, y.tokens)
        if chosen.pooled:
            losses["pooled"] = chosen.pooled * pooled(x.sentence, y.sentence, chosen.distance)
        if chosen.contrastive:
            value = contrastive(x.sentence, y.sentence, chosen.contrastive_temperature, chosen.false_negative)
            losses["contrastive"] = chosen.contrastive * value
        if chosen.scores and self.documents is not None:
            unit = torch.nn.functional.normalize(whole_x.float(), dim=-1)
            losses["scores"] = chosen.scores * scores(unit, whole_y, self.documents, chosen.temperature)
        return losses

    def _masses(self, x: Encoded, y: Encoded, features: dict[str, Tensor], rows: list[int]) -> tuple[Tensor, Tensor]:
        """Masses of the tokens of both sides, ``(b, n)`` and ``(b, m)``."""
        if self.objective.masses == "idf":
            rarity = self.terms.rarity
            assert rarity is not None, "idf masses need the rarity of the tokens"
            ids = features["input_ids"].to(x.tokens.mask.device)
            weights = torch.zeros(y.tokens.mask.shape, device=ids.device)
            for k, row in enumerate(rows):
                weights[k, : len(rarity.english[row])] = torch.from_numpy(rarity.english[row])
            foreign = rarity.foreign.to(ids.device)[ids]
            return weighted_mass(foreign, x.tokens.mask), weighted_mass(weights, y.tokens.mask)
        if self.objective.masses == "norm":
            return norm_mass(x.tokens.vectors.detach(), x.tokens.mask), norm_mass(y.tokens.vectors, y.tokens.mask)
        return uniform_mass(x.tokens.mask), uniform_mass(y.tokens.mask)

    def _prior(self, features: dict[str, Tensor], rows: list[int]) -> Tensor | None:
        """Compute the extra cost of tokens that do not translate each other, ``(b, n, m)``; None without a prior."""
        if not self.objective.prior:
            return None
        assert self.terms.translations is not None, "a prior needs the translations of the tokens"
        return self.objective.prior * self.terms.translations.cost(features["input_ids"], rows)

    def _perturbed(self, features: dict[str, Tensor], y: Encoded, rows: list[int]) -> Tensor:
        """The sum of the losses with the student's input embeddings shifted, at random or by an adversary."""
        student: Any = getattr(self.model, "module", self.model)  # several processes wrap it

        def loss() -> Tensor:
            x = encode_batch(self.model, features)
            return torch.stack([value.float() for value in self._losses(x, y, features, rows).values()]).sum()

        embedding = transformer(student).auto_model.get_input_embeddings()
        return shifted_loss(loss, embedding, features, self.robustness, self.seed)


def plan_options(objective: Objective) -> PlanOptions:
    """The options of a plan, from those of the objectives."""
    return PlanOptions(objective.epsilon, objective.marginals, objective.slack, objective.share, objective.solver)


@torch.no_grad()
def _health(x: Tensor, y: Tensor, losses: dict[str, Tensor]) -> Health:
    finite = all(bool(value.isfinite()) for value in losses.values())
    if len(x) < 2:
        return Health(finite)
    ours, theirs = (1.0 - _mean_cosine(vectors) for vectors in (x, y))
    return Health(finite, ours / max(theirs, 1e-6))


def _mean_cosine(vectors: Float[Tensor, "b d"]) -> float:
    """Mean cosine of two different rows: ``(|sum of unit rows|^2 - b) / (b (b - 1))``."""
    b = len(vectors)
    total = torch.nn.functional.normalize(vectors.float(), dim=-1).sum(dim=0)
    return float((total @ total - b) / (b * (b - 1)))
