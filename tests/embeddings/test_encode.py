"""Documents in batches: cut by tokens, as if each were alone, in float32 or bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optical.embeddings import encode
from optical.embeddings.encode import agreement, encoded_batches
from optical.models.encoders import as_multi_vector, encode_batch, encode_sentences
from optical.models.reading import Reading, counted, together

TEXTS = ["the moon", "who built this house ? she cooks rice .", "q", "i drink water .", "the moon"]
DOCUMENTS = [f"{text} {'she cooks rice . ' * (k % 3)}" for k, text in enumerate(TEXTS * 3)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_is_cut_out_of_many_texts_as_if_tokenized_alone(teacher, side):
    teacher.tokenizer.padding_side = side
    features = teacher.preprocess(TEXTS)
    for rows in ([1], [3, 0], [2, 4, 2]):
        alone = teacher.preprocess([TEXTS[i] for i in rows])
        cut = encode._cut(features, rows)
        assert cut.keys() == alone.keys()
        assert all(torch.equal(cut[k], v) for k, v in alone.items() if isinstance(v, torch.Tensor))


def test_a_batch_keeps_to_its_tokens_and_holds_one_length(teacher, monkeypatch):
    shapes = []

    def watched(encoder, features, **options):
        shapes.append((tuple(features["input_ids"].shape), int(features["attention_mask"].sum())))
        return encode_batch(encoder, features, **options)

    monkeypatch.setattr(encode, "encode_batch", watched)
    rows = [row for batch, *_ in encoded_batches(teacher, DOCUMENTS, batch_tokens=24) for row in batch]
    assert sorted(rows) == list(range(len(DOCUMENTS)))
    assert all(count * width <= 24 for (count, width), _ in shapes)
    assert len(shapes) < len(DOCUMENTS)
    assert sum(real for _, real in shapes) > 0.85 * sum(count * width for (count, width), _ in shapes)


def test_a_text_longer_than_the_tokens_of_a_batch_is_a_batch(teacher):
    batches = [rows for rows, *_ in encoded_batches(teacher, ["she cooks rice .", "q", "q q"], batch_tokens=1)]
    assert batches == [[0], [2], [1]]


def test_long_texts_do_not_all_come_first_so_that_the_rate_is_of_all(teacher, monkeypatch):
    monkeypatch.setattr(encode, "SORTED_TOGETHER", 6)
    monkeypatch.setitem(encode.TOKENIZED_TOGETHER, "cpu", 4)
    found = np.zeros((len(DOCUMENTS), 32), dtype=np.float32)
    came: list[int] = []
    for rows, vectors, *_ in encoded_batches(teacher, DOCUMENTS, batch_size=2):
        came += rows
        found[rows] = vectors
    assert [sorted(came[k : k + 6]) for k in (0, 6, 12)] == [[*range(6)], [*range(6, 12)], [12, 13, 14]]
    np.testing.assert_allclose(found, encode_sentences(teacher, DOCUMENTS), atol=1e-6)


def test_bfloat16_is_near_float32_and_ends_with_each_batch(teacher):
    found = np.zeros((len(DOCUMENTS), 32), dtype=np.float32)
    for rows, vectors, *_ in encoded_batches(teacher, DOCUMENTS, batch_tokens=24, compute="bfloat16"):
        assert not torch.is_autocast_enabled("cpu"), "whoever takes the batch computes as before"
        found[rows] = vectors
    exact = encode_sentences(teacher, DOCUMENTS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    cosines = (found * exact).sum(axis=1)
    assert 0.99 < cosines.min() < 1 - 1e-6
    assert agreement(teacher, DOCUMENTS, "bfloat16")["min"] == pytest.approx(cosines.min(), abs=1e-4)


def test_the_agreement_of_documents_without_a_token_that_counts(teacher):
    assert agreement(as_multi_vector(teacher), [], "bfloat16") == {"compared": 0, "min": 1.0, "mean": 1.0}


def test_documents_that_are_cut_are_counted_once(teacher, monkeypatch):
    """Over several sets of texts that are tokenized together, each cut into several batches."""
    monkeypatch.setitem(encode.TOKENIZED_TOGETHER, "cpu", 4)
    long = ["the moon " * 40, "the moon " * 50]
    batches = list(encoded_batches(teacher, [*TEXTS, *long], batch_size=2))
    found = together(counted(batch.tokens, batch.read) for batch in batches)
    whole = [len(ids) for ids in teacher.tokenizer([*TEXTS, *long], truncation=False)["input_ids"]]
    assert found == Reading(7, 2, sum(whole), 82 + 102 - 2 * 64, 64)
