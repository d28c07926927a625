"""The teacher's vectors on disk: made once, keyed by what they are of, never read half-written."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch

from optical.embeddings import cache, encode
from optical.embeddings.cache import document_vectors, read_vectors, stream_vectors, teacher_vectors
from optical.embeddings.embed import EmbedOptions
from optical.errors import DataError
from optical.models.encoders import as_multi_vector, encode_batch, encode_sentences, encode_tokens
from tests.conftest import bert

TEXTS = ["the moon", "who built this house ? she cooks rice .", "q", "i drink water .", "the moon"]
IDS = ["d0", "d1", "d2", "d3", "d4"]


def refuse(*_, **__):
    raise AssertionError("the model was called again")


def test_tokens_and_sentences_are_those_of_the_teacher_in_the_order_of_the_texts(teacher, tmp_path):
    found = teacher_vectors(teacher, TEXTS, tmp_path, batch_size=2)
    assert (found.tokens.dtype, found.sentences.dtype) == (np.float16, np.float32)
    for k, text in enumerate(TEXTS):
        with torch.no_grad():
            alone = encode_batch(teacher, teacher.preprocess([text]))
        np.testing.assert_allclose(found.of(k), alone.tokens.vectors[0].numpy(), rtol=2e-3, atol=2e-3)  # float16
        np.testing.assert_allclose(found.sentences[k], alone.sentence[0].numpy(), atol=1e-5)


def test_the_second_call_reads_and_does_not_encode(teacher, tmp_path, monkeypatch):
    first = teacher_vectors(teacher, TEXTS, tmp_path)
    documents = document_vectors(teacher, IDS, TEXTS, tmp_path)
    for room in (cache, encode):
        monkeypatch.setattr(room, "encode_batch", refuse)
    again = teacher_vectors(teacher, TEXTS, tmp_path)
    np.testing.assert_array_equal(again.tokens, first.tokens)
    assert again.folder == first.folder
    np.testing.assert_array_equal(document_vectors(teacher, IDS, TEXTS, tmp_path).sentences, documents.sentences)
    with pytest.raises(AssertionError, match="called again"):
        teacher_vectors(teacher, TEXTS[:-1], tmp_path)


def test_the_key_is_texts_in_their_order_ids_and_teacher(teacher, tmp_path):
    other = bert(tmp_path / "other", text="other words")
    folders = [
        teacher_vectors(teacher, TEXTS, tmp_path / "cache").folder,
        teacher_vectors(teacher, TEXTS[::-1], tmp_path / "cache").folder,
        teacher_vectors(teacher, ["the moonwho", *TEXTS[2:]], tmp_path / "cache").folder,
        teacher_vectors(other, TEXTS, tmp_path / "cache").folder,
        document_vectors(teacher, IDS, TEXTS, tmp_path / "cache").folder,
        document_vectors(teacher, IDS[::-1], TEXTS, tmp_path / "cache").folder,
        document_vectors(as_multi_vector(teacher), IDS, TEXTS, tmp_path / "cache").folder,
    ]
    assert len(set(folders)) == len(folders)


def test_documents_of_a_single_vector_teacher(teacher, tmp_path):
    found = document_vectors(teacher, IDS, TEXTS, tmp_path)
    np.testing.assert_allclose(found.sentences, encode_sentences(teacher, TEXTS), atol=1e-6)
    assert found.of(1).shape[0] == 0


def test_documents_of_a_late_interaction_teacher_are_ragged(teacher, tmp_path):
    many = as_multi_vector(teacher)
    found = document_vectors(many, IDS, TEXTS, tmp_path)
    expected = encode_tokens(many, TEXTS, query=False)
    assert len({len(row) for row in expected}) > 2
    for k, row in enumerate(expected):
        np.testing.assert_allclose(found.of(k), row, atol=1e-3)
    assert found.sentences.shape == (5, 0)


@pytest.mark.usefixtures("with_bfloat16")
def test_documents_in_another_precision_lie_beside(teacher, tmp_path):
    exact = document_vectors(teacher, IDS, TEXTS, tmp_path)
    rounded = document_vectors(teacher, IDS, TEXTS, tmp_path, EmbedOptions(precision="int8"))
    np.testing.assert_allclose(np.asarray(rounded.sentences), exact.sentences, atol=5e-3)
    hasty = document_vectors(teacher, IDS, TEXTS, tmp_path, EmbedOptions(compute="bfloat16"))
    assert hasty.folder == stream_vectors(
        teacher, lambda: zip(IDS, TEXTS, strict=True), tmp_path, EmbedOptions(compute="bfloat16")
    ).folder  # fmt: skip
    assert len({exact.folder, rounded.folder, hasty.folder}) == 3
    many = document_vectors(as_multi_vector(teacher), IDS, TEXTS, tmp_path, EmbedOptions(precision="int8"))
    np.testing.assert_allclose(many.of(1), encode_tokens(as_multi_vector(teacher), TEXTS, query=False)[1], atol=5e-3)


def test_an_interrupted_write_leaves_nothing(teacher, tmp_path, monkeypatch):
    def stop(file, *_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(np, "save", stop)  # the tokens are there by then
        with pytest.raises(KeyboardInterrupt):
            teacher_vectors(teacher, TEXTS, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(teacher_vectors(teacher, TEXTS, tmp_path / "cache").sentences) == 5


@pytest.mark.parametrize("file", ["tokens.npy", "start.npy", "sentences.npy", "optical.json"])
@pytest.mark.parametrize("content", [b"", b"rubbish", None], ids=["empty", "rubbish", "half"])
def test_a_damaged_cache_says_so_and_what_to_remove(teacher, tmp_path, file, content):
    folder = teacher_vectors(teacher, TEXTS, tmp_path).folder
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(DataError, match="remove this folder") as caught:
        teacher_vectors(teacher, TEXTS, tmp_path)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("file", ["tokens.npy", "sentences.npy", "start.npy"])
def test_vectors_that_were_zeroed_are_told_and_those_without_checksums_are_read(teacher, tmp_path, file):
    folder = teacher_vectors(teacher, TEXTS, tmp_path).folder
    whole, time = (folder / file).read_bytes(), (folder / file).stat().st_mtime_ns
    (folder / file).write_bytes(whole[:128] + bytes(len(whole) - 128))
    with pytest.raises(DataError, match=rf"{file} does not have the checksum.*remove this folder"):
        teacher_vectors(teacher, TEXTS, tmp_path)
    os.utime(folder / file, ns=(time, time))
    with pytest.raises(DataError, match=rf"{file} does not have the checksum"):
        read_vectors(folder, verify=True)
    facts = json.loads((folder / "optical.json").read_text())
    del facts["files"]  # as they were once
    (folder / "optical.json").write_text(json.dumps(facts))
    assert len(read_vectors(folder, verify=True).sentences) == len(TEXTS)


def test_a_cache_of_other_lengths_is_refused(teacher, tmp_path):
    folder = teacher_vectors(teacher, TEXTS, tmp_path).folder
    np.save(folder / "sentences.npy", np.load(folder / "sentences.npy")[:-1])
    facts = json.loads((folder / "optical.json").read_text())
    (folder / "optical.json").write_text(json.dumps({**facts, "files": {}}))
    with pytest.raises(DataError, match="not those that were written"):
        teacher_vectors(teacher, TEXTS, tmp_path)


def test_a_streamed_collection_lies_where_the_one_in_memory_is_looked_for(teacher, tmp_path):
    ids, texts = [f"d{k}" for k in range(7)], [f"the cow gives milk {'again ' * k}" for k in range(7)]
    read = []

    def documents():
        read.append(1)
        return zip(ids, texts, strict=True)

    streamed = stream_vectors(teacher, documents, tmp_path / "streamed", EmbedOptions(shard_size=3))
    held = document_vectors(teacher, ids, texts, tmp_path / "held")
    assert streamed.folder.name == held.folder.name
    assert len(list(streamed.folder.glob("shard-*"))) == 3
    assert len(read) == 3  # ids, texts, vectors
    np.testing.assert_allclose(np.asarray(streamed.sentences), np.asarray(held.sentences), atol=1e-6)
    again = document_vectors(teacher, ids, texts, tmp_path / "streamed")
    assert again.folder == streamed.folder
    other = stream_vectors(teacher, documents, tmp_path / "streamed", EmbedOptions(shard_size=3, precision="float16"))
    assert other.folder != streamed.folder


def test_streaming_again_mends_a_missing_and_a_damaged_shard_and_only_those(teacher, tmp_path):
    ids, texts = [f"d{k}" for k in range(6)], [f"we sell fish {k}" for k in range(6)]

    def cache():
        return stream_vectors(teacher, lambda: zip(ids, texts, strict=True), tmp_path, EmbedOptions(shard_size=2))

    before = cache()
    expected = np.asarray(before.sentences).copy()
    kept = before.folder / "shard-00000" / "sentences.npy"
    made = kept.stat().st_mtime_ns
    shutil.rmtree(before.folder / "shard-00001")
    damaged = before.folder / "shard-00002" / "sentences.npy"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    with pytest.raises(DataError, match="shard-0000[12]"):
        document_vectors(teacher, ids, texts, tmp_path)
    np.testing.assert_allclose(np.asarray(cache().sentences), expected, atol=1e-6)
    assert kept.stat().st_mtime_ns == made
