"""Bfloat16 where it pays, and nowhere by accident."""

from __future__ import annotations

import pytest
import torch

from optical.embeddings.embed import EmbedOptions, embed_collection
from optical.errors import RecipeError
from optical.models import precision
from optical.models.encoders import encode_batch


def has(monkeypatch, *instructions: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True), raising=False)


@pytest.mark.parametrize(
    ("wanted", "instructions", "expected"),
    [("auto", "avx512_bf16", True), ("auto", "amx_bf16", True), ("auto", "avx512_f", False), ("auto", "bf16", False),
     ("float32", "avx512_bf16", False), ("bfloat16", "avx512_bf16", True)],
)  # fmt: skip
def test_a_processor_computes_in_bfloat16_where_it_has_instructions_for_it(monkeypatch, wanted, instructions, expected):
    has(monkeypatch, instructions)
    assert precision.bfloat16(wanted, "cpu") is expected


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", "bf16"])
def test_it_may_be_asked_for_where_there_are_instructions(monkeypatch, instructions):
    has(monkeypatch, instructions)
    precision.check_precision("bfloat16", "cpu")


def test_it_is_refused_where_there_are_none(monkeypatch):
    has(monkeypatch, "avx2", "avx512_f")
    with pytest.raises(RecipeError, match="^bfloat16 is asked for, and this processor has no instructions for it: "):
        precision.check_precision("bfloat16", "cpu")
    for wanted, device in (("auto", "cpu"), ("float32", "cpu"), ("bfloat16", "cuda"), ("bfloat16", "mps")):
        precision.check_precision(wanted, device)


def test_documents_are_not_embedded_a_hundred_times_slower_than_need_be(monkeypatch, teacher, tmp_path):
    has(monkeypatch, "avx2")
    with pytest.raises(RecipeError, match="no instructions for it"):
        embed_collection(teacher, [("a", "rain")], tmp_path / "vectors", EmbedOptions(compute="bfloat16"))
    assert not (tmp_path / "vectors").exists()


def test_weights_that_are_rounded_once_give_the_vectors_of_autocast_bit_for_bit(teacher):
    texts = ["the moon", "who built this house ? she cooks rice ."]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    rounded = precision.rounded_once(teacher)
    assert precision.rounded_once(rounded) is rounded
    dtypes = {type(m).__name__: m.weight.dtype for m in rounded.modules() if hasattr(m, "weight")}
    assert dtypes == {"Embedding": torch.float32, "Linear": torch.bfloat16, "LayerNorm": torch.float32}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found, expected = (encode_batch(one, one.preprocess(texts)) for one in (rounded, teacher))
    assert torch.equal(found.tokens.vectors, expected.tokens.vectors)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


@pytest.mark.parametrize(
    ("device", "instructions", "expected"),
    [("cpu", "bf16", True), ("cpu", "amx_bf16", True), ("cpu", "avx512_f", False), ("mps", "bf16", False)],
)
def test_the_devices_on_which_bfloat16_may_be_the_faster(monkeypatch, device, instructions, expected):
    has(monkeypatch, instructions)
    assert precision.has_bfloat16(device) is expected
