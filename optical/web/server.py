"""Listen on a port and serve an application until SIGTERM or Ctrl-C.

The port is bound before anything is loaded, so that a taken port is reported at once.
"""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from optical.errors import DataError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from optical.web.connections import Limits

PATIENCE = 30  # seconds that questions in flight have to be answered after SIGTERM or Ctrl-C
BACKLOG = 128  # connections that the system keeps until they are looked at, and that are looked at in one turn
LOCAL = ("127.0.0.1", "localhost", "::1")


def check_installed() -> None:
    """Check that the packages of the extra ``serve`` are installed.

    Raises:
        DataError: A package is missing.
    """
    packages = {"fastapi": "fastapi", "prometheus-client": "prometheus_client", "uvicorn": "uvicorn"}
    missing = [name for name, module in packages.items() if find_spec(module) is None]
    if missing:
        raise DataError(
            f"serving needs packages that are not installed: {' and '.join(missing)}; run `pip install "
            f"{' '.join(packages)}`, or install optical with its extra: optical[serve]"
        )


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes any free port.

    Raises:
        DataError: The port is taken or not allowed, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    own = socket.socket(family, socket.SOCK_STREAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that a port that was just closed can be bound
    try:
        own.bind((host, port))
        own.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        own.close()
        reason = getattr(error, "strerror", None) or str(error)
        elsewhere = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        remedy = (
            "name an address of this machine with --host, or leave it out"
            if elsewhere
            else "choose another with --port, or --port 0 for any free one"
        )
        raise DataError(f"cannot listen at {host} port {port}: {reason}; {remedy}") from error
    return own


def address(own: socket.socket) -> str:
    """URL to type into a browser."""
    bound, port = own.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, str(bound))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(host: str) -> bool:
    """Whether the host can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def names(host: str) -> list[str]:
    """Host names that are answered: those of this machine for a local server, else any."""
    return [*LOCAL, "[::1]", host] if is_local(host) else ["*"]


def serve(app: FastAPI, own: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight have :data:`PATIENCE` seconds to be answered, none is taken on.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when all is answered.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn sends itself the signal again after its shutdown
    try:
        make_server(app).run(sockets=[own])
    finally:
        signal.signal(signal.SIGTERM, before)


def make_server(app: FastAPI, limits: Limits | None = None) -> Any:
    """Make the uvicorn server: ``run(sockets=[...])`` serves, ``should_exit = True`` stops it.

    Args:
        app: What answers.
        limits: Of connections; those of :class:`optical.web.connections.Limits` when not given.
    """
    import uvicorn

    from optical.web.connections import Limits, limited, within_open_files

    quiet = {"log_level": "error", "access_log": False, "server_header": False}  # a stranger cannot fill the log
    connections = limited(within_open_files(limits or Limits()))
    config = uvicorn.Config(
        app, http=connections, ws="none", backlog=BACKLOG, timeout_graceful_shutdown=PATIENCE, **quiet
    )
    return uvicorn.Server(config)
