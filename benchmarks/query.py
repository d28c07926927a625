"""One query at a time on one core: the student as sentence-transformers runs it, by a lean torch path, and as ONNX."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import CannotRunError, Options, markdown
from optical.data.bitext import read_bitext
from optical.data.collection import read_collection
from optical.errors import DataError
from optical.models.encoders import Encoder, encode_queries, transformer
from optical.models.layers import keep_layers
from optical.models.load import load_encoder
from optical.models.onnx_encoder import OnnxEncoder
from optical.models.onnx_export import export
from optical.pipeline.export import latencies
from optical.vocabulary.transplant import transplant

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "sw"
QUESTIONS = 40  # in each round
SHALLOW = 3  # layers of the second student

# What a server process does, from its start: load, answer some queries, say the peak of its memory in MB. The peak is
# VmHWM of Linux: ru_maxrss of a child process begins at what its parent held.
SERVE = """
import re, sys, time
start = time.perf_counter()
kind, folder, *questions = sys.argv[1:]
if kind == "torch":
    import torch
    torch.set_num_threads(1)
    from sentence_transformers import SentenceTransformer
    encoder = SentenceTransformer(folder, device="cpu")
else:
    from optical.models.onnx_encoder import OnnxEncoder
    encoder = OnnxEncoder.load(folder, precision=kind)
encoder.encode(questions[:1])
ready = time.perf_counter() - start
for question in questions:
    encoder.encode([question])
try:
    status = open("/proc/self/status").read()
except OSError:
    status = ""
peak = re.search("VmHWM:\\\\s+([0-9]+) kB", status)
print(int(peak[1]) / 1024 if peak else float("nan"), ready)
"""


def run(options: Options) -> str:
    """Markdown: latency of each form of two students, then memory and start of a process that serves."""
    questions = [q.text for q in read_collection(SAMPLE / "collection", ["sw"]).queries["sw"]][:QUESTIONS]
    students = _students()
    with tempfile.TemporaryDirectory() as folder:
        alone, same = {}, {}
        for name, student in students.items():
            place = Path(folder) / str(len(same))
            alone |= _forms(name, student, place / "onnx", questions)
            student.save(str(place / "torch"))
            same[name] = place
        times = latencies(alone, questions * options.repeats)
        rows = [[*name, f"{t.p50:.2f}", f"{t.p95:.2f}"] for name, t in times.items()]
        memory = [row for name, place in same.items() for row in _memory(name, place, questions)]
    words = np.mean([len(text.split()) for text in questions])
    about = (
        f"{len(questions)} Swahili questions of {words:.1f} words on average, {options.repeats} rounds, each question "
        "alone, one thread, all forms in turn."
    )
    parts = [
        f"## query\n\n{about}",
        markdown(["student", "form", "p50 ms", "p95 ms"], rows),
        "A process that serves: peak memory, and seconds from its start to the first vector.",
        markdown(["student", "form", "peak MB", "first vector s"], memory),
    ]
    return "\n\n".join(parts) + "\n"


def _students() -> dict[str, Encoder]:
    """Students by name: untrained, which makes no difference to their speed."""
    try:
        import onnxruntime  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise CannotRunError("onnxruntime is not installed; pip install 'optical[onnx]'") from error
    try:
        teacher = load_encoder("all-MiniLM-L6-v2", "cpu")
    except DataError as error:
        raise CannotRunError(str(error)) from error
    student = transplant(teacher, read_bitext(SAMPLE / "bitext", "sw").pairs).student.eval()
    depth = len(transformer(student).auto_model.encoder.layer)
    shallow = keep_layers(student, SHALLOW).eval()
    return {f"{depth} layers": student, f"{SHALLOW} layers": shallow}


def _forms(name: str, student: Encoder, folder: Path, questions: list[str]) -> dict[Any, Callable[[str], object]]:
    """(student, form) -> what answers one question; each is checked to give the vectors of the first."""
    try:
        export(student, folder, texts=questions)
    except DataError as error:
        raise CannotRunError(str(error)) from error
    full, small = (OnnxEncoder.load(folder, precision=precision) for precision in ("fp32", "int8"))
    lean = _lean(student)
    np.testing.assert_allclose(lean(questions[0]), encode_queries(student, questions[:1])[0], atol=1e-5)
    return {
        (name, "SentenceTransformer.encode"): lambda text: student.encode(text),
        (name, "torch, lean"): lean,
        (name, "ONNX fp32"): lambda text: full.encode([text]),
        (name, "ONNX int8"): lambda text: small.encode([text]),
    }


def _lean(student: Encoder) -> Callable[[str], np.ndarray]:
    """Tokenizer, network, mean of the tokens, norm: the least that torch has to do for one text."""
    network, tokenizer = transformer(student).auto_model, student.tokenizer.backend_tokenizer

    @torch.inference_mode()
    def encode(text: str) -> np.ndarray:
        ids = torch.tensor([tokenizer.encode(text).ids])
        vector = network(input_ids=ids).last_hidden_state[0].mean(0)
        return (vector / vector.norm()).numpy()

    return encode


def _memory(name: str, place: Path, questions: list[str]) -> list[list[str]]:
    rows = []
    for form, kind, folder in (
        ("SentenceTransformer.encode", "torch", place / "torch"),
        ("ONNX fp32", "fp32", place / "onnx"),
        ("ONNX int8", "int8", place / "onnx"),
    ):
        command = [sys.executable, "-c", SERVE, kind, str(folder), *questions]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        peak, ready = map(float, done.stdout.split()[-2:])
        rows.append([name, form, f"{peak:.0f}", f"{ready:.2f}"])
    return rows
