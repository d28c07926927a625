"""Progress bars: one look for all, within 80 columns, and none of the libraries' own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

WIDEST = 80  # columns


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
