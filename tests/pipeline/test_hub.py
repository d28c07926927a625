"""A run to a hub and back, by a hub that is a folder: what is sent, what stays, and a pulled run that searches."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from sentence_transformers import SentenceTransformer

from optical.config.recipe import load_recipe, write_recipe
from optical.errors import DataError
from optical.files import write_text
from optical.marker import seal_of
from optical.pipeline import hub
from tests.cli.conftest import command, snapshot  # noqa: F401 - a fixture
from tests.runs import tiny_run

ADDRESS = "me/swahili"


def answer(code: int) -> httpx.Response:
    return httpx.Response(code, request=httpx.Request("GET", "http://hub.test"))


class Hub:
    """A hub with one repository: a folder, and who may see it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.private, self.messages = folder, None, []

    def model_info(self, name, **__):
        if not self.folder.is_dir():
            raise RepositoryNotFoundError("no such repository", response=answer(404))
        files = [one.relative_to(self.folder).as_posix() for one in self.folder.rglob("*") if one.is_file()]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in files])

    def create_repo(self, name, *, private, exist_ok):
        self.private = private if self.private is None else self.private
        self.folder.mkdir(exist_ok=exist_ok)
        return f"http://hub.test/{name}"

    def create_commit(self, name, operations, *, commit_message):
        for one in operations:
            place = self.folder / one.path_in_repo
            if isinstance(one, huggingface_hub.CommitOperationDelete):
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with one.as_file() as content:
                place.write_bytes(content.read())

    def snapshot_download(self, name):
        return str(self.folder)


@pytest.fixture
def there(monkeypatch, tmp_path):
    """The hub, and a token of it."""
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(HfApi, "model_info", made.model_info)
    monkeypatch.setattr(HfApi, "create_repo", made.create_repo)
    monkeypatch.setattr(HfApi, "create_commit", made.create_commit)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    return made


@pytest.fixture
def tiny(tmp_path):
    """The recipe of a run whose files lie in folders that nobody needs to know, with results and a card."""
    from optical.pipeline.evaluate import evaluate_run

    recipe = tiny_run(tmp_path / "home-of-alice" / "sample", **{"search.bm25": "off"})
    write_text(recipe.folder / "bank.tsv", "sw\tA secret sentence.\tSiri.\n")
    evaluate_run(recipe)
    return recipe


def sent(recipe, **options) -> dict:
    return hub.contents(recipe, ADDRESS, **options)


def test_student_card_recipe_manifest_and_measures_are_sent_and_no_index(tiny):
    names = set(sent(tiny))
    assert {"model.safetensors", "modules.json", "README.md", "recipe.toml", "manifest.json"} <= names
    assert "evaluation/sample-collection-test/table.md" in names
    assert not [name for name in names if name.startswith("index") or name.endswith((".trec", ".tsv", ".optical.json"))]
    assert "index/index" in sent(tiny, with_index=True)


def test_nothing_that_is_sent_names_a_folder_of_this_machine_or_has_a_sentence(tiny):
    for name, content in sent(tiny, with_index=True).items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        assert b"home-of-alice" not in data, name
        assert b"secret" not in data, name


def test_paths_lose_their_folders_and_other_texts_stay():
    told = {"/home/a/b.tsv": ["~/c.tsv,rel/d.tsv,/e/f@0.5", "A/B testing", 3, None], "teacher": "x/y"}
    cut = {"b.tsv": ["c.tsv,rel/d.tsv,f@0.5", "A/B testing", 3, None], "teacher": "x/y"}
    assert hub._without_folders(told) == cut


def test_a_run_that_needs_its_bank_is_sent_without_penalties(tiny):
    kept = load_recipe(tiny.folder / "recipe.toml", {"search.hubness": "csls"})
    write_text(tiny.folder / "recipe.toml", write_recipe(kept))
    assert b'hubness = "none"' in sent(tiny)["recipe.toml"]


def test_a_repository_is_private_unless_it_is_said(tiny, there):
    hub.push_run(ADDRESS, sent(tiny))
    assert there.private is True
    there.private = None
    hub.push_run(ADDRESS, sent(tiny), public=True)
    assert there.private is False


def test_the_address_loads_the_student_and_the_card_says_how(tiny, there):
    hub.push_run(ADDRESS, sent(tiny, licence="cc-by-4.0"))
    pushed = SentenceTransformer(str(there.folder), device="cpu")
    own = SentenceTransformer(str(tiny.folder / "student"), device="cpu")
    assert (pushed.encode("who plants maize ?") == own.encode("who plants maize ?")).all()
    card = ModelCard.load(there.folder / "README.md")
    assert f'SentenceTransformer("{ADDRESS}")' in card.content
    assert card.data.license == "cc-by-4.0"


def test_what_an_earlier_push_left_goes_and_what_others_wrote_stays(tiny, there):
    hub.push_run(ADDRESS, sent(tiny, with_index=True))
    for name in ("LICENSE", "seen-words.json"):
        (there.folder / name).write_text("{}")
    hub.push_run(ADDRESS, sent(tiny))
    assert (there.folder / "LICENSE").is_file()
    assert not (there.folder / "seen-words.json").exists()
    assert not (there.folder / "index" / "index").exists()


def test_a_repository_of_something_else_is_not_written_to(tiny, there):
    there.folder.mkdir()
    (there.folder / "pytorch_model.bin").write_text("precious")
    with pytest.raises(DataError, match="something that optical did not send"):
        hub.push_run(ADDRESS, sent(tiny))
    assert [one.name for one in there.folder.iterdir()] == ["pytorch_model.bin"]


def test_without_a_token_one_message_and_no_call(tiny, there, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(DataError, match="no token.*HF_TOKEN"):
        hub.push_run(ADDRESS, sent(tiny))


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_without_a_network_one_line_in_seconds_and_nothing_is_written(
    verb, tiny, there, monkeypatch, command, tmp_path
):
    def refuse(*_, **__):
        raise httpx.ConnectError("Name or service not known\nand more")

    monkeypatch.setattr(HfApi, "model_info", refuse)
    begun = time.perf_counter()
    folder = tmp_path / "pulled"
    arguments = [tiny.folder, ADDRESS] if verb == "push" else [ADDRESS, "--out", folder]
    code, _, err = command(verb, *arguments)
    assert code == 1
    assert "the model hub cannot be asked for me/swahili (ConnectError: Name or service not known)" in err
    assert "and more" not in err
    assert time.perf_counter() - begun < 5
    assert not folder.exists()
    assert not there.folder.exists()


@pytest.mark.parametrize("call", ["create_repo", "create_commit"])
def test_a_refusal_of_the_hub_is_one_message(call, tiny, there, monkeypatch):
    def refuse(*_, **__):
        raise HfHubHTTPError("403 Forbidden: this token may only read.\nmore", response=answer(403))

    monkeypatch.setattr(HfApi, call, refuse)
    with pytest.raises(DataError, match=r"does not take me/swahili: 403 Forbidden: this token may only read; nothing"):
        hub.push_run(ADDRESS, sent(tiny))


def test_a_pulled_run_is_indexed_searched_and_measured_with_documents(tiny, there, command, tmp_path):
    hub.push_run(ADDRESS, sent(tiny))
    out = tmp_path / "pulled"
    code, shown, err = command("pull", ADDRESS, "--out", out)
    assert code == 0, err
    assert f"optical index {out} --docs FOLDER" in " ".join(shown.split())
    place = ["--set", f"teacher={tiny.teacher}", "--set", f"cache={tmp_path / 'cache'}"]
    assert command("index", out, "--docs", tiny.collection, *place)[0] == 0
    code, shown, err = command("search", out, "who plants maize ?", "-k", 1, *place)
    assert code == 0, err
    assert "Maize" in shown
    code, shown, err = command("evaluate", out, "--collection", tiny.collection, "--json", *place)
    assert code == 0, err
    values = json.loads((tiny.folder / "evaluation" / "sample-collection-test" / "results.json").read_text())
    again = json.loads((out / "evaluation" / "sample-collection-test" / "results.json").read_text())
    assert again["systems"]["student"] == values["systems"]["student"]


INDEX = ("docid", "index", "optical.json")


def test_a_pulled_index_is_searched_as_it_is(tiny, there, command, tmp_path):
    hub.push_run(ADDRESS, sent(tiny, with_index=True))
    pulled = hub.pull_run(ADDRESS, tmp_path / "pulled")
    assert load_recipe(pulled.folder / "recipe.toml").out is None
    assert set(seal_of(pulled.folder / "index")) == {pulled.folder / "index" / one for one in INDEX}
    code, shown, err = command("search", pulled.folder, "who plants maize ?", "--set", f"collection={tiny.collection}")
    assert code == 0, err
    assert "Maize" in shown


def test_the_recipe_of_a_stranger_names_no_places_and_reports_to_nobody(tiny, there, tmp_path):
    hub.push_run(ADDRESS, sent(tiny))
    recipe = there.folder / "recipe.toml"
    text = recipe.read_text(encoding="utf-8").replace('report_to = "none"', 'report_to = "wandb"\nhub_model_id = "x/y"')
    recipe.write_text(f'cache = "/etc/vectors"\nout = "/etc/run"\n{text}', encoding="utf-8")
    hub.pull_run(ADDRESS, tmp_path / "pulled")
    kept = load_recipe(tmp_path / "pulled" / "recipe.toml")
    assert (kept.out, kept.cache, kept.training.report_to, kept.training.hub_model_id) == (None, None, "none", None)


def test_a_folder_that_holds_something_is_not_pulled_into(there, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(DataError, match="mine is there and holds something"):
        hub.pull_run(ADDRESS, tmp_path / "mine")


def test_a_pull_that_fails_leaves_nothing(tiny, there, tmp_path, monkeypatch):
    hub.push_run(ADDRESS, sent(tiny))
    before = snapshot(tmp_path)
    monkeypatch.setattr(shutil, "copyfile", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        hub.pull_run(ADDRESS, tmp_path / "pulled")
    assert snapshot(tmp_path) == before


def test_a_model_that_is_no_run_is_not_pulled(there, tmp_path):
    there.folder.mkdir()
    (there.folder / "config.json").write_text("{}")
    with pytest.raises(DataError, match="no run that `optical push` sent"):
        hub.pull_run(ADDRESS, tmp_path / "pulled")
    shutil.rmtree(there.folder)
    with pytest.raises(DataError, match="no such model, or it is private"):
        hub.pull_run(ADDRESS, tmp_path / "pulled")


@pytest.mark.parametrize(
    ("address", "message"), [("swahili", "write user/name, as in me/swahili"), ("a/b/c", "no add")]
)
def test_an_address_that_no_hub_has_is_refused(address, message, tiny):
    with pytest.raises(DataError, match=message):
        hub.check_pushed(tiny, address)


def test_a_dry_run_lists_the_files_and_asks_nobody(tiny, command, monkeypatch):
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: pytest.fail("the hub was asked"))
    code, shown, _ = command("push", tiny.folder, ADDRESS, "--dry-run")
    assert code == 0
    assert "model.safetensors" in shown
    assert "nothing was" in shown
    assert "is a folder of this machine" in shown


def test_a_run_without_a_student_is_not_pushed(tiny):
    shutil.move(tiny.folder / "student", tiny.folder.parent / "gone")
    with pytest.raises(DataError, match="student is missing; name a run that `optical distill` finished"):
        hub.check_pushed(tiny, ADDRESS)
