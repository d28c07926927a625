"""Words of a list that the bitext lacks, added to a student with composed rows, so that any program reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from optical.models.composing import compose_unseen, query_words
from optical.models.encoders import Encoder, transformer
from optical.models.prompts import document_prompt, query_prompt
from optical.models.query_words import QueryWords, SeenWords
from optical.vocabulary.choose_words import Words
from optical.vocabulary.tokenizer import extend
from optical.vocabulary.transplant import embeddings, install


class Listed(NamedTuple):
    """Counts of a list's words: added, known, unlike any, left out.

    Attributes:
        words: Distinct words that are frequent enough.
        added: Words that got a composed row.
        known: Words that the tokenizer reads as one token, or that the bitext's English side has.
        unlike: Words that resemble no seen word.
        left: Words beyond the cap.
        rows: Rows that were added: a word has one for each of its written forms.
        megabytes: What they take in memory.
    """

    words: int
    added: int
    known: int
    unlike: int
    left: int
    rows: int
    megabytes: float

    def sentence(self) -> str:
        """The figures in words."""
        capped = f", {self.left} are beyond the cap (vocabulary.max_listed)" if self.left else ""
        return (
            f"word list: {self.words} words, {self.added} added with composed rows ({self.rows} rows, "
            f"{self.megabytes:.1f} MB), {self.known} known already, {self.unlike} resemble no word of the bitext"
            f"{capped}"
        )


def add_listed(student: Encoder, seen: SeenWords, counts: Mapping[str, int], *, most: int) -> Listed:
    """Add words to a student's tokenizer, in place, each with a row composed from the rows of seen words as they are.

    Words that the tokenizer reads as one token and words of the bitext's English side stay as they are, and so do
    those that resemble no seen word.

    Args:
        student: Of the bitext of ``seen``.
        seen: The words that it has rows for.
        counts: Folded word -> occurrences in the list; the most frequent ones come first.
        most: Words that are added at most.
    """
    words = QueryWords(seen, student.tokenizer.backend_tokenizer)
    order = sorted(counts, key=lambda word: (-counts[word], word))
    unseen = [word for word in order if words.spelled(word)]
    found = {word: made for word, made in zip(unseen, words.compositions(unseen), strict=True) if made}
    chosen = list(found)[:most]
    prompts = [prompt for prompt in (query_prompt(student), document_prompt(student)) if prompt]
    written = {word: sorted({word, word.capitalize()}) for word in chosen}
    first = frozenset(form for forms in written.values() for form in forms)  # any of them may begin a text
    forms = Words(written, {word: counts[word] for word in chosen}, first=first)
    extension = extend(student.tokenizer, forms, romanise="", prompts=prompts)
    old, size = embeddings(student), len(student.tokenizer)
    rows = np.concatenate([old[:size], np.zeros((len(extension.tokenizer) - size, old.shape[1]), old.dtype)])
    for word, ids in extension.ids.items():
        made = found[word]
        rows[[i for i in ids if i >= size]] = made.weight @ old[made.ids]
    composes = query_words(student) is not None
    install(student, extension.tokenizer, rows)
    if composes:
        compose_unseen(student, seen)
    new = len(rows) - size
    size_of_row = transformer(student).auto_model.get_input_embeddings().weight[0].nbytes
    return Listed(
        len(counts), len(extension.ids), len(counts) - len(unseen), len(unseen) - len(found), len(found) - len(chosen),
        new, new * size_of_row / 1e6,
    )  # fmt: skip
