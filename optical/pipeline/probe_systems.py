"""Which encoders a probe asks, and which languages each of them reads: those of a run, or one by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from optical.config.probe import Probe
from optical.config.recipe import Recipe, load_recipe
from optical.data.records import ENGLISH
from optical.data.words import Lexicon
from optical.errors import DataError, RecipeError
from optical.models import load
from optical.models.encoders import Encoder, encode_sentences, fingerprint, is_multi_vector
from optical.models.prompts import with_prompts
from optical.pipeline.embed import load_student, teacher_towers
from optical.pipeline.inputs import read_inputs
from optical.pipeline.run_folder import check_part, kept
from optical.vocabulary.lexicon import bitext_lexicon


class System(NamedTuple):
    """An encoder, and who reads the languages that it does not.

    Attributes:
        name: In tables.
        encoder: The encoder itself, which a fine-tuned probe trains.
        english: Reads English; the teacher of a student, since the student shares its space.
        documents: Reads documents of a search.
        langs: Languages that ``encoder`` reads; None for any.
    """

    name: str
    encoder: Encoder
    english: Encoder
    documents: Encoder
    langs: tuple[str, ...] | None = None

    def reader(self, lang: str) -> Encoder | None:
        """The encoder of a language; None where nobody reads it."""
        if lang == ENGLISH:
            return self.english
        return self.encoder if self.langs is None or lang in self.langs else None


Model: TypeAlias = "str | os.PathLike[str] | Encoder | System"
"""Folder of a run, a model's folder, hub id or packaged name, a loaded encoder, or a system made of loaded ones."""


class Vectors:
    """Unit sentence vectors, each text encoded once by encoders that are the same, with the prompt of queries.

    No encoder may be trained between two calls: what makes it the same is looked at once.
    """

    def __init__(self) -> None:
        """None yet."""
        self._rows: dict[str, dict[str, np.ndarray]] = {}
        self._prints: WeakKeyDictionary[Encoder, str] = WeakKeyDictionary()

    def __call__(self, encoder: Encoder, texts: list[str]) -> np.ndarray:
        """Vectors ``(n, e)`` of the texts."""
        rows = self._rows.setdefault(self._print(encoder), {})
        new = list(dict.fromkeys(text for text in texts if text not in rows))
        if new:
            rows.update(zip(new, encode_sentences(encoder, new), strict=True))
        return np.stack([rows[text] for text in texts])

    def keep(self, encoder: Encoder) -> None:
        """Drop the vectors of all others, which are not asked again."""
        own = self._print(encoder)
        self._rows = {name: rows for name, rows in self._rows.items() if name == own}

    def _print(self, encoder: Encoder) -> str:
        if encoder not in self._prints:
            self._prints[encoder] = fingerprint(encoder)
        return self._prints[encoder]


def recipe_of(model: str) -> Recipe | None:
    """The recipe of a run; None where the model is no folder of a run.

    Raises:
        DataError: Files of the run are missing or damaged.
    """
    if not (Path(model) / "recipe.toml").is_file():
        return None
    return load_recipe(kept(Path(model)), {"out": model})


def systems_of(model: Model, options: Probe) -> list[System]:
    """The teacher and the student of a run, in this order, or the one encoder of a folder, hub id or packaged name.

    Raises:
        DataError: It cannot be loaded, or has no sentence vectors.
    """
    if isinstance(model, System):
        return [model]
    named = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    recipe = recipe_of(named) if named else None
    if named and recipe:
        own = recipe.model_copy(update={"device": options.device or recipe.device})
        teacher, student = teacher_towers(own), load_student(own)
        run = Path(named).resolve().name
        found = [
            System(f"teacher ({run})", teacher.queries, teacher.queries, teacher.documents),
            System(f"student ({run})", student, teacher.queries, teacher.documents, recipe.langs),
        ]
    else:
        name = Path(named).name if named else "the encoder given"
        given = _load(named or model, options.device)
        encoder = with_prompts(given, options.teacher_prompts.model_dump(), named or name)
        found = [System(name, encoder, encoder, encoder)]
    if late := [one.name for one in found if is_multi_vector(one.encoder)]:
        raise DataError(
            f"{late[-1]} is of late interaction and has no sentence vectors, which a probe compares; name an encoder "
            "of single vectors, or measure it by `optical evaluate`"
        )
    return found


def all_systems(model: Model, against: Model | None, options: Probe) -> tuple[list[System], str]:
    """All systems, and the name of the one that the others are compared with; empty where there is one alone.

    It is the last one of ``against``, its student if it is a run; else the teacher of a run.

    Raises:
        RecipeError: Two systems of one name.
    """
    systems = systems_of(model, options)
    baseline = systems[0].name if len(systems) > 1 else ""
    if against is not None:
        others = systems_of(against, options)
        if twice := {one.name for one in systems} & {one.name for one in others}:
            raise RecipeError(
                f"{min(twice)} would be compared with one of the same name; name another model against it"
            )
        systems, baseline = [*systems, *others], others[-1].name
    return systems, baseline


def lexicon_of_run(model: Model, lang: str) -> Lexicon | None:
    """The lexicon of the bitext of a run in a language; None where there is no run, or none of the language."""
    recipe = recipe_of(os.fspath(model)) if isinstance(model, str | os.PathLike) else None
    if recipe is None or lang not in recipe.langs:
        return None
    return bitext_lexicon(read_inputs(recipe.of(lang), lambda _: None).bitexts[lang].pairs)


def _load(model: Any, device: str | None) -> Encoder:
    """An encoder by its name, with rows composed for unseen words if it was saved so; a loaded one as it is."""
    if not isinstance(model, str):
        return load.load_encoder(model, device)
    check_part(Path(model))
    return load.load_student(model, device)
