"""Count how much of some texts an encoder reads; the rest, beyond its limit, is cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from optical.models.encoders import Encoder

TRIED = 40_000  # words, to find the limit of an encoder


class Reading(NamedTuple):
    """The part of some texts that an encoder has read; special tokens and prompt are tokens.

    Attributes:
        texts: Number of texts.
        cut: Of these, the ones that are longer than what is read.
        tokens: Of all texts, whole.
        unread: Of these, the ones that are not read.
        limit: Tokens that are read of a text that is cut; 0 where none is.
    """

    texts: int = 0
    cut: int = 0
    tokens: int = 0
    unread: int = 0
    limit: int = 0

    def said(self, what: str, reader: str) -> str:
        """The figures in one line, such as for the documents that the teacher reads; empty where nothing is cut."""
        if not self.cut:
            return ""
        return (
            f"{self.cut:,} of {self.texts:,} {what} are longer than the {self.limit:,} tokens the {reader} reads; "
            f"{100 * self.unread / self.tokens:.1f} % of the tokens are not read"
        )


def reading(encoder: Encoder, texts: Sequence[str], read: Sequence[int], prompt: str) -> Reading:
    """Compare what was read of some texts, tokenized together, with their whole length.

    The arguments are those of :func:`whole_lengths`.
    """
    return counted(whole_lengths(encoder, texts, read, prompt), read)


def counted(whole: Sequence[int], read: Sequence[int]) -> Reading:
    """The figures of some texts from the tokens of each, whole and as read."""
    cut = [(tokens, some) for tokens, some in zip(whole, read, strict=True) if tokens > some]
    unread = sum(tokens - some for tokens, some in cut)
    return Reading(len(whole), len(cut), sum(whole), unread, max((some for _, some in cut), default=0))


def whole_lengths(encoder: Encoder, texts: Sequence[str], read: Sequence[int], prompt: str) -> list[int]:
    """Count the tokens of some texts that were tokenized together, whole.

    Only the texts with the most tokens can have been cut, so only these are tokenized again.

    Args:
        encoder: Whose tokenizer it is.
        texts: Without prompt.
        read: Tokens read of each.
        prompt: That was put before each.
    """
    limit, whole = max(read, default=0), list(read)
    longest = [k for k, count in enumerate(read) if count == limit]
    again = [prompt + texts[k] for k in longest]
    ids = encoder.tokenizer(again, truncation=False, padding=False, verbose=False)["input_ids"] if again else []
    for k, found in zip(longest, ids, strict=True):
        whole[k] = max(limit, len(found))
    return whole


def limit_of(encoder: Encoder, prompt: str) -> int:
    """Tokens of a document that an encoder reads, without the special ones and those of the prompt.

    One that reads any length reads as much as is tried here.
    """
    features = encoder.preprocess(["a " * TRIED], prompt=prompt, task="document")
    return int(features["attention_mask"].sum()) - len(encoder.tokenizer(prompt)["input_ids"])


def counted_tokens(encoder: Encoder, texts: Sequence[str]) -> list[int]:
    """Tokens of whole texts, special ones not counted."""
    if not texts:
        return []
    plain = {"truncation": False, "padding": False, "add_special_tokens": False, "verbose": False}
    return [len(ids) for ids in encoder.tokenizer(list(texts), **plain)["input_ids"]]


def together(readings: Iterable[Reading]) -> Reading:
    """The figures of several sets of texts as one."""
    many = [*readings, Reading()]
    texts, cut, tokens, unread, limits = zip(*many, strict=True)
    return Reading(sum(texts), sum(cut), sum(tokens), sum(unread), max(limits))
