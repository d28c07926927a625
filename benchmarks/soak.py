"""Soak a served run: ``python -m benchmarks.soak RUN [MINUTES]``, or ``make soak``.

32 clients ask without pause, while others do all that a server has to bear: connections that send nothing or a byte
now and then, bodies without end, wrong JSON, clients that leave while they wait or never read what they asked for. At
the end it prints answers a second, p50 and p99, every status, and the server's memory; the exit code is 1 where the
server crashed, logged a traceback, answered a good question wrongly, or grew by more than 5 % after its warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.timing import Options, markdown, stamp

CLIENTS = 32
SLOW = 600  # connections that are held open; more than a server takes
PATIENCE = 60.0  # seconds after which an answer is missing
WARM_UP = 0.25  # of the time, before memory is measured
GROWTH = 0.05  # of memory after the warm-up
JUDGED = 2.0  # minutes from which growth counts: a shorter soak is all warm-up
WRONG_JSON = (
    b"", b"{", b"[]", b'"a"', b"\xff\xfe", b'{"questions": []}', b'{"questions": [1]}', b"[" * 100_000,
    b'{"questions": ["a"], "k": 1e99}', b'{"questions": ["\\ud800"]}', b'{"k": ' + b"9" * 5000 + b"}",
    b'{"questions": ["a"], "z": NaN}',
)  # fmt: skip
WRONG = (
    b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /api/search?q=a&k=" + b"5" * 5000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
)  # fmt: skip


class Reply(NamedTuple):
    """A status and a body."""

    status: int
    body: bytes


class Seen:
    """Counts and times of a soak."""

    def __init__(self) -> None:
        self.seconds: list[float] = []  # of good questions that were answered
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.memory: list[float] = []  # MB, a second apart
        self.files: list[int] = []
        self.processor = 0.0  # seconds that the server computed


class Server:
    """A run, served by a process of its own."""

    def __init__(self, run: Path) -> None:
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed with the process
        command = [sys.executable, "-m", "optical.cli", "serve", str(run), "--port", "0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the run is not served: {self.logged()}")
        self.port = int(json.loads(line)["address"].rpartition(":")[2])

    def logged(self) -> str:
        """What it wrote to its log."""
        self.log.seek(0)
        return self.log.read()

    def stop(self) -> int:
        """End it; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return -9

    def memory(self) -> float:
        """Its resident memory in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def processor(self) -> float:
        """Seconds that it has computed."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def files(self) -> int:
        """How many files and connections it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Connection:
    """A connection that stays open between requests."""

    def __init__(self, port: int) -> None:
        self.port, self.reader, self.writer = port, None, None

    async def ask(self, request: bytes) -> Reply:
        """Send a request and read its answer; anew where the server had closed the connection meanwhile."""
        for last in (False, True):
            if fresh := self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
            try:
                return await self._once(request)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if fresh or last:
                    raise
        raise AssertionError

    async def _once(self, request: bytes) -> Reply:
        assert self.reader is not None
        assert self.writer is not None
        self.writer.write(request)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        body = await self.reader.readexactly(int(length[1])) if length else b""
        if b"connection: close" in head:
            self.close()
        return Reply(int(head.split(b" ", 2)[1]), body)

    def close(self) -> None:
        """Close it."""
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


def get(question: str, k: int) -> bytes:
    """A request for passages."""
    path = f"/api/search?{urllib.parse.urlencode({'q': question, 'k': k})}"
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


def post(body: bytes, length: int | None = None) -> bytes:
    """A request with JSON."""
    head = "POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: "
    return f"{head}{len(body) if length is None else length}\r\n\r\n".encode() + body


def question_of(words: Sequence[str], chance: random.Random) -> str:
    """A question of 1 to 40 words."""
    return " ".join(chance.choices(words, k=min(40, 1 + int(chance.expovariate(0.15)))))[:1000]


async def client(port: int, seen: Seen, words: Sequence[str], seed: int) -> None:
    """Ask good questions, one after the other."""
    chance, connection = random.Random(seed), Connection(port)
    while True:
        question, k = question_of(words, chance), chance.choice((1, 5, 5, 5, 100))
        batch = [question, question_of(words, chance)]
        single = chance.random() < 0.9
        request = get(question, k) if single else post(json.dumps({"questions": batch, "k": k}).encode())
        start = time.perf_counter()
        try:
            reply = await asyncio.wait_for(connection.ask(request), PATIENCE)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError) as error:
            seen.faults[type(error).__name__] += 1
            connection.close()
            continue
        seen.statuses[f"good question {reply.status}"] += 1
        if reply.status == 200:
            seen.seconds.append(time.perf_counter() - start)
            told = json.loads(reply.body)
            asked = [told["query"]] if single else [one["query"] for one in told["answers"]]
            if asked != ([question] if single else batch):
                seen.faults["the answer of another question"] += 1
        elif reply.status == 429:
            await asyncio.sleep(0.5)
        else:
            seen.faults[f"a good question has {reply.status}: {reply.body[:200].decode()}"] += 1


async def slow(port: int, seen: Seen, _: Sequence[str], seed: int) -> None:
    """Hold a connection open, with nothing or with a byte now and then, of the head or of the body."""
    chance = random.Random(seed)
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = chance.choice((b"", b"", b"GET /healthz HTTP/1.1\r\nx: ", post(b"{", 1000)))
        writer.write(began)
        end = time.monotonic() + PATIENCE
        with suppress(ConnectionError):
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    if not await asyncio.wait_for(reader.read(1000), 5):
                        break
                if began:
                    writer.write(b"a")
        if time.monotonic() >= end:
            seen.faults["a slow connection was not closed"] += 1
        seen.statuses["slow connection closed"] += 1
        writer.transport.abort()
        await asyncio.sleep(chance.uniform(0, 5))


async def huge(port: int, seen: Seen, _: Sequence[str], __: int) -> None:
    """Send a body that does not end."""
    while True:
        writer = (await asyncio.open_connection("127.0.0.1", port))[1]
        writer.write(post(b"", 10**10))
        sent, end = 0, time.monotonic() + PATIENCE
        with suppress(ConnectionError):
            while time.monotonic() < end and not writer.transport.is_closing():
                writer.write(b" " * 2**16)
                await writer.drain()
                sent += 2**16
        seen.statuses["endless body cut"] += 1
        if sent > 100e6:
            seen.faults["an endless body was read"] += 1
        writer.transport.abort()
        await asyncio.sleep(1)


async def wrong(port: int, seen: Seen, _: Sequence[str], seed: int) -> None:
    """Send wrong JSON, wrong parameters and what is no HTTP."""
    chance, connection = random.Random(seed), Connection(port)
    while True:
        odd = (post(chance.choice(WRONG_JSON)), get("", 5), get("a", 10**9), get("a" * 1001, 5), chance.choice(WRONG))
        request = chance.choice(odd)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reply = await asyncio.wait_for(connection.ask(request), PATIENCE)
            seen.statuses[f"wrong request {reply.status}"] += 1
            if reply.status >= 500:
                seen.faults[f"{request[:60]!r} has {reply.status}"] += 1
        await asyncio.sleep(0.1)


async def leave(port: int, _: Seen, words: Sequence[str], seed: int) -> None:
    """Ask and go away; now and then ask for much and never read it."""
    chance = random.Random(seed)
    while True:
        writer = (await asyncio.open_connection("127.0.0.1", port, limit=1000))[1]
        if chance.random() < 0.1:
            writer.write(get(question_of(words, chance), 100) * 50)
            await asyncio.sleep(20)
        else:
            writer.write(get(question_of(words, chance), 5))
            await asyncio.sleep(chance.choice((0, 0.01, 0.3)))
        writer.transport.abort()
        await asyncio.sleep(0.2)


async def watch(server: Server, seen: Seen) -> None:
    """Measure the server every second."""
    before = server.processor()
    while True:
        seen.processor = server.processor() - before
        seen.memory.append(server.memory())
        seen.files.append(server.files())
        await asyncio.sleep(1)


async def soak(server: Server, seconds: float, seen: Seen) -> None:
    """Let all of them at the server for so long."""
    about = await Connection(server.port).ask(b"GET /api/about HTTP/1.1\r\nhost: localhost\r\n\r\n")
    words = re.findall(r"\w+", " ".join(json.loads(about.body)["examples"])) or ["maji"]
    abusers: list[tuple[Callable[..., Awaitable[Any]], int]] = [
        (client, CLIENTS), (slow, SLOW), (huge, 1), (wrong, 2), (leave, 4),
    ]  # fmt: skip
    tasks = [asyncio.ensure_future(one(server.port, seen, words, n)) for one, count in abusers for n in range(count)]
    tasks.append(asyncio.ensure_future(watch(server, seen)))
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        if task.done() and not task.cancelled():
            seen.faults[f"{type(task.exception()).__name__}: {task.exception()}"] += 1
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def report(seen: Seen, seconds: float) -> str:
    """The tables."""
    cuts = statistics.quantiles(seen.seconds, n=100) if len(seen.seconds) > 1 else [float("nan")] * 99
    first, last, growth = memory(seen)
    rows = [
        ("answers a second", f"{len(seen.seconds) / seconds:.1f}"),
        ("answers in a second of the processor", f"{len(seen.seconds) / max(seen.processor, 0.01):.1f}"),
        ("p50, p95, p99 s", ", ".join(f"{cuts[n - 1]:.2f}" for n in (50, 95, 99))),
        ("memory MB: at the start, after warm-up, at the end, most",
         ", ".join(f"{one:.1f}" for one in (seen.memory[0], first, last, max(seen.memory)))),
        ("growth after warm-up", f"{growth:+.1%}"),
        ("open files, most", max(seen.files)),
        *sorted(seen.statuses.items()),
        *((f"FAULT: {name}", count) for name, count in sorted(seen.faults.items())),
    ]  # fmt: skip
    return markdown(("", ""), rows)


def memory(seen: Seen) -> tuple[float, float, float]:
    """Medians of the first and the last fifth after the warm-up, in MB, and the growth between them."""
    warm = seen.memory[int(len(seen.memory) * WARM_UP) :]
    fifth = max(1, len(warm) // 5)
    first, last = statistics.median(warm[:fifth]), statistics.median(warm[-fifth:])
    return first, last, last / first - 1


def main() -> None:
    """Serve, soak, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("minutes", type=float, nargs="?", default=10.0, help="how long; default 10")
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as most systems have it
    server = Server(given.run)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the clients need more
    seen, seconds = Seen(), given.minutes * 60
    asyncio.run(soak(server, seconds, seen))
    if (early := server.process.poll()) is not None:
        seen.faults[f"the server ended with {early}"] += 1
    elif (code := server.stop()) != 0:
        seen.faults[f"SIGTERM: exit code {code}"] += 1
    traces = server.logged().count("Traceback")
    if traces:
        seen.faults["tracebacks in the log"] = traces
    if given.minutes >= JUDGED and memory(seen)[2] > GROWTH:
        seen.faults[f"memory grew by more than {GROWTH:.0%}"] += 1
    print(f"{stamp(Options())}\n\n## soak: {CLIENTS} clients and abuse, {given.minutes:g} minutes\n")
    print(report(seen, seconds))
    if seen.faults:
        print(server.logged()[-5000:], file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
