"""The hub is asked once: no answer is one message within seconds, or the cache."""

from __future__ import annotations

import time

import httpx
import pytest

from optical.errors import DataError
from optical.models.hub import only_cached
from optical.models.load import load_encoder


@pytest.fixture
def unreachable(monkeypatch):
    """A hub that refuses every connection, as without a network; its calls are counted."""
    from huggingface_hub import HfApi

    calls = []

    def refuse(self, name, **_):
        calls.append(name)
        raise httpx.ConnectError("Name or service not known")

    monkeypatch.setattr(HfApi, "model_info", refuse)
    return calls


def test_without_a_network_an_unknown_name_is_one_message_after_one_call(unreachable):
    begun = time.perf_counter()
    with pytest.raises(DataError, match=r"nobody/nothing: no such folder or packaged teacher.*cannot be asked"):
        load_encoder("nobody/nothing")
    assert unreachable == ["nobody/nothing"]
    assert time.perf_counter() - begun < 5


def test_without_a_network_a_cached_model_is_read_from_the_cache(unreachable, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: f"/cache/{name}/{file}")
    assert only_cached("somebody/something") is True


def test_a_model_that_the_hub_has_is_left_to_the_library(monkeypatch):
    from huggingface_hub import HfApi

    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: object())
    assert only_cached("somebody/something") is False
