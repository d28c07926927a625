"""A student as ONNX: the same vectors in float32, near ones in int8, and nothing left behind when it is refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.errors import DataError
from optical.marker import MARKER
from optical.models import onnx_encoder
from optical.models import onnx_export as exporting
from optical.models.composing import compose_unseen, read_plainly
from optical.models.encoders import as_multi_vector, encode_sentences, encode_tokens, fingerprint
from optical.models.onnx_encoder import OnnxEncoder
from optical.models.onnx_export import cosines, export
from optical.models.prompts import with_prompts
from optical.models.query_words import FILE
from optical.retrieval import dense
from optical.vocabulary.transplant import transplant
from tests.conftest import bert

TEXTS = ["i drink water .", "who built this house ? she cooks rice .", "q", "the moon shines . the river is long"]


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """A tiny student and its export; its vocabulary counts as a table worth rounding."""
    return _exported(tmp_path_factory, False)


@pytest.fixture(scope="session")
def multi(tmp_path_factory):
    """The same, read token by token."""
    return _exported(tmp_path_factory, True)


DONE = {}  # a fixture that three files import would be made three times


def _exported(factory, late: bool):
    if late not in DONE:
        DONE[late] = _export(factory.mktemp("exported"), late)
    return DONE[late]


def _export(folder, late: bool):
    encoder = bert(folder / "made")
    encoder = as_multi_vector(encoder) if late else encoder
    encoder.train()
    before = fingerprint(encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "TABLE_ROWS", 70)  # the positions are 64
        exported = export(encoder, folder / "onnx", texts=TEXTS)
    assert fingerprint(encoder) == before
    assert encoder.training
    return encoder.eval(), exported


def graph_of(exported, name: str) -> onnx.GraphProto:
    return onnx.load(str(exported.folder / exporting.GRAPHS[name])).graph


class TestSingleVector:
    def test_the_float_graph_gives_the_vectors_of_torch(self, single):
        encoder, exported = single
        found = OnnxEncoder.load(exported.folder, precision="fp32").encode(TEXTS)
        np.testing.assert_allclose(found, encode_sentences(encoder, TEXTS), atol=1e-5)
        assert exported.checks["fp32"].cosine_min > 1 - 1e-6
        assert exported.checks["fp32"].difference < 1e-5

    def test_the_int8_graph_is_near_and_its_check_is_of_these_texts(self, single):
        encoder, exported = single
        check, expected = exported.checks["int8"], encode_sentences(encoder, TEXTS)
        found = OnnxEncoder.load(exported.folder, precision="int8").encode(TEXTS)
        agreement = (found * expected).sum(1)
        assert 0.995 < check.cosine_min < check.cosine_mean < 1 - 1e-7
        np.testing.assert_allclose(
            [check.cosine_min, check.cosine_mean], [agreement.min(), agreement.mean()], rtol=1e-5
        )
        assert check.difference == pytest.approx(float(np.abs(found - expected).max()), rel=1e-3)  # another batch

    def test_both_give_unit_vectors_in_float32(self, single):
        for precision in ("fp32", "int8"):
            found = OnnxEncoder.load(single[1].folder, precision=precision).encode(TEXTS)
            assert found.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)

    def test_int8_keeps_no_large_matrix_in_float(self, single):
        graph = graph_of(single[1], "int8")
        (table,) = [t for t in graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) == 2]
        rows = single[0][0].auto_model.config.vocab_size
        assert list(table.dims) == [rows, 32]
        floats = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}
        assert [node.name for node in graph.node if node.op_type == "MatMul" and floats & set(node.input)] == []
        assert [name for name in floats if "word_embeddings" in name and not name.endswith(".scale")] == []
        assert sum(node.op_type == "MatMulNBits" for node in graph.node) == 12  # six of each layer
        assert single[1].checks["int8"].megabytes < single[1].checks["fp32"].megabytes

    def test_the_manifest_says_what_it_is_of(self, single):
        encoder, exported = single
        kept = json.loads((exported.folder / "onnx.json").read_text(encoding="utf-8"))
        assert kept["kind"] == "onnx query encoder"
        assert (kept["max_length"], kept["pad_id"], kept["multi_vector"], kept["dimension"]) == (64, 0, False, 32)
        assert kept["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]
        assert kept["student"] == fingerprint(encoder)
        assert kept["packages"]["onnxruntime"] == onnxruntime.__version__
        assert kept["checks"] == {name: check._asdict() for name, check in exported.checks.items()}
        sizes = {name: (exported.folder / file).stat().st_size for name, file in kept["graphs"].items()}
        assert {name: round(size / 1e6, 3) for name, size in sizes.items()} == {
            name: check.megabytes for name, check in exported.checks.items()
        }

    def test_the_tokenizer_file_pads_and_cuts_nothing_by_itself(self, single):
        kept = json.loads((single[1].folder / "tokenizer.json").read_text(encoding="utf-8"))
        assert (kept["padding"], kept["truncation"]) == (None, None)


class TestMultiVector:
    def test_every_query_token_has_the_vector_of_torch(self, multi):
        encoder, exported = multi
        expected = encode_tokens(encoder, TEXTS, query=True)
        found = OnnxEncoder.load(exported.folder, precision="fp32").encode(TEXTS)
        assert isinstance(found, list)
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-5)

    def test_int8_tokens_are_near(self, multi):
        encoder, exported = multi
        found = OnnxEncoder.load(exported.folder, precision="int8").encode(TEXTS)
        agreement = cosines(found, encode_tokens(encoder, TEXTS, query=True))
        assert 0.98 < agreement.min() < 1 - 1e-7
        assert exported.checks["int8"].cosine_min == pytest.approx(float(agreement.min()), rel=1e-5)

    @pytest.mark.slow
    @pytest.mark.parametrize("strategy", ["min", "fixed"])
    def test_query_expansion_goes_along(self, tmp_path, strategy):
        encoder = as_multi_vector(bert(tmp_path / "made"))
        attend = strategy == "fixed"
        encoder[0].query_expansion = {"strategy": strategy, "length": 12, "attend": attend, "token": None}
        exported = export(encoder, tmp_path / "onnx", texts=TEXTS, int8=False)
        found = OnnxEncoder.load(exported.folder).encode(TEXTS)
        assert {len(rows) for rows in found} == ({12} if strategy == "fixed" else {12, max(map(len, found))})
        np.testing.assert_allclose(
            np.concatenate(found), np.concatenate(encode_tokens(encoder, TEXTS, query=True)), atol=1e-5
        )


@pytest.mark.slow
def test_a_large_model_keeps_its_weights_in_a_second_file(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "ONE_FILE", 0)
    exported = export(teacher, tmp_path / "onnx", texts=TEXTS, int8=False)
    there = {file.name: file.stat().st_size for file in exported.folder.iterdir()}
    assert there.keys() == {MARKER, "model.onnx", "model.onnx.data", "onnx.json", "tokenizer.json"}
    size = there["model.onnx"] + there["model.onnx.data"]
    assert exported.checks.keys() == {"fp32"}
    assert exported.checks["fp32"].megabytes == pytest.approx(size / 1e6, abs=1e-3)
    np.testing.assert_allclose(
        OnnxEncoder.load(exported.folder).encode(TEXTS), encode_sentences(teacher, TEXTS), atol=1e-5
    )


class TestRefusal:
    def test_a_graph_with_other_vectors_and_the_earlier_export_stays(self, single, tmp_path, monkeypatch):
        encoder, exported = single
        shutil.copytree(exported.folder, tmp_path / "onnx")
        other = copy.deepcopy(encoder)
        with torch.no_grad():
            other[0].auto_model.embeddings.word_embeddings.weight.normal_()

        def write_graph(_, __, folder):
            shutil.copy(exported.folder / "model.onnx", folder)

        monkeypatch.setattr(exporting, "_write_graph", write_graph)
        before = {file.name: file.read_bytes() for file in (tmp_path / "onnx").iterdir()}
        with pytest.raises(DataError, match=r"least cosine -?0\.\d+, expected more than 0.9999"):
            export(other, tmp_path / "onnx", texts=TEXTS)
        assert {file.name: file.read_bytes() for file in (tmp_path / "onnx").iterdir()} == before
        assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []

    def test_a_graph_that_is_wrong_on_an_over_long_text_only(self, single, tmp_path, monkeypatch):
        encoder, exported = single
        monkeypatch.setattr(
            exporting, "_write_graph", lambda _, __, folder: shutil.copy(exported.folder / "model.onnx", folder)
        )
        manifest = exporting._manifest
        monkeypatch.setattr(exporting, "_manifest", lambda e: manifest(e)._replace(max_length=40))
        with pytest.raises(DataError, match="least cosine"):
            export(encoder, tmp_path / "onnx", texts=TEXTS, int8=False)

    def test_other_tokens_than_torch(self):
        with pytest.raises(DataError, match="other tokens"):
            cosines([np.ones((2, 4)), np.ones((3, 4))], [np.ones((3, 4)), np.ones((2, 4))])

    def test_a_network_that_the_exporter_cannot_read(self, teacher, tmp_path, monkeypatch):
        def fails(*_, **__):
            raise RuntimeError("no such operator\nand a page of explanations")

        monkeypatch.setattr(torch.onnx, "export", fails)
        with pytest.raises(DataError, match=r"RuntimeError: no such operator\); use the student by"):
            export(teacher, tmp_path / "onnx", texts=TEXTS)
        assert not (tmp_path / "onnx").exists()

    def test_a_folder_of_something_else(self, teacher, tmp_path):
        (tmp_path / "run" / "index").mkdir(parents=True)
        (tmp_path / "run" / "index" / dense.MANIFEST).write_text("keep me")
        for folder in (tmp_path / "run", tmp_path / "run" / "index"):
            with pytest.raises(DataError, match="optical.json is in the way: optical did not write it"):
                export(teacher, folder, texts=TEXTS)
        assert (tmp_path / "run" / "index" / dense.MANIFEST).read_text() == "keep me"

    def test_no_text_to_check_on(self, teacher, tmp_path):
        with pytest.raises(DataError, match="checked on real texts"):
            export(teacher, tmp_path / "onnx", texts=[])

    def test_without_the_extra(self, teacher, tmp_path, monkeypatch):
        monkeypatch.setattr(onnx_encoder, "find_spec", lambda name: None if name.startswith("onnx") else object())
        with pytest.raises(DataError, match=r"pip install 'optical\[onnx\]'"):
            export(teacher, tmp_path / "onnx", texts=TEXTS)

    def test_a_tokenizer_without_a_fast_version(self, tmp_path):
        with pytest.raises(DataError, match="no fast version"):
            export(SimpleNamespace(tokenizer=object(), module=None), tmp_path / "onnx", texts=TEXTS)


class TestRoundedTables:
    """On a graph of look-ups: a large table, a small one, one that is looked up twice, one that is also read whole."""

    def rounded(self, table: np.ndarray, monkeypatch) -> tuple[onnx.ModelProto, np.ndarray]:
        monkeypatch.setattr(exporting, "TABLE_ROWS", 5)
        small, twice = np.full((4, 3), 0.1, np.float32), np.full((9, 3), 0.2, np.float32)
        tables = {"large": table, "small": small, "twice": twice, "whole": twice}
        nodes = [
            helper.make_node("Gather", ["large", "ids"], ["a"], axis=0),
            helper.make_node("Gather", ["small", "few"], ["b"], axis=0),
            helper.make_node("Gather", ["twice", "ids"], ["c"], axis=0),
            helper.make_node("Gather", ["twice", "few"], ["d"], axis=0),
            helper.make_node("Gather", ["whole", "few"], ["e"], axis=0),
            helper.make_node("Identity", ["whole"], ["f"]),
        ]
        graph = helper.make_graph(
            nodes, "g",
            [helper.make_tensor_value_info(n, TensorProto.INT64, [None]) for n in ("ids", "few")],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 3]) for n in "abcdef"],
            [numpy_helper.from_array(t, n) for n, t in tables.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        exporting._round_tables(model)
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        return model, session.run(["a"], {"ids": np.arange(len(table)), "few": np.arange(2)})[0]

    def test_a_row_is_off_by_half_a_step_of_its_own_scale_at_most(self, monkeypatch):
        table = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
        table *= np.logspace(-3, 2, 9, dtype=np.float32)[:, None]  # rows of very different size share no scale
        table[4] = 0
        _, found = self.rounded(table, monkeypatch)
        steps = np.abs(table).max(1, keepdims=True) / 127
        assert (np.abs(found - table) <= 0.501 * steps).all()
        assert (found[4] == 0).all()
        assert (found != table).any()

    def test_small_tables_and_those_that_are_read_whole_stay(self, monkeypatch):
        model, _ = self.rounded(np.ones((9, 3), np.float32), monkeypatch)
        kept = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
        assert kept == {"small", "whole", "large.scale", "twice.scale"}


@pytest.mark.parametrize(
    ("prompts", "default", "prefix"),
    [
        ({"q": "ask: "}, "q", "ask: "),
        ({"q": "ask: "}, None, ""),
        ({"query": "find: ", "q": "ask: "}, "q", "find: "),
        ({"query": "", "q": "ask: "}, "q", ""),
    ],
)
def test_the_prompt_that_encode_query_puts_before_a_text_is_kept(teacher, prompts, default, prefix):
    teacher.prompts, teacher.default_prompt_name = prompts, default
    assert exporting._manifest(teacher).prefix == prefix


def test_a_late_interaction_student_has_the_prompt_and_the_length_of_its_queries(teacher):
    late = as_multi_vector(teacher)
    late.prompts = {"query": "[Q] ", "document": "[D] "}
    late[0].query_length = 20
    manifest = exporting._manifest(late)
    assert (manifest.prefix, manifest.max_length, manifest.multi_vector) == ("[Q] ", 20, True)


@pytest.mark.parametrize(
    ("late", "pooled"),
    [
        pytest.param(False, True, marks=pytest.mark.slow),
        pytest.param(False, False, marks=pytest.mark.slow),
        pytest.param(True, True, marks=pytest.mark.slow),
    ],
)
def test_a_graph_of_a_student_with_a_prompt_gives_the_vectors_of_encode_query(teacher, tmp_path, late, pooled):
    student = with_prompts(as_multi_vector(teacher) if late else teacher, {"query": "where is "})
    for module in student:
        if hasattr(module, "include_prompt"):
            module.include_prompt = pooled
    exported = export(student, tmp_path / "onnx", texts=TEXTS, int8=False)
    assert json.loads((tmp_path / "onnx" / "onnx.json").read_text())["prefix"] == "where is "
    found = OnnxEncoder.load(exported.folder).encode(TEXTS)
    for row, expected in zip(found, student.encode_query(TEXTS), strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-5)
    without = OnnxEncoder.load(exported.folder).encode([TEXTS[0][3:]])[0]
    assert np.shape(without) != np.shape(found[0]) or np.abs(without - found[0]).max() > 1e-3


@pytest.mark.slow
def test_nothing_of_the_exporter_reaches_the_terminal(single, tmp_path, capfd, recwarn):
    encoder, _ = single
    capfd.readouterr()
    exporting._write_graph(encoder, exporting._manifest(encoder), Path(tmp_path))
    exporting._write_int8(Path(tmp_path))
    assert "".join(capfd.readouterr()) == ""
    assert [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)] == []


class TestComposing:
    """A student that composes unseen words does so without torch too."""

    @pytest.fixture(scope="class")
    def composing(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("composing")
        words = ["maji", "mtoto", "watoto", "nyumbani", "kitabu", "anakunywa"]
        pairs = [Pair(f"the children {k} drink", f"{word} {k} ni") for k, word in enumerate(words)]
        made = transplant(bert(folder / "made"), pairs, Vocabulary(mode="extend"))
        compose_unseen(made.student, made.seen.with_names(["majini"]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporting, "TABLE_ROWS", 70)
            return made.student, export(made.student, folder / "onnx", texts=self.TEXTS)

    TEXTS = ("mtoto anakunywani majini", "vitabuni, kitabuni", "maji", "(nyumbanini) 2", "Majini")

    def test_the_graphs_compose_as_torch_does(self, composing):
        encoder, exported = composing
        assert exported.checks["fp32"].cosine_min > 1 - 1e-6
        assert exported.checks["int8"].cosine_min > 0.9
        graph = OnnxEncoder.load(exported.folder, precision="fp32")
        for texts in (self.TEXTS, ["maji mtoto"], [*self.TEXTS, "watotoni " * 80, ""]):
            np.testing.assert_allclose(graph.encode(texts), encode_sentences(encoder, texts), atol=1e-5)
        assert not graph.words.slotted(["Majini"]).ids.size
        plain = copy.deepcopy(encoder)
        read_plainly(plain)
        assert not np.allclose(graph.encode(self.TEXTS[:1]), encode_sentences(plain, self.TEXTS[:1]), atol=1e-3)

    def test_a_table_that_is_looked_up_twice_is_rounded(self, composing):
        graph = graph_of(composing[1], "int8")
        assert any(t.name.endswith(".int8") for t in graph.initializer)
        sizes = [np.prod(t.dims) for t in graph.initializer if t.data_type == TensorProto.FLOAT]
        assert max(sizes) < 70 * 32

    def test_without_its_list_it_falls_back_to_pieces(self, composing, tmp_path):
        encoder, exported = composing
        folder = Path(shutil.copytree(exported.folder, tmp_path / "onnx"))
        (folder / FILE).unlink()
        with pytest.raises(DataError, match="missing"):
            OnnxEncoder.load(folder)
        (folder / MARKER).unlink()  # a folder that somebody put together without the list
        plain = copy.deepcopy(encoder)
        read_plainly(plain)
        found = OnnxEncoder.load(folder, precision="fp32").encode(self.TEXTS)
        np.testing.assert_allclose(found, encode_sentences(plain, self.TEXTS), atol=1e-5)
