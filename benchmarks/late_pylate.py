"""PyLate's engines of the benchmark ``late``, in a Python of their own (:mod:`benchmarks.late_peer`).

Voyager and ScaNN find tokens, and PyLate scores the documents of these by MaxSim. Its other engines are peers already
(fast-plaid, xtr-warp-rs), but for TACHIOM, whose source needs more than a package registry.
"""

from pathlib import Path
from typing import Any

import numpy as np
from late_peer import Search, documents, main


def build(folder: Path, place: Path, threads: int, engine: str) -> None:
    """Build with PyLate's own defaults."""
    import torch

    torch.set_num_threads(threads)
    tokens = documents(folder)
    index = _index(engine, place, tokens[0].shape[1], override=True)
    index.add_documents([str(row) for row in range(len(tokens))], [one.float().numpy() for one in tokens])


def opened(place: Path, threads: int) -> Search:
    """Open what was built; PyLate's own default is 100 tokens a query token."""
    import torch
    from pylate import retrieve

    torch.set_num_threads(threads)
    engine = next(iter(place.iterdir())).name
    dimension = np.load(place.parents[1] / "queries.npy", mmap_mode="r").shape[1]
    retriever = retrieve.ColBERT(index=_index(engine, place, dimension, override=False))

    def answer(queries: list, k: int, **settings: Any) -> list:
        vectors = [torch.from_numpy(query) for query in queries]
        found = retriever.retrieve(queries_embeddings=vectors, k=k, device="cpu", **settings)
        return [[(int(hit["id"]), hit["score"]) for hit in hits] for hits in found]

    return answer


def _index(engine: str, place: Path, dimension: int, *, override: bool) -> Any:
    from pylate import indexes

    kind = getattr(indexes, engine)
    return kind(index_folder=str(place), index_name=engine, embedding_size=dimension, override=override)


if __name__ == "__main__":
    main(build, opened)
