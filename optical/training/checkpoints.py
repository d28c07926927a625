"""Checkpoints of a training: what makes one whole, and which one the same training goes on from.

The trainer writes a checkpoint file by file, and a kill or a full disk can cut it short at any of them. So the list of
its files with their checksums is written last. A checkpoint without one, with that of another training, or whose files
are not those of its list is never read, and is removed.
"""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from optical.files import clear_working_folder, file_checksum, file_written_whole, flush, strict_json
from optical.marker import entries

logger = logging.getLogger(__name__)

START, WEIGHTS = "start.pt", "weights.pt"  # state dicts: before training, and of each checkpoint
LIST = "checkpoint.json"  # of the files of a checkpoint: the training, whether it ended there, checksums
STATE = "trainer_state.json"
PATTERNS = (START, "last.pt", "end.pt", "eval", "checkpoint-*")  # what training leaves, that of older versions too
# What a state of numpy's random numbers is made of, beside numbers.
_NUMPY: list[Any] = [np.empty(0).__reduce__()[0], np.ndarray, np.dtype, type(np.dtype(np.uint32))]


class Checkpoint(NamedTuple):
    """A whole checkpoint.

    Attributes:
        folder: Its files.
        ended: Training ended with this step, so there is nothing to go on with.
        state: What the trainer knows: steps, scores, its log.
    """

    folder: Path
    ended: bool
    state: dict[str, Any]

    @property
    def best(self) -> Path:
        """Folder of the checkpoint with the highest development score so far; this one where there is no score."""
        step = self.state["best_global_step"]
        return self.folder.with_name(f"checkpoint-{step}") if step else self.folder


def seal(folder: Path, key: str, *, ended: bool) -> None:
    """Write the list of a checkpoint, which is whole from now on; then remove the ones before that nobody needs.

    Kept are the newest and the one with the best score, or the one before the newest where that is the best.

    Args:
        folder: Of the checkpoint, in the folder of its training.
        key: Of the training.
        ended: Training ends with this step.
    """
    files = {name: _digest(folder, name) for name in entries(folder) if name != LIST}
    flush(*(folder / name for name in files))
    with file_written_whole(folder / LIST, anyones=True) as unfinished:
        # Threads are read where the command line goes on: others would give another student.
        listed_here = {"training": key, "ended": ended, "threads": torch.get_num_threads(), "files": files}
        unfinished.write_text(strict_json(listed_here), encoding="utf-8")
    flush(folder.parent)
    best = Checkpoint(folder, ended, _state(folder)).best
    before = [one for one in listed(folder.parent) if one != folder]
    keep = before[0] if best == folder and before else best
    clear_working_folder(folder.parent, [one.name for one in before if one != keep])


def resumable(run: Path, key: str) -> Checkpoint | None:
    """The newest checkpoint that a training can go on from; None where it has to begin.

    What cannot be used is told by a warning, and removed.

    Args:
        run: Folder of the training.
        key: Of the training.
    """
    there = _by_step(run.glob("checkpoint-*"))
    for folder in there:
        wrong = damage(folder, key)
        if not wrong:
            found = Checkpoint(folder, json.loads((folder / LIST).read_bytes())["ended"], _state(folder))
            if found.best == folder or not damage(found.best, key):
                return found
            wrong = f"{found.best.name}, the best before it, is gone or damaged"
        logger.warning("%s is not used: %s", folder, wrong)
        clear_working_folder(run, [folder.name])
    if there:
        logger.warning("no checkpoint in %s can be used: training begins anew", run)
    return None


def damage(folder: Path, key: str) -> str:
    """Say why a checkpoint cannot be read; empty where it can.

    Nothing but tensors, numbers and text is ever read from its files, whoever wrote the list.
    """
    try:
        found = json.loads((folder / LIST).read_bytes())
        training, ended, files = (found[name] for name in ("training", "ended", "files"))
        names = set(files)
    except FileNotFoundError:
        return f"it was not finished, there is no {LIST}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{LIST} is damaged"
    if training != key or not isinstance(ended, bool):
        return "another training wrote it"
    there = set(entries(folder)) - {LIST}
    for name in sorted(names ^ there):
        return f"{name} is missing" if name in names else f"{name} does not belong to it"
    try:
        for name, checksum in files.items():
            if _digest(folder, name) != checksum:
                return f"{name} is damaged"
        with torch.serialization.safe_globals(_NUMPY):
            for name in [one for one in names if one.endswith((".pt", ".pth"))]:
                torch.load(folder / name, map_location="cpu", weights_only=True, mmap=True)
        _state(folder)
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        return f"a file of it cannot be read ({type(error).__name__})"
    return ""


def listed(run: Path) -> list[Path]:
    """Folders of the checkpoints in ``run`` that were written to the end, newest first; their files are not read."""
    return _by_step(path.parent for path in run.glob(f"checkpoint-*/{LIST}"))


def last_good(run: Path) -> Path | None:
    """The newest checkpoint whose weights are all finite; None where there is none."""
    for folder in listed(run):
        weights = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True, mmap=True)
        if all(bool(value.isfinite().all()) for value in weights.values()):
            return folder
    return None


def _digest(folder: Path, name: str) -> str:
    return "" if name.endswith("/") else file_checksum(folder / name)  # of an empty folder there is nothing to check


def _state(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / STATE).read_bytes())
    return {name: found[name] for name in ("global_step", "best_global_step", "best_metric", "log_history")}


def _by_step(folders: Any) -> list[Path]:
    numbered = [(int(step), folder) for folder in folders if (step := folder.name.split("-")[-1]).isdigit()]
    return [folder for _, folder in sorted(numbered, reverse=True)]
