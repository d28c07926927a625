"""Progress bars: one look for all, within 80 columns, and none of the libraries' own. Seconds by stage."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Self

WIDEST = 80  # columns


class Clock:
    """Seconds by stage; what a :func:`stage` within another takes is not counted twice.

    Attributes:
        seconds: Stage -> seconds of the clock.
        processor: Stage -> seconds of all processors, in this process and those that it started and that have ended.
    """

    def __init__(self, begun: float | None = None) -> None:
        """Begin the first stage: now, or with the process, which ``time.perf_counter`` said ``begun`` at."""
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self._last = _now() if begun is None else (begun, 0.0)
        self._taken = [(0.0, 0.0)]  # by each stage that another began within, so far

    def __enter__(self) -> Self:
        """Run: be told by :func:`stage`. A clock that runs already goes on afterwards."""
        _running.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Run no more."""
        _running.remove(self)

    def __call__(self, name: str) -> None:
        """End a stage, which began where the last one ended; stages of one name add up."""
        wall, processor = self._so_far()
        self._taken[-1] = (0.0, 0.0)
        self.seconds[name] = self.seconds.get(name, 0.0) + wall
        self.processor[name] = self.processor.get(name, 0.0) + processor

    def facts(self) -> dict[str, dict[str, float]]:
        """Both, rounded, for a manifest."""
        return {
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "processor_seconds": {name: round(value, 1) for name, value in self.processor.items()},
        }

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Time a block as a stage of its own."""
        self._taken[-1] = self._so_far()
        self._taken.append((0.0, 0.0))
        try:
            yield
        finally:
            self(name)
            self._taken.pop()

    def _so_far(self) -> tuple[float, float]:
        before, self._last, taken = self._last, _now(), self._taken[-1]
        return self._last[0] - before[0] + taken[0], self._last[1] - before[1] + taken[1]


_running: list[Clock] = []


def clock() -> Clock:
    """The one that runs, else a new one, which runs while a ``with`` block has it."""
    return _running[-1] if _running else Clock()


def stage(name: str) -> AbstractContextManager[None]:
    """Time a block as a stage of the clock that runs."""
    return clock().within(name)


def _now() -> tuple[float, float]:
    used = os.times()
    return time.perf_counter(), used.user + used.system + used.children_user + used.children_system


def bar(label: str, total: int | None, unit: str, *, wanted: bool, begun: int = 0) -> Any:
    """Open a bar with total, rate and time left; not where ``TQDM_DISABLE`` is set.

    Args:
        label: In front of it.
        total: Of the units; None where nobody knows.
        unit: In the singular.
        wanted: Whether there is to be one.
        begun: Units that were done before.
    """
    from tqdm.auto import tqdm

    off = not wanted or os.environ.get("TQDM_DISABLE", "0").lower() not in ("", "0", "false")
    columns = min(WIDEST, shutil.get_terminal_size().columns)
    return tqdm(total=total, initial=begun, desc=label, unit=unit, unit_scale=False, ncols=columns, disable=off)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Show no bars of transformers and sentence-transformers inside: weights loaded, shards written, widgets made."""
    from sentence_transformers.base import model_card
    from transformers.utils import logging

    shown, own = logging.is_progress_bar_enabled(), model_card.tqdm
    logging.disable_progress_bar()
    model_card.tqdm = partial(own, disable=True)
    try:
        yield
    finally:
        model_card.tqdm = own
        if shown:
            logging.enable_progress_bar()
