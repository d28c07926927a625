"""Connections of the server: so many at most, and none is waited for without end.

uvicorn ends a connection that is idle between two requests, and waits for ever for the rest of one, or for a client to
take an answer. Its limit (``limit_concurrency``) answers 503 to everybody once slow connections fill it. Here a request
has a time to arrive and an answer one to be taken, and a connection too many takes the place of the one whose client
has been waited for longest. A client that waits for its answer is never dropped for another.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None


class Limits(NamedTuple):
    """The patience of a server.

    Attributes:
        connections: Most of them at a time.
        arriving: Seconds for a request, headers and body, from the connection or the answer before.
        leaving: Seconds for a client to take what waits to be sent.
        size: Most bytes of a request, in all; longer bodies that are refused are read so far, so that whoever sends
            them reads the refusal.
    """

    connections: int = 512
    arriving: float = 15.0
    leaving: float = 30.0
    size: int = 4 * 2**20


def within_open_files(limits: Limits) -> Limits:
    """The limits with at most half of the files that this process may open for connections: a run has files too."""
    if resource is None:
        return limits
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = allowed != resource.RLIM_INFINITY and allowed // 2 < limits.connections
    return limits._replace(connections=max(1, allowed // 2)) if few else limits


def limited(limits: Limits) -> type[H11Protocol]:
    """Make the class of connections that keep to these limits, for uvicorn's option ``http``."""
    return type("LimitedConnection", (_Connection,), {"limits": limits})


class _Connection(H11Protocol):
    """HTTP/1.1 with one client."""

    limits: Limits
    _arriving: asyncio.TimerHandle | None = None  # runs while a request is not whole
    _leaving: asyncio.TimerHandle | None = None  # runs while the client does not take what is sent
    _read = 0  # bytes of the request

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that pause_writing tells of every byte that is not taken
        self._watch()
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._read += len(data)
        super().data_received(data)
        self._watch()
        if self._read > self.limits.size:
            self._drop()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def shutdown(self) -> None:
        """End at once where nothing was asked yet; what was asked is answered first."""
        if self._arriving is not None:
            self._drop()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._leaving = self._leaving or self.loop.call_later(self.limits.leaving, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _watch(self) -> None:
        """Let the time run from the first moment of a request until its last byte."""
        waits = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing()
        if waits and self._arriving is None:
            self._arriving = self.loop.call_later(self.limits.arriving, self._too_slow)
        elif not waits:
            self._read = 0
            if self._arriving is not None:
                self._arriving.cancel()
                self._arriving = None

    def _too_slow(self) -> None:
        """Say that the request took too long, where one was begun and not answered, and end the connection."""
        began, answered = self._read > 0, self.cycle is not None and self.cycle.response_started
        if began and (self.conn.their_state is h11.IDLE or not answered):
            told = json.dumps({"error": f"the request did not arrive within {self.limits.arriving:g} s; send it again"})
            head = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nx-content-type-options: nosniff"
            self.transport.write(f"{head}\r\ncontent-length: {len(told)}\r\nconnection: close\r\n\r\n{told}".encode())
        self._arriving = None
        self.transport.close()

    def _waits_since(self) -> float:
        """Time of the loop from which the client is waited for; infinite while it waits for its answer."""
        timers = ((self._arriving, self.limits.arriving), (self._leaving, self.limits.leaving))
        return min((timer.when() - limit for timer, limit in timers if timer), default=math.inf)

    def _make_room(self) -> None:
        """Drop the connection that was waited for longest; this one, the newest, if all others wait for answers."""
        min((one for one in self.connections if isinstance(one, _Connection)), key=_Connection._waits_since)._drop()

    def _drop(self) -> None:
        self._stop_watching()
        self.connections.discard(self)
        self.transport.abort()

    def _stop_watching(self) -> None:
        for timer in (self._arriving, self._leaving):
            if timer is not None:
                timer.cancel()
        self._arriving = self._leaving = None
