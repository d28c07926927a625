"""Encode documents with the document side of an encoder, in batches of texts of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch

from optical.embeddings.shard import Batch
from optical.models.encoders import Encoded, Encoder, encode_batch, encode_sentences, is_multi_vector
from optical.models.precision import rounded_once
from optical.models.prompts import document_prompt
from optical.models.reading import whole_lengths
from optical.progress import bar

Compute: TypeAlias = Literal["float32", "bfloat16"]
COMPUTES: tuple[Compute, ...] = ("float32", "bfloat16")
SENTENCES_TOGETHER = 64  # of about one length
TOKENIZED_TOGETHER = {  # texts, which are then cut into batches by their exact lengths
    "cpu": 256,  # what one of several processes is given: of more, the longest keep one busy after the others are done
    "accelerator": 1024,
}
SORTED_TOGETHER = 4096  # texts; the time left is told too long if all long texts of a shard come first
BATCH_TOKENS = {
    "cpu": 1024,
    "accelerator": 32_768,
}  # benchmarks/embedding.py measures the first only


@torch.inference_mode()
def encoded_batches(
    encoder: Encoder,
    texts: Sequence[str],
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    compute: Compute = "float32",
) -> Iterator[Batch]:
    """Encode documents in batches of similar length, of some hundred texts at a time the longest first.

    Texts are tokenized many at a time and then cut into batches, so lengths are exact.

    Args:
        encoder: Of either class.
        texts: In any order.
        batch_size: Most texts of a batch.
        batch_tokens: Most tokens of a batch, padding counted. Without either, 1,024 on a CPU, else 32,768.
        compute: Precision of the matrix products.

    Yields:
        Row numbers, their unit vectors, float32, and the tokens of each text, whole and as read.
    """
    encoder.eval()
    if compute == "bfloat16":
        encoder = rounded_once(encoder)
    if batch_size is None and batch_tokens is None:
        batch_tokens = BATCH_TOKENS[_kind(encoder)]
    options = _document_side(encoder)
    for some in parts(texts, encoder, batch_size):
        features = encoder.preprocess([texts[i] for i in some], **options.preprocess)
        lengths = features["attention_mask"].sum(dim=1).tolist()
        whole = whole_lengths(encoder, [texts[i] for i in some], lengths, document_prompt(encoder))
        for rows in _of_one_length(lengths, batch_size, batch_tokens):
            with torch.autocast(encoder.device.type, torch.bfloat16, enabled=compute == "bfloat16"):
                encoded = encode_batch(encoder, _cut(features, rows), **options.forward)
            counts = [whole[i] for i in rows], [lengths[i] for i in rows]
            yield Batch([some[i] for i in rows], _unit(encoder, encoded), *counts)


def sentence_vectors(encoder: Encoder, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
    """Unit sentence vectors ``(len(texts), e)``, float32, as of queries, with a bar of this program's own."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    found: list[np.ndarray] = []
    with bar("Sentence vectors", len(texts), "text", wanted=progress) as shown:
        for first in range(0, len(texts), SENTENCES_TOGETHER):
            some = [texts[row] for row in order[first : first + SENTENCES_TOGETHER]]
            found.append(encode_sentences(encoder, some))
            shown.update(len(some))
    return np.concatenate(found)[np.argsort(order)]


def agreement(encoder: Encoder, texts: Sequence[str], compute: Compute) -> dict[str, float]:
    """Cosine of vectors computed in ``compute`` with those in float32: minimum and mean, over texts or over tokens."""
    made: list[dict[int, np.ndarray]] = []
    for how in (compute, "float32"):
        batches = encoded_batches(encoder, texts, compute=how)
        made.append({row: np.atleast_2d(v) for batch in batches for row, v in zip(*batch[:2], strict=True)})
    cosines = np.concatenate([np.ones(0), *((made[0][row] * exact).sum(axis=1) for row, exact in made[1].items())])
    cosines = cosines if len(cosines) else np.ones(1)  # late interaction, and no text has a scoring token
    return {"compared": len(texts), "min": float(cosines.min()), "mean": float(cosines.mean())}


def parts(texts: Sequence[str], encoder: Encoder, batch_size: int | None = None) -> Iterator[list[int]]:
    """Rows of texts that are tokenized together, of similar length: some hundreds, or a batch if that is more."""
    together = max(TOKENIZED_TOGETHER[_kind(encoder)], batch_size or 0)
    window = max(SORTED_TOGETHER, together)
    for first in range(0, len(texts), window):
        order = sorted(range(first, min(first + window, len(texts))), key=lambda i: -len(texts[i]))
        yield from (order[k : k + together] for k in range(0, len(order), together))


def _kind(encoder: Encoder) -> str:
    return "cpu" if encoder.device.type == "cpu" else "accelerator"


class _Side(NamedTuple):
    preprocess: dict[str, Any]
    forward: dict[str, Any]


def _document_side(encoder: Encoder) -> _Side:
    """Prompt and task with which ``encode_document`` of the encoder reads a text."""
    return _Side({"prompt": document_prompt(encoder), "task": "document"}, {"task": "document"})


def _of_one_length(lengths: list[int], batch_size: int | None, batch_tokens: int | None) -> list[list[int]]:
    """Rows in batches, the longest first, within both limits; a row that is too long is a batch of its own."""
    batches: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        batch = batches[-1]
        width = lengths[batch[0]] if batch else 0
        many = batch_size is not None and len(batch) >= batch_size
        long = batch_tokens is not None and (len(batch) + 1) * width > batch_tokens
        if batch and (many or long):
            batches.append([])
        batches[-1].append(row)
    return batches


def _cut(features: dict[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """The given rows of a tokenized batch, without the columns that are padding in all of them."""
    mask = features["attention_mask"]
    used = mask[rows].any(dim=0).nonzero()
    first, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    cut: dict[str, Any] = {}
    for name, value in features.items():
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != len(mask):
            cut[name] = value
        elif value.ndim > 1 and value.shape[1] == mask.shape[1]:
            cut[name] = value[rows, first:stop]
        else:
            cut[name] = value[rows]
    return cut


def _unit(encoder: Encoder, encoded: Encoded) -> list[np.ndarray] | np.ndarray:
    if not is_multi_vector(encoder):
        sentences = encoded.sentence[:, : getattr(encoder, "truncate_dim", None)].float()
        return torch.nn.functional.normalize(sentences, dim=-1).cpu().numpy()
    vectors = torch.nn.functional.normalize(encoded.tokens.vectors.float(), dim=-1).cpu().numpy()
    masks = encoded.tokens.mask.cpu().numpy()
    return [row[mask] for row, mask in zip(vectors, masks, strict=True)]
