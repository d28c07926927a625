"""Shards on disk: written whole, kept when they are right, made anew or refused when they are not, read as one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from optical.embeddings import write_shards
from optical.embeddings.ranks import Ranks
from optical.embeddings.shard import PRECISIONS, Batch, cast, read_shard, restored
from optical.embeddings.shards import read_shards
from optical.embeddings.write_shards import ShardPlan, finish, make_shards
from optical.errors import DataError

D = 12
DOCUMENTS = [(f"dé{k}", f"text {k} " * (k % 5 + 1)) for k in range(11)]
SENTENCES = ShardPlan("f1", "sentences", "float32", 4)
TOKENS = ShardPlan("f1", "tokens", "float16", 4)


def vector(text: str) -> np.ndarray:
    drawn = np.random.default_rng(list(text.encode())).normal(size=D).astype(np.float32)
    return drawn / np.linalg.norm(drawn)


def matrix(text: str) -> np.ndarray:
    """One vector a word; a text of stop words has none."""
    return np.array([vector(word) for word in text.split() if word != "the"], dtype=np.float32).reshape(-1, D)


class Encoder:
    """Encodes by a hash, in batches of three from the longest to the shortest, and counts what it was asked."""

    def __init__(self, kind: str = "sentences") -> None:
        self.kind, self.seen = kind, []

    def __call__(self, texts: list[str]) -> Iterator[Batch]:
        self.seen.append(texts)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for k in range(0, len(order), 3):
            rows = order[k : k + 3]
            found = [(vector if self.kind == "sentences" else matrix)(texts[i]) for i in rows]
            yield Batch(rows, np.stack(found) if self.kind == "sentences" else found)


def made(folder: Path, plan: ShardPlan = SENTENCES, documents=DOCUMENTS, encoder=None, **options):
    return make_shards(iter(documents), folder, encoder or Encoder(plan.kind), plan, **options)


def wanted(plan: ShardPlan = SENTENCES, documents=DOCUMENTS) -> np.ndarray:
    return np.concatenate([np.atleast_2d((vector if plan.kind == "sentences" else matrix)(t)) for _, t in documents])


def test_the_progress_moves_within_a_shard_and_at_once_past_one_that_is_there(tmp_path):
    told: list[int] = []
    made(tmp_path / "v", done=told.append)
    assert told == [3, 1, 3, 1, 3]
    told.clear()
    made(tmp_path / "v", done=told.append)
    assert told == [4, 4, 3]


class TestReading:
    def test_ids_and_vectors_are_in_the_order_of_the_documents(self, tmp_path):
        made(tmp_path / "v")
        shards = read_shards(tmp_path / "v", encoder="f1", verify=True)
        assert [part.manifest["count"] for part in shards.parts] == [4, 4, 3]
        assert list(shards.ids) == [doc_id for doc_id, _ in DOCUMENTS]
        assert len(shards.ids) == 11
        np.testing.assert_array_equal(np.asarray(shards.vectors()), wanted())
        assert shards.manifest["cosine"] == {"min": 1.0, "mean": 1.0}

    def test_one_shard_is_a_memory_map(self, tmp_path):
        found = made(tmp_path / "v", SENTENCES._replace(shard_size=11)).vectors()
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, wanted())
        found[0] = 0.0  # a tensor of it may be written to, the file not
        np.testing.assert_array_equal(read_shards(tmp_path / "v", verify=True).vectors(), wanted())

    @pytest.mark.parametrize("plan", [SENTENCES, TOKENS, SENTENCES._replace(precision="int8")], ids=str)
    def test_several_shards_answer_as_one_array(self, tmp_path, plan):
        rows = made(tmp_path / "v", plan).vectors()
        whole = np.asarray(rows)
        assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == (whole.shape, whole.dtype, 2, len(whole))
        mask = np.arange(len(whole)) % 3 == 0
        for asked in (
            slice(2, 6),
            slice(None),
            slice(9, 3),
            slice(7, None, -2),
            [10, 0, 0, 5],
            np.array([-1, 4]),
            mask,
        ):
            np.testing.assert_array_equal(rows[asked], whole[asked])
        for asked in (0, 5, np.int64(9), -1):
            np.testing.assert_array_equal(rows[asked], whole[asked])
        np.testing.assert_array_equal(np.stack(list(rows)), whole)
        query = np.ones((2, D), dtype=np.float32)
        np.testing.assert_array_equal(query @ rows.T, query @ whole.T)
        assert np.asarray(rows, dtype=np.float64).dtype == np.float64
        assert rows[[]].shape == (0, D)
        for outside in (len(whole), [len(whole)], [-len(whole) - 1]):
            with pytest.raises(IndexError):
                rows[outside]

    def test_tokens_of_each_document(self, tmp_path):
        documents = [("a", "the moon"), ("b", "the"), ("c", "the the"), ("d", "rice and fish"), ("e", "one")]
        shards = made(tmp_path / "v", TOKENS._replace(shard_size=2), documents)
        start, rows = shards.start(), shards.vectors()
        assert np.diff(start).tolist() == [1, 0, 0, 3, 1]
        for k, (_, text) in enumerate(documents):
            np.testing.assert_allclose(rows[start[k] : start[k + 1]], matrix(text), atol=1e-3)  # float16

    def test_a_shard_without_any_token(self, tmp_path):
        shards = made(tmp_path / "v", TOKENS._replace(shard_size=1), [("a", "moon"), ("b", "the")])
        assert np.diff(shards.start()).tolist() == [1, 0]
        assert shards.vectors().shape == (1, D)


class TestPrecision:
    @pytest.mark.parametrize(("precision", "least"), zip(PRECISIONS, (1.0, 0.999999, 0.9998), strict=True))
    def test_the_loss_is_measured_and_small(self, tmp_path, precision, least):
        made(tmp_path / "v", SENTENCES._replace(precision=precision))
        shards = read_shards(tmp_path / "v")
        found, cosine = np.asarray(shards.vectors()), shards.manifest["cosine"]
        measured = (found.astype(np.float64) * wanted()).sum(axis=1)
        measured /= np.linalg.norm(found.astype(np.float64), axis=1)
        np.testing.assert_allclose([cosine["min"], cosine["mean"]], [measured.min(), measured.mean()], atol=1e-6)
        assert least <= cosine["min"] <= 1.0 + 1e-6
        assert (cosine["min"] < 1.0) == (precision != "float32")

    def test_int8_has_a_scale_for_each_vector(self):
        vectors = np.array([[1.0, -0.5, 0.0], [1e-6, 3e-6, -4e-6], [0.0, 0.0, 0.0]])
        found = cast(vectors, "int8")
        assert found.values.tolist() == [[127, -64, 0], [32, 95, -127], [0, 0, 0]]
        np.testing.assert_allclose(restored(found.values, found.scales), vectors, rtol=1e-2, atol=1e-8)
        assert found.cosine[2] == 1.0

    def test_it_takes_a_quarter_of_the_room(self, tmp_path):
        size = {}
        for precision in PRECISIONS:
            shard = made(tmp_path / precision, SENTENCES._replace(precision=precision)).parts[0]
            size[precision] = shard.values().nbytes
        assert size == {"float32": 4 * D * 4, "float16": 4 * D * 2, "int8": 4 * D}


class TestResuming:
    def test_a_stop_costs_the_shard_that_was_being_made(self, tmp_path):
        encoder = Encoder()

        def stops(texts):
            if len(encoder.seen) == 2:
                raise KeyboardInterrupt
            return encoder(texts)

        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "v", encoder=stops)
        assert sorted(path.name for path in (tmp_path / "v").iterdir()) == ["shard-00000", "shard-00001"]
        with pytest.raises(
            DataError, match="no finished embedded collection: 2 shards and no optical.json there; embed"
        ):
            read_shards(tmp_path / "v")
        rest = Encoder()
        made(tmp_path / "v", encoder=rest)
        assert rest.seen == [[text for _, text in DOCUMENTS[8:]]]
        np.testing.assert_array_equal(np.asarray(read_shards(tmp_path / "v").vectors()), wanted())

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
    def test_a_write_that_breaks_leaves_no_shard(self, tmp_path, monkeypatch, error):
        def save(path, _):
            path.write_bytes(b"half")
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(np, "save", save)
            with pytest.raises((KeyboardInterrupt, DataError)) as caught:
                made(tmp_path / "v")
        assert list((tmp_path / "v").iterdir()) == []
        if isinstance(error, OSError):
            assert "No space left on device; free some space and embed again: the shards that are" in str(caught.value)

    def test_what_is_complete_is_not_encoded_again(self, tmp_path):
        made(tmp_path / "v")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "v").rglob("*") if path.is_file()}
        again = Encoder()
        made(tmp_path / "v", encoder=again)
        assert again.seen == []
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "v").rglob("*") if path.is_file()} == before

    def test_a_damaged_shard_is_made_anew(self, tmp_path):
        made(tmp_path / "v")
        path = tmp_path / "v" / "shard-00001" / "sentences.npy"
        path.write_bytes(path.read_bytes()[:-5])
        again = Encoder()
        made(tmp_path / "v", encoder=again)
        assert len(again.seen) == 1
        np.testing.assert_array_equal(np.asarray(read_shards(tmp_path / "v", verify=True).vectors()), wanted())

    def test_changed_documents_are_refused_unless_replacing_is_allowed(self, tmp_path):
        made(tmp_path / "v")
        changed = [*DOCUMENTS[:5], ("dé5", "mended"), *DOCUMENTS[6:]]
        with pytest.raises(DataError, match="shard-00001 is of other documents than number 5 and those after it now"):
            made(tmp_path / "v", documents=changed)
        np.testing.assert_array_equal(np.asarray(read_shards(tmp_path / "v").vectors()), wanted())
        again = Encoder()
        made(tmp_path / "v", documents=changed, encoder=again, replace=True)
        assert again.seen == [[text for _, text in changed[4:8]]]
        np.testing.assert_array_equal(np.asarray(read_shards(tmp_path / "v").vectors()), wanted(documents=changed))

    def test_a_replacement_that_stops_is_not_read_as_complete(self, tmp_path):
        made(tmp_path / "v")

        def stops(_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "v", documents=DOCUMENTS[::-1], encoder=stops, replace=True)
        with pytest.raises(DataError, match="3 shards and no optical.json"):
            read_shards(tmp_path / "v")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"encoder": "f2"}, "another encoder: 'f1', wanted is 'f2'; embed into a new folder"),
            ({"precision": "int8"}, "another precision: 'float32', wanted is 'int8'"),
            ({"shard_size": 5}, "another shard size: 4, wanted is 5"),
        ],
    )
    def test_another_plan_is_refused(self, tmp_path, change, message):
        made(tmp_path / "v")
        with pytest.raises(DataError, match=f"shard-00000 has {message}"):
            made(tmp_path / "v", SENTENCES._replace(**change))

    def test_a_shard_of_a_longer_collection_is_named(self, tmp_path):
        made(tmp_path / "v")
        (tmp_path / "v" / "shard-00002").rename(tmp_path / "v" / "shard-00007")
        with pytest.raises(DataError, match="shard-00007 is not of this collection, which has 3 shards; remove it"):
            made(tmp_path / "v")


class TestDocuments:
    def test_an_empty_document_is_counted_and_never_found(self, tmp_path):
        documents = [("a", "one"), ("b", ""), ("c", " \n"), ("d", "two"), ("e", "three")]
        shards = made(tmp_path / "v", SENTENCES._replace(shard_size=3), documents)
        assert list(shards.ids) == ["a", "d", "e"]
        assert (shards.manifest["empty"], shards.manifest["count"]) == (2, 3)
        assert shards.parts[0].manifest["empty_ids"] == ["b", "c"]
        kept = made(tmp_path / "w", SENTENCES._replace(keep_empty=True), documents)
        assert list(kept.ids) == ["a", "b", "c", "d", "e"]

    def test_nothing_but_empty_documents(self, tmp_path):
        with pytest.raises(DataError, match="none of the documents 1 to 2 has any text; remove them"):
            made(tmp_path / "v", documents=[("a", ""), ("b", " ")])

    def test_an_id_used_twice_names_both_positions(self, tmp_path):
        with pytest.raises(DataError, match="'a' is used twice, by documents 1 and 3; remove or rename"):
            made(tmp_path / "v", documents=[("a", "x"), ("b", "y"), ("a", "z")])

    @pytest.mark.parametrize("at_once", [2**25, 3])
    def test_an_id_in_two_shards_names_both_places(self, tmp_path, monkeypatch, at_once):
        monkeypatch.setattr(write_shards, "HASHES_AT_ONCE", at_once)
        with pytest.raises(DataError, match=r"'dé1' is used twice, at .*shard-00000/docid:2 and .*shard-00002/docid:3"):
            made(tmp_path / "v", documents=[*DOCUMENTS[:10], ("dé1", "again")])
        assert not (tmp_path / "v" / "optical.json").exists()

    def test_equal_hashes_of_different_ids_are_no_repetition(self, tmp_path, monkeypatch):
        monkeypatch.setattr(write_shards, "hash", len, raising=False)
        assert len(made(tmp_path / "v").ids) == 11

    @pytest.mark.parametrize("doc_id", ["a b", "", "a\n", "a\u2028b"])
    def test_an_id_is_one_word(self, tmp_path, doc_id):
        with pytest.raises(DataError, match=r"must be one word; got .* at document 2; rename"):
            made(tmp_path / "v", documents=[("a", "x"), (doc_id, "y")])

    def test_no_document(self, tmp_path):
        with pytest.raises(DataError, match="no document to embed; got an empty stream, or an iterator that was read"):
            made(tmp_path / "v", documents=[])

    def test_the_last_shard_is_known_when_the_collection_ends_with_it(self, tmp_path):
        shards = made(tmp_path / "v", documents=DOCUMENTS[:8])
        assert [part.manifest["last"] for part in shards.parts] == [False, True]

    def test_a_broken_vector_names_its_document(self, tmp_path):
        def broken(texts):
            for batch in Encoder("tokens")(texts):
                batch.vectors[-1][-1, 0] = np.nan
                yield batch

        with pytest.raises(DataError, match="NaN or infinity for document 'dé1'; encode in float32, or mend"):
            made(tmp_path / "v", TOKENS, encoder=broken)

    def test_a_stream_is_read_a_shard_at_a_time(self, tmp_path):
        read, most = 0, 0
        encoder = Encoder()

        def stream():
            nonlocal read, most
            for document in DOCUMENTS:
                read += 1
                most = max(most, read - sum(map(len, encoder.seen)))
                yield document

        made(tmp_path / "v", documents=stream(), encoder=encoder)
        assert most <= 5, "a shard, and one document ahead"


class TestRanks:
    def test_machines_without_a_common_disk_are_merged_by_copying(self, tmp_path):
        for rank in range(2):
            with pytest.raises(
                DataError, match=r"waited 0 s for .*shard-0000[01] of rank [01] of 2, and it did not come"
            ):
                made(tmp_path / f"machine{rank}", ranks=Ranks(rank, 2, wait=0.0))
        assert [p.name for p in sorted((tmp_path / "machine0").iterdir())] == ["shard-00000", "shard-00002"]
        with pytest.raises(DataError, match="shard-00001 is missing; copy it here, or embed"):
            finish(tmp_path / "machine0")
        (tmp_path / "machine1" / "shard-00001").rename(tmp_path / "machine0" / "shard-00001")
        shards = finish(tmp_path / "machine0")
        np.testing.assert_array_equal(np.asarray(shards.vectors()), wanted())
        assert read_shards(tmp_path / "machine0").manifest == shards.manifest

    def test_a_merge_without_the_end_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="waited"):
            made(tmp_path / "v", ranks=Ranks(0, 2, wait=0.0))
        with pytest.raises(DataError, match="waited"):
            made(tmp_path / "w", ranks=Ranks(1, 2, wait=0.0))
        (tmp_path / "w" / "shard-00001").rename(tmp_path / "v" / "shard-00001")
        (tmp_path / "v" / "shard-00002").rename(tmp_path / "last")
        with pytest.raises(DataError, match="shard-00001 is not the last; copy the shards that are missing"):
            finish(tmp_path / "v")

    def test_a_merge_of_different_encoders_is_refused(self, tmp_path):
        made(tmp_path / "v")
        made(tmp_path / "w", SENTENCES._replace(encoder="f2"))
        (tmp_path / "v" / "shard-00001").rename(tmp_path / "old")
        (tmp_path / "w" / "shard-00001").rename(tmp_path / "v" / "shard-00001")
        with pytest.raises(
            DataError, match="shard-00001 has another encoder than shard-00000: 'f2' and 'f1'; embed it"
        ):
            finish(tmp_path / "v")
        with pytest.raises(DataError, match="shard-00001 is a shard of another collection or encoder; remove this"):
            read_shards(tmp_path / "v")

    def test_a_shard_of_other_texts_is_not_read(self, tmp_path):
        made(tmp_path / "v")
        made(tmp_path / "w", documents=DOCUMENTS[::-1])
        (tmp_path / "v" / "shard-00001").rename(tmp_path / "old")
        (tmp_path / "w" / "shard-00001").rename(tmp_path / "v" / "shard-00001")
        with pytest.raises(DataError, match="shard-00001 is a shard of another collection or encoder; remove this"):
            read_shards(tmp_path / "v")

    def test_nothing_to_finish(self, tmp_path):
        with pytest.raises(DataError, match="holds no shard; embed the collection first, or copy"):
            finish(tmp_path)


class TestDamage:
    @pytest.mark.parametrize("name", ["optical.json", "sentences.npy", "docid"])
    @pytest.mark.parametrize("how", ["missing", "half", "empty"])
    def test_a_damaged_shard_is_named_with_the_remedy(self, tmp_path, name, how):
        made(tmp_path / "v")
        path = tmp_path / "v" / "shard-00001" / name
        content = path.read_bytes()
        path.unlink() if how == "missing" else path.write_bytes(content[: len(content) // 2] if how == "half" else b"")
        with pytest.raises(
            DataError, match="shard-00001 is not the shard that was written: .*; remove this folder and"
        ):
            read_shards(tmp_path / "v")

    def test_a_changed_byte_is_seen_by_its_checksum(self, tmp_path):
        made(tmp_path / "v")
        path = tmp_path / "v" / "shard-00002" / "sentences.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        time = path.stat().st_mtime_ns
        path.write_bytes(content)
        with pytest.raises(DataError, match="shard-00002 is not .*: sentences.npy does not have the checksum"):
            read_shards(tmp_path / "v")
        os.utime(path, ns=(time, time))
        assert len(read_shards(tmp_path / "v").parts) == 3, "size and time alone do not tell"
        with pytest.raises(DataError, match="shard-00002 is not .*: sentences.npy does not have the checksum"):
            read_shards(tmp_path / "v", verify=True)

    def test_a_shard_whose_files_have_other_times_is_read_and_its_checksums_are_taken_once(self, tmp_path):
        made(tmp_path / "v")
        path = tmp_path / "v" / "shard-00002" / "sentences.npy"
        time = path.stat().st_mtime_ns
        os.utime(path)
        assert len(read_shards(tmp_path / "v").parts) == 3
        assert path.stat().st_mtime_ns == time

    def test_a_missing_shard_is_named(self, tmp_path):
        made(tmp_path / "v")
        (tmp_path / "v" / "shard-00001").rename(tmp_path / "away")
        with pytest.raises(DataError, match="shard-00001 is missing; embed the collection again: only this shard is"):
            read_shards(tmp_path / "v")

    def test_another_encoder_is_refused(self, tmp_path):
        made(tmp_path / "v")
        with pytest.raises(
            DataError, match="vectors of another encoder: its fingerprint is f1, wanted is f2; name the"
        ):
            read_shards(tmp_path / "v", encoder="f2")

    def test_no_folder(self, tmp_path):
        with pytest.raises(DataError, match="nowhere is no finished embedded collection: no such folder; embed"):
            read_shards(tmp_path / "nowhere")

    @pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}'])
    def test_a_broken_manifest(self, tmp_path, content):
        made(tmp_path / "v")
        (tmp_path / "v" / "optical.json").write_text(content)
        with pytest.raises(DataError, match="optical.json cannot be read .*; remove this file and embed again"):
            read_shards(tmp_path / "v")
        (tmp_path / "v" / "optical.json").unlink()
        again = Encoder()
        made(tmp_path / "v", encoder=again)
        assert again.seen == []

    def test_files_of_another_shape(self, tmp_path):
        made(tmp_path / "v")
        folder = tmp_path / "v" / "shard-00000"
        manifest = json.loads((folder / "optical.json").read_text())
        (folder / "optical.json").write_text(json.dumps(manifest | {"rows": 3}))
        with pytest.raises(
            DataError, match=r"sentences.npy has the shape \(4, 12\), not \(3, 12\); remove this folder"
        ):
            read_shard(folder).values()
        (folder / "optical.json").write_text(json.dumps(manifest | {"count": 3}))
        with pytest.raises(DataError, match="docid has 4 ids, not 3"):
            read_shard(folder).ids()
