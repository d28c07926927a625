"""The queue before the model: who waits is read together, fails alone, or is sent away and told for how long."""

from __future__ import annotations

import asyncio
import threading

import pytest

from optical.web.bounded_queue import TOGETHER, BoundedQueue, QueueFullError


class Model:
    """Answers when it is let go, and remembers what it was asked at once."""

    def __init__(self):
        self.go, self.calls = threading.Event(), []

    def __call__(self, questions, k):
        self.calls.append((list(questions), k))
        assert self.go.wait(30)
        if "bad" in questions:
            raise ZeroDivisionError
        return [question.upper() for question in questions]


async def waiting_behind(queue, *requests):
    """Requests that wait for a first one to be answered."""
    first = asyncio.ensure_future(queue.ask(["first"], 5))
    while queue.waiting or not queue._answer.calls:
        await asyncio.sleep(0.001)
    others = [asyncio.ensure_future(queue.ask(questions, k)) for questions, k in requests]
    await asyncio.sleep(0)
    return [first, *others]


def run(longest, *requests, then=lambda queue, asked: None):
    """Answers or exceptions, and the calls of the model."""

    async def ask():
        model = Model()
        queue = BoundedQueue(model, longest)
        asked = await waiting_behind(queue, *requests)
        then(queue, asked)
        for _ in range(3):
            await asyncio.sleep(0)  # a request is given up in the next turns of the loop
        model.go.set()
        told = await asyncio.gather(*asked, return_exceptions=True)
        return [getattr(one, "answers", one) for one in told], model.calls

    return asyncio.run(ask())


def test_those_that_wait_for_as_many_passages_are_read_together_in_their_order():
    told, calls = run(9, (["a"], 5), (["b", "c"], 5), (["d"], 7), (["e"], 5))
    assert told == [["FIRST"], ["A"], ["B", "C"], ["D"], ["E"]]
    assert calls == [(["first"], 5), (["a", "b", "c"], 5), (["d"], 7), (["e"], 5)]


def test_so_many_are_read_together_and_no_more():
    half = ["x"] * (TOGETHER // 2)
    _, calls = run(9, (half, 5), (half, 5), (["y"], 5), (["z"] * 2 * TOGETHER, 5))
    assert [len(questions) for questions, _ in calls] == [1, TOGETHER, 1, 2 * TOGETHER], "one request is one call"


def test_a_question_that_fails_does_so_alone():
    told, calls = run(9, (["a"], 5), (["bad"], 5), (["b"], 5))
    assert (told[:2], type(told[2]), told[3]) == ([["FIRST"], ["A"]], ZeroDivisionError, ["B"])
    assert [questions for questions, _ in calls] == [["first"], ["a", "bad", "b"], ["a"], ["bad"], ["b"]]


def test_who_is_sent_away_is_told_how_long_those_before_will_take():
    def one_more(queue, _):
        queue._mean = 0.9
        with pytest.raises(QueueFullError) as told:
            queue.ask(["d"], 5).send(None)
        assert (told.value.waiting, told.value.retry_after) == (3, 2)

    told, _ = run(3, (["a"], 5), (["b"], 5), (["c"], 5), then=one_more)
    assert told == [["FIRST"], ["A"], ["B"], ["C"]]


def test_nobody_may_wait_and_still_one_is_answered():
    def one_more(queue, _):
        with pytest.raises(QueueFullError):
            queue.ask(["a"], 5).send(None)

    assert run(0, then=one_more)[0] == [["FIRST"]]


def test_a_request_that_was_given_up_is_not_answered():
    told, calls = run(9, (["a"], 5), (["b"], 5), then=lambda _, asked: asked[1].cancel())
    assert isinstance(told[1], asyncio.CancelledError)
    assert calls == [(["first"], 5), (["b"], 5)]
