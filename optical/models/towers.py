"""Two towers: one encoder reads the queries and another the documents, as DPR has them and a ``Router`` holds them.

A model with routes is taken apart into two plain encoders when it is loaded, so that nothing else knows of routes.
:mod:`optical.models.router_format` puts two encoders into one folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from optical.errors import DataError
from optical.models.encoders import Encoder, encode_batch, is_multi_vector
from optical.models.prompts import DOCUMENT_NAMES, document_prompt, with_prompts

_ROUTES = {
    "query": ("query", "question"),
    "document": DOCUMENT_NAMES,
}  # side -> names of its route, the first preferred


class Towers(NamedTuple):
    """The encoders of both sides of a search, in one vector space; one object where one model reads both.

    Attributes:
        queries: Reads queries and sentences of the bitext; students are made of it.
        documents: Reads documents; is never changed.
    """

    queries: Encoder
    documents: Encoder

    @property
    def apart(self) -> bool:
        """Whether there are two."""
        return self.queries is not self.documents


def names_of(teacher: Any) -> list[str]:
    """The names of a teacher: one, or that of the queries and that of the documents.

    Args:
        teacher: A folder, hub id or packaged name, two of them with a comma between, or two of them or of loaded
            encoders in a tuple. A folder that is there is one, whatever its name.

    Raises:
        DataError: A third name, or an empty one.
    """
    if isinstance(teacher, str) and not Path(teacher).is_dir():
        parts = [part.strip() for part in teacher.split(",")]
    else:
        parts = [*teacher] if isinstance(teacher, tuple | list) else [teacher]
    names = [os.fspath(part) if isinstance(part, str | os.PathLike) else "the encoder given" for part in parts]
    if len(names) not in (1, 2) or not all(names):
        what = "an empty name" if len(names) < 3 else f"{len(names)} names"
        raise DataError(
            f"{what} in the teacher {', '.join(names)!r}; name one model, or two with a comma between, that of the "
            "queries and that of the documents: query_model,document_model"
        )
    return names


def split_routes(encoder: Encoder, name: str) -> Towers:
    """The two encoders that a model with routes holds, which share its weights; any other model is both.

    Args:
        encoder: Of either class; is not changed.
        name: What messages call it.

    Raises:
        DataError: No route for queries, or none for documents.
    """
    sides = [list(_modules(encoder, side, name)) for side in _ROUTES]
    if sides[0] == sides[1] == [*encoder]:
        return Towers(encoder, encoder)
    queries, documents = (_plain(encoder, modules) for modules in sides)
    return Towers(queries, queries if sides[0] == sides[1] else documents)


def check_towers(towers: Towers, names: Sequence[str]) -> None:
    """Refuse two encoders whose vectors cannot be compared.

    Args:
        towers: Perhaps one.
        names: What messages call the first and the last of them.

    Raises:
        DataError: One has a vector for each text and the other for each token, or their dimensions differ.
    """
    if not towers.apart:
        return
    kinds = ["a vector for each token" if is_multi_vector(encoder) else "one for each text" for encoder in towers]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{names[0]} gives {kinds[0]} and {names[-1]} {kinds[1]}, and vectors of queries and of documents have to "
            "be of one kind; name two models of one kind"
        )
    query, document = map(_dimension, towers)
    if query != document:
        raise DataError(
            f"vectors of queries ({names[0]}) have {query} dimensions and those of documents ({names[-1]}) {document}, "
            "so they cannot be compared; name two models that were trained together"
        )


def prompted_towers(towers: Towers, given: Mapping[str, str | None], names: Sequence[str]) -> Towers:
    """Both encoders with their prompts (:func:`optical.models.prompts.with_prompts`): given, or each one's own.

    That of queries has the prompt of documents as well, for its students: their folder says with which one the
    documents were read that they search.
    """
    if not towers.apart:
        one = with_prompts(towers.queries, given, names[0])
        return Towers(one, one)
    documents = with_prompts(towers.documents, {"document": given.get("document")}, names[-1])
    queries = with_prompts(towers.queries, {"query": given.get("query")}, names[0])
    return Towers(with_prompts(queries, {"document": document_prompt(documents)}, names[0]), documents)


def _modules(modules: Any, side: str, name: str) -> Iterator[torch.nn.Module]:
    """The modules that the texts of a side go through, those of its route in the place of a Router."""
    from sentence_transformers.base.modules import Router

    for module in modules:
        if isinstance(module, Router):
            yield from _modules(module.sub_modules[_route(module, side, name)], side, name)
        else:
            yield module


def _route(router: Any, side: str, name: str) -> str:
    """The route of a side, found as sentence-transformers finds it, also under another of its names."""
    names, mapped = _ROUTES[side], router.route_mappings
    keys = [*((task, kind) for task in names for kind in ("text", None)), (None, "text"), (None, None)]
    found = [mapped[key] for key in keys if key in mapped] + [n for n in (*names, "text") if n in router.sub_modules]
    if not found:
        raise DataError(
            f"{name} is a Router without a {side} route, only {', '.join(router.sub_modules)}; name one with the "
            "routes query and document, or two models with a comma between: query_model,document_model"
        )
    return found[0]


def _plain(encoder: Encoder, modules: Sequence[torch.nn.Module]) -> Encoder:
    """An encoder of some modules, with the settings of another."""
    settings: dict[str, Any] = {"prompts": encoder.prompts, "default_prompt_name": encoder.default_prompt_name}
    if not is_multi_vector(encoder):
        settings |= {"similarity_fn_name": encoder.similarity_fn_name, "truncate_dim": encoder.truncate_dim}
    return type(encoder)(modules=[*modules], device=str(encoder.device), **settings)


def _dimension(encoder: Encoder) -> int:
    """Of sentence vectors, or of token vectors for late interaction."""
    with torch.no_grad():
        encoded = encode_batch(encoder, encoder.preprocess(["a"]))
    return (encoded.tokens.vectors if is_multi_vector(encoder) else encoded.sentence).shape[-1]
