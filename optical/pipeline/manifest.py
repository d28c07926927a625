"""What a run leaves beside its models: the manifest that says what it was made of, its JSON, its times.

Takes plain values, writes files whole. Knows a teacher by its fingerprint only.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optical.config.recipe import Recipe
from optical.config.teaching import Teaching
from optical.files import file_written_whole
from optical.models import encoders
from optical.models.encoders import Encoder

PACKAGES = (  # whose versions a manifest names, where they are installed
    "torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "ir-measures", "numpy",
)  # fmt: skip


def write_manifest(recipe: Recipe | Teaching, teacher: Encoder, facts: dict[str, Any]) -> None:
    """What the run was made of: versions, commit, checksums, seed, machine, times."""
    known = {"optical": _own_version(), "commit": commit(), "python": platform.python_version()}
    known |= {"packages": _versions(), "machine": platform.platform(), "seed": recipe.seed}
    known |= {"teacher": recipe.teacher, "teacher_fingerprint": encoders.fingerprint(teacher)}
    write_text(recipe.folder / "manifest.json", strict_json({**known, **facts}))


class Clock:
    """Seconds since the last call, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.seconds[stage] = round(now - self.last, 1)
        self.last = now


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with file_written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def strict_json(value: dict | list) -> str:
    """Strict JSON, which has no NaN and no infinity: they become null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _own_version() -> str:
    from optical import __version__

    return __version__


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
