"""The addresses: ``/`` the page, ``/api/search``, ``/api/about``, ``/health``; and what a question may look like.

Takes a function that answers, gives a FastAPI application. Every refusal is one message in JSON. Nothing that is asked
or found becomes mark-up: the answers are JSON, and the page writes them as text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optical.data.collection import Doc
from optical.errors import OpticalError, Unavailable
from optical.retrieval.matches import Hit, Match, Span
from optical.web import page

if TYPE_CHECKING:
    from fastapi import FastAPI

LONGEST = 1_000  # characters of a question
MOST = 100  # passages of an answer
Find = Callable[[str, int], Sequence[Hit]]


def create_app(find: Find, about: Mapping[str, Any], hosts: Sequence[str] = ("*",)) -> FastAPI:
    """The application.

    Args:
        find: ``find(question, k)`` gives passages, best first. It is called by one thread at a time: the encoders and
            their tokenizers keep a state while they work.
        about: What ``/api/about`` tells; ``languages`` is part of every answer too.
        hosts: Names by which it may be called, ``*`` for any. A page elsewhere that calls this machine by a name of its
            own is refused by them.
    """
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(title="optical", docs_url=None, redoc_url=None)  # those pages load scripts from elsewhere
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _explain_refusals(app)
    html, policy = page.load()
    # Addresses that do not search answer at once, in the server's own thread, however many questions wait.
    one_at_a_time = threading.Lock()

    # A browser or a monitor may send HEAD. "Any" since FastAPI cannot resolve the name of a class imported in here.
    @app.head("/", include_in_schema=False)
    @app.get("/", response_class=HTMLResponse)
    async def front() -> Any:
        return HTMLResponse(html, headers=policy)

    @app.get("/api/search")
    def search(q: str = "", k: int = 5) -> dict[str, Any]:
        question = _checked(q, k)
        start = time.perf_counter()
        with one_at_a_time:
            found = find(question, k)
        seconds = round(time.perf_counter() - start, 4)
        language = ",".join(about.get("languages", []))
        results = [result(question, one) for one in found]
        return {"query": question, "language": language, "seconds": seconds, "results": results}

    @app.get("/api/about")
    async def known() -> dict[str, Any]:
        return dict(about)

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def result(question: str, found: Hit) -> dict[str, Any]:
    """One passage, for JSON; places of words are characters (code points) of the question, the title or the text."""
    doc, score, matches = found
    told = [_match(question, doc, match) for match in matches]
    return {"id": doc.id, "title": doc.title, "text": doc.text, "score": round(score, 6), "matches": told}


def _match(question: str, doc: Doc, match: Match) -> dict[str, Any]:
    start = len(doc.title) + 1 if doc.title else 0  # of the text, in what the document encoder reads
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
    """The question without space around it.

    Raises:
        HTTPException: 422, with a message.
    """
    from fastapi import HTTPException

    question = question.strip()
    fault = None
    if not question:
        fault = "no question was asked; received q without a word; write it as /api/search?q=..."
    elif len(question) > LONGEST:
        fault = f"the question is too long: {len(question):,} characters, at most {LONGEST:,} are read; shorten it"
    elif not 1 <= k <= MOST:
        fault = f"k says how many passages are wanted, 1 to {MOST}; received {k}; 5 is usual"
    if fault:
        raise HTTPException(422, fault)
    return question


def _explain_refusals(app: FastAPI) -> None:
    """Errors of parameters and addresses as ``{"error": message}``, as all errors are."""
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
    def unavailable(_: Any, error: Unavailable) -> JSONResponse:  # of what lies behind this server, which lives on
        return JSONResponse({"error": str(error)}, 502 if error.answered else 503)

    @app.exception_handler(OpticalError)
    def unanswered(_: Any, error: OpticalError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 500)

    @app.exception_handler(Exception)
    def broken(_: Any, __: Exception) -> JSONResponse:  # whose trace the server prints
        return JSONResponse({"error": "the question could not be answered; the log of the server says why"}, 500)
