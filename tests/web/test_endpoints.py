"""The addresses: answers, limits, refusals, and that nothing that was asked or found becomes mark-up."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from fastapi.testclient import TestClient

from optical.data.feedback import Feedback, read_feedback
from optical.data.records import Doc
from optical.errors import DataError, Unavailable
from optical.models.query_words import Known, UnseenWord
from optical.pipeline import answer
from optical.pipeline.preflight import LONGEST
from optical.retrieval.matches import Hit, Match, Span
from optical.web.endpoints import LARGEST, create_app
from optical.web.facts import about
from optical.web.schemas import MOST_QUESTIONS, BatchAnswer, SearchAnswer
from tests.runs import DOCUMENTS, evaluated, tiny_run
from tests.web.each import each

ABOUT = {"languages": ["sw", "so"], "documents": 3}


@pytest.fixture(scope="module", params=["single", "late"])
def loaded(request, tmp_path_factory):
    return answer.load_run(tiny_run(tmp_path_factory.mktemp(request.param), late=request.param == "late"))


@pytest.fixture
def client(loaded):
    return TestClient(create_app(partial(answer.answer_all, loaded), known(loaded)))


def known(loaded, **more):
    """Return what the page is told of a run."""
    return about(loaded.recipe, loaded.lang, loaded.collection, late=loaded.late is not None, **more)


def small(find=lambda q, k: [], **more) -> TestClient:
    return TestClient(create_app(each(find), ABOUT, **more), raise_server_exceptions=False)


def test_a_question_gets_the_passages_that_the_run_finds(client, loaded):
    reply = client.get("/api/search", params={"q": " who writes a letter ? ", "k": 3})
    assert reply.status_code == 200
    told = reply.json()
    assert (told["query"], told["language"]) == ("who writes a letter ?", "sw")
    expected = answer.answer(loaded, "who writes a letter ?", 3)
    assert [(r["id"], r["title"], r["text"]) for r in told["results"]] == [one.doc[:3] for one in expected]
    assert [r["score"] for r in told["results"]] == pytest.approx([one.score for one in expected], abs=1e-5)
    assert told["results"][0]["id"] == "d2"
    assert [len(r["matches"]) for r in told["results"]] == [len(one.matches) for one in expected]


def test_places_of_words_are_those_of_the_field(client, loaded):
    for k, question in ((4, "rain in april"), (9, "the dog guards")):
        told = client.get("/api/search", params={"q": question, "k": k}).json()
        for result in told["results"]:
            for match in result["matches"]:
                asked, passage = match["query"], match["passage"]
                assert question[asked["start"] : asked["end"]] == asked["text"] != ""
                assert result[passage["field"]][passage["start"] : passage["end"]] == passage["text"] != ""
    fields = {m["passage"]["field"] for r in told["results"] for m in r["matches"]}
    assert fields == ({"title", "text"} if loaded.late else set())


def test_other_fields_of_a_passage_are_its_metadata():
    found = [Hit(Doc("a", "", "rain", '{"url": "https://h/a", "n": 3}'), 1.0, []), Hit(Doc("b", "", "snow"), 0.5, [])]
    results = small(lambda q, k: found).get("/api/search?q=mvua").json()["results"]
    assert [result["metadata"] for result in results] == [{"url": "https://h/a", "n": 3}, {}]


def test_a_passage_without_a_title_has_its_words_in_the_text():
    found = [Hit(Doc("a", "", "rain"), 1.0, [Match(Span(0, 4), Span(0, 4), 0.5)])]
    (result,) = small(lambda q, k: found).get("/api/search?q=mvua").json()["results"]
    assert result["matches"] == [
        {
            "query": {"start": 0, "end": 4, "text": "mvua"},
            "passage": {"field": "text", "start": 0, "end": 4, "text": "rain"},
            "similarity": 0.5,
        }
    ]


def test_a_language_is_named_for_each_the_student_knows():
    assert small().get("/api/search?q=maji").json()["language"] == "sw,so"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("", "no question was asked"),
        ("q=", "no question was asked"),
        ("q=%20%0a", "no question was asked"),
        ("q=%3F!", "no question was asked"),
        ("q=%F0%9F%90%98", "no question was asked"),
        ("q=" + "a" * 1001, "the question is too long: 1,001 characters, at most 1,000 are read; shorten it"),
        ("q=a&k=0", "1 to 100; received 0"),
        ("q=a&k=101", "1 to 100; received 101"),
        ("q=a&k=many", "k cannot be read: input should be a valid integer"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_message(asked, told):
    reply = small(lambda q, k: pytest.fail("it was searched")).get(f"/api/search?{asked}")
    assert reply.status_code == 422
    assert list(reply.json()) == ["error"]
    assert told in reply.json()["error"]


@pytest.mark.parametrize(
    "question", ["a" * LONGEST, "a" + "\U0001f327" * (LONGEST - 1), "a\x00", "\u202e\u0644", "' OR 1=1; --"]
)
def test_odd_questions_reach_the_search_as_they_are(question):
    seen = []
    reply = small(lambda q, k: seen.append((q, k)) or []).get("/api/search", params={"q": question, "k": 100})
    assert reply.status_code == 200
    assert seen == [(question, 100)]


def test_mark_up_stays_text(client):
    """It is JSON, declared as such, and the page sets text: what the page makes of it, a browser says."""
    evil = "<img src=x onerror=alert(1)>"
    reply = client.get("/api/search", params={"q": f"the doctor {evil}", "k": 1})
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["query"] == f"the doctor {evil}"
    front = client.get("/", params={"q": evil})
    assert evil not in front.text
    assert front.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"/{evil}").json() == {"error": "Not Found"}
    assert evil not in client.get("/api/search", params={"q": "a", "k": evil}).headers.values()


def test_the_page_needs_nothing_from_elsewhere_and_may_run_nothing_else():
    front = small().get("/")
    assert front.headers["content-type"].startswith("text/html")
    for outside in ("http://", "https://", "src=", "innerHTML", "@import", "url("):
        assert outside not in front.text, outside
    policy = front.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "unsafe" not in policy
    assert 'style="' not in front.text, "the policy would refuse it"
    assert " on" not in " ".join(front.text.split("<body>")[1].split("<script>")[0].split("<")), "no inline handlers"


def test_what_is_known_of_the_run(client, loaded):
    told = client.get("/api/about").json()
    assert told["teacher"] == "teacher", "the folder's name, not where it lies"
    assert told["languages"] == ["sw"]
    assert told["late_interaction"] == (loaded.late is not None)
    assert (told["penalised"], known(loaded, penalised=True)["penalised"]) == (False, True)
    assert (told["documents"], told["documents_language"]) == (len(DOCUMENTS), "en")
    assert (told["engine"], known(loaded, engine="qdrant")["engine"]) == ("own", "qdrant")
    assert told["examples"] == ["who plants maize ?", "who writes a letter ?"]
    assert told["measures"] == {}


def test_measures_are_those_that_the_run_left(loaded):
    from optical.evaluation import report

    scores = evaluated(loaded.recipe).scores[report.STUDENT]
    told = known(loaded)["measures"]["sw"]
    assert told["MAP"] == pytest.approx(scores.mean["AP"])
    assert (told["split"], told["queries"]) == ("test", "sw")
    assert told["share_of_ceiling"] == pytest.approx(1.0), "it is its own teacher"
    file = next(loaded.recipe.folder.glob("evaluation/*/results.json"))
    whole = file.read_text(encoding="utf-8")
    for broken in ("[1]", re.sub(r'"share_of_ceiling": [\d.]+', '"share_of_ceiling": NaN', whole)):
        file.write_text(broken, encoding="utf-8")
        assert known(loaded)["measures"] == {}
    file.unlink()


def test_health():
    for path in ("/health", "/healthz"):
        assert small().get(path).json() == {"status": "ok"}


def test_the_api_describes_itself():
    reply = small().get("/openapi.json")
    assert reply.status_code == 200
    paths, schemas = reply.json()["paths"], reply.json()["components"]["schemas"]
    assert paths.keys() == {"/", "/api/search", "/api/about", "/healthz", "/metrics"}
    asked = {one["name"]: one for one in paths["/api/search"]["get"]["parameters"]}
    assert asked.keys() == {"q", "k"}
    assert asked["k"]["schema"]["default"] == 5
    for method, kind in (("get", "SearchAnswer"), ("post", "BatchAnswer")):
        replies = paths["/api/search"][method]["responses"]
        assert replies["200"]["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{kind}"}
        assert {"422", "429", "502", "503"} <= replies.keys()
    body = paths["/api/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"].keys() == {"questions", "k"}
    assert schemas["Passage"]["properties"].keys() == {"id", "title", "text", "metadata", "score", "matches"}


def test_answers_are_as_described(client):
    question = {"q": "who writes a letter ?", "k": 2}
    SearchAnswer.model_validate(client.get("/api/search", params=question).json(), extra="forbid")
    told = client.post("/api/search", json={"questions": ["milk", "rain"]}).json()
    BatchAnswer.model_validate(told, extra="forbid")


@pytest.mark.parametrize("path", ["/", "/health", "/healthz"])
def test_head_has_the_headers_of_get(path):
    client = small()
    head, get = client.head(path), client.get(path)
    assert head.status_code == 200
    assert head.headers == get.headers


@pytest.mark.parametrize(
    "path", ["/", "/api/about", "/api/search?q=mvua", "/api/search", "/healthz", "/metrics", "/none", "/openapi.json"]
)
def test_every_answer_has_the_headers_that_keep_it_data(path):
    def find(*_):
        raise ZeroDivisionError

    for client in (small(), small(find), small(hosts=["elsewhere"])):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert (headers["Referrer-Policy"], headers["Cross-Origin-Resource-Policy"]) == ("no-referrer", "same-origin")
        assert headers["Cache-Control"] in ("no-store", "no-cache")


def test_only_names_of_this_machine_are_answered():
    local = small(hosts=["127.0.0.1", "localhost"])
    assert local.get("/health", headers={"host": "localhost:8000"}).status_code == 200
    assert local.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_questions_at_once_are_answered_one_by_one():
    inside, most, lock = 0, 0, threading.Lock()

    def find(question, k):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return [Hit(Doc(question, "", ""), 1.0, [])]

    client = small(find)
    with ThreadPoolExecutor(8) as pool:
        told = pool.map(lambda n: client.get(f"/api/search?q=q{n}").json()["results"][0]["id"], range(16))
        assert list(told) == [f"q{n}" for n in range(16)]
    assert most == 1


def test_questions_at_once_get_the_answers_that_they_get_alone(client):
    """Up to the last digits, as texts that are read together are padded to one length."""
    asked = ["rain", "the dog guards the door", "milk", "who writes a letter to the sick ?"] * 4
    alone = {q: client.get("/api/search", params={"q": q}).json()["results"] for q in set(asked)}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda q: client.get("/api/search", params={"q": q}).json()["results"], asked))
    for question, found in zip(asked, together, strict=True):
        assert [one["id"] for one in found] == [one["id"] for one in alone[question]]
        assert [one["score"] for one in found] == pytest.approx([one["score"] for one in alone[question]], abs=3e-6)
        assert [len(one["matches"]) for one in found] == [len(one["matches"]) for one in alone[question]]


def test_a_search_that_fails_does_not_block_the_next():
    calls = []

    def find(question, k):
        calls.append(question)
        if question in faults:
            raise faults[question]
        return []

    faults = {"bad": RuntimeError("inner workings"), "gone": DataError("the index is gone; build it again")}
    faults |= {"silent": Unavailable("no answer", answered=False), "ill": Unavailable("an error", answered=True)}
    client = small(find)
    told = {question: client.get(f"/api/search?q={question}") for question in (*faults, "good")}
    assert [reply.status_code for reply in told.values()] == [500, 500, 503, 502, 200]
    assert told["gone"].json() == {"error": "the index is gone; build it again"}
    assert (told["silent"].json(), told["ill"].json()) == ({"error": "no answer"}, {"error": "an error"})
    assert "inner workings" not in told["bad"].text
    assert calls == [*faults, "good"]


def test_a_batch_gets_the_answers_of_its_questions(client):
    asked = ["rain in april", " who writes a letter ? ", "rain in april"]
    reply = client.post("/api/search", json={"questions": asked, "k": 3})
    assert reply.status_code == 200
    told = reply.json()
    assert (told["language"], [one["query"] for one in told["answers"]]) == ("sw", [one.strip() for one in asked])
    for one in told["answers"]:
        alone = client.get("/api/search", params={"q": one["query"], "k": 3}).json()["results"]
        assert [r["id"] for r in one["results"]] == [r["id"] for r in alone]
        assert [r["score"] for r in one["results"]] == pytest.approx([r["score"] for r in alone], abs=1e-5)


def test_a_batch_is_one_call_of_the_model():
    calls = []
    app = create_app(lambda questions, k: calls.append((questions, k)) or [[] for _ in questions], ABOUT)
    assert TestClient(app).post("/api/search", json={"questions": ["a", "b"], "k": 7}).status_code == 200
    assert calls == [(["a", "b"], 7)]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 422, "the request cannot be read: invalid json"),
        (b"[" * 100_000, 422, "the request cannot be read: invalid json: recursion limit exceeded"),
        (b"\xff", 422, "the request cannot be read: invalid json"),
        (b'{"questions": ["\\ud800"]}', 422, "the request cannot be read: invalid json"),
        (b"[]", 422, "the request cannot be read: input should be an object"),
        (b"{}", 422, "questions cannot be read: field required"),
        (b'{"questions": []}', 422, "questions cannot be read: list should have at least 1 item"),
        (b'{"questions": [1]}', 422, "questions.0 cannot be read: input should be a valid string"),
        (b'{"questions": ["a"], "k": 101}', 422, "k cannot be read: input should be less than or equal to 100"),
        (b'{"questions": ["a"], "depth": 3}', 422, "depth cannot be read: extra inputs are not permitted"),
        (b'{"questions": ["a", " "]}', 422, "no question was asked"),
        (b'{"questions": ["%s"]}' % (b"a" * (LONGEST + 1)), 422, "the question is too long: 1,001 characters"),
        (b'{"questions": [%s"a"]}' % (b'"a",' * MOST_QUESTIONS), 422, "list should have at most 32 items"),
        (b" " * (LARGEST + 1), 413, "the request is longer than 524,288 bytes; send fewer questions at once"),
    ],
)
def test_a_batch_that_cannot_be_asked_is_refused_in_one_message(body, status, told):
    client = small(lambda q, k: pytest.fail("it was searched"))
    reply = client.post("/api/search", content=body, headers={"content-type": "application/json; charset=utf-8"})
    assert reply.status_code == status
    assert list(reply.json()) == ["error"]
    assert told in reply.json()["error"]


def test_the_largest_batch_is_read():
    questions = ["a" + "\U0001f327" * (LONGEST - 1)] * MOST_QUESTIONS
    assert small().post("/api/search", json={"questions": questions}).status_code == 200, "escaped, 12 bytes each"


def test_a_foreign_page_cannot_have_a_batch_answered():
    """Without asking first, which is refused, a browser sends it forms and plain text only."""
    client = small(lambda q, k: pytest.fail("it was searched"))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        reply = client.post("/api/search", content=b'{"questions": ["a"]}', headers={"content-type": kind})
        assert (reply.status_code, list(reply.json())) == (415, ["error"])
    asked_first = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    reply = client.options("/api/search", headers=asked_first)
    assert reply.status_code == 405
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_more_questions_than_may_wait_are_sent_away_and_told_when_to_come_back():
    go, begun = threading.Event(), threading.Event()

    def find(question, k):
        begun.set()
        assert go.wait(30)
        return []

    client = small(find, waiting=2)
    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(client.get, "/api/search?q=0")]
        assert begun.wait(30)
        replies += [pool.submit(client.get, f"/api/search?q={n}") for n in range(1, 3)]
        while "optical_questions_waiting 2.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        refused = client.get("/api/search?q=3")
        assert client.post("/api/search", json={"questions": ["4"]}).status_code == 429
        assert client.get("/healthz").status_code == 200, "what does not search answers at once"
        go.set()
        assert [one.result().status_code for one in replies] == [200] * 3
    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (429, True)
    assert refused.json()["error"].startswith("too many questions wait (2); ask again in ")
    assert client.get("/api/search?q=5").status_code == 200, "there is room again"


def test_answers_are_compressed_for_who_reads_that():
    found = [Hit(Doc(str(n), "", "water " * 50), 1.0, []) for n in range(5)]
    client = small(lambda q, k: found)
    plain = client.get("/api/search?q=a", headers={"accept-encoding": "identity"})
    packed = client.get("/api/search?q=a", headers={"accept-encoding": "gzip"})
    assert (plain.headers.get("content-encoding"), packed.headers["content-encoding"]) == (None, "gzip")
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 4
    assert packed.json()["results"] == plain.json()["results"]
    assert "content-encoding" not in client.get("/healthz").headers


def test_metrics_count_what_was_answered_and_tell_no_question():
    client = small(lambda q, k: 1 / 0 if q == "broken" else [])
    for path in ("/api/search?q=secret", "/api/search?q=broken", "/api/search", "/wp-login.php", "/.env"):
        client.get(path)
    client.post("/api/search", json={"questions": ["a", "b"]})
    client.request("BREW", "/healthz")
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    lines = reply.text.splitlines()
    for line in (
        'optical_http_requests_total{method="GET",path="/api/search",status="200"} 1.0',
        'optical_http_requests_total{method="GET",path="/api/search",status="422"} 1.0',
        'optical_http_requests_total{method="GET",path="/api/search",status="500"} 1.0',
        'optical_http_requests_total{method="GET",path="other",status="404"} 2.0',
        'optical_http_requests_total{method="POST",path="/api/search",status="200"} 1.0',
        'optical_http_requests_total{method="other",path="/healthz",status="405"} 1.0',
        'optical_http_request_seconds_count{path="/api/search"} 4.0',
        "optical_questions_total 3.0",
        "optical_answer_seconds_count 3.0",
        "optical_questions_waiting 0.0",
    ):
        assert line in lines, line
    assert "process_resident_memory_bytes" in reply.text
    assert not [word for word in ("secret", "wp-login", "BREW") if word in reply.text]


def test_the_words_that_the_student_never_saw_are_told():
    text = "\U0001f327 tembo wakubwa"
    told = Known(2, [UnseenWord(2, 7, ["tembe"]), UnseenWord(8, 15, [])])
    client = small(known=lambda question: told if question == text else None)
    words = client.get("/api/search", params={"q": text}).json()["words"]
    assert words == {
        "count": 2,
        "unseen": [
            {"start": 2, "end": 7, "text": "tembo", "like": ["tembe"]},
            {"start": 8, "end": 15, "text": "wakubwa", "like": []},
        ],
    }
    assert client.get("/api/search?q=maji").json()["words"] is None


def test_there_is_no_feedback_unless_it_is_wanted():
    client = small()
    assert client.get("/api/about").json()["feedback"] is False
    assert client.post("/api/feedback", json={"query": "maji", "id": "d1", "relevance": 1}).status_code == 404
    assert "/api/feedback" not in client.get("/openapi.json").json()["paths"]


def test_feedback_is_kept_as_judgements(tmp_path):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw"], {"d1", "d2"})
    client = small(judge=kept.add)
    assert client.get("/api/about").json()["feedback"] is True
    for given in ({"id": "d1", "relevance": 1}, {"id": "d2", "relevance": 0}, {"id": "d1", "relevance": None}):
        reply = client.post("/api/feedback", json={"query": " Maji? ", **given})
        assert (reply.status_code, reply.json()) == (200, {"kept": True})
    assert read_feedback(kept.path) == {"sw": {("Maji?", "d2"): 0}}


def test_feedback_of_several_languages_says_of_which_it_is(tmp_path):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw", "so"], {"d1"})
    client, given = small(judge=kept.add), {"query": "Maji?", "id": "d1", "relevance": 1}
    for lang in ({}, {"lang": "fr"}):
        reply = client.post("/api/feedback", json=given | lang)
        assert reply.status_code == 422
        assert "one of sw, so" in reply.json()["error"]
    assert client.post("/api/feedback", json=given | {"lang": "so"}).status_code == 200
    assert read_feedback(kept.path) == {"so": {("Maji?", "d1"): 1}}


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [({"id": "d9", "relevance": 1}, 422, "no document 'd9'"), ({"id": "d1", "relevance": 3}, 422, "relevance"),
     ({"id": "d1"}, 422, "relevance"), ({"id": 1, "relevance": 1}, 422, "id"),
     ({"id": "d1", "relevance": 1, "query": " "}, 422, "no question"), ({"more": 1}, 422, "send"),
     ({"id": "d1", "relevance": 1, "query": "a" * (LARGEST + 1)}, 413, "longer than")],
)  # fmt: skip
def test_what_is_no_judgement_is_refused(tmp_path, given, code, told):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw"], {"d1"})
    reply = small(judge=kept.add).post("/api/feedback", json={"query": "Maji?", **given})
    assert reply.status_code == code
    assert told in reply.json()["error"]
    assert kept.path.read_bytes() == b""


def test_a_foreign_page_gives_no_feedback(tmp_path):
    kept = Feedback(tmp_path / "judged.jsonl", ["sw"], {"d1"})
    body = '{"query": "Maji?", "id": "d1", "relevance": 1}'
    reply = small(judge=kept.add).post("/api/feedback", content=body, headers={"Content-Type": "text/plain"})
    assert reply.status_code == 415
    assert kept.path.read_bytes() == b""
