"""The loss of a fine-tuned probe on clean and on perturbed pairs, by the options that students are trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from optical.config.training import Robustness
from optical.training.augmentation import Augment
from optical.training.robust import SHIFTED, shifted_loss

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class RobustCrossEntropy(nn.Module):
    """Cross-entropy of the pairs, plus its weighted value with embeddings shifted or words replaced.

    ``fgm`` and ``pgd`` shift embeddings where the loss grows most, ``noise`` at random (RS-RP of Huang et al. 2021);
    ``augment`` replaces words of both sentences by synonyms (RS-DA). There each is trained on the perturbed pairs
    alone, here beside the clean ones, as students are.
    """

    def __init__(
        self, model: CrossEncoder, options: Robustness, synonyms: Mapping[str, Sequence[str]], seed: int = 0
    ) -> None:
        """Keep the model and what happens to its input.

        Args:
            model: Reads two sentences at once.
            options: The method, other than ``none``, and its own options.
            synonyms: Folded word -> replacements, of ``augment`` alone.
            seed: Of what is drawn, with the batch.
        """
        super().__init__()
        self.model, self.options, self.seed = model, options, seed
        self._replace = Augment(list, synonyms, options.rate, seed).texts

    def forward(
        self, inputs: Sequence[Sequence[str]], labels: Tensor, prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        """The loss of a batch.

        Args:
            inputs: First sentences and second ones.
            labels: Classes, ``(b,)``.
            prompt: As the trainer gives it.
            task: The same.
        """
        features = self._read(inputs, prompt, task)

        def loss(features: Mapping[str, Tensor] = features) -> Tensor:
            return nn.functional.cross_entropy(self.model({**features})["scores"], labels.view(-1))

        if self.options.method in SHIFTED:
            network: Any = self.model[0]
            embedding = network.auto_model.get_input_embeddings()
            worse = shifted_loss(loss, embedding, features, self.options, self.seed)
        else:
            worse = loss(self._read([self._replace(side) for side in inputs], prompt, task))
        return loss() + self.options.weight * worse

    def _read(self, inputs: Sequence[Sequence[str]], prompt: str | None, task: str | None) -> dict[str, Tensor]:
        features = self.model.preprocess(list(zip(*inputs, strict=True)), prompt=prompt, task=task)
        return {k: v.to(self.model.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
