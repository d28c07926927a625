"""Counts and times of a server, for Prometheus; no question, no passage and no address of anybody is in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
METHODS = ("GET", "HEAD", "POST")
OTHER = "other"  # methods and paths that nobody serves, which anybody could make as many of as they like


class Metrics:
    """The measures of one application."""

    def __init__(self) -> None:
        """Begin at zero."""
        from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # memory, processor time, open files
        more: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("optical_http_requests", "Requests answered.", ["method", "path", "status"], **more)
        self._seconds = Histogram(
            "optical_http_request_seconds", "Seconds of a request, waiting included.", ["path"], buckets=BUCKETS, **more
        )
        self.questions = Counter("optical_questions", "Questions answered, each of a batch.", **more)
        self.answering = Histogram(
            "optical_answer_seconds", "Seconds of a call of model and search, without waiting.",
            buckets=BUCKETS, **more,
        )  # fmt: skip
        self.refused = Counter("optical_questions_refused", "Questions refused as too many waited.", **more)

    def watch(self, waiting: Callable[[], int]) -> None:
        """Tell with every page how many requests wait."""
        from prometheus_client import Gauge

        Gauge("optical_questions_waiting", "Requests that wait.", registry=self._registry).set_function(waiting)

    def page(self) -> tuple[bytes, str]:
        """All of them in the text format of Prometheus, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def measured(self, app: Any, paths: Collection[str]) -> Any:
        """The ASGI application with every request counted and timed, under ``paths`` or as other."""

        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            start, status = time.perf_counter(), 500

            async def told(message: Any) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, told)
            finally:
                method = scope["method"] if scope["method"] in METHODS else OTHER
                path = scope["path"] if scope["path"] in paths else OTHER
                self._requests.labels(method, path, str(status)).inc()
                self._seconds.labels(path).observe(time.perf_counter() - start)

        return application
