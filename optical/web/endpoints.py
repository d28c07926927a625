"""The HTTP endpoints: ``/`` (the page), ``/api/search``, ``/api/about``, ``/health``, ``/openapi.json``.

Every error is one message in JSON. No question and no passage becomes mark-up: answers are JSON, and the page inserts
them as text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optical.data.records import Doc
from optical.errors import DataError, OpticalError, Unavailable
from optical.pipeline.preflight import checked_question
from optical.retrieval.matches import Hit, Match, Span
from optical.web import page

if TYPE_CHECKING:
    from fastapi import FastAPI

MOST = 100  # passages of an answer, at most
Find = Callable[[str, int], Sequence[Hit]]


def create_app(find: Find, about: Mapping[str, Any], hosts: Sequence[str] = ("*",)) -> FastAPI:
    """Make the FastAPI application.

    Args:
        find: ``find(question, k)`` returns passages, best first. One thread calls it at a time, because encoders and
            their tokenizers are not thread-safe.
        about: What ``/api/about`` returns; its ``languages`` are part of every answer too.
        hosts: Host names that are answered, ``*`` for any. A foreign page that reaches this machine by a host name of
            its own (DNS rebinding) is refused.
    """
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(title="optical", docs_url=None, redoc_url=None)  # the pages of docs load scripts from other hosts
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _explain_refusals(app)
    html, policy = page.load()
    # Endpoints that do not search are async: they answer at once, however many questions wait.
    one_at_a_time = threading.Lock()

    # Monitors send HEAD. The type is Any because FastAPI cannot resolve a class that is imported inside this function.
    @app.head("/", include_in_schema=False)
    @app.get("/", response_class=HTMLResponse)
    async def page_html() -> Any:
        """The search page."""
        return HTMLResponse(html, headers=policy)

    @app.get("/api/search")
    def search(q: str = "", k: int = 5) -> dict[str, Any]:
        """Passages for the question q, the k best first."""
        question = _checked(q, k)
        start = time.perf_counter()
        with one_at_a_time:
            found = find(question, k)
        seconds = round(time.perf_counter() - start, 4)
        language = ",".join(about.get("languages", []))
        results = [result(question, one) for one in found]
        return {"query": question, "language": language, "seconds": seconds, "results": results}

    @app.get("/api/about")
    async def about_run() -> dict[str, Any]:
        """Teacher, languages, collection and measures of the run."""
        return dict(about)

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    return app


def result(question: str, found: Hit) -> dict[str, Any]:
    """One passage for JSON; positions count characters (code points) of the question, the title or the text."""
    doc, score, matches = found
    told = [_match(question, doc, match) for match in matches]
    told_of = {"id": doc.id, "title": doc.title, "text": doc.text, "metadata": doc.metadata}
    return {**told_of, "score": round(score, 6), "matches": told}


def _match(question: str, doc: Doc, match: Match) -> dict[str, Any]:
    start = (
        len(doc.title) + 1 if doc.title else 0
    )  # where the text begins in what the encoder reads: title, space, text
    field = "text" if match.passage.start >= start else "title"
    shift = start if field == "text" else 0
    passage = Span(match.passage.start - shift, match.passage.end - shift)
    return {
        "query": _word(question, match.query),
        "passage": {"field": field, **_word(doc.text if field == "text" else doc.title, passage)},
        "similarity": round(match.similarity, 4),
    }


def _word(text: str, span: Span) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "text": text[slice(*span)]}


def _checked(question: str, k: int) -> str:
    """Strip the question and check it and k.

    Raises:
        HTTPException: 422, with a message: empty or too long a question, k out of range.
    """
    from fastapi import HTTPException

    if not 1 <= k <= MOST:
        raise HTTPException(422, f"k says how many passages are wanted, 1 to {MOST}; received {k}; 5 is usual")
    try:
        return checked_question(question)
    except DataError as error:
        raise HTTPException(422, str(error)) from error


def _explain_refusals(app: FastAPI) -> None:
    """Answer every error with ``{"error": message}``, those of FastAPI too."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    @app.exception_handler(HTTPException)
    def refused(_: Any, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code)

    @app.exception_handler(RequestValidationError)
    def unreadable(_: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = first["loc"][-1]
        message = f"{name} cannot be read: {first['msg'].lower()}; received {first['input']!r}; k is a number, 1 to "
        return JSONResponse({"error": f"{message}{MOST}"}, 422)

    @app.exception_handler(Unavailable)
    def unavailable(_: Any, error: Unavailable) -> JSONResponse:  # a server behind this one, such as Qdrant
        return JSONResponse({"error": str(error)}, 502 if error.answered else 503)

    @app.exception_handler(OpticalError)
    def unanswered(_: Any, error: OpticalError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 500)

    @app.exception_handler(Exception)
    def broken(_: Any, __: Exception) -> JSONResponse:  # the server logs its trace
        return JSONResponse({"error": "the question could not be answered; the log of the server says why"}, 500)
