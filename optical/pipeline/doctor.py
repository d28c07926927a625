"""Look at this machine and this installation: what is there, and what is missing for which verb."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement

from optical.config.threads import choose_threads, quota
from optical.models.packaged_teachers import user_cache
from optical.retrieval.lexical import lucene
from optical.version import __version__

PACKAGES = (
    "torch", "transformers", "sentence-transformers", "accelerate", "datasets", "faiss-cpu", "faiss-gpu", "ir-measures",
    "numpy", "scipy",
)  # fmt: skip
INSTRUCTIONS = {  # name -> flags of /proc/cpuinfo, of Intel and AMD or of ARM
    "AVX2": ("avx2",), "AVX-512": ("avx512f",), "VNNI": ("avx512_vnni", "avx_vnni", "asimddp"),
    "bfloat16": ("avx512_bf16", "amx_bf16", "bf16"), "AMX": ("amx_tile",),
}  # fmt: skip
WANTED_BY = {  # extra -> the verbs and options that need it
    "teacher": "every verb, with the default teacher all-MiniLM-L6-v2",
    "e5": "--teacher multilingual-e5-small",
    "irds": "--collection irds:...",
    "bm25": "distill, evaluate: rows of BM25 as in the literature (search.bm25 = lucene)",
    "bm25-lite": "distill, evaluate: rows of BM25 without Java (search.bm25 = bm25s)",
    "onnx": "export --to onnx",
    "serve": "serve",
    "qdrant": "export --to qdrant, search and serve --engine qdrant",
    "pgvector": "export --to pgvector, search and serve --engine pgvector",
    "mteb": "mteb",
    "docs": "--docs of .xlsx, .html and .pdf",
}
NOT_FOR_USERS = ("dev",)


def examine(cache: Path) -> dict[str, Any]:
    """Collect the facts of this machine and installation.

    Args:
        cache: Folder of the teacher's vectors.

    Returns:
        ``versions``, ``processor``, ``gpu``, ``java``, ``folders`` and ``extras``, for JSON; sizes are in bytes.
    """
    return {
        "versions": {"optical": __version__, "python": platform.python_version(), **_versions()},
        "processor": _processor(),
        "gpu": _gpus(),
        "java": lucene.java_in_words(),
        "folders": {name: _folder(path) for name, path in (("vectors", cache), ("models", user_cache()))},
        "extras": {name: one for name, one in _extras() if name not in NOT_FOR_USERS},
    }


def _versions() -> dict[str, str]:
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    threads = choose_threads()
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)[:1]).split())
    return {
        "name": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "quota": quota(),
        "threads": threads.number,
        "why_so_many_threads": threads.why,
        "instructions": {name: bool(flags & set(any_of)) for name, any_of in INSTRUCTIONS.items()} if flags else None,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None,
    }


def _gpus() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = (torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count()))
    return [{"name": one.name, "memory": one.total_memory} for one in found]


def _folder(path: Path) -> dict[str, Any]:
    """Size of a folder, and what is free on its disk."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else 0
    return {"path": str(path), "used": used, "free": shutil.disk_usage(there).free}


def _extras() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each extra, what wants it, and which of its packages are missing."""
    try:
        metadata = importlib.metadata.metadata("optical")
    except importlib.metadata.PackageNotFoundError:  # run from a folder that was never installed
        return
    wanted = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    for extra in metadata.get_all("Provides-Extra") or []:
        own = [one for one in wanted if one.marker and _of_extra(one.marker, extra)]
        missing = [str(one).partition(";")[0].strip() for one in own if not _satisfied(one)]
        if extra == "bm25":  # `make setup-bm25` installs less than the extra names
            missing = [lucene.missing()] if lucene.missing() else []
        install = "make setup-bm25" if extra == "bm25" else f"pip install 'optical[{extra}]'"
        yield extra, {"for": WANTED_BY.get(extra, ""), "missing": missing, "install": install}


def _of_extra(marker: Marker, extra: str) -> bool:
    return marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _satisfied(wanted: Requirement) -> bool:
    version = _version(wanted.name)
    return version is not None and wanted.specifier.contains(version, prereleases=True)
