"""Transplant: turn a teacher into a student with the words of X, from bitext, without training.

Words are chosen, added to the tokenizer and aligned with the teacher's pieces; then their embeddings are mixed. A
teacher that reads X already is trimmed instead (:mod:`optical.vocabulary.trim`).
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.data.words import fold, split_words
from optical.errors import DataError
from optical.models.encoders import Encoder, encode_queries, transformer
from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.align_symmetric import align_symmetric
from optical.vocabulary.align_transport import align_transport
from optical.vocabulary.choose_words import choose_words
from optical.vocabulary.fertility import held_out_fit
from optical.vocabulary.rows import lean_on, mix_rows, pool_parts, random_rows
from optical.vocabulary.subwords import letters, parts_of
from optical.vocabulary.tokenizer import Extension, Fit, extend, replace, token_ids, unread_letters
from optical.vocabulary.translation_table import Hints, TranslationTable
from optical.vocabulary.trim import choose_ids, keep_ids, trim
from optical.vocabulary.word_boundaries import piece_texts

DEFAULTS = Vocabulary()
# X gets the row of a piece of the teacher that it uses at least so often, and more than so many times as often as
# English does: chosen on held-out pairs of five languages (experiments/LOG.md, 2026-11-29).
LEAST_USES = 3
MORE_THAN_ENGLISH = 2.0
ENGLISH_SENTENCES = 200  # that teacher and student are compared on
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
        overwritten: Of these, rows of the teacher's own pieces, which are words of X too.
        romanised: Letters of other scripts that are spelled in Latin where no added word covers them.
        before: How the teacher's tokenizer fits held-out sentences of X; None with too few pairs to hold any out.
        after: How a tokenizer made like the student's, but without them, fits these
            (:func:`optical.vocabulary.fertility.held_out_fit`).
        english: Cosine of the teacher's and the student's sentence vectors, for each of up to ``ENGLISH_SENTENCES``
            distinct English sentences of the bitext.
        size_before: How large the teacher is.
        size_after: How large the student is.
        seconds: Wall time of the whole transplant.
    """

    student: Encoder
    mode: str
    added: int
    pieces: int
    aligned: int
    overwritten: int
    romanised: str
    before: Fit | None
    after: Fit | None
    english: Float[np.ndarray, " s"]
    size_before: Size
    size_after: Size
    seconds: float

    def fertility(self) -> str:
        """How the tokenizers fit held-out sentences, in words."""
        before, after = self.before, self.after
        if before is None or after is None:
            return "tokens per word not measured: too few pairs to hold any out"
        return (
            f"on held-out sentences, tokens per word {before.tokens_per_word:.2f} -> {after.tokens_per_word:.2f}, "
            f"unknown {100 * before.unknown_rate:.2f} % -> {100 * after.unknown_rate:.2f} %"
        )

    def report(self) -> dict[str, float | int | str | None]:
        """The figures, flat, for a JSON file or a table; None for what could not be measured."""
        before, after = self.before, self.after
        return {
            "mode": self.mode,
            "words_added": self.added - self.pieces,
            "pieces_added": self.pieces,
            "rows_aligned": self.aligned,
            "teacher_rows_overwritten": self.overwritten,
            "english_cosine_mean": round(float(self.english.mean()), 4),
            "english_cosine_min": round(float(self.english.min()), 4),
            "letters_romanised": self.romanised,
            "held_out_words": before.words if before else 0,
            "tokens_per_word_before": before and round(before.tokens_per_word, 3),
            "tokens_per_word_after": after and round(after.tokens_per_word, 3),
            "unknown_rate_before": before and round(before.unknown_rate, 5),
            "unknown_rate_after": after and round(after.unknown_rate, 5),
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
    # Trimming makes the copy itself: it never holds the matrix whole.
    student = (
        trim(teacher, english + foreign, min_count=options.min_count) if mode == "trim" else copy.deepcopy(teacher)
    )
    unread, total, pieces, aligned, overwritten = "", len(base), 0, 0, 0
    if mode == "extend":
        extension, unread = _extended(base, english, foreign, options)
        total, pieces = len(extension.tokenizer), len(extension.pieces)
        aligned, overwritten = _extend_student(student, extension, english, foreign, mixing)
    elif mode == "replace":
        tokenizer = replace(base, foreign, options.size)
        total = len(tokenizer)
        aligned = _replace_student(student, tokenizer, english, foreign, mixing)
    before, after = held_out_fit(base, pairs, partial(_tokenizer, base, options), seed=seed) or (None, None)
    added = total if mode == "replace" else total - len(base)
    cosines = english_cosines(teacher, student, english, seed=seed)
    sizes = size_of(teacher), size_of(student)
    seconds = time.perf_counter() - started
    return Transplant(
        student, mode, added, pieces, aligned, overwritten, unread, before, after, cosines, *sizes, seconds
    )


def _tokenizer(base: Any, options: Vocabulary, english: list[str], foreign: list[str]) -> Any:
    """The tokenizer that these sentences give the student."""
    if options.mode == "extend":
        return _extended(base, english, foreign, options)[0].tokenizer
    if options.mode == "replace":
        return replace(base, foreign, options.size)
    if options.mode == "trim":
        return keep_ids(base, choose_ids(base, english + foreign, min_count=options.min_count))
    return base


def _extended(base, english, foreign, options: Vocabulary) -> tuple[Extension, str]:
    """The tokenizer with the words of X, and the letters that it spells in Latin."""
    unread = unread_letters(base, foreign) if options.romanise else ""
    words = choose_words(foreign, english, min_count=options.min_count, max_words=options.max_words)
    known = {fold(word) for sentence in english for word in split_words(sentence)} if options.piece_types else set()
    return extend(base, words, romanise=unread, piece_types=options.piece_types, english=known), unread


def english_cosines(
    teacher: Encoder, student: Encoder, english: Sequence[str], *, seed: int = 0
) -> Float[np.ndarray, " s"]:
    """Cosine of the two encoders' vectors for each of some English sentences: 1 where the student keeps English.

    A late-interaction model is compared by the mean of its token vectors.

    Args:
        teacher: What the student should agree with.
        student: A transplant of it.
        english: Sentences to draw from, at least one.
        seed: Which ``ENGLISH_SENTENCES`` distinct ones are drawn.

    Returns:
        One cosine for each drawn sentence, in alphabetical order of the sentences.
    """
    distinct = sorted(set(english))
    drawn = sorted(random.Random(seed).sample(distinct, min(ENGLISH_SENTENCES, len(distinct))))
    ours, theirs = _unit_vectors(student, drawn), _unit_vectors(teacher, drawn)
    return (ours * theirs).sum(axis=1)


def _unit_vectors(encoder: Encoder, texts: list[str]) -> np.ndarray:
    # Encoding sets padding and truncation in the tokenizer: a copy with the same weights leaves the encoder as it is.
    encoder = copy.deepcopy(encoder, {id(weight): weight for weight in encoder.parameters()})
    vectors = encode_queries(encoder, texts)
    if isinstance(vectors, np.ndarray):
        return vectors
    means = np.stack([tokens.mean(axis=0) for tokens in vectors])
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)


def _aligner(options: Vocabulary, steps: int | None) -> Callable[..., TranslationTable] | None:
    """The alignment that the options name; None where rows are drawn at random."""
    if options.rows == "random":
        return None
    method = ALIGNMENTS[options.alignment]
    return method if steps is None else partial(method, steps=steps)


def _extend_student(
    student: Encoder, extension: Extension, english: list[str], foreign: list[str], mixing: _Mixing
) -> tuple[int, int]:
    """Give the student an extended tokenizer and rows for its words and pieces; how many were aligned, overwritten."""
    base, tokenizer, old = student.tokenizer, extension.tokenizer, _embeddings(student)
    size, own = len(tokenizer), min(len(base), len(old))  # some models have rows to spare after the last token's
    one = np.arange(size)
    for ids in extension.ids.values():
        one[ids] = ids[0]  # all written forms of a word count together
    new = np.empty((max(size, len(old)), old.shape[1]), dtype=old.dtype)
    new[:own] = old[:own]
    # A word that no pair short enough explains starts in the middle of the vocabulary, where it means nothing.
    new[own:size] = old[:own].mean(axis=0)
    new[size:] = old[size:]
    if mixing.align is None:
        fresh = np.arange(own, size)
        new[fresh] = random_rows(old, size, mixing.seed)[one[fresh]]
        mixed = {}
    else:
        mixed = _mixed_rows(base, extension, old, english, foreign, one, mixing)
        new[list(mixed)] = list(mixed.values())
    _install(student, tokenizer, new)
    return len(mixed), sum(i < own for i in mixed)


def _mixed_rows(base, extension, old, english, foreign, one, mixing) -> dict[int, np.ndarray]:
    """Id of each aligned word and piece -> its row."""
    tokenizer, size = extension.tokenizer, len(one)
    first = {word: ids[0] for word, ids in extension.ids.items()}
    parts = parts_of([(first[w], spelled) for w, spelled in extension.spelling.items() if spelled], size)
    hints = Hints(parts, _letters(base, tokenizer, extension, first), lean=mixing.lean)
    foreign_ids = [one[ids] for ids in token_ids(tokenizer, foreign)]
    english_ids = token_ids(base, english)
    table = mixing.align(english_ids, foreign_ids, hints=hints)
    empty = _punctuation(base)
    rows, mixed = mix_rows(table, old, size, top=mixing.top, empty=empty)
    part_rows, part_mixed = mix_rows(pool_parts(table, parts), old, len(parts.names), top=mixing.top, empty=empty)
    counts = np.bincount(np.concatenate(foreign_ids), minlength=size)
    rows = lean_on(parts, rows, part_rows, part_mixed, counts, mixing.lean)
    index = {name: k for k, name in enumerate(parts.names)}
    of_pieces = {i: index[piece] for piece, i in extension.pieces.items() if part_mixed[index[piece]]}
    # Words after pieces: a beginning that is a word too ("kwa") means what the word means.
    of_words = {i: ids[0] for ids in extension.ids.values() if mixed[ids[0]] for i in ids}
    english_counts = np.bincount(np.fromiter(chain.from_iterable(english_ids), dtype=np.int64), minlength=size)
    kept = kept_rows(counts[one], english_counts, min(len(base), len(old)))
    of_words = {i: k for i, k in of_words.items() if not kept[i]}
    return {i: part_rows[k] for i, k in of_pieces.items()} | {i: rows[k] for i, k in of_words.items()}


def kept_rows(foreign: Int[np.ndarray, " s"], english: Int[np.ndarray, " s"], rows: int) -> Bool[np.ndarray, " s"]:
    """The ids whose rows stay the teacher's: its own pieces, unless X clearly uses them more than English does.

    A word of X that is a piece of the teacher too ("me", "sold") has one row for both languages. X gets it where the
    word occurs at least ``LEAST_USES`` times on the X side, and more than ``MORE_THAN_ENGLISH`` times as often as the
    piece on the English side.

    Args:
        foreign: Occurrences of each id on the X side.
        english: Occurrences on the English side, as a piece of longer words too.
        rows: Rows of the teacher; ids from there on are new.
    """
    of_x = (foreign >= LEAST_USES) & (foreign > MORE_THAN_ENGLISH * english)
    return (np.arange(len(foreign)) < rows) & ~of_x


def _replace_student(student: Encoder, tokenizer: Any, english: list[str], foreign: list[str], mixing: _Mixing) -> int:
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
            "" if token in special or token.startswith("##") else text
            for token, text in zip(*_tokens_and_texts(tok), strict=True)
        ]
        for tok in (tokenizer, base)
    )
    for word, i in first.items():
        ours[i] = extension.spelling[word]
    return letters(ours), letters(theirs)


def _punctuation(base) -> np.ndarray:
    """Which of the tokenizer's ids have neither a letter nor a digit."""
    return np.array([not any(c.isalnum() for c in text) for text in _tokens_and_texts(base)[1]])


def _tokens_and_texts(tokenizer: Any) -> tuple[list[str], list[str]]:
    """The tokens of all ids, and what they spell."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return tokens, piece_texts(tokenizer.backend_tokenizer, tokens)


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
