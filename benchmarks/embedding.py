"""Passages per second of our encoding to shards against ``SentenceTransformer.encode``, same batch, same precision."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import CannotRunError, Options, interleaved, markdown
from optical.data.collection import read_collection
from optical.embeddings.encode import BATCH_TOKENS, Compute, agreement, encoded_batches
from optical.errors import DataError
from optical.models.encoders import Encoder
from optical.models.load import load_encoder
from optical.models.precision import bfloat16

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "sw" / "collection"
TEXTS = 256
BATCHES = (64, 32)  # texts; sentence-transformers' own default is 32


def run(options: Options) -> str:
    """Markdown: passages per second of each way to batch, all in turn, on one thread."""
    encoder, texts = default_teacher(options.device), passages()[:TEXTS]
    torch.set_num_threads(1)
    expected = encoder.encode(texts, batch_size=32, normalize_embeddings=True)
    np.testing.assert_allclose(_ours(encoder, texts, 64, None), expected, atol=1e-5)
    candidates = {}
    for size in BATCHES:
        candidates[f"SentenceTransformer.encode, batch {size}"] = lambda size=size: encoder.encode(
            texts, batch_size=size, normalize_embeddings=True, show_progress_bar=False
        )
        candidates[f"ours, batch {size}"] = lambda size=size: _ours(encoder, texts, size, None)
    tokens = BATCH_TOKENS["cpu" if encoder.device.type == "cpu" else "accelerator"]
    candidates[f"ours, {tokens} tokens (default)"] = lambda: _ours(encoder, texts, None, None)
    half = bfloat16("auto", encoder.device.type)
    if half:
        candidates["SentenceTransformer.encode, batch 32, bfloat16"] = lambda: _encode_in_bfloat16(encoder, texts)
        candidates[f"ours, {tokens} tokens, bfloat16"] = lambda: _ours(encoder, texts, None, None, "bfloat16")
    clock = time.process_time if encoder.device.type == "cpu" else time.perf_counter
    times = interleaved(candidates, options.repeats, device=options.device, clock=clock)
    torch.set_num_threads(options.threads)
    slowest = {size: times[f"SentenceTransformer.encode, batch {size}"].median for size in BATCHES}
    rows = [
        [name, f"{len(texts) / t.median:.1f}", f"{len(texts) / t.high:.1f} to {len(texts) / t.low:.1f}",
         *(f"{slowest[size] / t.median:.2f}" for size in BATCHES)]
        for name, t in times.items()
    ]  # fmt: skip
    lengths = [len(ids) for ids in encoder.tokenizer(texts, truncation=True, max_length=256)["input_ids"]]
    about = (
        f"{len(texts)} passages of {np.mean(lengths):.0f} tokens on average ({min(lengths)} to {max(lengths)}), "
        "float32 unless named, one thread; seconds of the processor, which other programs on the machine do not "
        "lengthen."
    )
    if half:
        near = agreement(encoder, texts, "bfloat16")
        about += f" Cosine of bfloat16 with float32: {near['min']:.5f} at least, {near['mean']:.5f} on average."
    header = ["encoder", "passages/s", "of all rounds", *(f"x encode at {size}" for size in BATCHES)]
    return f"## embedding\n\n{about}\n\n{markdown(header, rows)}\n"


def _encode_in_bfloat16(encoder: Encoder, texts: list[str]) -> np.ndarray:
    with torch.autocast(encoder.device.type, torch.bfloat16):
        return np.asarray(encoder.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False))


def _ours(
    encoder: Encoder, texts: list[str], batch_size: int | None, batch_tokens: int | None, compute: Compute = "float32"
) -> np.ndarray:
    """Encode texts as a shard is encoded: in batches of about one length, put back in the order of the texts."""
    vectors = np.empty((len(texts), int(encoder.get_embedding_dimension() or 0)), dtype=np.float32)
    for rows, found, *_ in encoded_batches(encoder, texts, batch_size, batch_tokens, compute):
        vectors[rows] = found
    return vectors


def default_teacher(device: str) -> Encoder:
    """The default teacher, or a reason why there is none."""
    try:
        return load_encoder("all-MiniLM-L6-v2", device).eval()
    except DataError as error:
        raise CannotRunError(str(error)) from error


def passages() -> list[str]:
    """Texts of the collection that OPTICAL_BENCH_COLLECTION names, of the sample without it."""
    folder = Path(os.environ.get("OPTICAL_BENCH_COLLECTION", SAMPLE))
    langs = sorted(path.name.split(".")[1] for path in folder.glob("queries.*.tsv*"))
    try:
        return [doc.full for doc in read_collection(folder, langs).docs]
    except DataError as error:
        raise CannotRunError(str(error)) from error
