"""The fine-tuned probe: a classifier of pairs that reads both sentences at once, an encoder with a new head.

The trainer of sentence-transformers' cross-encoders does the work. What else a loss should do (shifted embeddings,
worse texts) is a function from the model to a loss.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import PrinterCallback

from optical.config.probe import FineTuning
from optical.data.labelled_pairs import LabelledPair
from optical.models.encoders import Encoder, transformer
from optical.progress import quiet_libraries
from optical.training.memory import keep_freed_memory
from optical.training.trainer import attention_for

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

LossOf = Callable[["CrossEncoder"], nn.Module]
"""The model -> a loss of (columns of texts, labels), as the library's own."""


@quiet_libraries()
def fine_tune(
    encoder: Encoder,
    pairs: Sequence[LabelledPair],
    classes: int,
    options: FineTuning,
    seed: int,
    loss_of: LossOf | None = None,
) -> CrossEncoder:
    """Train a copy of an encoder with a new head to classify pairs.

    Args:
        encoder: Not changed; its pooling, its prompts and rows composed for unseen words are not taken over.
        pairs: To learn from.
        classes: How many labels there are.
        options: Steps, batches, learning rate.
        seed: Of the head and of the order of the pairs.
        loss_of: In place of cross-entropy.
    """
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import CrossEntropyLoss

    model = with_head(encoder, classes, options.max_tokens, seed)
    if not options.embeddings:
        network: Any = model.model
        network.get_input_embeddings().weight.requires_grad_(False)
    rows = {
        "first": [p.first for p in pairs],
        "second": [p.second for p in pairs],
        "label": [int(p.gold) for p in pairs],
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = CrossEncoderTrainingArguments(
            output_dir=folder, max_steps=options.steps, per_device_train_batch_size=options.batch_size,
            learning_rate=options.learning_rate, warmup_steps=options.warmup, lr_scheduler_type="linear",
            use_cpu=encoder.device.type == "cpu", save_strategy="no", eval_strategy="no", report_to="none", seed=seed,
            dataloader_pin_memory=False, disable_tqdm=True, logging_steps=max(1, options.steps // 10),
        )  # fmt: skip
        loss: Any = (loss_of or CrossEntropyLoss)(model)
        trainer = CrossEncoderTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(rows), loss=loss)
        trainer.remove_callback(PrinterCallback)
        if trainer.args.device.type == "cpu":
            keep_freed_memory()
        with attention_for(trainer.args.device.type):
            trainer.train()
    model.eval()
    return model


def with_head(encoder: Encoder, classes: int, max_tokens: int, seed: int) -> CrossEncoder:
    """A copy of the network of an encoder, with a head for so many classes drawn by the seed."""
    from sentence_transformers import CrossEncoder

    with tempfile.TemporaryDirectory() as folder:
        transformer(encoder).auto_model.save_pretrained(folder)
        encoder.tokenizer.save_pretrained(folder)
        torch.manual_seed(seed)
        logging.getLogger("transformers.modeling_utils").addFilter(_not_about_the_head)
        limit = min(max_tokens, encoder.max_seq_length or max_tokens)
        return CrossEncoder(
            str(Path(folder)), num_labels=classes, max_length=limit, device=str(encoder.device), local_files_only=True
        )


def _not_about_the_head(record: logging.LogRecord) -> bool:
    """Leave out the notice that the head is new, which it is meant to be."""
    return "LOAD REPORT" not in str(record.msg) or "classifier" not in record.getMessage()


def predict(model: CrossEncoder, firsts: Sequence[str], seconds: Sequence[str]) -> list[int]:
    """The most probable class of each pair."""
    pairs = list(zip(firsts, seconds, strict=True))
    scores = model.predict(pairs, batch_size=64, show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(scores).argmax(axis=1).tolist()
