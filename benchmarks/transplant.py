"""Seconds of the processor and peak memory of the transplant by stage, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.step import SAMPLE
from benchmarks.timing import CannotRunError, Options, forget_peak, markdown, memory

# Stage -> what is called for it; a call belongs to the outermost stage.
STAGES = {
    "read the bitext": ["read_bitext"],
    "count the words of both sides": ["puts_prefixes", "count_words", "piece_counts"],
    "trim the teacher": ["trim"],
    "choose and add words and pieces": ["unread_letters", "choose_counted", "extend", "seen_words"],
    "read the bitext as tokens": ["token_ids"],
    "align": ["align_ibm1"],
    "mix rows": ["pool_parts", "mixing_weights", "lean_on"],
    "fit the rows of pieces": ["fit_pieces"],
    "put the rows into the student": ["install"],
    "fertility on held-out sentences": ["held_out_fit"],
    "cosine on English sentences": ["english_cosines"],
}
PROCESSES = 3  # at most
REST = "all else"


def run(options: Options) -> str:
    """The section of the report: one table for each round; OPTICAL_BENCH_BITEXT names other bitext than the sample."""
    bitext = Path(os.environ.get("OPTICAL_BENCH_BITEXT", SAMPLE))
    if not bitext.exists():
        raise CannotRunError(f"there is no bitext at {bitext}")
    rounds = [_in_process(bitext) for _ in range(min(options.repeats, PROCESSES))]
    rounds.sort(key=lambda one: one["seconds"])
    middle = rounds[len(rounds) // 2]
    rows = [[stage, f"{took:.2f}", f"{peak:.0f}"] for stage, (took, peak) in middle["stages"].items()]
    rows.append(["the whole", f"{middle['seconds']:.2f}", f"{max(peak for _, peak in middle['stages'].values()):.0f}"])
    return (
        f"## transplant: {middle['pairs']:,} pairs ({bitext.name}), {middle['mode']}, {middle['words']:,} words\n\n"
        f"The median of {len(rounds)} processes, on one thread; loading took {middle['loading']:.1f} s and "
        f"{middle['loaded']:.0f} MB.\n\n"
        f"{markdown(['stage', 'seconds of the processor', 'peak MB'], rows)}\n"
    )


def _in_process(bitext: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.transplant", str(bitext)],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CannotRunError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "its process ended")
    return json.loads(done.stdout.splitlines()[-1])


class _Stages:
    """Seconds of the processor and peak MB of stages, of which one is open at a time."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {}
        self.open, self.since = REST, time.process_time()
        forget_peak()

    def to(self, stage: str) -> None:
        """End the open stage and begin another."""
        now = time.process_time()
        seconds, peak = self.found.get(self.open, (0.0, 0.0))
        self.found[self.open] = seconds + now - self.since, max(peak, memory("VmHWM"))
        self.open, self.since = stage, time.process_time()
        forget_peak()

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """A function that opens a stage, unless one is open."""

        def called(*given: Any, **options: Any) -> Any:
            if self.open != REST:
                return work(*given, **options)
            self.to(stage)
            try:
                return work(*given, **options)
            finally:
                self.to(REST)

        return called


def _measured(bitext: str) -> dict[str, Any]:
    """Transplant once, with the functions of the stages replaced by timed ones wherever they are called."""
    torch.set_num_threads(1)
    from optical.data import bitext as reading
    from optical.models.load import load_encoder
    from optical.models.packaged_teachers import DEFAULT_TEACHER
    from optical.vocabulary import extended_rows, student_tokenizer, transplant

    teacher = load_encoder(os.environ.get("OPTICAL_BENCH_TEACHER", DEFAULT_TEACHER))
    loading, loaded = time.process_time(), memory("VmRSS")
    stages = _Stages()
    for stage, names in STAGES.items():
        for name in names:
            for module in (reading, transplant, student_tokenizer, extended_rows):
                if name in vars(module):
                    setattr(module, name, stages.timed(stage, getattr(module, name)))
    aligned = transplant.ALIGNMENTS["ibm1"]
    transplant.ALIGNMENTS["ibm1"] = stages.timed("align", aligned)
    begun = time.process_time()
    lang = Path(bitext).name if Path(bitext) != SAMPLE else "sw"
    pairs = reading.read_bitext(bitext, lang).pairs
    made = transplant.transplant(teacher, pairs)
    seconds = time.process_time() - begun
    stages.to(REST)
    found = {stage: stages.found[stage] for stage in (*STAGES, REST) if stage in stages.found}
    return {
        "pairs": len(pairs), "mode": made.mode, "words": made.added - made.pieces, "seconds": seconds,
        "loading": loading, "loaded": loaded, "stages": found,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1])))
