"""Choose in what documents are encoded where ``search.compute`` is ``auto``: the fastest here that is near float32.

Some real texts are encoded in turns, for about a second. The outcome is kept in the cache by encoder, processor
and versions, so that every later job finds the vectors of the first. A run's own recipe names what was chosen,
not ``auto``: elsewhere it is made again as it was here.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from optical.config.recipe import Recipe
from optical.embeddings.embed import COMPARED
from optical.embeddings.encode import Compute, agreement, encoded_batches
from optical.files import file_written_whole, mark_used
from optical.models.encoders import Encoder, fingerprint
from optical.models.precision import has_bfloat16, rounded_once
from optical.pipeline.manifest import processor, versions

SECONDS, FIRST = 1.0, 8  # of the rounds together, and texts of the first one
GAIN = 1.05  # times as fast as float32 at least: less is chance
LEAST_MEAN, LEAST = 0.9995, 0.998  # cosine with float32, of sentences or of tokens


class Choice(NamedTuple):
    """The number format for the documents of one encoder on this machine.

    Attributes:
        compute: Of ``search.compute``.
        reason: In words.
    """

    compute: Compute
    reason: str


def with_compute(
    recipe: Recipe,
    encoder: Encoder,
    texts: Iterable[str],
    say: Callable[[str], None] = lambda _: None,
    *,
    keep: bool = True,
) -> Recipe:
    """The recipe with ``search.compute`` chosen, and said, where it is ``auto``; otherwise as it is.

    Args:
        recipe: Of a run or of an embedding.
        encoder: Of the documents.
        texts: Documents, of which the first are encoded.
        say: Told what is chosen, and why.
        keep: Keep what is measured, for later jobs.
    """
    if recipe.search.compute != "auto":
        return recipe
    kept = _place(recipe.cache_folder, encoder)
    choice, when = _read(kept), ", as measured before"
    if choice is None:
        some = list(islice(texts, COMPARED))
        choice, when = _choose(encoder, some), ""
        if some and keep:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with file_written_whole(kept) as unfinished:
                unfinished.write_text(json.dumps(choice._asdict()), encoding="utf-8")
    say(f"documents are encoded in {choice.compute}: {choice.reason}{when}")
    search = recipe.search.model_copy(update={"compute": choice.compute})
    return recipe.model_copy(update={"search": search})


def _choose(encoder: Encoder, texts: list[str]) -> Choice:
    if not has_bfloat16(encoder.device.type):
        return Choice("float32", f"this {_where(encoder)} has no instructions for bfloat16")
    if not texts:
        return Choice("float32", "bfloat16 was not measured")
    seconds = _seconds(encoder, texts)
    gain = seconds["float32"] / seconds["bfloat16"]
    speed = f"bfloat16 is {gain:.2f} times as fast on this {_where(encoder)}"
    if gain < GAIN:
        return Choice("float32", speed)
    near = agreement(encoder, texts, "bfloat16")
    cosine = f"its cosine with float32 {near['mean']:.5f} on average, {near['min']:.5f} at least"
    fits = near["mean"] >= LEAST_MEAN and near["min"] >= LEAST
    return Choice("bfloat16" if fits else "float32", f"{speed}, {cosine}{'' if fits else ', which is too far'}")


def _seconds(encoder: Encoder, texts: list[str]) -> dict[Compute, float]:
    """Seconds of encoding the same texts, the least of some rounds in turns, as many texts as fit in the time."""
    ways: dict[Compute, Encoder] = {"float32": encoder, "bfloat16": rounded_once(encoder)}
    for compute, one in ways.items():  # what is slow once only
        _timed(one, texts[:FIRST], compute)
    first = max(_timed(one, texts[:FIRST], compute) for compute, one in ways.items())
    some = texts[: max(FIRST, int(FIRST * SECONDS / (4 * first)))]
    rounds = max(1, min(5, int(SECONDS / (2 * first * len(some) / FIRST))))
    seconds: dict[Compute, float] = dict.fromkeys(ways, math.inf)
    for _ in range(rounds):
        for compute, one in ways.items():
            seconds[compute] = min(seconds[compute], _timed(one, some, compute))
    return seconds


def _timed(encoder: Encoder, texts: list[str], compute: Compute) -> float:
    begun = time.perf_counter()
    for _ in encoded_batches(encoder, texts, compute=compute):
        pass
    return time.perf_counter() - begun


def _where(encoder: Encoder) -> str:
    return "processor" if encoder.device.type == "cpu" else "device"


def _place(cache: Path, encoder: Encoder) -> Path:
    device = encoder.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    facts = [device.type, name, versions(("torch", "transformers", "sentence-transformers"))]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return cache / f"compute-{fingerprint(encoder, 'document')}-{key}.json"


def _read(kept: Path) -> Choice | None:
    """The choice that an earlier job has kept; None where there is none, or something else."""
    try:
        found = Choice(**json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    mark_used(kept)
    return found if found.compute in ("float32", "bfloat16") else None
