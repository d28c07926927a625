"""The teacher's vectors on disk: made once, keyed by what they are of, never read half-written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optical import embed
from optical.embed import document_vectors, padded, teacher_vectors
from optical.encoders import as_multi_vector, encode_batch, encode_sentences, encode_tokens
from optical.errors import DataError
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


def test_a_batch_is_padded_and_masked(teacher, tmp_path):
    found = teacher_vectors(teacher, TEXTS, tmp_path)
    batch = found.batch(np.array([2, 1]))
    lengths = [len(found.of(2)), len(found.of(1))]
    assert batch.tokens.mask.sum(dim=1).tolist() == lengths
    assert batch.tokens.vectors.shape == (2, max(lengths), 32)
    assert batch.tokens.vectors.dtype == torch.float32
    np.testing.assert_array_equal(batch.tokens.vectors[0, : lengths[0]].numpy(), found.of(2).astype(np.float32))
    np.testing.assert_array_equal(batch.sentence.numpy(), found.sentences[[2, 1]])


def test_padding_an_empty_text_and_no_text():
    tokens = padded([np.ones((2, 3)), np.zeros((0, 3))])
    assert tokens.mask.tolist() == [[True, True], [False, False]]
    assert padded([]).vectors.shape == (0, 0, 0)


def test_the_second_call_reads_and_does_not_encode(teacher, tmp_path, monkeypatch):
    first = teacher_vectors(teacher, TEXTS, tmp_path)
    documents = document_vectors(teacher, IDS, TEXTS, tmp_path)
    for name in ("encode_batch", "encode_sentences", "encode_tokens"):
        monkeypatch.setattr(embed, name, refuse)
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


def test_a_cache_of_other_lengths_is_refused(teacher, tmp_path):
    folder = teacher_vectors(teacher, TEXTS, tmp_path).folder
    np.save(folder / "sentences.npy", np.load(folder / "sentences.npy")[:-1])
    with pytest.raises(DataError, match="not those that were written"):
        teacher_vectors(teacher, TEXTS, tmp_path)


def test_the_tokens_are_mapped_not_read(teacher, tmp_path):
    assert isinstance(teacher_vectors(teacher, TEXTS, tmp_path).tokens, np.memmap)
