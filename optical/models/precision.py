"""The choice between bfloat16 and float32: bfloat16 only on devices where it is faster, its weights rounded once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from optical.errors import RecipeError
from optical.models.encoders import Encoder, with_same_weights

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


def has_bfloat16(device: str) -> bool:
    """Whether a kind of device has instructions for bfloat16, so that it may be the faster."""
    if device == "cpu":
        return _has(INSTRUCTIONS)
    return device == "cuda" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def rounded_once(encoder: Encoder) -> Encoder:
    """The encoder with the weights of its linear layers in bfloat16, to be run under autocast to bfloat16.

    Autocast rounds float32 weights anew for every batch; the vectors are the same, bit for bit. The encoder given is
    not changed, and one that is rounded already is returned as it is.
    """
    if not any(weight.dtype == torch.float32 for weight in _linear(encoder)):
        return encoder
    rounded = with_same_weights(encoder)
    for module in rounded.modules():
        if isinstance(module, nn.Linear) and module.weight.dtype == torch.float32:
            module.weight = nn.Parameter(module.weight.detach().bfloat16(), requires_grad=False)
    return rounded


def _linear(encoder: Encoder) -> Iterator[torch.Tensor]:
    return (module.weight for module in encoder.modules() if isinstance(module, nn.Linear))


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
