"""`optical serve`: what it says before it answers, and what stops it from answering."""

from __future__ import annotations

import os
import shutil

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from fastapi.testclient import TestClient

from optical.pipeline import answer
from optical.web import server
from tests import runs
from tests.runs import tiny_run


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def served(monkeypatch):
    """Applications that were served, and where; nothing waits."""
    seen = []
    monkeypatch.setattr(server, "serve", lambda app, own: seen.append((app, own.getsockname())))
    return seen


def test_it_names_its_address_and_answers(command, recipe, served):
    code, out, err = command("serve", recipe.folder, "--port", 0)
    ((application, (host, port)),) = served
    assert (code, err, host) == (0, "", "127.0.0.1")
    assert out.splitlines() == [f"answering at http://127.0.0.1:{port} until Ctrl-C"]
    local = TestClient(application, base_url=f"http://127.0.0.1:{port}")
    (found,) = local.get("/api/search?q=milk&k=1").json()["results"]
    assert found["id"] == "d1"
    assert TestClient(application, base_url="http://evil.example").get("/health").status_code == 400


def replaced(old, new):
    """Every file of a folder put in the place of the one of the same name, as a job does; what has none there goes."""
    for file in sorted(new.rglob("*")):
        place = old / file.relative_to(new)
        if file.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place.with_name("unfinished"))
            os.replace(place.with_name("unfinished"), place)
    for file in sorted(old.rglob("*")):
        if file.is_file() and not (new / file.relative_to(old)).exists():
            file.unlink()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_run_replaced_under_the_server_leaves_its_answers_as_they_were(command, tmp_path, monkeypatch, late, mapped):
    old = tiny_run(tmp_path / "old", late=late, search={"mapped": mapped})
    monkeypatch.setattr(runs, "DOCUMENTS", [(name, "new", text[::-1]) for name, _, text in runs.DOCUMENTS])
    new = tiny_run(tmp_path / "new", late=late, search={"mapped": mapped})
    told, asked = [], ["milk", "who plants maize", "rain"]

    def serve(app, own):
        client = TestClient(app, base_url="http://127.0.0.1")
        for _ in range(2):
            answers = client.post("/api/search", json={"questions": asked, "k": 9}).json()["answers"]
            told.append((answers, client.get("/api/about").json()))
            replaced(tmp_path / "old", tmp_path / "new")

    monkeypatch.setattr(server, "serve", serve)
    assert command("serve", old.folder, "--port", 0)[0] == 0
    assert told[0] == told[1]
    monkeypatch.setattr(server, "serve", lambda *_: told.append(answer.answer(answer.load_run(new), "milk", 1)))
    assert command("serve", new.folder, "--port", 0)[0] == 0
    assert told[2][0].doc.title == "new", "the other run answers otherwise"


def test_a_run_replaced_while_it_is_opened_is_not_served(command, tmp_path, served, monkeypatch):
    run, load = tiny_run(tmp_path / "run"), answer.load_run

    def load_slowly(*given):
        loaded = load(*given)
        replaced(run.folder / "student", shutil.copytree(run.folder / "student", tmp_path / "other"))
        return loaded

    monkeypatch.setattr(answer, "load_run", load_slowly)
    code, out, err = command("serve", run.folder, "--port", 0)
    assert (code, served) == (1, [])
    assert "was written anew while it was opened; start the server again" in err


def test_an_open_address_is_warned_of(command, recipe, served):
    _, out, _ = command("serve", recipe.folder, "--host", "0.0.0.0", "--port", 0)
    assert "warning: 0.0.0.0 can be reached from other machines" in out
    assert served[0][1][0] == "0.0.0.0"


def test_a_taken_port_is_one_message_before_anything_is_loaded(command, recipe, served, monkeypatch):
    monkeypatch.setattr(answer, "load_run", lambda *_: pytest.fail("it was loaded"))
    with server.bind("127.0.0.1", 0) as own:
        port = own.getsockname()[1]
        code, out, err = command("serve", recipe.folder, "--port", port)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: cannot listen at 127.0.0.1 port {port}: Address already in use; choose another")
    assert served == []


def test_without_the_extra_it_is_one_message(command, recipe, served, monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    code, _, err = command("serve", recipe.folder)
    assert code == 1
    assert (
        "serving needs packages that are not installed: fastapi and prometheus-client and uvicorn; run `pip install"
        in err
    )


def test_a_folder_that_is_no_run(command, tmp_path):
    code, _, err = command("serve", tmp_path)
    assert code == 1
    assert "no recipe.toml" in err


@pytest.fixture(scope="module")
def place(recipe, tmp_path_factory):
    """The same documents in Qdrant's local mode."""
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    from optical.pipeline import qdrant
    from optical.retrieval.qdrant.place import Place

    found = Place(None, tmp_path_factory.mktemp("qdrant"), "tiny")
    qdrant.export_qdrant(recipe, found)
    return found


def test_qdrant_answers_through_the_same_page(command, recipe, place, served, monkeypatch):
    """While it is served: the client is closed afterwards."""
    from qdrant_client import QdrantClient
    from qdrant_client.http.exceptions import ResponseHandlingException

    told, find = {}, QdrantClient.query_points

    def serve(app, own):
        client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
        told["about"] = client.get("/api/about").json()
        told["first"] = client.get("/api/search?q=who+writes+a+letter&k=2")
        monkeypatch.setattr(QdrantClient, "query_points", gone)
        told["gone"] = client.get("/api/search?q=milk")
        monkeypatch.setattr(QdrantClient, "query_points", find)
        told["back"] = client.get("/api/search?q=milk&k=1")
        told["page"] = client.get("/")

    def gone(*_, **__):
        raise ResponseHandlingException(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(server, "serve", serve)
    code, out, err = command(
        "serve", recipe.folder, "--port", 0, "--engine", "qdrant", "--path", place.path, "--name", place.name
    )
    assert (code, err) == (0, "")
    assert out.startswith("answering at http://127.0.0.1:")
    assert (told["about"]["engine"], told["about"]["documents"]) == ("qdrant", 9)
    assert told["about"]["late_interaction"] is False
    own = answer.answer(answer.load_run(recipe), "who writes a letter", 2)
    results = told["first"].json()["results"]
    assert [(r["id"], r["title"], r["text"]) for r in results] == [one.doc[:3] for one in own]
    assert [r["score"] for r in results] == pytest.approx([one.score for one in own], abs=1e-4)
    assert told["gone"].status_code == 503
    assert list(told["gone"].json()) == ["error"]
    assert "tiny at" in told["gone"].json()["error"]
    assert (told["back"].status_code, told["back"].json()["results"][0]["id"]) == (200, "d1")
    assert told["page"].status_code == 200


def test_a_place_that_cannot_be_served_is_one_message(command, recipe, place, served):
    asked = ("serve", recipe.folder, "--port", 0)
    for more, code, says in (
        (("--engine", "qdrant"), 1, "error: Qdrant is either a server or a folder; received neither"),
        (("--engine", "qdrant", "--path", place.path), 1, "error: there is no collection run at"),
        (("--engine", "qdrant", "--url", "http://127.0.0.1:1"), 1, "error: there is no answer from a Qdrant server"),
        (("--path", place.path), 2, "only --engine qdrant or pgvector has a place"),
    ):
        found, out, err = command(*asked, *more)
        assert (found, out) == (code, "")
        assert says in err
    assert served == []


def test_ctrl_c_is_said_and_has_its_code(command, recipe, monkeypatch):
    def serve(app, own):
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve", serve)
    code, out, err = command("serve", recipe.folder, "--port", 0)
    assert (code, err) == (130, "error: stopped")
    assert out.startswith("answering at")


def test_how_many_may_wait_is_an_option(command, recipe, served, monkeypatch):
    from optical.web import endpoints

    seen = []
    monkeypatch.setattr(endpoints, "create_app", lambda *given: seen.append(given[3]))
    assert command("serve", recipe.folder, "--port", 0, "--queue", 3)[0] == 0
    assert seen == [3]
    assert command("serve", recipe.folder, "--queue", -1)[0] == 2
