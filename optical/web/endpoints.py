"""The HTTP endpoints: ``/`` (the page), ``/api/search``, ``/api/about``, ``/healthz``, ``/metrics``, ``/openapi.json``.

Where it is wanted, ``/api/feedback`` keeps judgements.

Every error is one message in JSON. No question and no passage becomes mark-up: answers are JSON, and the page inserts
them as text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from optical.data.records import Doc
from optical.errors import DataError, OpticalError, Unavailable
from optical.pipeline.preflight import checked_question
from optical.retrieval.matches import Hit, Known, Match, Span
from optical.version import __version__
from optical.web import page
from optical.web.bounded_queue import Answered, BoundedQueue, QueueFullError
from optical.web.metrics import Metrics
from optical.web.schemas import MOST, MOST_QUESTIONS, BatchAnswer, Fault, Judgement, Kept, Questions, SearchAnswer

if TYPE_CHECKING:
    from fastapi import FastAPI

WAITING = 64  # requests that may wait
LARGEST = 512 * 1024  # bytes of a batch: its questions may be of four bytes a character, or escaped
GONE = 499  # as proxies log it: the client closed the connection before it was answered
GZIP_FROM = 1_024  # bytes of an answer
BATCH = f'{{"questions": ["..."], "k": 5}}, of at most {MOST_QUESTIONS} questions'
Find = Callable[[Sequence[str], int], Sequence[Sequence[Hit]]]


def create_app(
    find: Find,
    about: Mapping[str, Any],
    hosts: Sequence[str] = ("*",),
    waiting: int = WAITING,
    known: Callable[[str], Known | None] = lambda _: None,
    judge: Callable[[str, str, int | None, str | None], None] | None = None,
) -> FastAPI:
    """Make the FastAPI application.

    Args:
        find: ``find(questions, k)`` returns the passages of each question, best first. One thread calls it at a time,
            because encoders and their tokenizers are not thread-safe.
        about: What ``/api/about`` returns; its ``languages`` are part of every answer too.
        hosts: Host names that are answered, ``*`` for any. A foreign page that reaches this machine by a host name of
            its own (DNS rebinding) is refused.
        waiting: Requests that may wait; one more is refused with 429.
        known: Which words of a question the student never saw; called by the thread that calls ``find``.
        judge: ``judge(question, document id, 1, 0 or None, language or None)`` keeps a judgement, for several threads
            at once; without it there is no ``/api/feedback``.
    """
    from fastapi import FastAPI
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    metrics = Metrics()
    queue = BoundedQueue(partial(_told, find, known, metrics), waiting)
    metrics.watch(lambda: queue.waiting)

    @asynccontextmanager
    async def until_the_end(_: Any) -> AsyncIterator[None]:
        yield
        queue.close()

    # The pages of docs load scripts from other hosts.
    app = FastAPI(title="optical", version=__version__, docs_url=None, redoc_url=None, lifespan=until_the_end)
    _add_pages(app, {**about, "feedback": judge is not None}, metrics)
    _add_search(app, queue, ",".join(about.get("languages", [])))
    if judge is not None:
        _add_feedback(app, judge)
    _explain_refusals(app, metrics)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM, compresslevel=4)
    app.add_middleware(metrics.measured, paths={getattr(route, "path", "") for route in app.routes})
    app.add_middleware(page.with_headers)
    return app


def _told(
    find: Find, known: Callable[[str], Known | None], metrics: Metrics, questions: Sequence[str], k: int
) -> list[dict[str, Any]]:
    """Questions with their passages, for JSON."""
    with metrics.answering.time():
        found = find(questions, k)
        told = [
            {"query": question, "words": _words(question, known), "results": [result(question, one) for one in hits]}
            for question, hits in zip(questions, found, strict=True)
        ]
    metrics.questions.inc(len(questions))
    return told


# Types are Any where FastAPI cannot resolve a class that is imported inside a function. Monitors send HEAD.
def _add_pages(app: FastAPI, about: Mapping[str, Any], metrics: Metrics) -> None:
    """Endpoints that do not search: they answer at once, however many questions wait."""
    from fastapi.responses import HTMLResponse, Response

    html, policy = page.load()

    @app.head("/", include_in_schema=False)
    @app.get("/", response_class=HTMLResponse)
    async def page_html() -> Any:
        """The search page."""
        return HTMLResponse(html, headers=policy)

    @app.get("/api/about")
    async def about_run() -> dict[str, Any]:
        """Teacher, languages, collection and measures of the run."""
        return dict(about)

    @app.head("/health", include_in_schema=False)
    @app.get("/health", include_in_schema=False)
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Whether the server is up; also at /health."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def counts() -> Any:
        """Counts and times for Prometheus."""
        content, media_type = metrics.page()
        return Response(content, media_type=media_type)


def _add_search(app: FastAPI, queue: BoundedQueue, language: str) -> None:
    """Endpoints that search."""
    from fastapi import Request
    from fastapi.responses import JSONResponse

    refusals: dict[int | str, dict[str, Any]] = {
        422: {"model": Fault, "description": "The question, or k, is out of its limits"},
        429: {"model": Fault, "description": "Too many questions wait; Retry-After says for how many seconds"},
        502: {"model": Fault, "description": "A server of documents answered with an error"},
        503: {"model": Fault, "description": "A server of documents cannot be reached"},
    }
    of_a_batch: dict[int | str, dict[str, Any]] = {
        413: {"model": Fault, "description": "The request is too large"},
        415: {"model": Fault, "description": "The request is no JSON"},
    }

    async def search(request: Any, q: str = "", k: int = 5) -> Any:
        """Passages for the question q, the k best first."""
        (told,), seconds = await _asked(queue, request, [_checked(q, k)], k)
        return JSONResponse({"query": told["query"], "language": language, "seconds": round(seconds, 4)} | told)

    async def batch(request: Any) -> Any:
        """Passages for several questions, which the model reads together."""
        asked = _read(Questions, await _body(request), BATCH)
        answers, seconds = await _asked(queue, request, [_checked(one, asked.k) for one in asked.questions], asked.k)
        return JSONResponse({"language": language, "seconds": round(seconds, 4), "answers": answers})

    # The body is read by hand, so that it is bounded; the annotation is set by hand because Request is imported here.
    batch.__annotations__["request"] = search.__annotations__["request"] = Request
    app.get("/api/search", response_model=SearchAnswer, responses=refusals)(search)
    body = {"required": True, "content": {"application/json": {"schema": Questions.model_json_schema()}}}
    app.post("/api/search", response_model=BatchAnswer, responses={**refusals, **of_a_batch},
             openapi_extra={"requestBody": body})(batch)  # fmt: skip


async def _asked(queue: BoundedQueue, request: Any, questions: Sequence[str], k: int) -> Answered:
    """Ask the model, and give the questions up when whoever asked is gone.

    Raises:
        HTTPException: 499, which only the metrics see.
        QueueFullError: Too many wait already.
    """
    from fastapi import HTTPException

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass  # the body of a GET, which is not read

    asking, leaving = asyncio.ensure_future(queue.ask(questions, k)), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise HTTPException(GONE, "nobody waits for the answer")
        return asking.result()
    finally:
        asking.cancel()
        leaving.cancel()


async def _body(request: Any) -> bytes:
    """The JSON of a request, as far as it may be long.

    Raises:
        HTTPException: 415 where it is declared as something else, which a foreign page may send unasked; 413; 499.
    """
    from fastapi import HTTPException
    from starlette.requests import ClientDisconnect

    declared = request.headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, f"questions are sent as application/json; received {declared[:100] or 'no type'}")
    read = bytearray()
    try:
        async for chunk in request.stream():
            read += chunk
            if len(read) > LARGEST:
                raise HTTPException(413, f"the request is longer than {LARGEST:,} bytes; send fewer questions at once")
    except ClientDisconnect:
        raise HTTPException(GONE, "the request ended in its midst") from None
    return bytes(read)


def _add_feedback(app: FastAPI, judge: Callable[[str, str, int | None, str | None], None]) -> None:
    """The endpoint that keeps judgements."""
    from fastapi import HTTPException, Request
    from starlette.concurrency import run_in_threadpool

    async def feedback(request: Any) -> Any:
        """Keep whether a passage answers a question."""
        told = _read(Judgement, await _body(request), '{"query": "...", "id": "...", "relevance": 1}')
        try:
            await run_in_threadpool(judge, _checked(told.query, 1), told.id, told.relevance, told.lang)
        except DataError as error:
            raise HTTPException(422, str(error)) from error
        return {"kept": True}

    feedback.__annotations__["request"] = Request
    body = {"required": True, "content": {"application/json": {"schema": Judgement.model_json_schema()}}}
    refusals: dict[int | str, dict[str, Any]] = {
        413: {"model": Fault, "description": "The request is too large"},
        415: {"model": Fault, "description": "The request is no JSON"},
        422: {"model": Fault, "description": "No such passage, or no judgement"},
    }
    app.post("/api/feedback", response_model=Kept, responses=refusals, openapi_extra={"requestBody": body})(feedback)


Asked = TypeVar("Asked", bound=BaseModel)


def _read(model: type[Asked], body: bytes, shape: str) -> Asked:
    """Read the JSON of a request; ``shape`` is an example of it.

    Raises:
        HTTPException: 422, with a message.
    """
    from fastapi import HTTPException
    from pydantic import ValidationError

    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise HTTPException(422, f"{where} cannot be read: {first['msg'].lower()}; send {shape}") from error


def result(question: str, found: Hit) -> dict[str, Any]:
    """One passage for JSON; positions count characters (code points) of the question, the title or the text."""
    doc, score, matches, span = found
    told = [_match(question, doc, match) for match in matches]
    told_of = {"id": doc.id, "title": doc.title, "text": doc.text, "metadata": doc.metadata}
    place = {"span": span._asdict()} if span else {}  # of a passage, in the text of its document
    return {**told_of, **place, "score": round(score, 6), "matches": told}


def _words(question: str, known: Callable[[str], Known | None]) -> dict[str, Any] | None:
    """The words of a question for JSON, and which of them the student never saw."""
    told = known(question)
    if told is None:
        return None
    unseen = [{**_word(question, Span(one.start, one.end)), "like": one.like} for one in told.unseen]
    return {"count": told.words, "unseen": unseen}


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


def _explain_refusals(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error with ``{"error": message}``, those of FastAPI too."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    @app.exception_handler(HTTPException)
    async def refused(_: Any, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)

    @app.exception_handler(QueueFullError)
    async def busy(_: Any, error: QueueFullError) -> JSONResponse:
        metrics.refused.inc()
        message = f"too many questions wait ({error.waiting}); ask again in {error.retry_after} s"
        return JSONResponse({"error": message}, 429, headers={"Retry-After": str(error.retry_after)})

    @app.exception_handler(RequestValidationError)
    async def unreadable(_: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = first["loc"][-1]
        message = f"{name} cannot be read: {first['msg'].lower()}; received {first['input']!r}; k is a number, 1 to "
        return JSONResponse({"error": f"{message}{MOST}"}, 422)

    @app.exception_handler(Unavailable)
    async def unavailable(_: Any, error: Unavailable) -> JSONResponse:  # a server behind this one, such as Qdrant
        return JSONResponse({"error": str(error)}, 502 if error.answered else 503)

    @app.exception_handler(OpticalError)
    async def unanswered(_: Any, error: OpticalError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 500)

    @app.exception_handler(Exception)
    async def broken(_: Any, __: Exception) -> JSONResponse:  # the server logs its trace
        return JSONResponse(
            {"error": "the question could not be answered; the log of the server says why"}, 500, headers=page.HEADERS
        )
