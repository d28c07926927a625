"""The manifest of a run: what it was made of, by which versions, on which machine, and how long each stage took."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optical.config.recipe import Recipe
from optical.config.teaching import Teaching
from optical.errors import DataError
from optical.files import strict_json, write_text
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.version import __version__

PACKAGES = (  # whose versions a manifest names, where they are installed
    "torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "ir-measures", "numpy",
)  # fmt: skip

DOCUMENTS = "teacher_documents_fingerprint"  # a fact of teachers with a second encoder, of documents


def write_manifest(
    recipe: Recipe | Teaching, teacher: Encoder, facts: dict[str, Any], documents: Encoder | None = None
) -> None:
    """Write what the run was made of: versions, commit, seed, machine, teacher, and the facts given.

    ``documents`` is the teacher's encoder of documents, where it may be another than that of queries.
    """
    known = {"optical": __version__, "commit": commit(), "python": platform.python_version()}
    known |= {"packages": versions(PACKAGES), "machine": platform.platform(), "seed": recipe.seed}
    known |= {"teacher": recipe.teacher, "teacher_fingerprint": encoders.fingerprint(teacher)}
    if documents not in (None, teacher):
        known |= {DOCUMENTS: encoders.fingerprint(documents)}
    write_text(recipe.folder / "manifest.json", strict_json({**known, **facts}))


def teacher_of(run: Path) -> str:
    """Fingerprint of the teacher that a run was made with: of its encoder of documents, where it has two.

    Raises:
        DataError: The folder is none that a run was written to.
    """
    file = run / "manifest.json"
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
        return made.get(DOCUMENTS) or made["teacher_fingerprint"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{file} does not say by which teacher the run was made ({type(error).__name__}); name a folder that "
            "`optical distill` left"
        ) from error


class Clock:
    """Times the stages of a run.

    Attributes:
        seconds: Stage -> how long it took.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        """End a stage, which began where the last one ended."""
        now = time.perf_counter()
        self.seconds[stage] = round(now - self.last, 1)
        self.last = now

    def include(self, seconds: Mapping[str, float]) -> None:
        """Take over stages that ran since the last call and were timed elsewhere."""
        self.seconds |= seconds
        self.last = time.perf_counter()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> its version, where it is installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def commit() -> str | None:
    """The commit of the checkout that the package runs from; None for an installed package."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
