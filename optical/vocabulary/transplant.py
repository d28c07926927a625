"""Transplant: turn a teacher into a student with the words of X, from bitext, without training.

Words are chosen, added to the tokenizer and aligned with the teacher's pieces; then their embeddings are mixed. A
teacher that reads X already is trimmed instead (:mod:`optical.vocabulary.trim`).
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.data.dictionary import Entry
from optical.errors import DataError
from optical.models.composing import read_plainly
from optical.models.encoders import Encoder, encode_queries, transformer, with_same_weights
from optical.models.prompts import document_prompt, query_prompt
from optical.models.query_words import SLOT, SeenWords, spelling_of
from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.align_symmetric import align_symmetric
from optical.vocabulary.align_transport import align_transport
from optical.vocabulary.choose_mode import choose_mode
from optical.vocabulary.extended_rows import Mixing, extended_rows
from optical.vocabulary.fertility import Fit, held_out_fit
from optical.vocabulary.name_prefixes import puts_prefixes
from optical.vocabulary.rows import mix_rows, random_rows
from optical.vocabulary.student_tokenizer import TokenizerMaker
from optical.vocabulary.token_ids import backend_of, token_ids
from optical.vocabulary.tokenizer import Extension, add_slot, replace
from optical.vocabulary.translation_table import TranslationTable
from optical.vocabulary.trim import pieces_of, trim
from optical.vocabulary.word_boundaries import boundaries_of

DEFAULTS = Vocabulary()
TOP = 8  # English pieces mixed into a row
ENGLISH_SENTENCES = 200  # that teacher and student are compared on
ALIGNMENTS: dict[str, Callable[..., TranslationTable]] = {
    "ibm1": align_ibm1,
    "symmetric": align_symmetric,
    "ot": align_transport,
}


class Size(NamedTuple):
    """Size of an encoder, counted and in memory.

    Attributes:
        rows: Rows of the embedding matrix.
        parameters: Numbers in the whole encoder, the embedding matrix included.
        megabytes: What they take in memory.
    """

    rows: int
    parameters: int
    megabytes: float


class Transplant(NamedTuple):
    """A student and what was done to make it.

    Attributes:
        student: A copy of the teacher with the new vocabulary; the teacher is not touched.
        mode: ``extend``, ``replace``, ``trim``, ``trim+extend`` or ``off``.
        added: Tokens that were added (``extend``) or that there are (``replace``); 0 for ``trim``.
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
        reason: Why the mode was chosen, where the options said ``auto``.
        looked_up: Words that were added by a dictionary alone.
        seen: The words that have rows, of which those of unseen words can be composed; None where words are not added,
            or where the options say that none is composed.
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
    reason: str = ""
    looked_up: int = 0
    seen: SeenWords | None = None

    def fertility(self) -> str:
        """Say in words how the tokenizers, before and after, fit held-out sentences."""
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
            **({"mode_chosen_because": self.reason} if self.reason else {}),
            "words_added": self.added - self.pieces,
            **({"words_from_lexicon": self.looked_up} if self.looked_up else {}),
            **({"names_of_documents": len(self.seen.names)} if self.seen and self.seen.names else {}),
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
    entries: Sequence[Entry] = (),
    seed: int = 0,
    steps: int | None = None,
    compare: bool = True,
) -> Transplant:
    """Give a copy of the teacher the vocabulary of X.

    ``extend`` keeps every piece of the teacher and adds whole words; ``replace`` trains a tokenizer of the same kind
    on X and gives every piece of it an aligned embedding; ``trim`` keeps the pieces of a multilingual teacher that
    English and X use (Abdaoui et al. 2020), ``trim+extend`` adds words to these; ``off`` copies the teacher, and
    ``auto`` chooses (:func:`optical.vocabulary.choose_mode.choose_mode`). Word alignment runs between the teacher's
    pieces of the English side and the student's own tokens of the X side, so that names, numbers and punctuation
    explain each other and not the words. Relatives: RAMEN (Tran 2020), WECHSEL (Minixhofer et al. 2022), FOCUS
    (Dobler & de Melo 2023).

    Args:
        teacher: Any encoder with a fast tokenizer; stays as it is.
        pairs: Bitext.
        options: The mode, and which words get a row, how it is aligned and what it is mixed from.
        entries: Of a dictionary: words that the bitext lacks are added too, and rare ones lean on it
            (:mod:`optical.vocabulary.dictionary_prior`); modes that extend only.
        seed: Of random rows.
        steps: Iterations of the alignment; None for the default of the method.
        compare: Compare student and teacher on English sentences; without it, ``english`` is empty.

    Raises:
        DataError: No pairs, or a tokenizer that words cannot be added to or pieces taken from.
    """
    started = time.perf_counter()
    if not pairs:
        raise DataError("a transplant needs bitext, received no pairs; give at least a few hundred sentence pairs")
    check_tokenizer(teacher.tokenizer, options.mode)
    reason = ""
    if options.mode == "auto":
        mode, reason = choose_mode(teacher.tokenizer, pairs, seed=seed)
        check_tokenizer(teacher.tokenizer, mode)
        options = options.model_copy(update={"mode": mode})
    mixing = Mixing(_aligner(options, steps), TOP, options.lean, seed, entries, options.lexicon_weight)
    english, foreign = [p.english for p in pairs], [p.foreign for p in pairs]
    prompts = [prompt for prompt in (query_prompt(teacher), document_prompt(teacher)) if prompt]
    prefixes = options.prefixes and puts_prefixes(foreign, english)
    making = TokenizerMaker(teacher.tokenizer, options, prompts, entries, prefixes)
    found = making.counts(english, foreign)
    # Trimming makes the copy itself: it never holds the matrix whole.
    trimmed = options.mode.startswith("trim")
    student = trim(teacher, found.pieces, min_count=options.min_count) if trimmed else copy.deepcopy(teacher)
    read_plainly(student)  # what an earlier student composes of is not this one's
    base, unread, added, pieces, aligned, overwritten, looked_up = student.tokenizer, "", 0, 0, 0, 0, 0
    seen = None
    if options.mode.endswith("extend"):
        extension, unread, words = making.extended(base, found.words)
        looked_up = sum(not words.counts[word] for word in extension.ids)
        added, pieces = len(extension.tokenizer) - len(base), len(extension.pieces)
        slots = add_slot(extension.tokenizer, SLOT) if extension.ids and options.compose != "off" else []
        rows, aligned, overwritten = extended_rows(base, extension, embeddings(student), english, foreign, mixing)
        install(student, extension.tokenizer, rows)
        seen = seen_words(extension, words.counts, found.words.english.keys(), slots) if slots else None
    elif options.mode == "replace":
        tokenizer = replace(base, foreign, options.size)
        added = len(tokenizer)
        aligned = _replace_student(student, tokenizer, english, foreign, mixing)
    make = partial(making.without, pairs, found)
    before, after = held_out_fit(teacher.tokenizer, pairs, make, seed=seed) or (None, None)
    cosines = english_cosines(teacher, student, english, seed=seed, same_network=True) if compare else np.zeros(0)
    sizes = size_of(teacher), size_of(student)
    return Transplant(
        student, options.mode, added, pieces, aligned, overwritten, unread, before, after, cosines, *sizes,
        time.perf_counter() - started, reason, looked_up, seen,
    )  # fmt: skip


def check_tokenizer(base: Any, mode: str) -> None:
    """Refuse a tokenizer that a mode cannot change, before any other work.

    Raises:
        DataError: It is not a fast one, or of a kind that words cannot be added to or pieces not be taken from.
    """
    backend = backend_of(base)
    if mode.endswith("extend"):
        boundaries_of(backend)
    if mode.startswith("trim"):
        pieces_of(json.loads(backend.to_str())["model"])


def seen_words(extension: Extension, counts: Mapping[str, int], english: Set[str], slots: list[int]) -> SeenWords:
    """The words of an extension with their ids and counts, those that are spelled alike once.

    Args:
        extension: Of the teacher's tokenizer.
        counts: Word -> occurrences in the bitext; of a word that a dictionary has, 0.
        english: Folded words of the bitext's English side.
        slots: See :func:`optical.vocabulary.tokenizer.add_slot`.
    """
    ids: dict[str, int] = {}
    occurrences: Counter[str] = Counter()
    for word, of_word in extension.ids.items():
        spelled = spelling_of(word, extension.tokenizer.backend_tokenizer)
        ids.setdefault(spelled, of_word[0])
        occurrences[spelled] += max(1, counts[word])
    ids.pop("", None)
    theirs = sorted(english - extension.ids.keys() - ids.keys())
    return SeenWords(list(ids), list(ids.values()), [occurrences[word] for word in ids], theirs, slots)


def english_cosines(
    teacher: Encoder, student: Encoder, english: Sequence[str], *, seed: int = 0, same_network: bool = False
) -> Float[np.ndarray, " s"]:
    """Cosine of the two encoders' vectors for each of some English sentences: 1 where the student keeps English.

    A late-interaction model is compared by the mean of its token vectors.

    Args:
        teacher: What the student should agree with.
        student: A transplant of it.
        english: Sentences to draw from, at least one.
        seed: Which ``ENGLISH_SENTENCES`` distinct ones are drawn.
        same_network: The two differ by their tokenizers and embedding rows alone, so a sentence of which they read the
            same rows has the same vector, and is not encoded.

    Returns:
        One cosine for each drawn sentence, in alphabetical order of the sentences.
    """
    distinct = sorted(set(english))
    drawn = sorted(random.Random(seed).sample(distinct, min(ENGLISH_SENTENCES, len(distinct))))
    differ = _read_differently(teacher, student, drawn) if same_network else range(len(drawn))
    cosines = np.ones(len(drawn), dtype=np.float32)
    if differ:
        ours, theirs = (_unit_vectors(encoder, [drawn[k] for k in differ]) for encoder in (student, teacher))
        cosines[differ] = (ours * theirs).sum(axis=1)
    return cosines


def _read_differently(teacher: Encoder, student: Encoder, texts: list[str]) -> list[int]:
    """Which of some queries have other embedding rows, or more or fewer, in the student."""
    (old, before), (new, after) = (
        (embeddings(one), token_ids(one.tokenizer, [query_prompt(one) + text for text in texts]))
        for one in (teacher, student)
    )
    return [k for k in range(len(texts)) if not np.array_equal(old[before[k]], new[after[k]])]


def _unit_vectors(encoder: Encoder, texts: list[str]) -> np.ndarray:
    # Encoding sets padding and truncation in the tokenizer: a copy leaves the encoder as it is.
    vectors = encode_queries(with_same_weights(encoder), texts)
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


def _replace_student(student: Encoder, tokenizer: Any, english: list[str], foreign: list[str], mixing: Mixing) -> int:
    """Give the student a new tokenizer and its rows; how many of them were aligned.

    Special tokens keep the teacher's rows; what was never aligned has the mean of them all.
    """
    base, old = student.tokenizer, embeddings(student)
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
    install(student, tokenizer, new)
    return int((mixed > 0).sum())


def size_of(encoder: Encoder) -> Size:
    """Rows, parameters and megabytes of an encoder as it is in memory."""
    parameters = list(encoder.parameters())
    rows = len(transformer(encoder).auto_model.get_input_embeddings().weight)
    megabytes = sum(p.numel() * p.element_size() for p in parameters) / 1e6
    return Size(rows, sum(p.numel() for p in parameters), megabytes)


def embeddings(encoder: Encoder) -> Float[np.ndarray, "v d"]:
    """The rows of an encoder's embedding matrix, as float32."""
    return transformer(encoder).auto_model.get_input_embeddings().weight.detach().cpu().float().numpy()


def install(student: Encoder, tokenizer, rows: np.ndarray) -> None:
    """Make the tokenizer and the embedding matrix the student's; the tokenizer has the teacher's length limit."""
    module = transformer(student)
    model = module.auto_model
    model.resize_token_embeddings(len(rows), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(torch.as_tensor(rows))
    module.processor = tokenizer
