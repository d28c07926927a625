"""Two encoders in one folder: sentence-transformers loads it, and so do we."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize

from optical.errors import DataError
from optical.models import router_format
from optical.models.encoders import as_multi_vector, encode_queries, encode_sentences, encode_tokens, fingerprint
from optical.models.load import load_towers
from optical.models.router_format import save_router
from optical.models.save import NOTE
from optical.models.towers import Towers, prompted_towers
from tests.conftest import bert
from tests.towers import two_encoders

TEXTS = ["i drink water .", "the moon", "who built this house ? she cooks rice ."]


@pytest.fixture
def towers(tmp_path):
    """Two encoders with prompts, the second without a Normalize of its own."""
    return prompted_towers(Towers(*two_encoders(tmp_path / "made")), {}, ["q", "d"])


def test_both_sides_are_as_they_were_in_sentence_transformers_alone(towers, tmp_path):
    said = []
    save_router(towers, tmp_path / "router", TEXTS, TEXTS[:2], said.append)
    assert said[0].startswith("loaded again by sentence-transformers: vectors of 3 queries differ by ")
    plain = SentenceTransformer(str(tmp_path / "router"), device="cpu")
    np.testing.assert_allclose(plain.encode_query(TEXTS), encode_queries(towers.queries, TEXTS), atol=1e-6)
    documents = encode_sentences(towers.documents, TEXTS, query=False)
    np.testing.assert_allclose(plain.encode_document(TEXTS), documents, atol=1e-6)
    again = load_towers(str(tmp_path / "router"), "cpu")
    assert [fingerprint(encoder, side) for encoder, side in zip(again, ("query", "document"), strict=True)] == [
        fingerprint(encoder, side) for encoder, side in zip(towers, ("query", "document"), strict=True)
    ]
    save_router(again, tmp_path / "router", TEXTS, TEXTS)  # its own folder is replaced, and nothing is added to it
    assert [len(encoder) for encoder in load_towers(str(tmp_path / "router"), "cpu")] == [3, 3]


def test_a_router_that_is_not_as_it_was_written_is_no_teacher(towers, tmp_path):
    save_router(towers, tmp_path / "first", TEXTS, TEXTS)
    shutil.copytree(tmp_path / "first", tmp_path / "router", copy_function=shutil.copy)
    (tmp_path / "router" / "README.md").write_text("My own words.")
    load_towers(str(tmp_path / "router"), "cpu")
    (file, *_) = sorted((tmp_path / "router").rglob("model.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"safetensors does not have the checksum .*; run the same `optical export`"):
        load_towers(str(tmp_path / "router"), "cpu")


def test_an_ordinary_teacher_and_its_student(tmp_path):
    teacher, student = bert(tmp_path / "bert"), two_encoders(tmp_path / "made")[0]
    save_router(Towers(student, teacher), tmp_path / "router", TEXTS, TEXTS)
    plain = SentenceTransformer(str(tmp_path / "router"), device="cpu")
    np.testing.assert_allclose(plain.encode_document(TEXTS), encode_sentences(teacher, TEXTS, query=False), atol=1e-6)
    assert all(isinstance(plain[0].sub_modules[side][-1], Normalize) for side in ("query", "document"))
    assert len(plain) == 1


def test_late_interaction(towers, tmp_path):
    late = Towers(as_multi_vector(towers.queries, 13), as_multi_vector(towers.documents))
    save_router(late, tmp_path / "router", TEXTS, TEXTS)
    plain = MultiVectorEncoder(str(tmp_path / "router"), device="cpu")
    again = load_towers(str(tmp_path / "router"), "cpu")
    for query, encoder, other in ((True, late.queries, again.queries), (False, late.documents, again.documents)):
        theirs = plain.encode_query(TEXTS) if query else plain.encode_document(TEXTS)
        own = encode_tokens(encoder, TEXTS, query=query), encode_tokens(other, TEXTS, query=query)
        for row, *rows in zip(theirs, *own, strict=True):
            for one in rows:
                np.testing.assert_allclose(np.asarray(row), one, atol=1e-6)


def test_a_model_that_is_another_after_loading_is_not_written(towers, tmp_path, monkeypatch):
    save_router(towers, tmp_path / "router", TEXTS, TEXTS)
    before = (tmp_path / "router" / "router_config.json").stat().st_mtime_ns
    real = router_format.write_encoder

    def damaged(encoder, folder):
        with torch.no_grad():
            next(encoder[0].sub_modules["document"].parameters()).mul_(2.0 - torch.arange(32) % 2)
        real(encoder, folder)
        with torch.no_grad():
            next(encoder[0].sub_modules["document"].parameters()).div_(2.0 - torch.arange(32) % 2)

    monkeypatch.setattr(router_format, "write_encoder", damaged)
    with pytest.raises(DataError, match="nothing was written"):
        save_router(towers, tmp_path / "router", TEXTS, TEXTS)
    assert (tmp_path / "router" / "router_config.json").stat().st_mtime_ns == before


def test_its_card_says_what_there_is_to_say_of_the_weights_of_both(towers, tmp_path):
    for encoder, note in zip(towers, ("of 4 bits", "of 8 bits"), strict=True):
        setattr(encoder[0].auto_model.config, NOTE, note)
    save_router(towers, tmp_path / "router", TEXTS, TEXTS)
    card = (tmp_path / "router" / "README.md").read_text(encoding="utf-8")
    assert "of 4 bits" in card
    assert "of 8 bits" in card
