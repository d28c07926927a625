"""Prompts: what an encoder puts before a query and before a document, as E5, BGE, GTE and Qwen3-Embedding want it.

They are kept where sentence-transformers keeps them, in ``encoder.prompts``, so a student, which is a copy of its
teacher, has them too, and ``encode_query`` and ``encode_document`` of a saved folder give the vectors that are
searched with here.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from optical.errors import RecipeError

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

Encoder: TypeAlias = "SentenceTransformer | MultiVectorEncoder"
logger = logging.getLogger(__name__)
DOCUMENT_NAMES = ("document", "passage", "corpus")  # of a document's prompt, in the order of encode_document
_SEARCH = "Represent this sentence for searching relevant passages: "
_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "


class _Family(NamedTuple):
    """Models whose cards ask for prompts."""

    name: str  # a regular expression, found in the name of a model
    query: str
    document: str


_FAMILIES = (
    _Family(r"\be5-.*instruct|gte-.*instruct|qwen3-embedding", _INSTRUCT, ""),
    _Family(r"\be5-(small|base|large)", "query: ", "passage: "),
    _Family(r"bge-(small|base|large)-zh", "为这个句子生成表示以用于检索相关文章：", ""),
    _Family(r"bge-(small|base|large)-en|mxbai-embed-large", _SEARCH, ""),
    _Family(r"arctic-embed-.*v2", "query: ", ""),
    _Family(r"arctic-embed", _SEARCH, ""),
    _Family(r"nomic-embed-text", "search_query: ", "search_document: "),
)


def query_prompt(encoder: Encoder) -> str:
    """Return the prompt that ``encode_query`` of an encoder puts before a text; empty where it puts none."""
    return _prompt(encoder, ("query",))


def document_prompt(encoder: Encoder) -> str:
    """Return the prompt that ``encode_document`` of an encoder puts before a text; empty where it puts none."""
    return _prompt(encoder, DOCUMENT_NAMES)


def with_prompts(
    encoder: Encoder,
    given: Mapping[str, str | None],
    model: str = "the encoder given",
    option: str = "teacher_prompts",
) -> Encoder:
    """The encoder with a prompt under each of the names ``query`` and ``document``; empty where it reads none.

    The prompts are those given, else the model's own. A model that calls its document prompt ``passage`` or ``corpus``
    gets it under ``document`` as well: sentence-transformers 6 finds an empty one there first. A model that is known to
    want prompts and has none is warned of.

    Args:
        encoder: Of either class; is not changed. What is returned shares its weights.
        given: ``query``, ``document`` or both; None leaves a prompt as the model has it, an empty one removes it.
        model: What messages call the encoder.
        option: The section of a recipe that gives its prompts, for messages.

    Raises:
        RecipeError: A prompt of another name, or one that leaves no room for a text.
    """
    if unknown := [name for name in given if name not in ("query", "document")]:
        raise RecipeError(
            f"{model} has no use for a prompt called {unknown[0]!r}; a prompt is called query or document, as in "
            f'{option} = {{query = "query: ", document = "passage: "}}'
        )
    own = {name: text or "" for name, text in (encoder.prompts or {}).items()}
    passage = document_prompt(encoder) or next((own[name] for name in DOCUMENT_NAMES if own.get(name)), "")
    chosen = {name: text for name, text in given.items() if text is not None}
    if "document" in chosen:  # else a later reader would take the model's own for it
        own = {name: text for name, text in own.items() if name not in DOCUMENT_NAMES}
    prompts: dict[str, str | None] = {**own, "query": query_prompt(encoder), "document": passage, **chosen}
    if not chosen:
        _warn_of_missing(encoder, prompts, model, option)
    if prompts == encoder.prompts:
        return encoder
    prompted = copy.copy(encoder)
    prompted.prompts = prompts
    if prompted.default_prompt_name not in prompts:
        prompted.default_prompt_name = None
    _check_room(prompted, model, option)
    return prompted


def pools_prompt(encoder: Encoder) -> bool:
    """Whether the tokens of a prompt count in the sentence vector, or are only attended to (INSTRUCTOR)."""
    return all(getattr(module, "include_prompt", True) for module in encoder)


def described(encoder: Encoder, side: Literal["query", "document"] | None = None) -> str:
    """The prompts of an encoder, or that of one side, for a fingerprint; empty where there are none."""
    prompts = {"document": document_prompt(encoder), "query": query_prompt(encoder)}
    prompts = {name: text for name, text in prompts.items() if side in (None, name)}
    if not any(prompts.values()):
        return ""
    return f"{sorted(prompts.items())} {pools_prompt(encoder)}"


def _prompt(encoder: Encoder, names: tuple[str, ...]) -> str:
    prompts: Mapping[str, str | None] = encoder.prompts or {}
    there = [name for name in names if name in prompts]
    return prompts.get(there[0] if there else encoder.default_prompt_name or "") or ""


def _check_room(encoder: Any, model: str, option: str) -> None:
    """Refuse a prompt that fills all that the encoder reads of a text."""
    expansion = getattr(encoder[0], "query_expansion", None) or {}
    fixed = expansion.get("length") if expansion.get("strategy") == "fixed" else None
    limits = {"query": [fixed, encoder.max_seq_length], "document": [encoder.max_seq_length]}
    for name, lengths in limits.items():
        limit = min((length for length in lengths if length), default=None)
        prompt = encoder.prompts[name]
        taken = len(encoder.tokenizer(prompt, truncation=False, verbose=False)["input_ids"]) if prompt and limit else 0
        if limit and taken >= limit:
            raise RecipeError(
                f"the {name} prompt {prompt[:60]!r} is {taken} tokens long, and {model} reads {limit} of a text: "
                f"nothing of it would be read; set a shorter {option}.{name}"
            )


def _warn_of_missing(encoder: Any, prompts: Mapping[str, str | None], model: str, option: str) -> None:
    if prompts["query"] or prompts["document"]:
        return
    if named := [name for name, text in prompts.items() if text]:
        logger.warning(
            "%s has prompts called %s and none called query or document, so its texts are read without; set "
            '%s = {query = "...", document = "..."}',
            model, ", ".join(named), option,
        )  # fmt: skip
        return
    names = f"{model}\n{getattr(getattr(encoder[0], 'auto_model', None), 'name_or_path', '')}".lower()
    wanted = next((family for family in _FAMILIES if re.search(family.name, names)), None)
    if wanted:
        logger.warning(
            "%s was trained with prompts, and none is configured, so its vectors are worse than they could be; set "
            "%s = {query = %s, document = %s}",
            model, option, _quoted(wanted.query), _quoted(wanted.document),
        )  # fmt: skip


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)
