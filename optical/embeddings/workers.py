"""Encode with several processes of this machine, without a launcher; each has the encoder and a share of the threads.

Texts that one process would tokenize together go to the next process that is free. So batches are those of one process,
and so are the vectors, but for the last bit where the number of threads decides in which order is added.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch

from optical.embeddings.encode import encoded_batches, parts
from optical.embeddings.shard import Batch
from optical.errors import DataError, RecipeError
from optical.models.encoders import Encoder

Limits: TypeAlias = tuple[int | None, int | None, Any]  # texts and tokens of a batch, and what is computed in

_state: dict[str, Any] = {}  # of a worker: its encoder and limits


@contextmanager
def worker_processes(
    encoder: Encoder, count: int, limits: Limits
) -> Iterator[Callable[[Sequence[str]], Iterator[Batch]]]:
    """Give a function that encodes as :func:`optical.embeddings.encode.encoded_batches` does, in ``count`` processes.

    They begin with its first call, and end with the block, at once where it ends by an error or Ctrl-C. Each holds the
    encoder in memory, and vectors of some hundred texts are under way.

    Raises:
        RecipeError: The encoder is on an accelerator.
        DataError: A process was ended from outside.
    """
    if encoder.device.type != "cpu":
        raise RecipeError(
            f"workers share the cores of the processor, and the encoder is on {encoder.device}; leave workers out, or "
            "set device to cpu"
        )
    others = set(multiprocessing.active_children())
    executor = _executor(count, (pickle.dumps(encoder), limits, max(1, torch.get_num_threads() // count)))
    try:
        yield lambda texts: _encoded(executor, texts, parts(texts, encoder, limits[0]), count)
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _executor(count: int, given: tuple[Any, ...]) -> Executor:
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, given)


def _encoded(executor: Executor, texts: Sequence[str], left: Iterator[list[int]], count: int) -> Iterator[Batch]:
    waiting = dict[Future[list[Batch]], list[int]]()
    try:
        for _ in range(count):  # all processes begin now: CPython waits for ever for one that begins as another dies
            executor.submit(int)
        while True:
            while len(waiting) < 2 * count and (rows := next(left, None)) is not None:
                waiting[executor.submit(_encode, [texts[row] for row in rows])] = rows
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                rows = waiting.pop(future)
                for batch in future.result():
                    yield batch._replace(rows=[rows[k] for k in batch.rows])
    except BrokenProcessPool as error:
        raise DataError(
            "a process that encodes was ended from outside, most likely since memory ran out; embed again with fewer "
            "workers: the shards that are there are kept"
        ) from error


def _begin(encoder: bytes, limits: Limits, threads: int) -> None:
    """Start a worker; Ctrl-C is for the process that started it, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TQDM_DISABLE"], os.environ["RAYON_NUM_THREADS"] = "1", str(threads)  # the latter is the tokenizers'
    torch.set_num_threads(threads)
    _state.update(encoder=pickle.loads(encoder), limits=limits)


def _encode(texts: list[str]) -> list[Batch]:
    return list(encoded_batches(_state["encoder"], texts, *_state["limits"]))
