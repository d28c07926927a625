"""The choice between bfloat16 and float32: bfloat16 only on devices where it is faster."""

from __future__ import annotations

import torch

from optical.errors import RecipeError

TRIED = ("avx512_bf16", "amx_bf16")  # instructions with which training was seen to be faster
INSTRUCTIONS = (*TRIED, "bf16")  # the last is ARM's


def bfloat16(precision: str, device: str) -> bool:
    """Whether to compute in bfloat16; ``auto`` does where it is known to be faster.

    Args:
        precision: ``auto``, ``float32`` or ``bfloat16``.
        device: Its kind, as torch names it: ``cpu``, ``cuda``, ...
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device == "cpu":
        return _has(TRIED)
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def check_precision(precision: str, device: str) -> None:
    """Refuse bfloat16 on a processor without instructions for it: its products are up to 220 times slower there.

    Raises:
        RecipeError: It is asked for on such a processor.
    """
    if precision == "bfloat16" and device == "cpu" and not _has(INSTRUCTIONS):
        raise RecipeError(
            "bfloat16 is asked for, and this processor has no instructions for it: it would take many times as long as "
            "float32; leave it out, or use another machine"
        )


def _has(instructions: tuple[str, ...]) -> bool:
    there = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(there.get(name) for name in instructions)
