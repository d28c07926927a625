"""Ctrl-C during training: finish the step, keep a checkpoint, stop; the second time, stop at once."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback

from optical.errors import OpticalError


class Interrupted(OpticalError):
    """Training was stopped by the user and can go on from its last checkpoint."""


class Interruption(TrainerCallback):
    """A trainer callback and a context manager: while it is open, the first SIGINT asks for a checkpoint and a stop."""

    def __init__(self) -> None:
        """Not yet asked."""
        self.asked = False
        self._previous: Any = None

    def __enter__(self) -> Interruption:
        """Take over SIGINT, in the main thread only: elsewhere Python has no say in signals."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        """Give SIGINT back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Turn the request into a checkpoint and the end of training."""
        if self.asked:
            control.should_save = True
            control.should_training_stop = True
        return control

    def raise_if_interrupted(self, folder: Path) -> None:
        """Raise :class:`Interrupted` if the user asked to stop."""
        if self.asked:
            raise Interrupted(f"stopped; the checkpoint is in {folder}; the same command goes on from it")
