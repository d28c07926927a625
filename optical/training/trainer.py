"""The loop of the library's trainers: which class, which precision, where to go on, what is shown.

Takes what the trainer is given, whoever teaches and whatever is learnt. Knows no loss and no data.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

from sentence_transformers.base.evaluation import BaseEvaluator
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from optical.models.encoders import DevScore, Encoder, is_multi_vector
from optical.training.callbacks import Interruption

logger = logging.getLogger(__name__)
CHECKPOINTS = ("start.pt", "end.pt", "eval", "checkpoint-*")  # names of what training leaves in its folder


class Evaluator(BaseEvaluator):
    """The development score, as the trainer asks for it."""

    def __init__(self, score: DevScore) -> None:
        """Keep the score; higher is better."""
        super().__init__()
        self.score = score

    def __call__(self, model: Encoder, *_: Any, **__: Any) -> dict[str, float]:
        """The score under the name that chooses the checkpoint, ``eval_dev``."""
        was_training = model.training
        score = self.score(model)
        model.train(was_training)
        return {"dev": score}


def trainer_classes(encoder: Encoder) -> tuple[Any, Any]:
    """The trainer for the class of the encoder, and its arguments."""
    from sentence_transformers import (
        MultiVectorEncoderTrainer,
        MultiVectorEncoderTrainingArguments,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    if is_multi_vector(encoder):
        return MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments
    return SentenceTransformerTrainer, SentenceTransformerTrainingArguments


def train(trainer: Any, interruption: Interruption, run: Path) -> None:  # noqa: ANN401 - trainers have no common type
    """Train from the last whole checkpoint in ``run``, if there is one; on Ctrl-C leave a new one and stop.

    Raises:
        Interrupted: Stopped by Ctrl-C.
    """
    # The trainer writes its state last: a folder without it was cut short by a full disk or a kill.
    whole = {int(path.parent.name.split("-")[-1]): path.parent for path in run.glob("checkpoint-*/trainer_state.json")}
    last = whole[max(whole)] if whole else None
    if last:
        logger.warning("going on from %s", last)
    with interruption, _attention(trainer.args.device.type):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    interruption.raise_if_interrupted(run)


def _attention(device: str) -> contextlib.AbstractContextManager[Any]:
    """On a processor, attention of short sentences by plain products: fused, its backward pass is far slower."""
    return sdpa_kernel(SDPBackend.MATH) if device == "cpu" else contextlib.nullcontext()


def switch_off_dropout(encoder: Encoder) -> None:
    """Set every dropout of the encoder to 0."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
