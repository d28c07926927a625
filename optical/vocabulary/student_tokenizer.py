"""The student's tokenizer, made from what is counted of the bitext.

The bitext is counted once. The tokenizer without held-out sentences, of which only the fertility is asked, is made from
the same counts less those of these sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.data.dictionary import Entry
from optical.data.words import split_words
from optical.vocabulary.choose_words import WordCounts, Words, choose_counted, count_words
from optical.vocabulary.dictionary_prior import add_entries
from optical.vocabulary.name_prefixes import without_prefixes
from optical.vocabulary.tokenizer import Extension, extend, replace, unread_letters
from optical.vocabulary.trim import choose_ids, keep_ids, piece_counts
from optical.vocabulary.word_boundaries import boundaries_of, parted


class Found(NamedTuple):
    """Counts of sentence pairs.

    Attributes:
        words: Of both sides; empty where none are added.
        pieces: Of the teacher's tokenizer, by id; empty where they are not trimmed.
    """

    words: WordCounts
    pieces: Counter[int]


class TokenizerMaker(NamedTuple):
    """Makes tokenizers of sentence pairs as the options say.

    Attributes:
        base: The teacher's tokenizer.
        options: Of the transplant.
        prompts: What the encoder puts before its texts.
        entries: Of a dictionary.
        prefixes: Whether names are read without the prefixes of X.
    """

    base: Any
    options: Vocabulary
    prompts: Sequence[str]
    entries: Sequence[Entry]
    prefixes: bool

    def counts(self, english: list[str], foreign: list[str]) -> Found:
        """Count what the mode needs of sentence pairs."""
        mode = self.options.mode
        if mode.endswith("extend") and boundaries_of(self.base.backend_tokenizer).space:
            foreign = [parted(text) for text in foreign]
        pieces = piece_counts(self.base, english + foreign) if mode.startswith("trim") else Counter[int]()
        foreign = [without_prefixes(text) for text in foreign] if self.prefixes else foreign
        return Found(count_words(*((foreign, english) if mode.endswith("extend") else ([], []))), pieces)

    def extended(
        self, base: Any, found: WordCounts, needed: frozenset[str] | None = None
    ) -> tuple[Extension, str, Words]:
        """The tokenizer with the words of X, the letters that it spells in Latin, and the words.

        See :class:`optical.vocabulary.choose_words.Words` for ``needed``.
        """
        options = self.options
        unread = unread_letters(base, found.written) if options.romanise else ""
        words = choose_counted(found, min_count=options.min_count, max_words=options.max_words)
        words = add_entries(words, self.entries, found, max_words=options.max_words)._replace(needed=needed)
        how: dict[str, Any] = {"piece_types": options.piece_types, "english": found.english, "prompts": self.prompts}
        return extend(base, words, romanise=unread, prefixes=self.prefixes, **how), unread, words

    def without(self, pairs: Sequence[Pair], found: Found, away: Sequence[Pair]) -> Any:
        """The tokenizer that the pairs would give the student without some of them, for the X sides of these alone."""
        if self.options.mode == "replace":
            left = set(away)
            return replace(self.base, [p.foreign for p in pairs if p not in left], self.options.size)
        others, base = self.counts([p.english for p in away], [p.foreign for p in away]), self.base
        if self.options.mode.startswith("trim"):
            base = keep_ids(base, choose_ids(base, found.pieces - others.pieces, min_count=self.options.min_count))
        if not self.options.mode.endswith("extend"):
            return base
        texts = [text for p in away for text in (p.foreign, without_prefixes(p.foreign))]
        needed = frozenset(word for text in texts for word in split_words(text))
        return self.extended(base, found.words.without(others.words), needed)[0].tokenizer
