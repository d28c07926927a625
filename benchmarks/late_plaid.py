"""The peer of the benchmark ``late``: fast-plaid, in a Python of its own, answering one line of input with one of JSON.

Run as ``python late_plaid.py FOLDER K THREADS``; FOLDER has ``tokens.npy``, ``start.npy``, ``queries.npy`` and
``queries-start.npy``. Builds first, then answers ``one`` (queries one at a time) and ``all`` (together). It imports
nothing of optical.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def main() -> None:
    """Build, report, and take turns until the input ends."""
    folder, k, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import numpy as np
    import torch
    from fast_plaid import search

    torch.set_num_threads(threads)
    documents, queries = (
        _matrices(np, torch, folder, name) for name in (("tokens", "start"), ("queries", "queries-start"))
    )
    queries = [query.float() for query in queries]
    with TemporaryDirectory() as place:
        index = search.FastPlaid(index=place, device="cpu")
        wall, cpu = time.perf_counter(), time.process_time()
        index.create(documents_embeddings=documents)
        built = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        built["bytes"] = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
        _say(built)
        for line in sys.stdin:
            together = line.strip() == "all"
            walls, cpus, found = [], [], []
            for part in [queries] if together else [[query] for query in queries]:
                wall, cpu = time.perf_counter(), time.process_time()
                found += index.search(part, top_k=k, show_progress=False)
                walls.append(time.perf_counter() - wall)
                cpus.append(time.process_time() - cpu)
            _say({"wall": walls, "cpu": cpus, "found": [[int(row) for row, _ in answer] for answer in found]})


def _matrices(np, torch, folder: Path, names: tuple[str, str]) -> list:
    rows, start = (np.load(folder / f"{name}.npy") for name in names)
    return [torch.from_numpy(rows[a:b]) for a, b in zip(start[:-1], start[1:], strict=True)]


def _say(value: dict) -> None:
    sys.stdout.write("\n" + json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
