"""The peer xtr-warp-rs of the benchmark ``late``, in a Python of its own (:mod:`benchmarks.late_peer`)."""

from pathlib import Path
from typing import Any

from late_peer import Search, documents, main

CODEC_TOKENS = 40_000


def build(folder: Path, place: Path, threads: int, **options: Any) -> None:
    """Build with its own defaults: 4 bits, 4 rounds of k-means, about ``16 sqrt(t)`` lists.

    But for the tokens that its codec is learnt from: of more than 43,690 with 384 dimensions torch takes no quantile,
    and the build fails at its end.
    """
    import torch
    from xtr_warp import XTRWarp

    torch.set_num_threads(threads)
    index = XTRWarp(index=str(place))
    options = {"codec_sample_max_tokens": CODEC_TOKENS, **options}
    index.create(embeddings_source=documents(folder), device="cpu", show_progress=False, **options)


def opened(place: Path, threads: int) -> Search:
    """Open what was built, mapped, as it does unless told otherwise."""
    import torch
    from xtr_warp import XTRWarp

    torch.set_num_threads(threads)
    index = XTRWarp(index=str(place))
    index.load(device="cpu")

    def answer(queries: list, k: int, **settings: Any) -> list:
        vectors = [torch.from_numpy(query) for query in queries]
        return index.search(vectors, top_k=k, num_threads=threads, show_progress=False, **settings)

    return answer


if __name__ == "__main__":
    main(build, opened)
