"""Memory between the steps of training on a CPU: freed tensors stay in the process, ready for the next step."""

from __future__ import annotations

import ctypes
import os

_MALLOC = {-3: 32 << 20, -1: 2**31 - 1, -2: 64 << 20}  # M_MMAP_THRESHOLD (its most), M_TRIM_THRESHOLD, M_TOP_PAD


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step, where it would return it to the system after every layer.

    The system clears every page that it hands out again: of a step of multilingual-e5-small on 48 sentences, 35 ms of
    .6 s. It holds for the rest of the process. Variables of the environment (``MALLOC_...``) have the last word; other
    C libraries are left as they are.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for option, value in _MALLOC.items():
            mallopt(option, value)
