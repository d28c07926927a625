"""A collection to shards by an encoder: whatever the batch, as the encoder itself would; options that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from optical.embeddings import encode
from optical.embeddings.embed import EmbedOptions, embed_collection
from optical.embeddings.shards import read_shards
from optical.embeddings.vectors import sharded_vectors
from optical.errors import DataError, RecipeError
from optical.models.encoders import as_multi_vector, encode_sentences, encode_tokens, fingerprint
from tests.conftest import bert

TEXTS = ["the moon", "who built this house ? she cooks rice .", "q", "i drink water .", "the moon"]
DOCUMENTS = tuple((f"d{k}", f"{text} {'she cooks rice . ' * (k % 3)}") for k, text in enumerate(TEXTS * 3))


def refuse(*_, **__):
    raise AssertionError("the model was called again")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("options", [{"batch_size": 2}, {"batch_size": 64}, {"batch_tokens": 20}], ids=str)
def test_vectors_are_those_of_the_encoder_whatever_the_batch(teacher, tmp_path, late, options):
    texts = [text for _, text in DOCUMENTS]
    encoder = as_multi_vector(teacher) if late else teacher
    shards = embed_collection(encoder, iter(DOCUMENTS), tmp_path / "v", EmbedOptions(shard_size=4, **options))
    assert [part.manifest["count"] for part in shards.parts] == [4, 4, 4, 3]
    found = sharded_vectors(read_shards(tmp_path / "v", encoder=fingerprint(encoder, "document"), verify=True))
    if late:
        for k, row in enumerate(encode_tokens(encoder, texts, query=False)):
            np.testing.assert_allclose(found.of(k), row, atol=1e-3)  # float16
        assert found.batch([7, 2]).tokens.mask.sum(dim=1).tolist() == [len(found.of(7)), len(found.of(2))]
    else:
        np.testing.assert_allclose(np.asarray(found.sentences), encode_sentences(encoder, texts), atol=1e-6)
        np.testing.assert_array_equal(found.batch([7, 2]).sentence.numpy(), found.sentences[[7, 2]])


def test_prompts_are_those_of_the_encoder(teacher, tmp_path):
    teacher.prompts, teacher.default_prompt_name = {"document": "the moon "}, "document"
    texts = [text for _, text in DOCUMENTS]
    found = embed_collection(teacher, DOCUMENTS, tmp_path / "one", EmbedOptions(batch_size=4)).vectors()
    np.testing.assert_allclose(found, encode_sentences(teacher, texts), atol=1e-6)
    assert np.abs(found - encode_sentences(bert(tmp_path / "none"), texts)).max() > 1e-2
    many = as_multi_vector(teacher)
    many.prompts = {"passage": "the river "}
    found = sharded_vectors(embed_collection(many, DOCUMENTS, tmp_path / "many", EmbedOptions(batch_size=4)))
    for k, row in enumerate(encode_tokens(many, texts, query=False)):
        np.testing.assert_allclose(found.of(k), row, atol=1e-3)


def test_a_truncated_encoder(teacher, tmp_path):
    teacher.truncate_dim = 8
    found = embed_collection(teacher, DOCUMENTS, tmp_path / "v").vectors()
    np.testing.assert_allclose(found, encode_sentences(teacher, [t for _, t in DOCUMENTS]), atol=1e-6)


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("late", [False, True])
def test_what_bfloat16_costs_is_stated(teacher, tmp_path, late):
    encoder = as_multi_vector(teacher) if late else teacher
    exact = embed_collection(encoder, iter(DOCUMENTS), tmp_path / "exact", EmbedOptions(precision="float32"))
    shards = embed_collection(
        encoder,
        iter(DOCUMENTS),
        tmp_path / "v",
        EmbedOptions(shard_size=4, precision="float32", compute="bfloat16"),
    )
    assert (exact.manifest["compute"], shards.manifest["compute"]) == ("float32", "bfloat16")
    assert "agreement" not in exact.manifest
    cosines = (np.asarray(shards.vectors()[:]) * np.asarray(exact.vectors()[:])).sum(axis=1)
    assert cosines.min() < 1 - 1e-6
    assert shards.manifest["agreement"] == {
        "compared": len(DOCUMENTS),
        "min": pytest.approx(cosines.min(), abs=1e-4),
        "mean": pytest.approx(cosines.mean(), abs=1e-4),
    }
    with pytest.raises(DataError, match="shard-00000 has another compute: 'bfloat16', wanted is 'float32'"):
        embed_collection(encoder, iter(DOCUMENTS), tmp_path / "v", EmbedOptions(shard_size=4, precision="float32"))


def test_a_function_gives_the_documents_anew_and_the_second_call_encodes_nothing(teacher, tmp_path, monkeypatch):
    for _ in range(2):
        embed_collection(teacher, lambda: iter(DOCUMENTS), tmp_path / "v", EmbedOptions(shard_size=4))
        monkeypatch.setattr(encode, "encode_batch", refuse)
    other = fingerprint(bert(tmp_path / "other", text="other words"), "document")
    with pytest.raises(DataError, match="vectors of another encoder: its fingerprint is"):
        read_shards(tmp_path / "v", encoder=other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "precision must be one of float32, float16, int8; got 'float8'"),
        ({"compute": "float16"}, "compute must be one of float32, bfloat16; got 'float16'"),
        ({"shard_size": -1}, "shard_size must be at least 1; got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"batch_tokens": 0}, "batch_tokens must be at least 1; got 0"),
    ],
)
def test_bad_options(teacher, tmp_path, options, message):
    with pytest.raises(RecipeError, match=message):
        embed_collection(teacher, DOCUMENTS, tmp_path / "v", EmbedOptions(**options))
    assert not (tmp_path / "v").exists()
