"""Passages per second of our encoding to shards against ``SentenceTransformer.encode`` and its other backends.

The backends run in the Python that ``BACKENDS_PYTHON`` names, in processes that take turns with this one. On one thread
seconds are of the processor; on more by the clock, and there several processes are compared as well, each of one thread
and started before.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.timing import CannotRunError, Options, interleaved, markdown
from optical.data.collection import read_collection
from optical.embeddings.encode import BATCH_TOKENS, Compute, encoded_batches
from optical.embeddings.shard import Batch
from optical.embeddings.workers import worker_processes
from optical.errors import DataError
from optical.models.encoders import Encoder
from optical.models.load import load_encoder
from optical.models.precision import bfloat16, rounded_once

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "sw" / "collection"
TEXTS = 256
BACKENDS = ("openvino", "onnx")
ENCODE, BFLOAT16 = "SentenceTransformer.encode, batch 32", "SentenceTransformer.encode, batch 32, bfloat16"


class Candidate(NamedTuple):
    """A way to encode the passages: what is timed, and its vectors."""

    encode: Callable[[], object]
    vectors: np.ndarray


def run(options: Options) -> str:
    """Markdown: passages per second of each way to encode, all in turn."""
    encoder, texts = default_teacher(options.device), _evenly(passages())
    torch.set_num_threads(options.threads)
    alone = options.threads == 1
    tokens = BATCH_TOKENS["cpu" if encoder.device.type == "cpu" else "accelerator"]
    ways: dict[str, Callable[[], np.ndarray]] = {
        ENCODE: lambda: _encode(encoder, texts),
        "SentenceTransformer.encode, batch 64": lambda: _encode(encoder, texts, 64),
        f"ours, {tokens} tokens": lambda: _ours(encoder, texts),
    }
    if bfloat16("auto", encoder.device.type):
        rounded = rounded_once(encoder)
        ways[BFLOAT16] = lambda: _encode_in_bfloat16(encoder, texts)
        ways[f"ours, {tokens} tokens, bfloat16"] = lambda: _ours(rounded, texts, "bfloat16")
    elsewhere: list[float] = []  # seconds of the processor of the backends
    own = time.process_time if alone and encoder.device.type == "cpu" else time.perf_counter
    with ExitStack() as stack:
        if not alone:
            ways |= _processes(stack, encoder, texts, options.threads)
        candidates = {name: Candidate(encode, encode()) for name, encode in ways.items()}
        if alone:
            candidates |= _backends(encoder, texts, Path(stack.enter_context(tempfile.TemporaryDirectory())), elsewhere)
        times = interleaved(
            {name: one.encode for name, one in candidates.items()}, options.repeats, warmup=0, device=options.device,
            clock=lambda: own() + sum(elsewhere),
        )  # fmt: skip
    rows = []
    for name, took in times.items():
        cosine = (candidates[name].vectors * candidates[ENCODE].vectors).sum(axis=1)
        ratios = [f"{times[one].median / took.median:.2f}" if one in times else "" for one in (ENCODE, BFLOAT16)]
        rates = f"{len(texts) / took.high:.1f} to {len(texts) / took.low:.1f}"
        rows.append(
            [name, f"{len(texts) / took.median:.1f}", rates, *ratios, f"{cosine.mean():.5f} / {cosine.min():.5f}"]
        )
    lengths = [len(ids) for ids in encoder.tokenizer(texts, truncation=True, max_length=256)["input_ids"]]
    about = (
        f"{len(texts)} passages of {np.mean(lengths):.0f} tokens on average ({min(lengths)} to {max(lengths)}), "
        "float32 unless named, "
    )
    if alone:
        about += "one thread; seconds of the processor, which other programs on the machine do not lengthen."
    else:
        about += f"{options.threads} threads, or as many processes of one thread each; seconds by the clock."
    missing = [name for name in BACKENDS if alone and not any(name in one for one in candidates)]
    if missing:
        about += f" Skipped, since BACKENDS_PYTHON names no Python in which it runs: {', '.join(missing)}."
    header = ["encoder", "passages/s", "of all rounds", "x encode", "x encode in bfloat16", "cosine mean / min"]
    return f"## embedding\n\n{about}\n\n{markdown(header, rows)}\n"


def _evenly(texts: list[str]) -> list[str]:
    """As many of them as ``OPTICAL_BENCH_TEXTS`` says, evenly taken."""
    count = int(os.environ.get("OPTICAL_BENCH_TEXTS", TEXTS))
    return texts[:: max(1, len(texts) // count)][:count]


def _processes(stack: ExitStack, encoder: Encoder, texts: list[str], count: int) -> dict[str, Callable[[], np.ndarray]]:
    """Several processes that encode, of sentence-transformers and ours; they end with ``stack``."""
    spread = stack.enter_context(worker_processes(encoder, count, (None, None, "float32")))
    pool = encoder.start_multi_process_pool(["cpu"] * count)
    stack.callback(encoder.stop_multi_process_pool, pool)
    return {
        f"{ENCODE}, pool of {count}": lambda: _encode(encoder, texts, pool=pool),
        f"ours, {count} workers": lambda: _joined(spread(texts), len(texts)),
    }


def _backends(encoder: Encoder, texts: list[str], folder: Path, elsewhere: list[float]) -> dict[str, Candidate]:
    """The backends that can be had; each call adds to ``elsewhere``."""
    python = os.environ.get("BACKENDS_PYTHON")
    if not python:
        return {}
    encoder.save(str(folder / "model"))
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    found = {}
    for name in BACKENDS:
        script = Path(__file__).with_name("embedding_backend.py")
        process = subprocess.Popen(
            [python, str(script), str(folder), name, "1"], text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if _reply(process) is None:
            continue

        def encode(process: subprocess.Popen[str] = process) -> None:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            told = _reply(process)
            if told is None:
                raise CannotRunError(f"a backend stopped with status {process.wait()}")
            elsewhere.append(told["seconds"])

        found[f"SentenceTransformer.encode, batch 32, {name}"] = Candidate(encode, np.load(folder / f"{name}.npy"))
    return found


def _reply(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """The next line of JSON, whatever libraries print between; None where the process has ended."""
    assert process.stdout is not None
    return next((json.loads(line) for line in process.stdout if line.startswith("{")), None)


def _encode(encoder: Encoder, texts: list[str], batch_size: int = 32, **how: Any) -> np.ndarray:
    found = encoder.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False, **how)
    return np.asarray(found)


def _encode_in_bfloat16(encoder: Encoder, texts: list[str]) -> np.ndarray:
    with torch.autocast(encoder.device.type, torch.bfloat16):
        return _encode(encoder, texts)


def _ours(encoder: Encoder, texts: list[str], compute: Compute = "float32") -> np.ndarray:
    """Encode texts as a shard is encoded: in batches of about one length, put back in the order of the texts."""
    return _joined(encoded_batches(encoder, texts, compute=compute), len(texts))


def _joined(batches: Iterable[Batch], count: int) -> np.ndarray:
    found = list(batches)
    vectors = np.empty((count, len(found[0].vectors[0])), dtype=np.float32)
    for batch in found:
        vectors[batch.rows] = batch.vectors
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
