"""Run the benchmarks: ``python -m benchmarks [solver] [step] ... [--repeats 7] [--threads 2] [--device cpu]``."""

from __future__ import annotations

import argparse
import importlib
import os

from benchmarks.timing import CannotRunError, Options, stamp

NAMES = ("solver", "step", "query", "embedding", "dense", "scale", "late", "pgvector", "serve", "transplant")


def main() -> None:
    """Print one markdown section a benchmark; one that cannot run says why and the others go on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}; default all")
    parser.add_argument("--repeats", type=int, default=Options().repeats, help="timed rounds of each candidate")
    parser.add_argument("--threads", type=int, default=Options().threads, help="threads of torch on the CPU")
    parser.add_argument("--device", default=Options().device, help="cpu or cuda")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    options = Options(given.repeats, given.threads, given.device)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    torch.set_num_threads(options.threads)
    print(f"{stamp(options)}\n")
    for name in given.names:
        try:
            print(importlib.import_module(f"benchmarks.{name}").run(options), flush=True)
        except CannotRunError as reason:
            print(f"## {name}\n\nnot run: {reason}\n", flush=True)


if __name__ == "__main__":
    main()
