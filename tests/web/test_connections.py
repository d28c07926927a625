"""Connections that are slow, half-open or too many: they end in their time, and nobody else waits for them."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from optical.web import server
from optical.web.connections import Limits, within_open_files
from optical.web.endpoints import create_app

POST = b"POST /api/search HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
SOON = 20  # seconds, on a busy machine


@contextmanager
def served(limits, find=lambda questions, k: [[] for _ in questions], waiting=64, app=None):
    """A server in a thread: its port, and what uvicorn knows of its connections."""
    own = server.bind("127.0.0.1", 0)
    made = server.make_server(app or create_app(find, {}, waiting=waiting), limits)
    thread = threading.Thread(target=made.run, kwargs={"sockets": [own]}, daemon=True)
    thread.start()
    try:
        yield own.getsockname()[1], made.server_state.connections
    finally:
        made.should_exit = True
        thread.join(SOON)
        own.close()


def connected(port, sent=b""):
    client = socket.create_connection(("127.0.0.1", port), timeout=SOON)
    client.sendall(sent)
    return client


def told(client) -> bytes:
    """All that is sent until the connection ends; fails where it does not."""
    found = b""
    with suppress(ConnectionError):
        while got := client.recv(65536):
            found += got
    return found


def answered(port, path="/healthz") -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SOON) as reply:
        return reply.status


def until(true) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def port():
    with served(Limits(arriving=0.5)) as (port, _):
        yield port


@pytest.mark.parametrize(
    ("sent", "late"),
    [(b"", False), (b"GET /healthz HTTP/1.1\r\nhost: a\r\n", True), (POST % 100 + b'{"questions"', True)],
    ids=["nothing", "headers", "body"],
)
def test_a_request_that_does_not_arrive_is_waited_for_so_long(port, sent, late):
    with connected(port, sent) as client:
        said = told(client)
    assert said.startswith(b"HTTP/1.1 408 ") if late else said == b""
    if late:
        assert json.loads(said.partition(b"\r\n\r\n")[2])["error"].startswith("the request did not arrive within 0.5 s")
        assert b"nosniff" in said


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nx: ", b"408"),
        (POST % 10**6, b"408"),
        (POST.replace(b"/api/search", b"/") % 99, b"405"),
    ],
    ids=["headers", "body", "body of what is refused already"],
)
def test_a_byte_now_and_then_is_not_progress(port, sent, status):
    start = time.monotonic()
    with connected(port, sent) as client, suppress(ConnectionError):
        client.settimeout(0.05)
        said = b""
        while time.monotonic() < start + SOON:
            client.sendall(b"a")
            with suppress(TimeoutError):
                got = client.recv(65536)
                said += got
                if not got:
                    break
    assert time.monotonic() < start + SOON
    assert said.split(b" ")[1] == status


def test_the_next_request_of_a_connection_has_as_long_again(port):
    with connected(port) as client:
        for _ in range(2):
            time.sleep(0.3)
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            said = b""
            while not said.endswith(b'{"status":"ok"}'):
                said += client.recv(65536)
        client.sendall(b"GET /he")
        assert told(client).startswith(b"HTTP/1.1 408 ")


def test_a_question_that_waits_longer_than_requests_may_take_is_answered():
    with served(Limits(arriving=0.2), lambda questions, k: time.sleep(0.6) or [[]]) as (port, _):
        assert answered(port, "/api/search?q=mvua") == 200


def test_a_server_that_stops_does_not_wait_for_what_was_not_asked_yet():
    with ExitStack() as stack:
        with served(Limits(arriving=60)) as (port, connections):
            client = stack.enter_context(connected(port, POST % 100 + b"{"))
            until(lambda: [one for one in connections if one.cycle])
            start = time.monotonic()
        assert time.monotonic() < start + SOON / 2
        assert told(client) == b""


def test_an_answer_that_is_not_taken_is_given_up():
    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * 50_000_000})

    with served(Limits(leaving=0.5), app=large) as (port, connections), connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        until(lambda: connections)
        until(lambda: not connections)


def test_slow_connections_do_not_starve_others_and_the_oldest_makes_room():
    with served(Limits(connections=8, arriving=60)) as (port, connections), ExitStack() as stack:
        slow = [stack.enter_context(connected(port, b"GET / HTTP/1.1\r\n")) for _ in range(40)]
        for _ in range(5):
            assert answered(port) == 200
        for dropped in slow[:33]:
            assert told(dropped) == b""
        until(lambda: len(connections) == 7)
        slow[-1].sendall(b"host: a\r\n\r\n")
        assert slow[-1].recv(65536).startswith(b"HTTP/1.1 200 ")


def test_who_waits_for_an_answer_makes_no_room():
    go = threading.Event()

    def find(questions, k):
        assert go.wait(SOON)
        return [[] for _ in questions]

    with served(Limits(connections=2, arriving=60), find) as (port, connections), ExitStack() as stack:
        asked = b"GET /api/search?q=mvua HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        waiting = [stack.enter_context(connected(port, asked)) for _ in range(2)]
        until(lambda: len([one for one in connections if one.cycle]) == 2)
        assert told(stack.enter_context(connected(port))) == b"", "there is no room, and nobody to make it"
        go.set()
        assert [told(one)[:13] for one in waiting] == [b"HTTP/1.1 200 "] * 2


def test_a_body_without_end_is_refused_read_for_a_while_and_cut():
    with served(Limits(size=2**20)) as (port, connections), connected(port, POST % 10**9) as client:
        sent = 0
        with suppress(ConnectionError):
            while sent < 10**8:
                sent += client.send(b" " * 65536)
        assert sent < 5 * 10**7
        until(lambda: not connections)


def test_a_body_a_little_too_long_has_its_refusal_read(port):
    with connected(port, POST % 600_000 + b" " * 600_000) as client:
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_questions_of_clients_that_are_gone_are_not_asked_and_make_room():
    go, calls = threading.Event(), []

    def find(questions, k):
        calls.extend(questions)
        assert go.wait(SOON)
        return [[] for _ in questions]

    def ask(n):
        return connected(port, b"GET /api/search?q=q%d HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % n)

    def waiting(count):
        return f"optical_questions_waiting {count}.0" in told_by_metrics(port)

    with served(Limits(), find, waiting=3) as (port, connections), ask(0) as first:
        until(lambda: calls)
        for n in range(1, 4):
            ask(n).close()
        until(lambda: len(connections) == 1)
        until(lambda: waiting(0))
        with ask(4) as last:
            until(lambda: waiting(1))
            go.set()
            assert [told(one)[:13] for one in (first, last)] == [b"HTTP/1.1 200 "] * 2
    assert calls == ["q0", "q4"]


def test_a_body_cut_in_its_midst_is_no_fault_of_the_server(port):
    connected(port, POST % 100 + b"{").close()
    until(lambda: 'optical_http_requests_total{method="POST",path="/api/search",status="499"}' in told_by_metrics(port))
    assert 'status="500"' not in told_by_metrics(port)


def told_by_metrics(port) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SOON) as reply:
        return reply.read().decode()


def test_connections_leave_half_of_the_files_that_may_be_open(monkeypatch):
    for soft, expected in ((256, 128), (1, 1), (65536, 512), (resource.RLIM_INFINITY, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert within_open_files(Limits()).connections == expected
