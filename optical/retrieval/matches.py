"""A passage that was found, and which words of the question found which of its words under late interaction.

Matches explain a score and do not change it; the share of a score that special tokens, signs and [MASK] add is not
shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import regex
import torch
from jaxtyping import Float

from optical.data.passages import place_of
from optical.data.records import Doc
from optical.data.words import split_words
from optical.models.composing import query_words
from optical.models.encoders import Encoder
from optical.models.prompts import document_prompt, query_prompt
from optical.models.query_words import SLOT, Known

# Unicode's definition of a word (UAX 29): ng'ombe and 3.5 are one, dar-es-salaam is three, a Chinese sign is one.
_WORD = regex.compile(r"\b\w.*?\b", regex.WORD | regex.DOTALL)


class Span(NamedTuple):
    """Characters ``start`` up to, not including, ``end`` of a text as it was given."""

    start: int
    end: int


class Match(NamedTuple):
    """A word of the question, and the word of the passage that one of its tokens is nearest to.

    Attributes:
        query: Where the word is in the question.
        passage: Where the other is in the passage.
        similarity: Cosine of their two nearest tokens, -1 to 1.
    """

    query: Span
    passage: Span
    similarity: float


class Hit(NamedTuple):
    """A passage that answers a question.

    Attributes:
        doc: The passage.
        score: Cosine of single vectors, less the penalty of the passage where the index has any; or MaxSim: a sum over
            the tokens of the question.
        matches: Words of the question and of ``doc.full`` that found each other; empty for single vectors.
        span: Where the passage is in the text of its document; None where it is the document.
    """

    doc: Doc
    score: float
    matches: list[Match]
    span: Span | None = None


def passage_hit(docs: Sequence[Doc], rows: Mapping[str, int], passage: str, score: float) -> Hit:
    """A document by the passage that was found.

    Args:
        docs: All documents.
        rows: Document id -> its row there.
        passage: Its id, as :func:`optical.data.passages.passage_id` makes it.
        score: Of the passage.
    """
    doc_id, start, end = place_of(passage)
    doc = docs[rows[doc_id]]
    span = None if (start, end) == (0, len(doc.text)) else Span(start, end)
    return Hit(doc._replace(text=doc.text[start:end]), score, [], span)


def match_words(
    query: Float[np.ndarray, "n d"],
    query_spans: Sequence[Span | None],
    passage: Float[np.ndarray, "m d"],
    passage_spans: Sequence[Span | None],
) -> list[Match]:
    """Match each token of the question that is part of a word to the nearest word of the passage.

    Tokens of one word that have the same nearest word are one match, with the higher similarity; a word whose tokens
    have different ones gets several matches.

    Args:
        query: Unit token vectors of the question.
        query_spans: Of which word each token is a part, as :func:`word_spans` gives it.
        passage: Unit token vectors of the passage.
        passage_spans: The same for the passage.

    Returns:
        In the order of the question, then by similarity, highest first. Empty when either text has no word, or when
        spans and vectors differ in number: stored vectors may be pooled, or of another tokenizer.
    """
    words = {j: span for j, span in enumerate(passage_spans) if span}
    asked = {i: span for i, span in enumerate(query_spans) if span}
    if not words or not asked or len(query) != len(query_spans) or len(passage) != len(passage_spans):
        return []
    # (asked, words)
    similarity = query[list(asked)].astype(np.float32) @ passage[list(words)].astype(np.float32).T
    others = list(words.values())
    best: dict[tuple[Span, Span], float] = {}
    for row, own in zip(similarity, asked.values(), strict=True):
        j = int(row.argmax())
        pair = (own, others[j])
        best[pair] = max(best.get(pair, -1.0), float(row[j]))
    found = [Match(own, other, min(1.0, value)) for (own, other), value in best.items()]
    return sorted(found, key=lambda match: (match.query, -match.similarity, match.passage))


def known_of(encoder: Encoder, text: str) -> Known | None:
    """Tell which words of a question a student never saw; None where it reads such words like all others."""
    composing = query_words(encoder)
    return composing.known_of(text) if composing else None


def word_spans(encoder: Encoder, text: str, *, query: bool) -> list[Span | None]:
    """The word that each scoring token of a text is a part of; None for special tokens, signs and [MASK].

    One for each vector of :func:`optical.models.encoders.encode_tokens`, in the same order. Empty where the tokenizer
    does not tell where its tokens are.
    """
    words = [Span(*word.span()) for word in _WORD.finditer(text)]
    return [place and _word_of(words, place) for place in token_places(encoder, text, query=query)]


def token_places(encoder: Encoder, text: str, *, query: bool) -> list[Span | None]:
    """Where each scoring token of a text is in it: an empty span for special tokens and prompts, None for [MASK].

    In the order of :func:`word_spans`, and empty where that is.
    """
    task = "query" if query else "document"
    prompt = query_prompt(encoder) if query else document_prompt(encoder)
    ids, scores = _scoring(encoder, text, prompt, task)
    read, at = _as_read(encoder, text)
    places = _places(encoder.tokenizer, prompt + read, ids)
    if places is None:
        return []
    own: list[Span | None] = [Span(*(at[max(0, end - len(prompt))] for end in place)) for place in places]
    own += [None] * (len(ids) - len(own))  # [MASK], which fills up a question, has no place
    return [place for place, counts in zip(own, scores, strict=True) if counts]


def _as_read(encoder: Encoder, text: str) -> tuple[str, list[int]]:
    """The text with slots for unseen words that are composed, and where each of its characters, and its end, stands."""
    composing = query_words(encoder)
    if composing is None:
        return text, list(range(len(text) + 1))
    slotted, words = composing.slotted([text]), split_words(text)
    long = (len(word) for word, made in zip(words, composing.compositions(words), strict=True) if made)
    steps = (next(long) if character == SLOT else 1 for character in slotted.texts[0])
    return slotted.texts[0], list(accumulate(steps, initial=0))


def _scoring(encoder: Encoder, text: str, prompt: str, task: str) -> tuple[list[int], list[bool]]:
    """Ids of all tokens, and which of them score: tokenization and mask of the model, without running its network."""
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    features: dict[str, Any] = encoder.preprocess([text], prompt=prompt or None, task=task)
    with torch.no_grad():
        for module in encoder:
            if isinstance(module, MultiVectorMask):
                features = module(features, task=task)
    return features["input_ids"][0].tolist(), features["attention_mask"][0].bool().tolist()


def _places(tokenizer: Any, text: str, ids: Sequence[int]) -> list[tuple[int, int]] | None:
    """Where each token of ``ids`` is in the text, up to the padding; None where the tokenizer does not tell."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    again = tokenizer(text, truncation=True, max_length=len(ids), return_offsets_mapping=True)
    own = again["input_ids"]
    return again["offset_mapping"] if list(ids[: len(own)]) == own else None


def _word_of(words: Sequence[Span], place: Span) -> Span | None:
    """The word that a token overlaps, or several as one span; None where it overlaps none."""
    touched = list(_touched(words, place))
    return Span(touched[0].start, touched[-1].end) if touched else None


def _touched(words: Sequence[Span], place: Span) -> Iterator[Span]:
    return (word for word in words if word.start < place.end and place.start < word.end)
