"""Token ids of many texts or words by the Rust tokenizer inside a fast tokenizer, each distinct part of a text once."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import Any

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase

from optical.errors import DataError

CHUNK = 10_000  # texts that are read at once: what is told of a token beside its id takes much memory
MANY = 1_000  # texts of which the distinct parts are read
TOGETHER = 64  # parts that are read as one text


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Int[np.ndarray, " n"]]:
    """Token ids of each text, whole and without special tokens; several times faster than calling the tokenizer."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.truncation or backend.padding:
        backend = backend_of(tokenizer)
    mark = _mark(tokenizer, backend) if len(texts) >= MANY else None
    return list(_read(backend, texts) if mark is None else _by_parts(backend, texts, mark))


def model_ids(backend: Tokenizer, words: Sequence[str]) -> list[list[int]]:
    """Ids of words that are no added tokens, the shorter way where they are plain small letters, which stay as is."""
    plain = [word.isascii() and word.isalpha() and word.islower() for word in words]
    others = backend.encode_batch_fast([w for w, own in zip(words, plain, strict=True) if not own], False, False)
    read = (encoding.ids for encoding in others)
    cut = backend.model.tokenize
    return [[t.id for t in cut(w)] if own else next(read) for w, own in zip(words, plain, strict=True)]


def backend_of(base: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of the Rust tokenizer inside a fast tokenizer, without the padding and truncation of its last call.

    Raises:
        DataError: The tokenizer is not a fast one.
    """
    backend = getattr(base, "backend_tokenizer", None)
    if backend is None:
        raise DataError(
            f"the encoder's tokenizer ({type(base).__name__}) is not a fast tokenizer, so it has no room for words; "
            "use an encoder whose folder has a tokenizer.json"
        )
    made = copy.deepcopy(backend)
    made.no_truncation()
    made.no_padding()
    return made


def _mark(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer) -> str | None:
    """A token to put between parts, where what stands between two spaces is read alike in any text; else None."""
    mark: Any = tokenizer.sep_token
    alone = isinstance(backend.model, models.WordPiece) and isinstance(
        backend.pre_tokenizer, pre_tokenizers.BertPreTokenizer
    )
    if not alone or mark is None:
        return None
    added = backend.get_added_tokens_decoder().values()
    return mark if not any(" " in token.content for token in added) else None


def _read(backend: Tokenizer, texts: Sequence[str]) -> Iterator[Int[np.ndarray, " n"]]:
    for k in range(0, len(texts), CHUNK):
        for encoding in backend.encode_batch_fast(list(texts[k : k + CHUNK]), add_special_tokens=False):
            yield np.array(encoding.ids, dtype=np.int32)


def _by_parts(backend: Tokenizer, texts: Sequence[str], mark: str) -> Iterator[Int[np.ndarray, " n"]]:
    """Read the distinct parts of all texts, and put the texts together from them."""
    number: defaultdict[str, int] = defaultdict(count().__next__)
    numbers, counts = [], np.fromiter((text.count(" ") + 1 for text in texts), np.int64, len(texts))
    for k in range(0, len(texts), CHUNK):
        parts = chain.from_iterable(text.split(" ") for text in texts[k : k + CHUNK])
        numbers.append(np.fromiter(map(number.__getitem__, parts), np.int32, counts[k : k + CHUNK].sum()))
    read = _parts(backend, list(number), mark)
    lengths = np.fromiter(map(len, read), np.int64, len(read))
    ids, begins = np.concatenate([*read, np.zeros(0, np.int32)]), np.cumsum(lengths) - lengths
    for k, some in enumerate(numbers):
        long = lengths[some]
        ends = np.cumsum(long)
        together = ids[np.repeat(begins[some] - ends + long, long) + np.arange(long.sum())]
        stops = np.append(0, ends)[np.cumsum(counts[k * CHUNK : (k + 1) * CHUNK])].tolist()
        yield from (together[a:b] for a, b in zip([0, *stops], stops, strict=False))


def _parts(backend: Tokenizer, parts: Sequence[str], mark: str) -> list[Int[np.ndarray, " n"]]:
    """Ids of each part, many in one text with the mark after each."""
    apart = backend.token_to_id(mark)
    texts = [f" {mark} ".join([*parts[k : k + TOGETHER], ""]) for k in range(0, len(parts), TOGETHER)]
    ids = np.concatenate([*_read(backend, texts), np.zeros(0, np.int32)])
    at = np.flatnonzero(ids == apart)
    if len(at) != len(parts):  # one of them contains the mark
        return list(_read(backend, parts))
    return [ids[a:b] for a, b in zip(np.append(0, at + 1).tolist(), at.tolist(), strict=False)]
