"""Vectors of texts: mapped, padded to batches, masked."""

from __future__ import annotations

import numpy as np
import torch

from optical.embeddings.cache import teacher_vectors
from optical.embeddings.vectors import padded

TEXTS = ["the moon", "who built this house ? she cooks rice .", "q", "i drink water .", "the moon"]


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


def test_the_tokens_are_mapped_not_read(teacher, tmp_path):
    assert isinstance(teacher_vectors(teacher, TEXTS, tmp_path).tokens, np.memmap)
