"""Save the encoders of both sides as one folder, a ``Router``, which sentence-transformers loads as one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optical.errors import DataError
from optical.files import check_replaceable, written_whole
from optical.models.encoders import Encoder, encode_queries, encode_sentences, encode_tokens, is_multi_vector
from optical.models.prompts import document_prompt, query_prompt
from optical.models.save import write_encoder
from optical.models.towers import Towers

ALLOWED = 1e-5  # largest difference of a vector's component after loading again


def save_router(
    towers: Towers,
    folder: Path,
    queries: Sequence[str],
    documents: Sequence[str],
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the folder whole, and check it by loading it again; an earlier one stays until then.

    In sentence-transformers, ``encode_query`` of it gives the unit vectors of ``towers.queries`` and
    ``encode_document`` those of ``towers.documents``, each with the prompt of its side. Loaded as a teacher, it is
    these two encoders again.

    Args:
        towers: Whose vectors can be compared (:func:`optical.models.towers.check_towers`); not changed.
        folder: Where it goes: missing, empty, or a folder that an earlier call wrote.
        queries: Texts that the query side is checked on.
        documents: Texts that the document side is checked on.
        say: Told how far the vectors differ.

    Raises:
        DataError: The loaded vectors differ, or ``folder`` holds something else.
    """
    check_replaceable(folder)
    router = _joined(towers)
    with written_whole(folder, sealed=True) as unfinished:
        write_encoder(router, unfinished)
        again = type(router)(str(unfinished), device="cpu")
        lost = [
            _difference(encode_queries(towers.queries, queries), again.encode_query([*queries])),
            _difference(_document_vectors(towers.documents, documents), again.encode_document([*documents])),
        ]
        if not max(lost) <= ALLOWED:
            raise DataError(
                f"{folder}: vectors of queries differ by {lost[0]:.2g} after loading again and those of documents by "
                f"{lost[1]:.2g}, at most {ALLOWED} is allowed, so nothing was written; use the two models by "
                "themselves"
            )
    say(
        f"loaded again by sentence-transformers: vectors of {len(queries)} queries differ by {lost[0]:.1g} at most, "
        f"those of {len(documents)} documents by {lost[1]:.1g}"
    )


def _joined(towers: Towers) -> Encoder:
    """One model with both routes, whose vectors are unit vectors as those that are searched with."""
    from sentence_transformers.base.modules import Normalize, Router

    key = "token_embeddings" if is_multi_vector(towers.queries) else "sentence_embedding"
    sides: Any = map(list, towers)
    query, document = ([*own, *([] if isinstance(own[-1], Normalize) else [Normalize(key)])] for own in sides)
    router: Any = Router.for_query_document(query, document)
    prompts = {"query": query_prompt(towers.queries), "document": document_prompt(towers.documents)}
    return type(towers.queries)(modules=[router], prompts=prompts, device="cpu")


def _document_vectors(encoder: Encoder, texts: Sequence[str]) -> np.ndarray | list[np.ndarray]:
    encode = encode_tokens if is_multi_vector(encoder) else encode_sentences
    return encode(encoder, texts, query=False)


def _difference(own: Sequence[np.ndarray] | np.ndarray, other: Any) -> float:
    """Largest difference of a component; infinite where there are other tokens."""
    pairs = [(one, np.asarray(two)) for one, two in zip(own, other, strict=True)]
    return max(float(np.abs(one - two).max()) if one.shape == two.shape else float("inf") for one, two in pairs)
