"""What an export is worth: the table, its signs, the times, and the texts that stand for queries."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from optical import delivery
from optical.delivery import Delivery, Latency, System, latencies
from optical.errors import DataError
from optical.evaluate import Scores
from optical.export import Check, Exported
from optical.recipe import load_recipe
from optical.text.collection import Collection, Doc, Qrel, Query
from tests.test_export import single  # noqa: F401 - a fixture

CHECK = Check(28.0139, 0.0107, 0.998123, 0.999345)


def scores(*values: float) -> Scores:
    per_query = {f"q{k}": value for k, value in enumerate(values)}
    return Scores({"AP": sum(values) / len(values)}, {"AP": per_query}, len(values), 0)


def made(tmp_path, *, measured: bool = True) -> Delivery:
    systems = {
        "torch": System(100.9, None, scores(0.5, 1.0) if measured else None, Latency(25.42, 45.0)),
        "ONNX int8": System(28.0139, CHECK, scores(0.5, 0.9) if measured else None, Latency(3.46, 8.04)),
    }
    return Delivery(tmp_path, "sw questions", 2, "sample (test)" if measured else None, systems)


class TestTable:
    def test_what_is_lost_is_positive_and_torch_loses_nothing(self, tmp_path):
        head, reference, graph = delivery.as_lines(made(tmp_path))
        assert head == ["student", "MB", "cos min", "cos mean", "MAP", "MAP lost", "p50 ms", "p95 ms"]
        assert reference == ["torch", "100.9", "", "", "0.7500", "", "25.4", "45.0"]
        assert graph == ["ONNX int8", "28.0", "0.99812", "0.99935", "0.7000", "+0.0500", "3.5", "8.0"]
        (sentence,) = delivery.as_sentences(made(tmp_path))
        assert "ONNX int8 - torch: MAP -0.0500" in sentence
        assert "0 won / 1 tied / 1 lost" in sentence

    def test_without_a_collection_there_is_no_map(self, tmp_path):
        nothing = made(tmp_path, measured=False)
        assert [len(line) for line in delivery.as_lines(nothing)] == [6, 6, 6]
        assert "MAP" not in delivery.as_markdown(nothing)
        assert "MAP on sample (test)" in delivery.as_markdown(made(tmp_path))
        assert delivery.as_dict(nothing)["tests"] == {}

    def test_the_json_holds_every_figure(self, tmp_path):
        kept = json.loads(json.dumps(delivery.as_dict(made(tmp_path)), allow_nan=False))
        graph = kept["systems"]["ONNX int8"]
        assert graph["check"] == CHECK._asdict()
        assert graph["milliseconds"] == {"p50": 3.46, "p95": 8.04}
        assert graph["scores"]["per_query"]["AP"] == {"q0": 0.5, "q1": 0.9}
        assert kept["systems"]["torch"]["check"] is None
        assert kept["tests"]["ONNX int8"]["loss"] == 1
        assert kept["packages"]["torch"] == torch.__version__


class TestLatencies:
    def test_candidates_take_turns_on_one_thread(self):
        torch.set_num_threads(2)
        seen = []

        def answer(name):
            return lambda text: seen.append((name, text, torch.get_num_threads()))

        found = latencies({"a": answer("a"), "b": answer("b")}, ["x", "y"])
        assert [(name, text) for name, text, _ in seen] == [
            ("a", "x"), ("b", "x"), ("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"),
        ]  # fmt: skip
        assert {threads for *_, threads in seen} == {1}
        assert torch.get_num_threads() == 2
        assert found.keys() == {"a", "b"}
        assert all(0 <= times.p50 <= times.p95 < 1000 for times in found.values())

    def test_threads_come_back_after_a_failure(self):
        torch.set_num_threads(2)
        with pytest.raises(ZeroDivisionError):
            latencies({"a": lambda _: 1 / 0}, ["x"])
        assert torch.get_num_threads() == 2

    def test_times_are_milliseconds(self, monkeypatch):
        clock = iter([0.0, 0.002, 1.0, 1.004])
        monkeypatch.setattr(delivery.time, "perf_counter", lambda: next(clock))
        (found,) = latencies({"a": lambda _: None}, ["x", "y"]).values()
        assert found == pytest.approx((3.0, 3.9))


@pytest.fixture
def run(single, tmp_path, monkeypatch):  # noqa: F811
    """A run without a collection whose student has been exported already."""
    encoder, exported = single
    encoder.save(str(tmp_path / "run" / "student"))
    lines = [f"the river {k}\tmto wa {k}" for k in range(30)]
    (tmp_path / "bitext.tsv").write_text("\n".join(lines), encoding="utf-8")

    def export(student, folder, *, int8, texts):
        shutil.copytree(exported.folder, folder)
        return Exported(folder, exported.checks if int8 else {"fp32": exported.checks["fp32"]})

    monkeypatch.setattr(delivery, "export", export)
    monkeypatch.chdir(tmp_path)
    return load_recipe(None, {"lang": "zz", "bitext": str(tmp_path / "bitext.tsv"), "out": str(tmp_path / "run")})


def test_without_a_collection_sentences_of_the_bitext_stand_for_queries(run):
    said = []
    result = delivery.export_run(run, say=said.append)
    assert result.folder == run.folder / "onnx"
    assert (result.texts, result.count, result.collection) == ("zz sentences of the bitext", 30, None)
    assert list(result.systems) == ["torch", "ONNX fp32", "ONNX int8"]
    assert any("30 zz sentences of the bitext" in line for line in said)
    kept = json.loads((run.folder / "onnx" / "report.json").read_text(encoding="utf-8"))
    assert kept["systems"]["torch"]["scores"] is None
    assert kept["systems"]["torch"]["megabytes"] == pytest.approx(0.09, abs=0.05)
    assert (run.folder / "onnx" / "table.md").read_text(encoding="utf-8") == delivery.as_markdown(result)


def test_another_folder_and_no_int8(run, tmp_path):
    result = delivery.export_run(run, tmp_path / "served", int8=False)
    assert list(result.systems) == ["torch", "ONNX fp32"]
    assert (tmp_path / "served" / "report.json").is_file()
    assert not (run.folder / "onnx").exists()


def test_a_collection_that_judges_no_query_of_the_language(run):
    collection = Collection(
        "other", [Doc("d", "", "text")], {"zz": [Query("q1", "swali")]}, {"test": [Qrel("q2", "d", 1)]}, "", {}
    )
    with pytest.raises(DataError, match="judges no zz query in 'test'; set search.split: test"):
        delivery._queries(run, collection)
