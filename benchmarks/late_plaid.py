"""The peer fast-plaid of the benchmark ``late``, in a Python of its own (:mod:`benchmarks.late_peer`)."""

from pathlib import Path
from typing import Any

from late_peer import Search, documents, main


def build(folder: Path, place: Path, threads: int) -> None:
    """Build with its own defaults: 4 bits, 4 rounds of k-means."""
    import torch
    from fast_plaid import search

    torch.set_num_threads(threads)
    search.FastPlaid(index=str(place), device="cpu").create(documents_embeddings=documents(folder))


def opened(place: Path, threads: int) -> Search:
    """Open what was built; its own defaults are 8 probes and 4,096 full scores."""
    import torch
    from fast_plaid import search

    torch.set_num_threads(threads)
    index = search.FastPlaid(index=str(place), device="cpu")

    def answer(queries: list, k: int, **settings: Any) -> list:
        vectors = [torch.from_numpy(query) for query in queries]
        return index.search(vectors, top_k=k, show_progress=False, **settings)

    return answer


if __name__ == "__main__":
    main(build, opened)
