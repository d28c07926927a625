"""The student in use: the vectors of torch without torch, and one message for every folder that is no export."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optical.errors import DataError
from optical.marker import MARKER
from optical.models.encoders import encode_sentences, encode_tokens
from optical.models.onnx_encoder import OnnxEncoder
from optical.models.onnx_export import _manifest as manifest_of
from tests.models.test_onnx_export import TEXTS, multi, single  # noqa: F401 - fixtures

LONG = "the moon shines . " * 50
AWKWARD = ["", "i drink water .", LONG, "I DRINK Water", "\u4f60 \u0000 zz9", "i drink water .", " "]


@pytest.fixture
def folder(single, tmp_path):
    """A copy of the export that may be damaged."""
    shutil.copytree(single[1].folder, tmp_path / "onnx")
    return tmp_path / "onnx"


def damage(folder: Path, **changes) -> None:
    path = folder / "onnx.json"
    kept = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in kept.items() if v is not ...}), encoding="utf-8")
    (folder / MARKER).unlink(missing_ok=True)  # without its seal, as of an earlier version


class TestVectors:
    def test_awkward_texts_read_as_torch_reads_them(self, single):
        encoder, exported = single
        found = OnnxEncoder.load(exported.folder, precision="fp32").encode(AWKWARD)
        np.testing.assert_allclose(found, encode_sentences(encoder, AWKWARD), atol=1e-5)
        assert (found[1] == found[5]).all()

    def test_an_over_long_text_is_cut_where_torch_cuts_it(self, single):
        encoder, exported = single
        graph = OnnxEncoder.load(exported.folder, precision="fp32")
        assert [len(ids) for ids in graph._token_ids([LONG])] == [encoder.max_seq_length]
        np.testing.assert_allclose(graph.encode([LONG]), graph.encode([LONG + "i drink water ."]), atol=1e-6)

    def test_a_text_is_cut_on_the_left_where_the_student_cuts_it_there(self, single, folder, monkeypatch):
        encoder = single[0]
        monkeypatch.setattr(encoder.tokenizer, "truncation_side", "left")
        damage(folder, **{"truncation_side": manifest_of(encoder).truncation_side})
        found = OnnxEncoder.load(folder, precision="fp32").encode([LONG + "she cooks rice ."])
        np.testing.assert_allclose(found, encode_sentences(encoder, [LONG + "she cooks rice ."]), atol=1e-5)
        damage(folder, truncation_side=...)  # an export of before
        assert (
            np.abs(OnnxEncoder.load(folder, precision="fp32").encode([LONG + "she cooks rice ."]) - found).max() > 1e-3
        )

    @pytest.mark.parametrize("precision", ["fp32", "int8"])
    def test_a_vector_depends_on_no_other_text_of_the_batch(self, single, precision):
        graph = OnnxEncoder.load(single[1].folder, precision=precision)
        alone = np.concatenate([graph.encode([text]) for text in AWKWARD])
        np.testing.assert_allclose(graph.encode(AWKWARD), alone, atol=1e-5)
        np.testing.assert_allclose(graph.encode(AWKWARD[::-1])[::-1], alone, atol=1e-5)

    def test_more_texts_than_a_batch_keep_their_order(self, single, monkeypatch):
        graph = OnnxEncoder.load(single[1].folder)
        whole = graph.encode(AWKWARD)
        monkeypatch.setattr("optical.models.onnx_encoder.BATCH", 3)
        np.testing.assert_allclose(graph.encode(AWKWARD), whole, atol=1e-5)

    def test_short_texts_are_not_padded_to_a_very_long_one(self, single, monkeypatch):
        graph, shapes = OnnxEncoder.load(single[1].folder), []
        original = graph._inputs
        monkeypatch.setattr(
            graph, "_inputs", lambda ids, *more: shapes.append((len(ids), len(ids[0]))) or original(ids, *more)
        )
        monkeypatch.setattr("optical.models.onnx_encoder.BATCH_TOKENS", 64)
        graph.encode(AWKWARD)
        assert shapes[0] == (1, 64)
        assert all(count * width <= 64 for count, width in shapes)
        assert len(shapes) < len(AWKWARD)

    @pytest.mark.parametrize("precision", ["fp32", "int8"])
    def test_token_matrices_hold_the_real_tokens_of_each_text(self, multi, precision):
        encoder, exported = multi
        graph = OnnxEncoder.load(exported.folder, precision=precision)
        found = graph.encode(AWKWARD)
        expected = encode_tokens(encoder, AWKWARD, query=True)
        assert [rows.shape for rows in found] == [rows.shape for rows in expected]
        for text, rows in zip(AWKWARD, found, strict=True):
            assert rows.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
            np.testing.assert_allclose(graph.encode([text])[0], rows, atol=1e-5)

    def test_no_text_gives_no_vector(self, single, multi):
        assert OnnxEncoder.load(single[1].folder).encode([]).shape == (0, 32)
        assert OnnxEncoder.load(multi[1].folder).encode([]) == []

    def test_one_text_that_is_no_list_is_refused(self, single):
        with pytest.raises(ValueError, match="takes a list"):
            OnnxEncoder.load(single[1].folder).encode("i drink water .")

    def test_a_prefix_goes_before_every_text(self, folder):
        plain = OnnxEncoder.load(folder).encode(["she cooks i drink"])
        damage(folder, prefix="she cooks ")
        np.testing.assert_allclose(OnnxEncoder.load(folder).encode(["i drink"]), plain, atol=1e-6)


class TestLoading:
    def test_int8_is_taken_where_it_is_and_float_where_it_is_asked_for(self, folder):
        near, exact = OnnxEncoder.load(folder).encode(TEXTS), OnnxEncoder.load(folder, precision="fp32").encode(TEXTS)
        assert (near == OnnxEncoder.load(folder, precision="int8").encode(TEXTS)).all()
        assert (near != exact).any()
        damage(folder, graphs={"fp32": "model.onnx"})
        assert (OnnxEncoder.load(folder).encode(TEXTS) == exact).all()
        with pytest.raises(DataError, match="holds no int8 graph, only fp32"):
            OnnxEncoder.load(folder, precision="int8")

    @pytest.mark.parametrize("threads", [1, 2])
    def test_threads_are_those_of_one_call(self, folder, threads):
        options = OnnxEncoder.load(folder, threads).session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)

    def test_without_torch_and_transformers(self, folder):
        blocked = ("torch", "transformers", "sentence_transformers", "faiss", "onnx", "onnxscript")
        code = (
            f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n"
            "from optical.models.onnx_encoder import OnnxEncoder\n"
            f"print(*OnnxEncoder.load({str(folder)!r}).encode(['i drink water .'])[0])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found = np.array(done.stdout.split(), dtype=np.float32)
        np.testing.assert_allclose(found, OnnxEncoder.load(folder).encode(["i drink water ."])[0], atol=1e-5)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGED = {  # what is wrong -> (how it is made, what the message has to say)
    "no folder": (shutil.rmtree, ["no such folder", "optical export"]),
    "no manifest": (lambda f: (f / "onnx.json").unlink(), ["no exported student", "optical export"]),
    "the manifest of something else": (lambda f: damage(f, kind=...), ["'onnx query encoder'", "None"]),
    "a list": (lambda f: (f / "onnx.json").write_text("[1]"), ["'onnx query encoder'", "list"]),
    "damaged JSON": (lambda f: truncate(f / "onnx.json"), ["onnx.json cannot be read", "export again"]),
    "no UTF-8": (lambda f: (f / "onnx.json").write_bytes(b"\xff"), ["onnx.json cannot be read"]),
    "a manifest without an entry": (lambda f: damage(f, inputs=...), ["'inputs'", "export again"]),
    "no graph": (lambda f: (f / "model.int8.onnx").unlink(), ["model.int8.onnx", "cannot be run"]),
    "half a graph": (lambda f: truncate(f / "model.int8.onnx"), ["model.int8.onnx", "cannot be run"]),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), ["tokenizer.json cannot be read"]),
    "half a tokenizer": (lambda f: truncate(f / "tokenizer.json"), ["tokenizer.json cannot be read"]),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_folder_that_is_no_export_gets_one_message(what, folder):
    make, says = DAMAGED[what]
    make(folder)
    if folder.is_dir():
        (folder / MARKER).unlink(missing_ok=True)  # without its seal, as of an earlier version
    with pytest.raises(DataError) as caught:
        OnnxEncoder.load(folder)
    assert [part for part in [str(folder), *says] if part not in str(caught.value)] == []


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "tokenizer.json", "onnx.json"])
def test_an_export_that_is_not_as_it_was_written_is_refused(name, folder):
    OnnxEncoder.load(folder)
    if name == "onnx.json":
        (folder / name).write_text((folder / name).read_text().replace('"max_length": ', '"max_length": 1'))
    else:
        flip(folder / name)
    with pytest.raises(DataError, match=rf"{name} (has|does not have) .*; run the same `optical export`"):
        OnnxEncoder.load(folder)


@pytest.mark.parametrize(
    ("package", "says"), [("onnxruntime", r"pip install 'optical\[onnx\]'"), ("tokenizers", "pip install tokenizers")]
)
def test_a_package_that_is_not_installed_is_named(package, says, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=says):
        OnnxEncoder.load(folder)
