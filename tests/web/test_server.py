"""A port: taken ones are refused in one message, and who may reach it is known."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from optical.errors import DataError
from optical.web import server


def test_a_free_port_is_taken_and_named():
    with server.bind("127.0.0.1", 0) as own:
        port = own.getsockname()[1]
        assert server.address(own) == f"http://127.0.0.1:{port}"
        with pytest.raises(DataError, match=f"cannot listen at 127.0.0.1 port {port}: Address already in use; choose"):
            server.bind("127.0.0.1", port)
    with server.bind("0.0.0.0", 0) as own:
        assert server.address(own) == f"http://127.0.0.1:{own.getsockname()[1]}"


@pytest.mark.parametrize(
    ("host", "port", "remedy"),
    [
        ("203.0.113.7", 0, "name an address of this machine with --host"),
        ("no such host", 0, "name an address of this machine with --host"),
        ("127.0.0.1", 70000, "choose another with --port"),
    ],
)
def test_an_address_that_is_none_of_ours_is_refused(host, port, remedy):
    with pytest.raises(DataError, match=f"cannot listen at {host} port {port}: .+; {remedy}"):
        server.bind(host, port)


def test_an_address_of_version_six():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        own = server.bind("::1", 0)
    except DataError:
        pytest.skip("no IPv6 here")
    with own:
        assert server.address(own) == f"http://[::1]:{own.getsockname()[1]}"


def test_who_can_reach_it():
    assert [server.is_local(h) for h in ("127.0.0.1", "localhost", "::1", "127.0.0.2")] == [True] * 4
    assert [server.is_local(h) for h in ("0.0.0.0", "::", "192.168.1.2", "127.example.org")] == [False] * 4
    assert "*" not in server.names("127.0.0.1")
    assert server.names("0.0.0.0") == ["*"]


SLOW = (
    "import sys, time\n"
    "from optical.web import server\n"
    "from optical.web.endpoints import create_app\n"
    "own = server.bind('127.0.0.1', 0)\n"
    "print(server.address(own), flush=True)\n"
    "def find(questions, k):\n"
    "    print('asked', flush=True)\n"
    "    time.sleep(1)\n"
    "    return [[] for _ in questions]\n"
    "try:\n"
    "    server.serve(create_app(find, {}), own)\n"
    "except KeyboardInterrupt:\n"
    "    sys.exit(130)\n"
    "print('ended', flush=True)\n"
)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_questions_in_flight_are_answered_before_it_ends(sent, code):
    """In a process of its own: the signal goes to the main thread of the server."""
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    with ThreadPoolExecutor(2) as pool:
        replies = [pool.submit(got, f"{address}/api/search?q={n}") for n in range(2)]
        assert process.stdout.readline() == "asked\n"
        while "optical_questions_waiting 1.0" not in got(f"{address}/metrics")[1]:
            time.sleep(0.05)
        process.send_signal(sent)
        assert [reply.result()[0] for reply in replies] == [200, 200]
    rest = process.communicate(timeout=60)[0]
    assert (process.returncode, rest.endswith("ended\n")) == (code, code == 0)


def got(url: str) -> tuple[int, str]:
    """Status and text, of a server that may not be up yet."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}")


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(DataError, match=r"not installed: uvicorn; run `pip install fastapi prometheus-.*\[serve\]"):
        server.check_installed()
