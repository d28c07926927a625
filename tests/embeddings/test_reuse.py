"""A changed collection: what it shares with an earlier one is copied bit by bit, the rest is encoded."""

from __future__ import annotations

import math

import numpy as np
import pytest

from optical.embeddings import cache, embed
from optical.embeddings.cache import document_vectors, stream_vectors
from optical.embeddings.embed import EmbedOptions
from optical.embeddings.encode import encoded_batches
from optical.embeddings.shards import read_shards
from optical.models.encoders import as_multi_vector
from tests.conftest import bert

TEXTS = {
    "a": "the moon",
    "b": "who built this house ? she cooks rice .",
    "c": "i drink water .",
    "d": "",
    "e": "a dog",
    "f": "the moon",
}
CHANGED = {"new": "she cooks", **{key: text for key, text in TEXTS.items() if key != "b"}, "e": "a dog drinks"}


def count(monkeypatch, stop_after: float = math.inf) -> list[str]:
    """The texts that the model is asked for from now on; after so many it stops, as by Ctrl-C."""
    asked: list[str] = []

    def counting(encoder, texts, *limits):
        asked.extend(texts)
        if len(asked) > stop_after:
            raise KeyboardInterrupt
        return encoded_batches(encoder, texts, *limits)

    monkeypatch.setattr(embed, "encoded_batches", counting)
    return asked


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
    return count(monkeypatch)


def vectors_of(encoder, texts, folder, options=embed.DEFAULTS, **more):
    return document_vectors(encoder, list(texts), list(texts.values()), folder, options, **more)


def rows_of(vectors, texts, key: str) -> np.ndarray:
    row = list(texts).index(key)
    return np.asarray(vectors.of(row) if len(vectors.tokens) else vectors.sentences[row])


@pytest.mark.parametrize("late", [False, True], ids=["sentences", "tokens"])
@pytest.mark.parametrize("precision", [None, "int8"])
def test_only_what_is_new_or_changed_is_encoded_and_the_rest_is_copied_bit_by_bit(
    teacher, tmp_path, encoded, late, precision
):
    encoder = as_multi_vector(teacher) if late else teacher
    options = EmbedOptions(precision, shard_size=4)  # what moves into another shard is found too
    before = vectors_of(encoder, TEXTS, tmp_path / "kept", options)
    encoded.clear()
    told = []
    after = vectors_of(encoder, CHANGED, tmp_path / "kept", options, say=told.append)
    assert sorted(encoded) == ["a dog drinks", "she cooks"]
    assert told == ["2 of 6 documents are new or changed; the vectors of the others are reused"]
    for key, source in {"a": "a", "c": "c", "d": "d", "f": "a"}.items():  # of equal texts the first is copied
        np.testing.assert_array_equal(rows_of(after, CHANGED, key), rows_of(before, TEXTS, source))
    scratch = vectors_of(encoder, CHANGED, tmp_path / "scratch", options)
    np.testing.assert_array_equal(after.start, scratch.start)
    for key in CHANGED:
        one, other = (np.atleast_2d(rows_of(v, CHANGED, key)).astype(np.float64) for v in (after, scratch))
        cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert (cosine > 0.99999).all()
    assert after.reading == scratch.reading
    kept = [read_shards(v.folder).manifest for v in (after, scratch)]
    assert (kept[0]["copied"], kept[1]["copied"]) == (4, 0)
    assert kept[0]["cosine"] == pytest.approx(kept[1]["cosine"], abs=1e-6)


def test_a_removed_document_costs_nothing_and_the_next_change_builds_on_a_copy(teacher, tmp_path, encoded):
    vectors_of(teacher, TEXTS, tmp_path)
    fewer = {key: TEXTS[key] for key in "fca"}
    middle = vectors_of(teacher, fewer, tmp_path)
    cache.document_vectors(teacher, ["g"], ["the moon"], tmp_path)  # another id is another folder, not another text
    assert sorted(encoded) == sorted(TEXTS.values())
    np.testing.assert_array_equal(middle.sentences[0], middle.sentences[2])


def test_other_prompts_encoders_and_precisions_share_nothing(teacher, tmp_path, encoded):
    vectors_of(teacher, TEXTS, tmp_path)
    encoded.clear()
    vectors_of(bert(tmp_path / "other", text="other words"), TEXTS, tmp_path)
    vectors_of(teacher, TEXTS, tmp_path, EmbedOptions("float16"))
    teacher.prompts = {"document": "passage: "}
    vectors_of(teacher, TEXTS, tmp_path)
    assert len(encoded) == 3 * len(TEXTS)


def test_a_damaged_shard_gives_nothing(teacher, tmp_path, encoded):
    kept = vectors_of(teacher, TEXTS, tmp_path)
    file = kept.folder / "shard-00000" / "sentences.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    encoded.clear()
    vectors_of(teacher, CHANGED, tmp_path)
    assert sorted(encoded) == sorted(CHANGED.values())


def test_shards_made_before_there_were_hashes_are_passed_over(teacher, tmp_path, encoded):
    kept = vectors_of(teacher, TEXTS, tmp_path)
    shard = kept.folder / "shard-00000"
    (shard / "documents.npy").unlink()
    manifest = (shard / "optical.json").read_text().replace('"documents.npy"', '"docid"')
    (shard / "optical.json").write_text(manifest)
    encoded.clear()
    vectors_of(teacher, CHANGED, tmp_path)
    assert sorted(encoded) == sorted(CHANGED.values())


def test_after_a_stop_it_goes_on_and_what_the_stopped_one_made_is_of_use_to_others(teacher, tmp_path, monkeypatch):
    options = EmbedOptions(shard_size=2)
    count(monkeypatch, stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        stream_vectors(teacher, lambda: TEXTS.items(), tmp_path, options)
    monkeypatch.undo()
    encoded = count(monkeypatch)
    vectors_of(teacher, CHANGED, tmp_path, options)  # finds the two shards of the unfinished one
    assert sorted(encoded) == ["a dog drinks", "she cooks"]
    encoded.clear()
    stream_vectors(teacher, lambda: TEXTS.items(), tmp_path, options)
    assert encoded == ["a dog"]  # of the shard that was left, the other text is in the first one too
