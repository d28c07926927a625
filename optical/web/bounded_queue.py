"""Questions before the model, off the event loop: a bounded number may wait, and those that wait are read together."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

Answer = TypeVar("Answer")

TOGETHER = 16  # questions of several requests that one call answers; the longest of them sets the time of all
FIRST_GUESS = 0.1  # seconds of a call, before one was timed


class QueueFullError(Exception):
    """As many requests wait as may.

    Attributes:
        waiting: How many.
        retry_after: Seconds until those that wait now will have been answered, at least 1.
    """

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(waiting, retry_after)
        self.waiting, self.retry_after = waiting, retry_after


class Answered(NamedTuple, Generic[Answer]):
    """Answers of a request, in the order of its questions, and the seconds of the call, without waiting."""

    answers: list[Answer]
    seconds: float


class _Request(NamedTuple):
    questions: Sequence[str]
    k: int
    future: Future


class BoundedQueue(Generic[Answer]):
    """One thread that answers requests in their order, because encoders and their tokenizers are not thread-safe."""

    def __init__(self, answer: Callable[[Sequence[str], int], Sequence[Answer]], longest: int) -> None:
        """Answer by ``answer(questions, k)``, and let ``longest`` requests wait, beside those that are answered."""
        self._answer, self._longest, self._mean = answer, longest, FIRST_GUESS
        self._waiting: deque[_Request] = deque()
        self._busy, self._lock = False, threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    @property
    def waiting(self) -> int:
        """Requests that wait, without those that are answered."""
        return len(self._waiting)

    async def ask(self, questions: Sequence[str], k: int) -> Answered[Answer]:
        """Answer the questions of one request; one that is cancelled while it waits makes room for another.

        Raises:
            QueueFullError: Too many wait already.
        """
        request = _Request(questions, k, Future())
        with self._lock:
            waiting = len(self._waiting)
            if waiting >= self._longest + (not self._busy):
                calls = math.ceil(waiting / TOGETHER) + 1
                raise QueueFullError(waiting, math.ceil(calls * self._mean))
            self._waiting.append(request)
        self._thread.submit(self._answer_next)
        try:
            return await asyncio.wrap_future(request.future)
        except asyncio.CancelledError:
            with self._lock, suppress(ValueError):  # it is being answered
                self._waiting.remove(request)
            raise

    def close(self) -> None:
        """Answer no more; requests that wait are given up."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answer_next(self) -> None:
        """Answer the first request, and with it those behind it that want as many passages."""
        with self._lock:
            taken = self._take()
            self._busy = bool(taken)
        if taken:
            self._answer_together(taken)
        with self._lock:
            self._busy = False

    def _take(self) -> list[_Request]:
        """Requests for one call, off the queue; none where an earlier call took them along, or nobody waits."""
        taken: list[_Request] = []
        while self._waiting:
            first = self._waiting[0]
            count = len(first.questions) + sum(len(one.questions) for one in taken)
            if taken and (first.k != taken[0].k or count > TOGETHER):
                break
            self._waiting.popleft()
            if first.future.set_running_or_notify_cancel():
                taken.append(first)
        return taken

    def _answer_together(self, taken: Sequence[_Request]) -> None:
        start = time.perf_counter()
        try:
            found = iter(self._answer([question for one in taken for question in one.questions], taken[0].k))
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            if len(taken) == 1:
                taken[0].future.set_exception(error)
                return
            for one in taken:  # so that a question that fails does so alone
                self._answer_together([one])
            return
        seconds = time.perf_counter() - start
        self._mean += (seconds - self._mean) / 8  # of the last calls
        for one in taken:
            one.future.set_result(Answered([next(found) for _ in one.questions], seconds))
