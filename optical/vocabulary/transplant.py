"""Transplant: turn a teacher into a student with the words of X, from bitext, without training.

Words are chosen, added to the tokenizer and aligned with the teacher's pieces; then their embeddings are mixed. A
teacher that reads X already is trimmed instead (:mod:`optical.vocabulary.trim`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from optical.config.recipe import Vocabulary
from optical.data.bitext import Pair
from optical.data.words import fold, split_words
from optical.errors import DataError
from optical.models.encoders import Encoder, transformer
from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.align_symmetric import align_symmetric
from optical.vocabulary.align_transport import align_transport
from optical.vocabulary.choose_words import choose_words
from optical.vocabulary.rows import lean_on, mix_rows, pool_parts, random_rows
from optical.vocabulary.subwords import letters, parts_of
from optical.vocabulary.tokenizer import Fit, extend, fit, replace, token_ids, unread_letters
from optical.vocabulary.translation_table import Hints, TranslationTable
from optical.vocabulary.trim import trim

DEFAULTS = Vocabulary()
ALIGNMENTS: dict[str, Callable[..., TranslationTable]] = {
    "ibm1": align_ibm1,
    "symmetric": align_symmetric,
    "ot": align_transport,
}


class Size(NamedTuple):
    """How large an encoder is.

    Attributes:
        rows: Rows of the embedding matrix.
        parameters: Numbers in the whole encoder, the embedding matrix included.
        megabytes: What they take in memory.
    """

    rows: int
    parameters: int
    megabytes: float


class _Mixing(NamedTuple):
    """How the rows of new words are made; ``align`` is None where they are drawn at random."""

    align: Callable[..., TranslationTable] | None
    top: int
    lean: float
    seed: int


class Transplant(NamedTuple):
    """A student and what was done to make it.

    Attributes:
        student: A copy of the teacher with the new vocabulary; the teacher is not touched.
        mode: ``extend``, ``replace``, ``trim`` or ``off``.
        added: Rows that the embedding matrix gained (``extend``) or has (``replace``); 0 for ``trim``.
        pieces: Of these, parts of words for unseen ones to fall apart into.
        aligned: Rows whose embedding was mixed from aligned English pieces.
        romanised: Letters of other scripts that are spelled in Latin where no added word covers them.
        before: How the teacher's tokenizer fits the X side of the bitext.
        after: How the student's fits it.
        size_before: How large the teacher is.
        size_after: How large the student is.
        seconds: Wall time of the whole transplant.
    """

    student: Encoder
    mode: str
    added: int
    pieces: int
    aligned: int
    romanised: str
    before: Fit
    after: Fit
    size_before: Size
    size_after: Size
    seconds: float

    def report(self) -> dict[str, float | int | str]:
        """The figures, flat, for a JSON file or a table."""
        return {
            "mode": self.mode,
            "words_added": self.added - self.pieces,
            "pieces_added": self.pieces,
            "rows_aligned": self.aligned,
            "letters_romanised": self.romanised,
            "tokens_per_word_before": round(self.before.tokens_per_word, 3),
            "tokens_per_word_after": round(self.after.tokens_per_word, 3),
            "unknown_rate_before": round(self.before.unknown_rate, 5),
            "unknown_rate_after": round(self.after.unknown_rate, 5),
            "rows_before": self.size_before.rows,
            "rows_after": self.size_after.rows,
            "parameters_before": self.size_before.parameters,
            "parameters_after": self.size_after.parameters,
            "megabytes_before": round(self.size_before.megabytes, 1),
            "megabytes_after": round(self.size_after.megabytes, 1),
            "seconds": round(self.seconds, 1),
        }


def transplant(
    teacher: Encoder,
    pairs: Sequence[Pair],
    options: Vocabulary = DEFAULTS,
    *,
    seed: int = 0,
    top: int = 8,
    steps: int | None = None,
) -> Transplant:
    """Give a copy of the teacher the vocabulary of X.

    ``extend`` keeps every piece of the teacher and adds whole words; ``replace`` trains a tokenizer of the same kind
    on X and gives every piece of it an aligned embedding; ``trim`` keeps the pieces of a multilingual teacher that
    English and X use (Abdaoui et al. 2020); ``off`` copies the teacher. Word alignment runs between the teacher's
    pieces of the English side and the student's own tokens of the X side, so that names, numbers and punctuation
    explain each other and not the words. Relatives: RAMEN (Tran 2020), WECHSEL (Minixhofer et al. 2022), FOCUS
    (Dobler & de Melo 2023).

    Args:
        teacher: Any encoder with a fast tokenizer; stays as it is.
        pairs: Bitext.
        options: The mode, and which words get a row, how it is aligned and what it is mixed from.
        seed: Of random rows.
        top: English pieces mixed into a row.
        steps: Iterations of the alignment; None for the default of the method.

    Raises:
        DataError: No pairs, or a tokenizer that words cannot be added to or pieces taken from.
    """
    started = time.perf_counter()
    if not pairs:
        raise DataError("a transplant needs bitext, received no pairs; give at least a few hundred sentence pairs")
    mixing = _Mixing(_aligner(options, steps), top, options.lean, seed)
    english, foreign = [p.english for p in pairs], [p.foreign for p in pairs]
    base, mode = teacher.tokenizer, options.mode
    before = fit(base, foreign[:5000])
    # Trimming makes the copy itself: it never holds the matrix whole.
    student = (
        trim(teacher, english + foreign, min_count=options.min_count) if mode == "trim" else copy.deepcopy(teacher)
    )
    unread, total, pieces, aligned = "", len(base), 0, 0
    if mode == "extend":
        unread = unread_letters(base, foreign) if options.romanise else ""
        words = choose_words(foreign, english, min_count=options.min_count, max_words=options.max_words)
        known = {fold(word) for sentence in english for word in split_words(sentence)} if options.piece_types else set()
        extension = extend(base, words, romanise=unread, piece_types=options.piece_types, english=known)
        total, pieces = len(extension.tokenizer), len(extension.pieces)
        aligned = _extend_student(student, extension, english, foreign, mixing)
    elif mode == "replace":
        tokenizer = replace(base, foreign, options.size)
        total = len(tokenizer)
        aligned = _replace_student(student, tokenizer, english, foreign, mixing)
    after = fit(student.tokenizer, foreign[:5000])
    added = total if mode == "replace" else total - len(base)
    sizes = size_of(teacher), size_of(student)
    seconds = time.perf_counter() - started
    return Transplant(student, mode, added, pieces, aligned, unread, before, after, *sizes, seconds)


def _aligner(options: Vocabulary, steps: int | None) -> Callable[..., TranslationTable] | None:
    """The alignment that the options name; None where rows are drawn at random."""
    if options.rows == "random":
        return None
    method = ALIGNMENTS[options.alignment]
    return method if steps is None else partial(method, steps=steps)


def _extend_student(student, extension, english, foreign, mixing) -> int:
    """Give the student an extended tokenizer and rows for its words and pieces; how many of them were aligned."""
    base, tokenizer, old = student.tokenizer, extension.tokenizer, _embeddings(student)
    size = len(tokenizer)
    one = np.arange(size)
    for ids in extension.ids.values():
        one[ids] = ids[0]  # all written forms of a word count together
    new = np.empty((max(size, len(old)), old.shape[1]), dtype=old.dtype)
    new[: len(old)] = old
    # A word that no pair short enough explains starts in the middle of the vocabulary, where it means nothing.
    new[len(old) :] = old.mean(axis=0)
    if mixing.align is None:
        fresh = np.arange(len(old), size)
        new[fresh] = random_rows(old, size, mixing.seed)[one[fresh]]
        mixed = {}
    else:
        mixed = _mixed_rows(base, extension, old, english, foreign, one, mixing)
        new[list(mixed)] = list(mixed.values())
    _install(student, tokenizer, new)
    return len(mixed)


def _mixed_rows(base, extension, old, english, foreign, one, mixing) -> dict[int, np.ndarray]:
    """Id of each aligned word and piece -> its row."""
    tokenizer, size = extension.tokenizer, len(one)
    first = {word: ids[0] for word, ids in extension.ids.items()}
    parts = parts_of([(first[w], spelled) for w, spelled in extension.spelling.items() if spelled], size)
    hints = Hints(parts, _letters(base, tokenizer, extension, first), lean=mixing.lean)
    foreign_ids = [one[ids] for ids in token_ids(tokenizer, foreign)]
    table = mixing.align(token_ids(base, english), foreign_ids, hints=hints)
    empty = _punctuation(base)
    rows, mixed = mix_rows(table, old, size, top=mixing.top, empty=empty)
    part_rows, part_mixed = mix_rows(pool_parts(table, parts), old, len(parts.names), top=mixing.top, empty=empty)
    counts = np.bincount(np.concatenate(foreign_ids), minlength=size)
    rows = lean_on(parts, rows, part_rows, part_mixed, counts, mixing.lean)
    index = {name: k for k, name in enumerate(parts.names)}
    of_pieces = {i: index[piece] for piece, i in extension.pieces.items() if part_mixed[index[piece]]}
    # Words after pieces: a beginning that is a word too ("kwa") means what the word means.
    of_words = {i: ids[0] for ids in extension.ids.values() if mixed[ids[0]] for i in ids}
    return {i: part_rows[k] for i, k in of_pieces.items()} | {i: rows[k] for i, k in of_words.items()}


def _replace_student(student, tokenizer, english, foreign, mixing) -> int:
    """Give the student a new tokenizer and its rows; how many of them were aligned.

    Special tokens keep the teacher's rows; what was never aligned has the mean of them all.
    """
    base, old = student.tokenizer, _embeddings(student)
    if mixing.align is None:
        new, mixed = random_rows(old, len(tokenizer), mixing.seed), np.zeros(0)
    else:
        table = mixing.align(token_ids(base, english), token_ids(tokenizer, foreign))
        rows, mixed = mix_rows(table, old, len(tokenizer), top=mixing.top)
        new = np.where(mixed[:, None] > 0, rows, old.mean(axis=0)).astype(old.dtype)
    theirs, ours = base.get_vocab(), tokenizer.get_vocab()
    for token in base.all_special_tokens:
        if token in ours:
            new[ours[token]] = old[theirs[token]]
    _install(student, tokenizer, new)
    return int((mixed > 0).sum())


def _letters(base, tokenizer, extension, first):
    """Character pairs of the X ids and of the teacher's pieces that begin a word."""
    special = set(base.all_special_tokens)
    ours, theirs = (
        [
            "" if t in special or t.startswith("##") else t.lstrip("▁")
            for t in tok.convert_ids_to_tokens(list(range(len(tok))))
        ]
        for tok in (tokenizer, base)
    )
    for word, i in first.items():
        ours[i] = extension.spelling[word]
    return letters(ours), letters(theirs)


def _punctuation(base) -> np.ndarray:
    """Which of the tokenizer's ids have neither a letter nor a digit."""
    return np.array([not any(c.isalnum() for c in t) for t in base.convert_ids_to_tokens(list(range(len(base))))])


def size_of(encoder: Encoder) -> Size:
    """Rows, parameters and megabytes of an encoder as it is in memory."""
    parameters = list(encoder.parameters())
    rows = len(transformer(encoder).auto_model.get_input_embeddings().weight)
    megabytes = sum(p.numel() * p.element_size() for p in parameters) / 1e6
    return Size(rows, sum(p.numel() for p in parameters), megabytes)


def _embeddings(encoder: Encoder) -> np.ndarray:
    return transformer(encoder).auto_model.get_input_embeddings().weight.detach().cpu().float().numpy()


def _install(student: Encoder, tokenizer, rows: np.ndarray) -> None:
    """Make the tokenizer and the embedding matrix the student's; the tokenizer has the teacher's length limit."""
    module = transformer(student)
    model = module.auto_model
    model.resize_token_embeddings(len(rows), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(torch.as_tensor(rows))
    module.processor = tokenizer
