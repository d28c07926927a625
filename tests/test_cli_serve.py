"""`optical serve`: what it says before it answers, and what stops it from answering."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from fastapi.testclient import TestClient

from optical import answering
from optical.web import server
from tests.runs import tiny_run
from tests.test_cli import command  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def served(monkeypatch):
    """Applications that were served, and where; nothing waits."""
    seen = []
    monkeypatch.setattr(server, "serve", lambda app, own: seen.append((app, own.getsockname())))
    return seen


def test_it_names_its_address_and_answers(command, recipe, served):  # noqa: F811
    code, out, err = command("serve", recipe.folder, "--port", 0)
    ((application, (host, port)),) = served
    assert (code, err, host) == (0, "", "127.0.0.1")
    assert out.splitlines() == [f"answering at http://127.0.0.1:{port} until Ctrl-C"]
    local = TestClient(application, base_url=f"http://127.0.0.1:{port}")
    (found,) = local.get("/api/search?q=milk&k=1").json()["results"]
    assert found["id"] == "d1"
    assert TestClient(application, base_url="http://evil.example").get("/health").status_code == 400


def test_an_open_address_is_warned_of(command, recipe, served):  # noqa: F811
    _, out, _ = command("serve", recipe.folder, "--host", "0.0.0.0", "--port", 0)
    assert "warning: 0.0.0.0 can be reached from other machines" in out
    assert served[0][1][0] == "0.0.0.0"


def test_a_taken_port_is_one_message_before_anything_is_loaded(command, recipe, served, monkeypatch):  # noqa: F811
    monkeypatch.setattr(answering, "load_answers", lambda *_: pytest.fail("it was loaded"))
    with server.bind("127.0.0.1", 0) as own:
        port = own.getsockname()[1]
        code, out, err = command("serve", recipe.folder, "--port", port)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: cannot listen at 127.0.0.1 port {port}: Address already in use; choose another")
    assert served == []


def test_without_the_extra_it_is_one_message(command, recipe, served, monkeypatch):  # noqa: F811
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    code, _, err = command("serve", recipe.folder)
    assert code == 1
    assert "serving needs packages that are not installed: fastapi and uvicorn; run `pip install" in err


def test_a_folder_that_is_no_run(command, tmp_path):  # noqa: F811
    code, _, err = command("serve", tmp_path)
    assert code == 1
    assert "no recipe.toml" in err
