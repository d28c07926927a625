"""Trimming: a multilingual teacher keeps the pieces that English and X use, and loses those of other languages.

Rows of the embedding matrix are taken out and nothing else changes: a text whose pieces all stay has the same vector.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from optical.data.words import script_of
from optical.errors import DataError
from optical.models.encoders import Encoder, transformer
from optical.vocabulary.token_ids import backend_of, token_ids
from optical.vocabulary.tokenizer import RARE_SCRIPT, wrap

SHORT = 3  # letters up to which every piece of a script in use stays: few rows for what unseen words fall apart into


def trim(teacher: Encoder, counts: Counter[int], *, min_count: int = 1) -> Encoder:
    """A copy of the teacher with the rows of the embedding matrix that some texts, and texts like them, need.

    With ``min_count`` 1 the student gives the teacher's vectors for every one of the texts. The matrix is not copied
    whole, and the order of its rows stays.

    Args:
        teacher: An encoder with a fast tokenizer over WordPiece, Unigram or byte-pair encoding; not changed.
        counts: Of the pieces in both sides of the bitext, by :func:`piece_counts`.
        min_count: Least occurrences of a piece that stays; letters and special tokens always stay.

    Raises:
        DataError: A tokenizer of another kind, or a model in which more than the input embeddings counts in pieces.
    """
    module = transformer(teacher)
    base, model = teacher.tokenizer, module.auto_model
    embeddings = model.get_input_embeddings().weight
    _refuse_other_uses(teacher, embeddings)
    counts = counts + piece_counts(base, [prompt for prompt in (teacher.prompts or {}).values() if prompt])
    kept = choose_ids(base, counts, min_count=min_count, always=_fixed_ids(teacher, len(embeddings)))
    if kept[-1] >= len(embeddings):
        raise DataError(
            f"the encoder's tokenizer has the id {kept[-1]}, its embeddings have {len(embeddings)} rows; save the "
            'encoder with a row for every token, or set vocabulary.mode = "extend"'
        )
    tokenizer = keep_ids(base, kept)
    rows = embeddings.detach()[torch.as_tensor(kept, device=embeddings.device)]
    new = nn.Parameter(rows, requires_grad=embeddings.requires_grad)
    # Objects in the memo are not copied but replaced: the copy never holds the teacher's matrix.
    student = copy.deepcopy(teacher, {id(embeddings): new, id(module.processor): tokenizer})
    _count_anew(student, new, {old: k for k, old in enumerate(kept)})
    return student


def piece_counts(base: Any, texts: Sequence[str]) -> Counter[int]:
    """Occurrences of each id of a tokenizer in some texts."""
    ids = np.concatenate([np.zeros(0, dtype=np.int32), *token_ids(base, texts)])
    return +Counter(dict(enumerate(np.bincount(ids).tolist())))


def choose_ids(base: Any, counts: Counter[int], *, min_count: int = 1, always: Iterable[int] = ()) -> list[int]:
    """Ids of a tokenizer that stay, in rising order.

    These are the pieces of some texts; special and added tokens; every piece of up to ``SHORT`` letters of the scripts
    that the texts are written in, so that any text of these can be read; signs, digits and bytes; and what the model
    needs to find the same pieces again (see :func:`_needed`).

    Args:
        base: A fast tokenizer.
        counts: Of the pieces in the texts that the student has to read as the teacher does (:func:`piece_counts`).
        min_count: Least occurrences of a piece in them.
        always: Ids that stay whatever the texts hold, if they are of tokens.
    """
    state = json.loads(backend_of(base).to_str())
    model = state["model"]
    pieces = pieces_of(model)
    added = {token["id"] for token in state["added_tokens"]}
    kept = {i for i, n in counts.items() if n >= min_count} | set(base.all_special_ids) | added
    kept |= set(always) & (added | set(pieces.values()))
    _renumber(state["post_processor"], lambda i: kept.add(i) or i)
    kept |= _short(model, {piece: counts[i] for piece, i in pieces.items()})
    return sorted(_needed(model, kept))


def keep_ids(base: Any, kept: Sequence[int]) -> Any:
    """The tokenizer with the given ids only, numbered anew in their order."""
    state = json.loads(backend_of(base).to_str())
    new = {old: k for k, old in enumerate(kept)}
    model = state["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][i] for i in kept if i < len(model["vocab"])]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {piece: new[i] for piece, i in model["vocab"].items() if i in new}
    if model["type"] == "BPE":
        vocab = model["vocab"]
        model["merges"] = [(a, b) for a, b in model["merges"] if a in vocab and b in vocab and a + b in vocab]
    for token in state["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(state["post_processor"], new.__getitem__)
    return wrap(base, Tokenizer.from_str(json.dumps(state)))


def pieces_of(model: dict[str, Any]) -> dict[str, int]:
    """Piece -> id of the model in a tokenizer's JSON."""
    if model["type"] == "Unigram":
        return {piece: i for i, (piece, _) in enumerate(model["vocab"])}
    marks = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    if model["type"] == "WordPiece" or (model["type"] == "BPE" and not marks):
        return model["vocab"]
    raise DataError(
        f"the encoder's tokenizer is of the kind {model['type']}{f' with the mark {marks}' if marks else ''}; "
        "WordPiece, Unigram and byte-pair encoding without marks can be trimmed: use another encoder, or set "
        'vocabulary.mode to "extend" or "off"'
    )


def _needed(model: dict[str, Any], kept: set[int]) -> set[int]:
    """The kept ids, and those without which the tokenizer would split the same text differently.

    Greedy longest match (WordPiece) needs none: the longest piece is still there, and no longer one has come. The best
    path of a Unigram model is still the best of those that remain; but an unknown letter scores 10 less than the least
    likely piece, so that piece stays, or letters that have gone would become likelier than pieces that are there.
    Byte-pair encoding reaches a piece through the pieces that it merges on the way.
    """
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        return kept | {model["unk_id"], scores.index(min(scores))} - {None}
    unknown = {model["vocab"][model["unk_token"]]} if model.get("unk_token") in model["vocab"] else set()
    if model["type"] == "WordPiece":
        return kept | unknown
    rank = {tuple(pair): k for k, pair in enumerate(model["merges"])}
    ways = {part for piece, i in model["vocab"].items() if i in kept for part in _merged(piece, rank)}
    return kept | unknown | {model["vocab"][part] for part in ways if part in model["vocab"]}


def _merged(piece: str, rank: dict[tuple[str, ...], int]) -> set[str]:
    """The letters of a piece and everything that byte-pair encoding merges while it puts the piece together."""
    parts = list(piece)
    seen = set(parts)
    while pairs := [pair for pair in zip(parts, parts[1:], strict=False) if pair in rank]:
        a, b = min(pairs, key=rank.__getitem__)
        at = next(k for k in range(len(parts) - 1) if (parts[k], parts[k + 1]) == (a, b))
        parts[at : at + 2] = [a + b]
        seen.add(a + b)
    return seen


def _short(model: dict[str, Any], counts: dict[str, int]) -> set[int]:
    """Ids of the short pieces, at the start of a word and inside, of scripts in use; of signs, digits and bytes."""
    pieces = pieces_of(model)
    prefix = model.get("continuing_subword_prefix") or "▁"
    bare = {piece: piece.removeprefix(prefix) for piece in pieces}
    scripts: Counter[str] = Counter()
    for piece, n in counts.items():
        for c in bare[piece] if n else "":
            scripts[script_of(c)] += n
    used = {script for script, n in scripts.items() if n >= RARE_SCRIPT * scripts.total()} | {""}
    short = {p for p, text in bare.items() if len(text) <= SHORT and all(script_of(c) in used for c in text)}
    if model["type"] == "BPE":  # its letters may stand for bytes, and a byte has no script
        short |= {p for p, text in bare.items() if len(text) == 1}
    if model.get("byte_fallback"):
        short |= {byte for b in range(256) if (byte := f"<0x{b:02X}>") in pieces}
    return {pieces[p] for p in short}


def _renumber(processor: dict[str, Any] | None, number: Callable[[int], int]) -> None:
    """Apply a function to every token id in the post-processor of a tokenizer's JSON, in place."""
    if processor is None:
        return
    for one in processor.get("processors", []):
        _renumber(one, number)
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [number(i) for i in token["ids"]]
    for end in ("sep", "cls"):
        if end in processor:
            processor[end][1] = number(processor[end][1])


def _fixed_ids(teacher: Encoder, rows: int) -> set[int]:
    """Ids that the network refers to: in its configuration, and padding where positions are counted from it."""
    model = transformer(teacher).auto_model
    fixed = {i for ids in _named_ids(model.config).values() for i in ids if i < rows}
    for module in model.modules():
        # RoBERTa and MPNet number positions from the padding id, so it and all before it stay where they are.
        if not isinstance(module, nn.Embedding) and isinstance(getattr(module, "padding_idx", None), int):
            fixed |= set(range(module.padding_idx + 1))
    words = [word for module in teacher for word in getattr(module, "skiplist_words", [])]
    vocab = teacher.tokenizer.get_vocab()
    return fixed | {vocab[word] for word in words if word in vocab}


def _named_ids(config: Any) -> dict[str, list[int]]:
    """``pad_token_id`` and its like in a configuration; some are lists."""
    found = {}
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and value is not None:
            found[name] = value if isinstance(value, list) else [value]
    return found


def _refuse_other_uses(teacher: Encoder, embeddings: nn.Parameter) -> None:
    """Refuse an encoder in which more than the input embeddings has a row for each piece."""
    values = [*teacher.named_parameters(), *teacher.named_buffers()]
    names = [name for name, x in values if x is not embeddings and x.shape[:1] == (len(embeddings),)]
    config = transformer(teacher).auto_model.config
    if getattr(config, "vocab_size", None) != len(embeddings):
        names.append(f"config.vocab_size ({getattr(config, 'vocab_size', None)})")
    if names:
        raise DataError(
            f"the encoder has {len(embeddings)} rows of embeddings, and something else that may count in pieces: "
            f'{", ".join(names[:3])}; it cannot be trimmed: set vocabulary.mode to "extend" or "off"'
        )


def _count_anew(student: Encoder, embeddings: nn.Parameter, new: dict[int, int]) -> None:
    """Set the sizes and ids in the student's network to those of its new rows."""
    model = transformer(student).auto_model
    for name, ids in _named_ids(model.config).items():
        value: list[int | None] = [new.get(i) for i in ids]  # none, where the tokenizer has no such token
        setattr(model.config, name, value if isinstance(getattr(model.config, name), list) else value[0])
    model.config.vocab_size = len(embeddings)
    for module in student.modules():
        if isinstance(module, nn.Embedding) and module.weight is embeddings:
            module.num_embeddings = len(embeddings)
            module.padding_idx = None if module.padding_idx is None else new.get(module.padding_idx)
        resolve: Any = getattr(module, "resolve_with_tokenizer", None)  # words that late interaction leaves out
        if resolve is not None:
            resolve(student.tokenizer)
