"""This project's engine in the benchmark ``late`` (:mod:`benchmarks.late_peer`)."""

from pathlib import Path
from typing import Any

import numpy as np
from late_peer import Search, main


def build(folder: Path, place: Path, threads: int, **options: Any) -> None:
    """Build with the options of :class:`optical.retrieval.late.store.LateOptions`."""
    import torch

    from optical.retrieval.late import index as late_index
    from optical.retrieval.late.store import LateOptions

    torch.set_num_threads(threads)
    tokens, start = np.load(folder / "tokens.npy", mmap_mode="r"), np.load(folder / "start.npy")
    ids = [str(row) for row in range(len(start) - 1)]
    late_index.build(tokens, start, ids, place, LateOptions(**options), manifest={})


def opened(place: Path, threads: int) -> Search:
    """Open what was built, mapped."""
    import torch

    from optical.retrieval.late import cascade
    from optical.retrieval.late import index as late_index

    torch.set_num_threads(threads)
    index = late_index.load(place)
    compiled = cascade.serves

    def answer(queries: list, k: int, *, plain: bool = False, **settings: Any) -> list:
        cascade.serves = (lambda _: False) if plain else compiled
        found = late_index.search(index, queries, k, **settings)
        return [[(int(row), score) for row, score in some] for some in found]

    return answer


if __name__ == "__main__":
    main(build, opened)
