"""Refuse what cannot work before anything heavy is imported: inputs that are missing, folders that take nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from optical.config.kinds import REPORTS
from optical.config.probe import Probe
from optical.config.recipe import Recipe, load_recipe
from optical.config.teaching import Teaching
from optical.data.bitext_sources import sources_of
from optical.data.collection import documents_of
from optical.data.collection_irds import IR_DATASETS
from optical.errors import DataError, RecipeError
from optical.files import check_place, check_replaceable
from optical.limits import check_regular, exists, path_of
from optical.models.onnx_encoder import check_installed
from optical.models.packaged_teachers import check_model_name
from optical.pipeline.inputs import bitext_path, collection_path
from optical.pipeline.run_folder import check_distill, check_evaluate, check_index, check_teach, check_transplant, kept
from optical.training.augmentation import read_synonyms

GPUS = (
    "/dev/nvidiactl",
    "/dev/nvidia0",
    "/dev/kfd",
    "/dev/dxg",
    "/dev/nvhost-gpu",
    "/dev/nvmap",
)  # that torch calls cuda
LONGEST = 1_000  # characters of a question, at most


def before_transplant(recipe: Recipe) -> None:
    """Refuse a recipe whose student cannot be made.

    Raises:
        DataError: What is missing or in the way.
    """
    check_transplant(recipe.folder)
    _check_device(recipe.device)
    _check_student_inputs(recipe)


def before_distill(recipe: Recipe) -> None:
    """Refuse a recipe whose run cannot be made.

    Raises:
        DataError: What is missing or in the way.
    """
    check_distill(recipe)
    _check_device(recipe.device)
    _check_report(recipe.training.report_to)
    _check_student_inputs(recipe)
    _check_collections(recipe)


def before_teach(options: Teaching) -> None:
    """Refuse options by which no teacher can be taught.

    Raises:
        DataError: What is missing or in the way.
    """
    check_teach(options.folder)
    _check_device(options.device)
    _check_report(options.report_to)
    check_place(options.cache_folder)
    _check_models([options.teacher])
    for path in (options.collection, options.test):
        if path and not path.startswith(IR_DATASETS):
            documents_of(path)


def before_embed(recipe: Recipe) -> None:
    """Refuse a recipe whose documents cannot be embedded.

    Raises:
        DataError: What is missing or in the way.
    """
    check_place(recipe.cache_folder)
    _check_device(recipe.device)
    _check_models([recipe.teacher])
    _check_collections(recipe)


def before_index(recipe: Recipe) -> None:
    """Refuse a run whose index cannot be written.

    Raises:
        DataError: What is missing or in the way.
    """
    check_index(recipe)
    before_embed(recipe)


def before_search(recipe: Recipe) -> None:
    """Refuse a run without what a search needs: a student that reads the languages asked for, and a collection.

    Raises:
        DataError: What is missing.
    """
    _check_student(recipe.folder / "student")
    read = load_recipe(kept(recipe.folder)).langs
    if others := [lang for lang in recipe.langs if lang not in read]:
        raise DataError(
            f"the student of {recipe.folder} reads {', '.join(read)}, not {', '.join(others)}; take another lang"
        )
    _check_collections(recipe)


def before_export(recipe: Recipe, folder: Path, to: str) -> None:
    """Refuse an export of a run without a student, without its packages, or into a folder that holds something else.

    Raises:
        DataError: What is missing or in the way.
    """
    _check_student(recipe.folder / "student")
    if to == "onnx":
        check_installed()
    if to not in ("qdrant", "pgvector"):
        check_place(folder)
        check_replaceable(folder)


def checked_question(text: str) -> str:
    """Strip a question, asked by whom it may.

    Raises:
        DataError: It has no letter and no digit, or is too long.
    """
    question = text.strip()
    if not any(map(str.isalnum, question)):
        raise DataError("no question was asked; received text without a word; write a question")
    if len(question) > LONGEST:
        raise DataError(
            f"the question is too long: {len(question):,} characters, at most {LONGEST:,} are read; shorten it"
        )
    return question


def before_evaluate(recipe: Recipe, student: Path | None) -> None:
    """Refuse a run that cannot be measured, or results that cannot be written.

    Raises:
        DataError: What is missing or in the way.
    """
    check_evaluate(recipe.folder)
    _check_models([recipe.teacher])
    _check_student(student or recipe.folder / "student")
    _check_collections(recipe)


def before_mteb(recipe: Recipe) -> None:
    """Refuse a run without a student or a collection.

    Raises:
        DataError: What is missing.
    """
    _check_student(recipe.folder / "student")
    _check_models([recipe.teacher])
    _check_collections(recipe)


def before_probe(models: Sequence[str], options: Probe) -> None:
    """Refuse models and synonyms that are not there, runs without a student, and a device that this machine has not.

    Raises:
        DataError: What is missing.
    """
    _check_device(options.device)
    if options.robustness.method == "augment" and options.robustness.synonyms:
        read_synonyms(options.robustness.synonyms)
    for model in models:
        if (path_of(model) / "recipe.toml").is_file():
            recipe = load_recipe(kept(Path(model)), {"out": model})
            _check_student(recipe.folder / "student")
            _check_models([recipe.teacher])
        else:
            _check_models([model])


def _check_student_inputs(recipe: Recipe) -> None:
    check_place(recipe.cache_folder)
    for lang in recipe.langs:
        own = recipe.of(lang)
        sources_of(bitext_path(own), lang)
        lists = {"dictionary": own.vocabulary.lexicon, "word list": own.vocabulary.words}
        for name, path in lists.items():
            if path and not exists(path.replace("{lang}", lang)):
                raise DataError(f"no such {name}: {path}; check the path, or leave the option out")
            if path and not (there := path_of(path.replace("{lang}", lang))).is_dir():
                check_regular(there)
    _check_models([recipe.teacher, *([recipe.student] if recipe.student else [])])


def _check_student(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such model folder; name a run that `optical distill` finished")


def _check_device(device: str | None) -> None:
    """Refuse a GPU where the system has none; what torch finds of it is asked when a model is loaded."""
    if device and device.startswith("cuda") and sys.platform == "linux" and not any(map(os.path.exists, GPUS)):
        raise RecipeError(f"device = {device!r} is asked for, and this machine has no such GPU; leave the device out")


def _check_report(name: str) -> None:
    """Refuse a tracker that is not installed."""
    if (module := REPORTS.get(name)) and find_spec(module) is None:
        raise RecipeError(f"report_to = {name!r} needs {module}, which is not installed; install it, or leave it out")


def _check_models(names: Sequence[str]) -> None:
    for name in names:
        for part in [name] if Path(name).is_dir() else name.split(","):
            check_model_name(part.strip())


def _check_collections(recipe: Recipe) -> None:
    """Refuse collections of which none is there; of several languages, some may have none."""
    paths = dict.fromkeys(path for lang in recipe.langs if (path := collection_path(recipe.of(lang))))
    there = [path for path in paths if path.startswith(IR_DATASETS) or exists(path)]
    for path in there or paths:
        if not path.startswith(IR_DATASETS):
            documents_of(path)
