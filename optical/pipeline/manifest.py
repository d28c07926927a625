"""The manifest of a run: what it was made of, by which versions, on which machine, and how long each stage took."""

from __future__ import annotations

import contextlib
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from optical.config.recipe import Recipe
from optical.config.teaching import Teaching
from optical.errors import DataError
from optical.files import write_text
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.verify import MANIFEST, read_manifest, sealed
from optical.progress import Clock
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
    known |= {"packages": versions(PACKAGES), "machine": platform.platform(), "processor": processor()}
    known |= {"seed": recipe.seed, "threads": torch.get_num_threads()}
    known |= {"teacher": recipe.teacher, "teacher_fingerprint": encoders.fingerprint(teacher)}
    if documents not in (None, teacher):
        known |= {DOCUMENTS: encoders.fingerprint(documents)}
    write_text(recipe.folder / MANIFEST, sealed({**known, **facts}))


def teacher_of(run: Path) -> str:
    """Fingerprint of the teacher that a run was made with: of its encoder of documents, where it has two.

    Raises:
        DataError: The folder is none that a run was written to.
    """
    made = read_manifest(run)
    if name := made.get(DOCUMENTS) or made.get("teacher_fingerprint"):
        return name
    raise DataError(
        f"{run / MANIFEST} does not say by which teacher the run was made; name a folder that `optical distill` left"
    )


def note_seconds(run: Path, clock: Clock) -> None:
    """Write into the manifest of a run how long its stages took, also those that ended after it was written."""
    write_text(run / MANIFEST, sealed({**read_manifest(run), **clock.facts()}))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> its version, where it is installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def commit() -> str | None:
    """The commit of the package's checkout, with ``-dirty`` where files of it differ; None for an installed package.

    A repository that the environment lies in is none of the package's.
    """
    root = Path(__file__).resolve().parents[2]
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return None
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "optical")
        return _git(root, "rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    call = ["git", "-C", str(folder), *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def processor() -> str:
    """The name of the processor, where the system says one."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M):
            return found[1]
    return platform.processor() or platform.machine()
