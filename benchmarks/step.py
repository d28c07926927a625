"""Training throughput and memory: this package against the recipes that a user would pick instead.

All candidates train the same student on the same pairs with the same batch size and precision, from teacher vectors
made beforehand, by the same trainer class or (the one-pair clone) a plain loop. Each runs in a process of its own, for
its peak memory, which includes one checkpoint at the end; rounds are interleaved. Steps after the warm-up are timed,
from the end of one to the end of the next, and averaged: the batches of some recipes are of different lengths.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

from benchmarks.timing import CannotRunError, Options, markdown

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "sw" / "bitext"
WARM, STEPS, ONE_PAIR_STEPS = 3, 30, 30
ROUNDS = 2  # of processes
PAIRS = 6000
BATCH = 64
VOCABULARIES: dict[str, Literal["extend", "off"]] = {"transplanted": "extend", "the teacher's own": "off"}


class Measured(NamedTuple):
    """Figures of one process: seconds of each step, pairs of a step, peak memory in MB, share of the solver."""

    seconds: list[float]
    pairs: int
    peak: float
    solver: float = 0.0


def run(options: Options) -> str:
    """The section of the report; OPTICAL_BENCH_BITEXT names other bitext than the sample."""
    bitext = Path(os.environ.get("OPTICAL_BENCH_BITEXT", SAMPLE))
    if not bitext.exists():
        raise CannotRunError(f"there is no bitext at {bitext}")
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder), bitext)
        asked = [
            (vocabulary, precision, name)
            for precision in ("float32", "bfloat16")
            for vocabulary in VOCABULARIES
            for name in CANDIDATES
            if (vocabulary, precision) == ("transplanted", "float32") or not CANDIDATES[name].once
            if precision == "float32" or vocabulary == "transplanted"
        ]
        found: dict[tuple[str, str, str], list[Measured]] = {key: [] for key in asked}
        for k in range(ROUNDS):
            for key in asked[k % len(asked) :] + asked[: k % len(asked)]:
                found[key].append(_in_process(Path(folder), bitext, key, options))
    return _section({key: _pooled(runs) for key, runs in found.items()}, bitext)


def _section(found: dict[tuple[str, str, str], Measured], bitext: Path) -> str:
    rows = []
    for (vocabulary, precision, name), one in found.items():
        ours = found[vocabulary, precision, "optical"]
        rate, own = one.pairs / fmean(one.seconds), ours.pairs / fmean(ours.seconds)
        rows.append(
            [
                vocabulary, precision, CANDIDATES[name].title, f"{1000 * fmean(one.seconds):.0f}", f"{rate:.1f}",
                "" if name == "optical" else f"{own / rate:.2f}", f"{one.peak:.0f}",
                f"{100 * one.solver:.1f} %" if name == "optical" else "",
            ]
        )  # fmt: skip
    header = ["vocabulary", "precision", "recipe", "ms a step", "pairs/s", "ours is x times", "peak MB", "solver"]
    return (
        f"## step: pairs per second in training ({bitext.name}, batch {BATCH}, {ROUNDS} processes of {STEPS} "
        f"steps each)\n\n{markdown(header, rows)}\n"
    )


def _pooled(runs: Sequence[Measured]) -> Measured:
    """The steps of all rounds; the largest peak."""
    seconds = [second for one in runs for second in one.seconds]
    return Measured(seconds, runs[0].pairs, max(one.peak for one in runs), fmean(one.solver for one in runs))


def _prepare(folder: Path, bitext: Path) -> None:
    """The students and the teacher's vectors, once for all."""
    from optical.config.vocabulary import Vocabulary
    from optical.embeddings.cache import teacher_vectors
    from optical.vocabulary.transplant import transplant

    teacher = _teacher()
    pairs = _all_pairs(bitext)
    for vocabulary, mode in VOCABULARIES.items():
        transplant(teacher, pairs, Vocabulary(mode=mode)).student.save(str(folder / vocabulary))
    vectors = teacher_vectors(teacher, [p.english for p in _pairs(bitext)], folder / "cache")
    (folder / "vectors").write_text(str(vectors.folder), encoding="utf-8")


def _teacher() -> Any:
    from optical.errors import DataError
    from optical.models.load import load_encoder
    from optical.models.packaged_teachers import DEFAULT_TEACHER

    try:
        return load_encoder(DEFAULT_TEACHER)
    except DataError as error:
        raise CannotRunError(str(error)) from error


def _all_pairs(bitext: Path) -> list:
    from optical.data.bitext import read_bitext

    return read_bitext(str(bitext), "sw").pairs


def _pairs(bitext: Path) -> list:
    from optical.config.training import Training
    from optical.training.mixture import usable

    pairs = usable(_all_pairs(bitext), Training())
    return random.Random(0).sample(pairs, min(PAIRS, len(pairs)))  # files come one after another


def _in_process(folder: Path, bitext: Path, key: tuple[str, str, str], options: Options) -> Measured:
    vocabulary, precision, name = key
    command = [sys.executable, "-m", "benchmarks.step", str(folder), str(bitext), vocabulary, precision, name]
    done = subprocess.run(
        [*command, str(options.threads), options.device],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    if done.returncode:
        raise CannotRunError(f"{name} with {vocabulary} vocabulary failed: {done.stderr.strip().splitlines()[-1]}")
    return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))


# What follows runs in the processes.


def _optical(student: Any, pairs: list, folder: Path, precision: str, device: str) -> Measured:
    """This package as `optical distill` trains, with all objectives."""
    import torch

    from optical.config.recipe import StudentOptions
    from optical.config.training import Training
    from optical.training import distillation
    from optical.training.losses import ot as objective
    from optical.training.mixture import Mixture
    from optical.training.trainer import Workspace

    passages = torch.nn.functional.normalize(torch.randn(432, 384, generator=torch.Generator().manual_seed(0)), dim=-1)
    ticks, solving = _Ticks(), [0.0]
    solver = objective.sinkhorn

    def timed(*args: Any, **how: Any) -> Any:
        start = time.perf_counter()
        result = solver(*args, **how)
        solving[0] += time.perf_counter() - start
        return result

    objective.sinkhorn = timed
    distillation.LogPlans = lambda _: ticks  # the only callback of ours that does nothing in a step
    teacher = _teacher()
    training = Training.model_validate(
        {"steps": WARM + STEPS, "batch_size": BATCH, "precision": precision, "evaluate_every": 10_000}
    )
    distillation.train_student(
        student, teacher, Mixture(pairs, None, {}), StudentOptions(training=training),
        Workspace(folder, folder.parent / "cache", progress=False), passages.numpy(),
    )  # fmt: skip
    seconds = ticks.seconds()
    return Measured(seconds, BATCH, _peak(), solving[0] / sum(seconds))


def _recipe(loss: str, columns: Sequence[str]) -> Callable[..., Measured]:
    """The multilingual distillation recipe of sentence-transformers with one of its losses."""

    def train(student: Any, pairs: list, folder: Path, precision: str, device: str) -> Measured:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer import losses

        vectors = _vectors(folder)
        texts = {"english": [p.english for p in pairs], "foreign": [p.foreign for p in pairs]}
        dataset = Dataset.from_dict({c: texts[c] for c in columns} | {"label": list(vectors.sentences)})
        args = SentenceTransformerTrainingArguments(
            output_dir=str(folder), max_steps=WARM + STEPS, per_device_train_batch_size=BATCH, learning_rate=2e-5,
            warmup_steps=0.1, bf16=precision == "bfloat16", use_cpu=device == "cpu", save_steps=WARM + STEPS,
            report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        ticks = _Ticks()
        SentenceTransformerTrainer(
            model=student, args=args, train_dataset=dataset, loss=getattr(losses, loss)(student), callbacks=[ticks]
        ).train()
        return Measured(ticks.seconds(), BATCH, _peak())

    return train


def _one_pair(student: Any, pairs: list, folder: Path, precision: str, device: str) -> Measured:
    """A faithful small clone of OPTICAL: one pair a step, IPOT (Xie et al. 2020) inside the graph, dense Adam."""
    import torch

    vectors = _vectors(folder)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-5)
    student.train()
    seconds = []
    for k in range(WARM + ONE_PAIR_STEPS):
        start = time.perf_counter()
        x = student(student.preprocess([pairs[k].foreign]))["token_embeddings"][0]
        y = torch.from_numpy(vectors.of(k).astype("float32"))
        C = 1 - torch.nn.functional.normalize(x, dim=-1) @ torch.nn.functional.normalize(y, dim=-1).T
        (_ipot(C) * C).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return Measured(seconds[WARM:], 1, _peak())


def _ipot(C: Any, beta: float = 0.5, iterations: int = 100) -> Any:
    """Inexact proximal point OT with uniform masses, algorithm 1 of Xie et al. 2020, L = 1, differentiated through."""
    import torch

    n, m = C.shape
    b = torch.full((m,), 1 / m)
    P, kernel = torch.ones(n, m), torch.exp(-C / beta)
    for _ in range(iterations):
        Q = kernel * P
        a = 1 / (n * (Q @ b))
        b = 1 / (m * (Q.T @ a))
        P = a[:, None] * Q * b[None, :]
    return P


class Candidate(NamedTuple):
    """A recipe: what the table calls it, what runs it, and whether once (one vocabulary, one precision) is enough."""

    title: str
    train: Callable[..., Measured]
    once: bool = False


CANDIDATES = {
    "optical": Candidate("optical, tokens and sentences and scores", _optical),
    "embed": Candidate("EmbedDistillLoss, X only", _recipe("EmbedDistillLoss", ["foreign"])),
    "mse": Candidate("MSELoss, X only", _recipe("MSELoss", ["foreign"]), once=True),
    "mse-both": Candidate("MSELoss, English and X, as documented", _recipe("MSELoss", ["english", "foreign"])),
    "one-pair": Candidate("one pair a step, IPOT through autograd", _one_pair, once=True),
}


def _Ticks() -> Any:
    from transformers import TrainerCallback

    class Ticks(TrainerCallback):
        """The clock at the end of every step."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.times.append(time.perf_counter())

        def seconds(self) -> list[float]:
            """Seconds of each step after the warm-up."""
            after = self.times[WARM - 1 :]
            return [end - start for start, end in zip(after, after[1:], strict=False)]

    return Ticks()


def _vectors(folder: Path) -> Any:
    from optical.embeddings.cache import read_vectors

    return read_vectors(Path((folder.parent / "vectors").read_text(encoding="utf-8")))


def _peak() -> float:
    """Largest memory of this process in MB: VmHWM of Linux, since ru_maxrss begins at what the parent held."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else float("nan")


def _main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("folder", "bitext", "vocabulary", "precision", "candidate", "threads", "device"):
        parser.add_argument(name)
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    from optical.models.load import load_encoder

    torch.set_num_threads(int(given.threads))
    torch.manual_seed(0)
    student = load_encoder(Path(given.folder) / given.vocabulary, given.device)
    pairs = _pairs(Path(given.bitext))
    folder = Path(tempfile.mkdtemp(dir=given.folder))  # its own, or a round would go on from the end of the one before
    measured = CANDIDATES[given.candidate].train(student, pairs, folder, given.precision, given.device)
    print(json.dumps(measured._asdict()))


if __name__ == "__main__":
    _main()
