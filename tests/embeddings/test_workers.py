"""Several processes of one machine give the batches of one, end with it, and say so when one is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from optical.embeddings import encode, workers
from optical.embeddings.embed import EmbedOptions, embed_collection
from optical.embeddings.encode import encoded_batches
from optical.errors import DataError, RecipeError
from optical.models.encoders import as_multi_vector
from tests.cli.conftest import command  # noqa: F401 - a fixture

DOCUMENTS = [(f"d{k}", "she cooks rice . " * (k % 5) + "i drink water .") for k in range(23)]
TEXTS = [text for _, text in DOCUMENTS]
LIMITS = (None, 40, "float32")


@pytest.fixture
def in_threads(monkeypatch):
    """One thread of this process in place of the workers; their number, and the threads that each is given."""
    started: list[tuple[int, int]] = []

    def executor(count, given):
        started.append((count, given[-1]))
        return ThreadPoolExecutor(1, initializer=workers._begin, initargs=given)

    monkeypatch.setattr(workers, "_executor", executor)
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    monkeypatch.setitem(encode.TOKENIZED_TOGETHER, "cpu", 4)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    return started


def as_set(batches) -> dict[tuple[int, ...], list[np.ndarray]]:
    return {tuple(batch.rows): [np.asarray(one) for one in batch.vectors] for batch in batches}


@pytest.mark.parametrize("late", [False, True])
def test_the_batches_and_the_bits_are_those_of_one_process(teacher, in_threads, late):
    encoder = as_multi_vector(teacher) if late else teacher
    alone = as_set(encoded_batches(encoder, TEXTS, *LIMITS))
    with workers.worker_processes(encoder, 3, LIMITS) as encoding:
        for _ in range(2):  # of one shard after another
            found = as_set(encoding(TEXTS))
            assert found.keys() == alone.keys()
            for rows, vectors in alone.items():
                for one, other in zip(found[rows], vectors, strict=True):
                    np.testing.assert_allclose(one, other, atol=1e-6)
        assert list(encoding([])) == []
    assert in_threads == [(3, 1)]


def test_a_few_thousand_texts_keep_every_worker_busy_to_the_end(teacher):
    """Those of one part are of about one length, so no part may be a large share of all tokens."""
    texts = [" ".join(["moon"] * (1 + k % 40)) for k in range(2048)]
    tokens = [sum(len(texts[row].split()) for row in rows) for rows in encode.parts(texts, teacher)]
    assert max(tokens) < sum(tokens) / 4


def test_a_collection_is_embedded_as_by_one_process(teacher, in_threads, tmp_path):
    shards = [
        embed_collection(teacher, DOCUMENTS, tmp_path / str(count), EmbedOptions(shard_size=9, workers=count))
        for count in (1, 2)
    ]
    np.testing.assert_allclose(np.asarray(shards[0].vectors()), np.asarray(shards[1].vectors()), atol=1e-6)
    assert [part.manifest["texts"] for part in shards[0].parts] == [part.manifest["texts"] for part in shards[1].parts]
    assert in_threads == [(2, 1)]


def test_an_error_of_a_worker_is_the_error(teacher, in_threads, monkeypatch):
    def broken(*_):
        raise DataError("the model is broken; mend it")

    monkeypatch.setattr(workers, "encoded_batches", broken)
    with (
        pytest.raises(DataError, match="the model is broken; mend it"),
        workers.worker_processes(teacher, 2, LIMITS) as encoding,
    ):
        list(encoding(TEXTS))


def test_workers_that_cannot_be_are_refused(teacher, tmp_path, command):
    with pytest.raises(RecipeError, match="workers must be at least 1; got 0"):
        embed_collection(teacher, DOCUMENTS, tmp_path / "v", EmbedOptions(workers=0))
    teacher.to("meta")
    with (
        pytest.raises(RecipeError, match="share the cores of the processor, and the encoder is on meta; leave workers"),
        workers.worker_processes(teacher, 2, LIMITS),
    ):
        pass
    code, _, err = command("embed", "--lang", "sw", "--workers", 0)
    assert (code, "--workers" in err) == (2, True)


@pytest.mark.slow
def test_processes_encode_and_one_that_is_killed_is_told(teacher):
    alone = as_set(encoded_batches(teacher, TEXTS, *LIMITS))
    with workers.worker_processes(teacher, 2, LIMITS) as encoding:
        found = as_set(encoding(TEXTS))
        assert found.keys() == alone.keys()
        for rows, vectors in alone.items():
            np.testing.assert_allclose(np.stack(found[rows]), np.stack(vectors), atol=1e-6)
        (process, *_) = multiprocessing.active_children()
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(DataError, match="ended from outside, most likely since memory ran out; embed again with"):
            list(encoding(TEXTS * 20))
    assert multiprocessing.active_children() == []
