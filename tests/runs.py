"""A finished run in a second: the teacher is its own student, nothing is trained, and questions are in English."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from optical.config.recipe import Recipe, load_recipe, write_recipe
from optical.evaluation.report import Report
from optical.files import write_text
from optical.models import encoders
from optical.models.save import save_encoder
from optical.pipeline.distill import distill_run
from optical.pipeline.embed import embed_each, load_teacher
from optical.pipeline.evaluate import evaluate_run
from optical.pipeline.index import build_indexes
from optical.pipeline.inputs import run_collections
from optical.pipeline.manifest import write_manifest
from tests.conftest import bert

DOCUMENTS = [  # without a title, with characters of two UTF-16 units, with mark-up, twice the same text, without a word
    ("d0", "Maize", "the farmer plants maize ."), ("d1", "", "the cow gives milk ."),
    ("d2", "letter", "the teacher writes a letter ."), ("d3", "\U0001f327 Rain", "rain falls in april ."),
    ("d4", "<b>Help</b>", "the doctor helps the sick <script>alert(1)</script> & 'more' ."),
    ("d5", "Dog", "a dog guards the door ."), ("d6", "Dog", "a dog guards the door ."), ("d7", "", "; ; ;"),
    ("d8", "River", "the river is long . " * 12),
]  # fmt: skip
QUESTIONS = [("q1", "who plants maize ?"), ("q2", "who writes a letter ?")]


def tiny_run(folder: Path, *, late: bool = False, **more: object) -> Recipe:
    """The recipe of a finished run below ``folder``, single vectors or tokens."""
    collection = folder / "collection"
    collection.mkdir(parents=True)
    rows = ({"id": name, "title": title, "text": text} for name, title, text in DOCUMENTS)
    rows = (row | {"url": f"https://example.org/{row['id']}"} if row["title"] else row for row in rows)
    (collection / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for lang in ("en", "sw"):
        lines = "".join(f"{name}\t{text}\n" for name, text in QUESTIONS)
        (collection / f"queries.{lang}.tsv").write_text(lines, encoding="utf-8")
    (collection / "qrels.tsv").write_text("q1 0 d0 1\nq2 0 d2 1\n", encoding="utf-8")
    by_words(bert(folder / "made")).save(str(folder / "teacher"))
    named = {"lang": "sw", "teacher": str(folder / "teacher"), "collection": str(collection), "device": "cpu"}
    named |= {"out": str(folder / "run"), "cache": str(folder / "cache"), "late_interaction": late}
    recipe = load_recipe(None, {**named, **more})
    teacher = load_teacher(recipe)
    save_encoder(teacher, recipe.folder / "student")
    build_indexes(recipe, teacher, embed_each(recipe, teacher, run_collections(recipe), False))
    write_text(recipe.folder / "recipe.toml", write_recipe(recipe))
    write_manifest(recipe, teacher, {"collection": None})
    return recipe


def by_words(encoder: encoders.Encoder, seed: int | None = 0) -> encoders.Encoder:
    """With the words loud and the random layers quiet: it matches by words, as a trained encoder would.

    The words are drawn by the seed, or without one as torch goes on after the encoder was made.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if weight.ndim == 2:
                weight.mul_(0.1)
            if "word_embeddings" in name:
                weight.normal_(0.0, 1.0, generator=generator)
    return encoder


def distilled(recipe: Recipe, *arguments: object, **options: object) -> Report | None:
    """The report of a run of one language; None where nothing was measured."""
    return distill_run(recipe, *arguments, **options).get(recipe.lang)


def evaluated(recipe: Recipe, *arguments: object, **options: object) -> Report:
    """The report of one language of a finished run."""
    return evaluate_run(recipe, *arguments, **options)[recipe.lang]
