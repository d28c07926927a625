"""Export an encoder as ONNX graphs, in float32 and with int8 weights, checked against torch on real texts.

:mod:`optical.models.onnx_encoder` reads the folder. The graph is the whole query side: token ids in, unit vectors out.
In int8, every row of the embedding matrix has a scale of its own (the matrix is most of a student with an extended
vocabulary), and so has every block of 32 weights of a matrix product. Activations are rounded in blocks of a token too,
not over the whole batch as onnxruntime's ``quantize_dynamic`` does: there a vector depends on what else is in the
batch, and its cosine with the vector of torch falls to .90.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from optical.errors import DataError
from optical.files import check_replaceable, written_whole
from optical.models.composing import IDS, WEIGHT, query_words
from optical.models.encoders import Encoder, encode_queries, fingerprint, is_multi_vector, transformer
from optical.models.onnx_encoder import (
    KIND,
    MANIFEST,
    PACKAGES,
    TOKENIZER,
    Manifest,
    OnnxEncoder,
    Precision,
    check_installed,
)
from optical.models.prompts import pools_prompt, query_prompt

if TYPE_CHECKING:
    import onnx

INPUTS = ("input_ids", "attention_mask", "token_type_ids", "query_expansion_positions", IDS, WEIGHT)
GRAPHS: dict[Precision, str] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
LEAST_COSINE = 0.9999  # of every float32 vector with torch's; less is another model, not rounding
BLOCK = 32  # weights, and activations, that share a scale
TABLE_ROWS = 1000  # a matrix with this many rows that is only looked up is an embedding table worth rounding
LONG = 512  # words of the longest text that a graph is checked on: attention takes the square of them in memory
ONE_FILE = 2**31 - 2**20  # bytes: a larger ONNX model keeps its weights in a second file


class Check(NamedTuple):
    """Agreement of the vectors of a graph with those of torch, and the graph's size.

    Attributes:
        megabytes: Size of the graph's files.
        difference: Largest absolute difference of a component.
        cosine_min: Least cosine of two vectors of a text, or of a token of a multi-vector student.
        cosine_mean: Mean of these cosines.
    """

    megabytes: float
    difference: float
    cosine_min: float
    cosine_mean: float


class Exported(NamedTuple):
    """A student on disk.

    Attributes:
        folder: Where it lies.
        checks: Precision -> agreement with torch on the given texts.
    """

    folder: Path
    checks: dict[Precision, Check]


def export(encoder: Encoder, folder: Path, *, int8: bool = True, texts: Sequence[str]) -> Exported:
    """Write the query side of an encoder as ONNX, and check it.

    Args:
        encoder: A student of either class; it is not changed.
        folder: Written whole; one that exists must be empty or an export.
        int8: Also a graph with int8 weights, a quarter of the size.
        texts: Real queries, on which the graphs are compared with torch; also an empty and an over-long one are.

    Raises:
        DataError: The extra is not installed, the folder is of something else, there is no text, the encoder is one
            that cannot be exported, or the float32 graph does not give its vectors.
    """
    folder = Path(folder)
    _check_given(encoder, folder, texts)
    student = fingerprint(encoder)
    encoder = copy.deepcopy(encoder).cpu().float().eval()
    manifest = _manifest(encoder)
    with written_whole(folder, sealed=True) as unfinished, torch.inference_mode(False), torch.no_grad():
        _write_graph(encoder, manifest, unfinished)
        if int8:
            _write_int8(unfinished)
        _write_tokenizer(encoder, unfinished / TOKENIZER)
        if words := query_words(encoder):
            words.seen.write(unfinished)
        graphs: dict[Precision, str] = {name: file for name, file in GRAPHS.items() if int8 or name == "fp32"}
        kept = {"kind": KIND, **manifest._asdict(), "graphs": graphs, "student": student}
        kept |= {"packages": {name: version(name) for name in ("torch", "transformers", *PACKAGES)}}
        _write(unfinished / MANIFEST, kept)
        checks = _compare(encoder, unfinished, list(graphs), texts, manifest.max_length)
        _write(unfinished / MANIFEST, {**kept, "checks": {name: check._asdict() for name, check in checks.items()}})
    return Exported(folder, checks)


def cosines(found: Any, expected: Any) -> np.ndarray:
    """Cosine of every vector with its counterpart, of all tokens one after another for multi-vector students.

    Raises:
        DataError: A text has other tokens on the two sides.
    """
    if [np.shape(row) for row in found] != [np.shape(row) for row in expected]:
        raise DataError(
            "the exported student reads a text as other tokens than torch does; its query side does something that "
            "the graph does not hold: use the student by sentence-transformers"
        )
    x, y = (np.concatenate([np.atleast_2d(row) for row in rows]).astype(np.float64) for rows in (found, expected))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return (x * y).sum(1) / np.maximum(norms, 1e-12)


class _QuerySide(nn.Module):
    """The query side of an encoder as a function of tensors, for the exporter."""

    def __init__(self, encoder: Encoder, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.names = encoder, names
        self.multi_vector = is_multi_vector(encoder)
        self.left_out = 0 if pools_prompt(encoder) else _sample(encoder).get("prompt_length", 0)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features: dict[str, Any] = {**dict(zip(self.names, inputs, strict=True)), "modality": "text"}
        if self.multi_vector:
            output = self.encoder(features, task="query")
            return nn.functional.normalize(output["token_embeddings"], dim=-1), output["attention_mask"].long()
        for module in self.encoder:
            if self.left_out and not getattr(module, "include_prompt", True):
                # As the pooling does it, without its branch on the side of the padding: here that is the right.
                mask = features["attention_mask"]
                own = torch.arange(mask.shape[1], device=mask.device) >= self.left_out
                features["attention_mask"] = mask * own[None, :]
            features = module(features)
        return nn.functional.normalize(features["sentence_embedding"], dim=-1)


def _check_given(encoder: Encoder, folder: Path, texts: Sequence[str]) -> None:
    check_installed()
    check_replaceable(folder)
    if not texts:
        raise DataError("an export is checked on real texts, but none was given; give some queries of the language")
    if getattr(encoder.tokenizer, "backend_tokenizer", None) is None:
        raise DataError(
            f"the tokenizer of the student is a {type(encoder.tokenizer).__name__}, which has no fast version to run "
            "without transformers; use the student by sentence-transformers"
        )


def _manifest(encoder: Encoder) -> Manifest:
    module, tokenizer, late = transformer(encoder), encoder.tokenizer, is_multi_vector(encoder)
    longest = min(encoder.max_seq_length or tokenizer.model_max_length, 2**20)
    expansion = None
    if late:
        longest = module.query_length or longest
    if late and module.query_expansion:
        asked = module.query_expansion
        token = asked["token"] or tokenizer.mask_token or tokenizer.eos_token
        expansion = {"length": asked["length"], "attend": asked["attend"]}
        expansion |= {"id": tokenizer.convert_tokens_to_ids(token)}
        longest = asked["length"] if asked["strategy"] == "fixed" else max(longest, asked["length"])
    features = _sample(encoder)
    return Manifest(
        graphs={},
        inputs=[name for name in INPUTS if name in features],
        max_length=longest,
        pad_id=tokenizer.pad_token_id or 0,
        prefix=query_prompt(encoder),
        expansion=expansion,
        multi_vector=late,
        dimension=int(encode_queries(encoder, ["a"])[0].shape[-1]),
        truncation_side=tokenizer.truncation_side,
    )


def _sample(encoder: Encoder) -> dict[str, Any]:
    """Two texts of different length: neither axis of the batch is 1, and one has padding.

    They have no unseen word; a student that composes gets room for two.
    """
    features = encoder.preprocess(["a", "a b c d"], prompt=query_prompt(encoder), task="query")
    if words := query_words(encoder):
        shape = (2, 2, words.spellings.neighbours)
        features |= {IDS: torch.zeros(shape, dtype=torch.int64), WEIGHT: torch.zeros(shape)}
    return features


def _write_graph(encoder: Encoder, manifest: Manifest, folder: Path) -> None:
    features = _sample(encoder)
    inputs = tuple(features[name] for name in manifest.inputs)
    batch, sequence, slots, mixed = map(torch.export.Dim, ("batch", "sequence", "slots", "mixed"))
    of_slots = {0: batch, 1: slots, 2: mixed}
    axes = tuple(of_slots if name in (IDS, WEIGHT) else {0: batch, 1: sequence} for name in manifest.inputs)
    outputs = ["vectors", "mask"] if manifest.multi_vector else ["vectors"]
    weights = sum(p.numel() * p.element_size() for p in encoder.parameters())
    graph = _QuerySide(encoder, manifest.inputs).eval()
    try:
        with _quiet():
            program = torch.onnx.export(
                graph, inputs, dynamo=True, dynamic_shapes=(axes,), input_names=manifest.inputs,
                output_names=outputs, verbose=False,
            )  # fmt: skip
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DataError(
            f"torch {torch.__version__} cannot write this student as ONNX ({type(error).__name__}: "
            f"{reason[0][:200] if reason else ''}); use the student by sentence-transformers"
        ) from error
    if program is None:
        raise DataError("torch gave no ONNX program; update torch, onnx and onnxscript")
    program.save(str(folder / GRAPHS["fp32"]), external_data=weights > ONE_FILE)


def _write_tokenizer(encoder: Encoder, path: Path) -> None:
    """Save the fast tokenizer without the padding and truncation that the last call left in it."""
    tokenizer = encoder.tokenizer.backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(path))


def _write_int8(folder: Path) -> None:
    """Write the graph with int8 weights beside the float32 one."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model = onnx.load(str(folder / GRAPHS["fp32"]))
    # accuracy_level 4: activations are rounded to int8 by blocks as well, several times faster than float ones.
    quantizer = MatMulNBitsQuantizer(model, bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=4)
    with _quiet():
        quantizer.process()
    quantized: Any = quantizer.model  # in onnxruntime's wrapper, which its annotation does not know
    small = quantized.model
    _round_tables(small)
    onnx.save(small, str(folder / GRAPHS["int8"]))


def _round_tables(model: onnx.ModelProto) -> None:
    """Store embedding tables as int8 with one scale a row; the rows that are looked up are float again."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    tables = {t.name: t for t in graph.initializer if len(t.dims) == 2 and t.dims[0] >= TABLE_ROWS}
    for node in graph.node:  # a table is rounded if nothing but look-ups read it
        for k, name in enumerate(node.input):
            if node.op_type != "Gather" or k > 0:
                tables.pop(name, None)
    tables = {name: table for name, table in tables.items() if table.data_type == TensorProto.FLOAT}
    for name, table in tables.items():
        rows = numpy_helper.to_array(table)
        scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12) / 127  # (v, 1)
        graph.initializer.remove(table)
        graph.initializer.append(numpy_helper.from_array(np.rint(rows / scale).astype(np.int8), f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"))
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables:
            nodes.append(node)
            continue
        (name, ids), out = node.input, node.output[0]
        nodes += [
            helper.make_node("Gather", [f"{name}.int8", ids], [f"{out}.int8"], axis=0),
            helper.make_node("Gather", [f"{name}.scale", ids], [f"{out}.scale"], axis=0),
            helper.make_node("Cast", [f"{out}.int8"], [f"{out}.float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _compare(
    encoder: Encoder, folder: Path, names: Sequence[Precision], texts: Sequence[str], max_length: int
) -> dict[Precision, Check]:
    """Compare each graph with torch; an empty text and a long one must agree in float32 too.

    The long one is longer than the student reads, or has ``LONG`` words.
    """
    words = (max(texts, key=len) or "a").split()
    asked = [*texts, "", " ".join(words * (min(max_length, LONG) // len(words) + 1))]
    expected = encode_queries(encoder, asked)
    checks: dict[Precision, Check] = {}
    for name in names:
        found = OnnxEncoder.load(folder, precision=name).encode(asked)
        if name == "fp32" and not (least := cosines(found, expected).min()) > LEAST_COSINE:
            raise DataError(
                f"the ONNX graph does not give the vectors of the student: least cosine {least:.5f}, expected more "
                f"than {LEAST_COSINE}; use the student by sentence-transformers"
            )
        pairs = list(zip(found, expected, strict=True))[: len(texts)]
        agreement = cosines(*zip(*pairs, strict=True))
        size = sum(file.stat().st_size for file in folder.glob(f"{GRAPHS[name]}*")) / 1e6
        difference = max(float(np.abs(x - y).max(initial=0)) for x, y in pairs)
        checks[name] = Check(round(size, 3), difference, float(agreement.min()), float(agreement.mean()))
    return checks


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which reports on operators and axes."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    loggers.append(logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer"))
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
