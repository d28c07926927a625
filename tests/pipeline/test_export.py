"""The report on an export: the table, its signs, the times, and the texts that stand for queries."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from optical.config.recipe import load_recipe
from optical.errors import DataError
from optical.evaluation.measures import Scores
from optical.evaluation.tables import page
from optical.models.encoders import encode_sentences
from optical.models.onnx_export import Check, Exported
from optical.pipeline import export as pipeline_export
from optical.pipeline.export import ExportReport, Latency, System, latencies
from tests.models.test_onnx_export import single  # noqa: F401 - a fixture

CHECK = Check(28.0139, 0.0107, 0.998123, 0.999345)


def scores(*values: float) -> Scores:
    per_query = {f"q{k}": value for k, value in enumerate(values)}
    return Scores({"AP": sum(values) / len(values)}, {"AP": per_query}, len(values), 0)


def made(tmp_path, *, measured: bool = True) -> ExportReport:
    systems = {
        "torch": System(100.9, None, scores(0.5, 1.0) if measured else None, Latency(25.42, 45.0)),
        "ONNX int8": System(28.0139, CHECK, scores(0.5, 0.9) if measured else None, Latency(3.46, 8.04)),
    }
    return ExportReport(tmp_path, "sw questions", 2, "sample (test)" if measured else None, systems)


class TestTable:
    def test_what_is_lost_is_positive_and_torch_loses_nothing(self, tmp_path):
        _, head, (reference, graph), *_ = pipeline_export.table(made(tmp_path))
        assert head == ["student", "MB", "cos min", "cos mean", "MAP", "MAP lost", "p50 ms", "p95 ms"]
        assert reference == ["torch", "100.9", "", "", "0.7500", "", "25.4", "45.0"]
        assert graph == ["ONNX int8", "28.0", "0.99812", "0.99935", "0.7000", "+0.0500", "3.5", "8.0"]
        (sentence,) = pipeline_export.sentences(made(tmp_path))
        assert "ONNX int8 - torch: MAP -0.0500" in sentence
        assert "0 won / 1 tied / 1 lost" in sentence

    def test_without_a_collection_there_is_no_map(self, tmp_path):
        nothing = made(tmp_path, measured=False)
        table = pipeline_export.table(nothing)
        assert [len(cells) for cells in [table.head, *table.rows]] == [6, 6, 6]
        assert "MAP" not in page(table, pipeline_export.sentences(nothing))
        assert "MAP on sample (test)" in pipeline_export.table(made(tmp_path)).title
        assert pipeline_export.as_dict(nothing)["tests"] == {}

    def test_the_json_holds_every_figure(self, tmp_path):
        kept = json.loads(json.dumps(pipeline_export.as_dict(made(tmp_path)), allow_nan=False))
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
        monkeypatch.setattr(pipeline_export.time, "perf_counter", lambda: next(clock))
        (found,) = latencies({"a": lambda _: None}, ["x", "y"]).values()
        assert found == pytest.approx((3.0, 3.9))


@pytest.fixture
def run(single, tmp_path, monkeypatch):
    """A run without a collection whose student has been exported already."""
    encoder, exported = single
    encoder.save(str(tmp_path / "run" / "student"))
    lines = [f"the river {k}\tmto wa {k}" for k in range(30)]
    (tmp_path / "bitext.tsv").write_text("\n".join(lines), encoding="utf-8")

    def export(student, folder, *, int8, texts):
        shutil.copytree(exported.folder, folder, dirs_exist_ok=True)
        return Exported(folder, exported.checks if int8 else {"fp32": exported.checks["fp32"]})

    monkeypatch.setattr(pipeline_export, "export", export)
    monkeypatch.chdir(tmp_path)
    return load_recipe(None, {"lang": "zz", "bitext": str(tmp_path / "bitext.tsv"), "out": str(tmp_path / "run")})


def test_without_a_collection_sentences_of_the_bitext_stand_for_queries(run):
    said = []
    result = pipeline_export.export_onnx(run, say=said.append)
    assert result.folder == run.folder / "onnx"
    assert (result.texts, result.text_count, result.collection) == ("zz sentences of the bitext", 30, None)
    assert list(result.systems) == ["torch", "ONNX fp32", "ONNX int8"]
    assert any("30 zz sentences of the bitext" in line for line in said)
    kept = json.loads((run.folder / "onnx" / "report.json").read_text(encoding="utf-8"))
    assert kept["systems"]["torch"]["scores"] is None
    assert kept["systems"]["torch"]["megabytes"] == pytest.approx(0.09, abs=0.05)
    written = page(pipeline_export.table(result), pipeline_export.sentences(result))
    assert (run.folder / "onnx" / "table.md").read_text(encoding="utf-8") == written


def test_another_folder_and_no_int8(run, tmp_path):
    result = pipeline_export.export_onnx(run, tmp_path / "served", int8=False)
    assert list(result.systems) == ["torch", "ONNX fp32"]
    assert (tmp_path / "served" / "report.json").is_file()
    assert not (run.folder / "onnx").exists()


DOCUMENTS = ["the farmer plants maize .", "the cow gives milk .", "rain falls in april .", "they sing songs ."]
QUESTIONS = ["who plants maize ?", "the cow ?", "where is rain ?"]


def over(run, docs_lang, langs, *, split="test"):
    """The run over a collection with queries in these languages, all of the same words: its student is random."""
    folder = run.folder.parent / "passages"
    folder.mkdir()
    rows = (json.dumps({"id": f"d{k}", "title": "", "text": text}) + "\n" for k, text in enumerate(DOCUMENTS))
    name = "docs.jsonl" if docs_lang == "en" else f"docs.{docs_lang}.jsonl"
    (folder / name).write_text("".join(rows), encoding="utf-8")
    for lang in langs:
        lines = "".join(f"q{k}\t{text}\n" for k, text in enumerate(QUESTIONS))
        (folder / f"queries.{lang}.tsv").write_text(lines, encoding="utf-8")
    (folder / f"qrels.{split}.tsv").write_text("q0 0 d0 1\nq1 0 d1 1\nq2 0 d2 1\n", encoding="utf-8")
    more = {"collection": str(folder), "cache": str(folder.parent / "cache"), "teacher": str(folder.parent / "teacher")}
    return run.model_copy(update={**more, "device": "cpu"})


def found_by(encoder, documents_by):
    """AP of each question, by hand: one relevant document, so the inverse of its rank."""
    scores = encode_sentences(encoder, QUESTIONS) @ encode_sentences(documents_by, DOCUMENTS).T
    return {f"q{k}": 1 / (1 + int((row > row[k]).sum())) for k, row in enumerate(scores)}


@pytest.mark.parametrize("langs", [["zz"], ["en", "zz"]])
def test_documents_in_x_are_embedded_by_torch_and_asked_in_x(run, single, monkeypatch, langs):
    monkeypatch.setattr(pipeline_export, "teacher_towers", lambda *_: pytest.fail("the teacher was loaded"))
    said = []
    result = pipeline_export.export_onnx(over(run, "zz", langs), say=said.append)
    assert (result.texts, result.text_count, result.collection) == ("zz questions", 3, "passages (test, zz documents)")
    encoder, _ = single
    expected = found_by(encoder, encoder)
    assert len(set(expected.values())) > 1
    for form in ("torch", "ONNX fp32"):
        assert result.systems[form].scores.per_query["AP"] == pytest.approx(expected)
    assert [line for line in said if "MAP" in line] == []
    assert "MAP on passages (test, zz documents)" in (result.folder / "table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pair", [False, True])
def test_english_documents_are_embedded_by_the_teacher(run, single, student, pair):
    chosen = over(run, "en", ["zz"])
    student.save(chosen.teacher)  # another encoder
    if pair:
        chosen = chosen.model_copy(update={"teacher": f"{run.folder / 'student'},{chosen.teacher}"})
    result = pipeline_export.export_onnx(chosen)
    assert result.collection == "passages (test)"
    assert result.systems["torch"].scores.per_query["AP"] == pytest.approx(found_by(single[0], student))
    assert found_by(single[0], student) != found_by(single[0], single[0])


def test_where_only_english_is_asked_there_is_no_map_and_it_is_said(run):
    said = []
    result = pipeline_export.export_onnx(over(run, "zz", ["en"]), say=said.append)
    assert said[0] == (
        "no MAP: passages has zz documents and judges only English queries in 'test', which the teacher embeds, and "
        "no graph of the student"
    )
    assert (result.texts, result.text_count, result.collection) == ("zz sentences of the bitext", 30, None)
    assert {system.scores for system in result.systems.values()} == {None}


@pytest.mark.parametrize(
    ("docs_lang", "langs", "split", "says"),
    [
        ("fi", ["en", "zz"], "test", "passages has fi documents, which nobody embeds"),
        ("zz", ["zz"], "dev", "passages has no split 'test', only dev; set search.split"),
        ("en", ["en"], "test", "passages has no zz queries, of those wanted only en; add queries.zz.tsv"),
    ],
)
def test_a_collection_that_does_not_fit_stops_before_anything_is_written(run, docs_lang, langs, split, says):
    with pytest.raises(DataError, match=says):
        pipeline_export.export_onnx(over(run, docs_lang, langs, split=split))
    assert not (run.folder / "onnx").exists()
