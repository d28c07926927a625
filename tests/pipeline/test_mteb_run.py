"""MTEB: the same figures as our own on the same collection, questions by the student and documents by the teacher."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import pytest

from optical.errors import DataError
from optical.pipeline import mteb_run as pipeline_mteb
from optical.pipeline.evaluate import evaluate_run
from tests.cli.conftest import command  # noqa: F401 - a fixture
from tests.conftest import bert
from tests.runs import tiny_run

installed = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the extra mteb is not installed")


@installed
def test_a_collection_is_a_task_and_gives_the_figures_of_evaluate(tmp_path, command):
    recipe = tiny_run(tmp_path / "sample", **{"search.bm25": "off"})
    own = evaluate_run(recipe)["sw"].scores["student"].mean
    code, out, err = command("mteb", recipe.folder)
    assert code == 0, err
    assert "sample-collection-test-sw" in out
    results = json.loads((recipe.folder / "mteb" / "sample-collection-test-sw.json").read_text())
    scores = results["scores"]["test"][0]
    assert scores["ndcg_at_10"] == pytest.approx(own["nDCG@10"], abs=1e-4)
    assert scores["map_at_1000"] == pytest.approx(own["AP"], abs=1e-4)


@installed
@pytest.mark.parametrize(
    ("languages", "side", "expected"),
    [("swa eng", "query", "student"), ("swa eng", "document", "teacher"), ("swa", "document", "student"),
     ("swa eng", None, "student")],
)  # fmt: skip
def test_each_reads_what_is_its_own(tmp_path, languages, side, expected):
    both = {"student": bert(tmp_path / "a"), "teacher": bert(tmp_path / "b", layers=1)}
    model = pipeline_mteb.Both("run", both["student"], both["teacher"])
    task = SimpleNamespace(hf_subsets_to_langscripts={"default": [f"{one}-Latn" for one in languages.split()]})
    kind = side and SimpleNamespace(value=side)
    batches = [{"text": ["rain falls"]}, {"text": ["the moon"]}]
    vectors = model.encode(batches, task_metadata=task, hf_split="test", hf_subset="default", prompt_type=kind)
    wanted = both[expected].encode(["rain falls", "the moon"], normalize_embeddings=True)
    assert vectors == pytest.approx(wanted, abs=1e-6)


@installed
def test_late_interaction_and_a_split_that_is_not_there_are_one_message(tmp_path, command):
    late = tiny_run(tmp_path / "late", late=True)
    assert "only single vectors" in command("mteb", late.folder)[2]
    code, _, err = command("mteb", late.folder, "--set", "search.split=dev")
    assert code == 1
    assert "has no split 'dev'" in err


def test_without_the_library_one_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'optical\[mteb\]'"):
        pipeline_mteb.check_installed()
