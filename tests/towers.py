"""Teachers with two tiny encoders that share nothing, so that a mix-up changes every vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from optical.models.encoders import Encoder
from tests.chain import uncased, unigram

PROMPTS = {"query": "where is ", "document": "the river "}


def two_encoders(folder: Path) -> tuple[Encoder, Encoder]:
    """One of queries and one of documents, of other tokenizers and weights, each with the prompt of its side."""
    folder.mkdir(parents=True, exist_ok=True)
    queries, documents = uncased(folder / "made-queries"), unigram(folder / "made-documents")
    queries.prompts, documents.prompts = {"query": PROMPTS["query"]}, {"document": PROMPTS["document"]}
    return queries, documents


def saved_pair(folder: Path) -> str:
    """Two folders with a comma between."""
    paths = [folder / "queries", folder / "documents"]
    for encoder, path in zip(two_encoders(folder), paths, strict=True):
        encoder.save(str(path))
    return ",".join(map(str, paths))


def saved_router(folder: Path, *ends, routes: tuple[str, str] = ("query", "document")) -> str:
    """One folder with a route for each, and modules after it that both share."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    sides = dict(zip(routes, map(list, two_encoders(folder)), strict=True))
    SentenceTransformer(modules=[Router(sides), *ends], prompts=PROMPTS, device="cpu").save(str(folder / "router"))
    return str(folder / "router")


def by_hand(encoder: Encoder, prompt: str, texts: list[str]) -> np.ndarray:
    """Unit vectors of texts, the prompt written before each."""
    return encoder.encode([prompt + text for text in texts], prompt="", normalize_embeddings=True)
