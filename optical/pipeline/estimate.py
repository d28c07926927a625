"""Estimate what a run will take, from a probe of about a second of its real teacher: seconds, disk, memory.

Nothing is written. The stages are those of ``manifest.json``, some of them together; what a cache or an earlier run has
already is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.data.document_store import FullTexts
from optical.data.records import ENGLISH
from optical.embeddings.cache import cached_texts, documents_missing
from optical.embeddings.encode import encoded_batches
from optical.embeddings.shard import MANIFEST
from optical.models.encoders import Encoder, encode_batch, encode_sentences, is_multi_vector
from optical.models.precision import bfloat16, check_precision
from optical.models.towers import Towers
from optical.pipeline.choose_compute import with_compute
from optical.pipeline.dev_score import dev_queries
from optical.pipeline.embed import embed_options, searched_texts, split_into, teacher_towers
from optical.pipeline.inputs import Inputs, distinct, read_inputs
from optical.training.checkpoints import listed
from optical.training.mixture import mix
from optical.vocabulary.choose_words import choose_words

PROBED = 48  # texts of each kind
# Compared with one real run (docs/command-line.md says which).
STEP = 1.0  # time of a training step over that of the probe's pass: objectives, optimizer, sampling
PAIR, ANY_PAIRS = 0.0005, 1.5  # seconds of the transplant: for a pair, and however few there are
FIXED = 10.0  # seconds of what depends on nothing here: saving, baselines on words, tests of significance
LIBRARIES = 300_000_000  # bytes of what is loaded later
COPIES = 6  # of the student in memory: itself, its start, gradients, two moments, one that is scored
CHECKPOINTS = 9  # copies of the student on disk while it is trained: two of weights, twice, and moments, and the start


class Probe(NamedTuple):
    """Measured of the teacher.

    Attributes:
        document: Seconds of encoding a document.
        sentence: Seconds of encoding an English sentence.
        step: Seconds of one training pass, forward and back, of a batch.
        tokens: Of an English sentence.
    """

    document: float
    sentence: float
    step: float
    tokens: float


class Documents(NamedTuple):
    """Texts of a collection that are embedded.

    Attributes:
        name: Of the collection.
        texts: Of its documents, or of passages of them.
        missing: How many of these no cache has a vector of.
        passages: Says how many passages there are; empty where there are none.
    """

    name: str
    texts: FullTexts
    missing: int
    passages: str


class Estimate(NamedTuple):
    """An estimated run.

    Attributes:
        seconds: Stage -> seconds.
        disk: What is kept, and what is removed again -> bytes.
        memory: Bytes at most.
        made: What the run writes.
        there: What is there already and is used or replaced.
    """

    seconds: dict[str, float]
    disk: dict[str, float]
    memory: float
    made: list[str]
    there: list[str]


def estimate(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> Estimate:
    """Read the inputs, load the teacher, probe it, and estimate the run of ``optical distill``.

    Raises:
        DataError: Inputs that cannot be used.
        RecipeError: A number format that this processor has no instructions for.
    """
    begun = time.perf_counter()
    inputs = read_inputs(recipe, say)
    towers = teacher_towers(recipe)
    for precision, encoder in ((recipe.search.compute, towers.documents), (recipe.training.precision, towers.queries)):
        check_precision(precision, encoder.device.type)
    weights = {(pair.english, pair.foreign): weight for pair, weight in inputs.weights.items()}
    pairs = [pair for pair, _ in mix(inputs.bitext_pairs, recipe.training, weights).trained(recipe.training)]
    english = [pair.english for pair in pairs]
    collections = [one for one in distinct(inputs.collections) if one.docs_lang == ENGLISH]
    read = time.perf_counter() - begun
    documents = (doc.full for one in collections for doc in one.docs)
    recipe = with_compute(recipe, towers.documents, documents, keep=False)
    embedded = [_documents(recipe, towers.documents, one) for one in collections]
    probe = _probe(recipe, towers, english, [one.texts for one in embedded])
    learnt = (cached_texts(towers.queries, english, recipe.cache_folder) / MANIFEST).is_file()
    for one in embedded:
        if one.passages:
            say(one.passages)
    seconds = {"start, read": read, **_work(recipe, inputs, probe, embedded, 0 if learnt else len(english))}
    return Estimate(
        {stage: round(value, 1) for stage, value in seconds.items()},
        *_sizes(recipe, inputs, towers, probe, len(english), sum(len(one.texts) for one in embedded)),
        [str(recipe.folder / name) for name in ("student", "transplant", "index", "evaluation", "manifest.json")],
        _there(recipe, embedded, learnt),
    )


def _probe(recipe: Recipe, towers: Towers, english: Sequence[str], documents: Sequence[FullTexts]) -> Probe:
    """Encode some documents and sentences, and go forward and back over a batch; the teacher is as it was.

    Each in the number format of the run, whose ``search.compute`` is chosen.
    """
    compute, batch = embed_options(recipe.search).compute, recipe.training.batch_size
    texts = [text for one in documents for text in _some(one, PROBED)]
    sentences = _some(english, PROBED)
    encode = partial(encoded_batches, towers.documents, compute=compute)
    list(encode(texts[:4] or sentences[:4]))  # the first call is slower than others
    document = _timed(lambda: list(encode(texts))) / max(1, len(texts))
    sentence = _timed(lambda: encode_sentences(towers.queries, sentences)) / max(1, len(sentences))
    encoder, batched = towers.queries, _some(english, batch)
    wanted = [(weights, weights.requires_grad) for weights in encoder.parameters()]
    features, device = encoder.preprocess(batched), encoder.device.type
    half = bfloat16(recipe.training.precision, device)
    try:
        for weights, _ in wanted:
            weights.requires_grad_(True)
        with torch.enable_grad(), torch.autocast(device, torch.bfloat16, enabled=half):
            step = _timed(lambda: encode_batch(encoder, features).sentence.sum().backward())
    finally:
        for weights, before in wanted:
            weights.grad = None
            weights.requires_grad_(before)
    tokens = float(features["attention_mask"].sum()) / max(1, len(batched))
    return Probe(document, sentence, step * batch / max(1, len(batched)), tokens)


def _work(
    recipe: Recipe, inputs: Inputs, probe: Probe, embedded: Sequence[Documents], sentences: int
) -> dict[str, float]:
    """Seconds of the stages; ``sentences`` of the bitext have no vectors yet."""
    training, search = recipe.training, recipe.search
    in_x = sum(len(one.docs) for one in distinct(inputs.collections) if one.docs_lang != ENGLISH)
    missing = in_x + sum(one.missing for one in embedded)
    asked, scored = 0, 0
    for lang, one in inputs.collections.items():
        if one is not None:
            asked += len({qrel.query_id for qrel in one.qrels.get(search.split, ())})
            scored += len(dev_queries(one, lang, search.split))
    steps = training.rows_steps + training.steps
    looks = 3 + steps // training.evaluate_every
    return {
        "documents": missing * probe.document,
        "transplant": ANY_PAIRS + PAIR * len(inputs.pairs),
        "training": sentences * probe.sentence
        + steps * training.accumulation * probe.step * STEP
        + looks * (scored or training.held_out) * probe.sentence,
        "index, evaluation": FIXED + 4 * asked * probe.sentence,
    }


def _sizes(
    recipe: Recipe, inputs: Inputs, towers: Towers, probe: Probe, sentences: int, documents: int
) -> tuple[dict[str, float], float]:
    """Disk that stays and that is free again afterwards, and memory at most, in bytes."""
    weights = sum(one.numel() * one.element_size() for one in towers.queries.parameters())
    width = towers.queries.get_embedding_dimension() or 0
    words = choose_words(
        [pair.foreign for pair in inputs.pairs], [pair.english for pair in inputs.pairs],
        min_count=recipe.vocabulary.min_count, max_words=recipe.vocabulary.max_words,
    )  # fmt: skip
    student = weights + 4 * width * len(words.counts)
    documents += sum(len(one.docs) for one in distinct(inputs.collections) if one.docs_lang != ENGLISH)
    vectors = 4 * width * documents * (60 if is_multi_vector(towers.documents) else 1)
    cache = 2 * width * probe.tokens * sentences
    disk = {"kept": 2 * student + 2 * vectors + cache, "while training": CHECKPOINTS * student}
    return disk, _resident() + LIBRARIES + COPIES * student


def _there(recipe: Recipe, embedded: Sequence[Documents], learnt: bool) -> list[str]:
    """Say what is there already, one line each."""
    said = [_reused(one) for one in embedded if one.missing < len(one.texts)]
    said += ["the teacher's vectors of the bitext: used again"] if learnt else []
    if (recipe.folder / "manifest.json").is_file():
        said.append(f"an earlier run in {recipe.folder}: replaced when training has ended well")
    for folder in [one for run in sorted(recipe.folder.glob("checkpoints-*")) for one in listed(run)]:
        said.append(f"{folder}: training goes on from it, where nothing that decides the result has changed")
    return said


def _documents(recipe: Recipe, embedder: Encoder, one: Collection) -> Documents:
    ids, texts = searched_texts(recipe, embedder, one, keep=False)
    missing = documents_missing(embedder, ids, texts, recipe.cache_folder, embed_options(recipe.search))
    return Documents(one.name, texts, missing, split_into(ids, one))


def _reused(one: Documents) -> str:
    what = "passages" if one.passages else "documents"
    some = f"{len(one.texts) - one.missing:,} of {len(one.texts):,} {what}" if one.missing else f"the {what}"
    return f"vectors of {some} of {one.name}: used again"


def _some(texts: Sequence[str], count: int) -> list[str]:
    """So many texts, evenly taken."""
    every = max(1, len(texts) // count)
    return [texts[k] for k in range(0, len(texts), every)][:count]


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _resident() -> int:
    """Bytes of memory that this process has now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:  # not Linux
        return 1_000_000_000
