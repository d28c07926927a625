"""The unseen words of a text, and the seen words that each one is composed of. Needs no torch.

A student that composes keeps the words that it has rows for in :data:`FILE`, beside its weights. In a text, every word
that it has no row for, but that resembles some of these, is replaced by a slot token, whose embedding is the weighted
mean of the rows named here (:mod:`optical.models.composing`, :mod:`optical.models.onnx_encoder`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from optical.data.spellings import Spellings
from optical.data.words import fold, is_latin, replace_words, split_words, word_places
from optical.errors import DataError

FILE = "seen-words.json"
SLOT = "\U00010600"  # Linear A: a letter, which normalisers leave alone and no text of a living language holds
REMEMBERED = 100_000  # words whose composition is kept


class SeenWords(NamedTuple):
    """The words of X that a student has rows for.

    Attributes:
        words: Distinct, as :func:`spelling_of` has them.
        ids: Token id of each.
        counts: Occurrences of each in the bitext.
        english: Words of the bitext's English side, folded: they keep the teacher's pieces, and so do words that are
            more alike to one of them than to any word of X, which are names and loans.
        slots: Token ids that a slot can have: one, or two where tokens contain the space before them.
        names: Of the collection, folded: written with a capital, they keep the teacher's pieces, and in small letters
            they are read as with one, if that has other tokens. Words that are alike to them do not keep them: with so
            many names, words of X would be among these.
    """

    words: list[str]
    ids: list[int]
    counts: list[int]
    english: list[str]
    slots: list[int]
    names: list[str] = []

    def with_names(self, names: Iterable[str]) -> SeenWords:
        """The same with names, folded; those that are words of X are left out."""
        known = set(self.words)
        return self._replace(names=[name for name in names if name not in known])

    def write(self, folder: Path) -> None:
        """Write the file into a student's folder."""
        (folder / FILE).write_text(json.dumps(self._asdict(), ensure_ascii=False) + "\n", encoding="utf-8")


def read_seen_words(folder: Path) -> SeenWords | None:
    """Read the seen words from a student's folder; None for a student that does not compose.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        seen = SeenWords(**json.loads(path.read_text(encoding="utf-8")))
        texts, numbers = (seen.words, seen.english, seen.names), (seen.ids, seen.counts, seen.slots)
        if not all(isinstance(one, str) for own in texts for one in own):
            raise TypeError("a word is no text")
        if not all(isinstance(one, int) and 0 <= one < 2**53 for own in numbers for one in own):
            raise TypeError("an id or a count is no number")
        fits = len(seen.words) == len(seen.ids) == len(seen.counts) and seen.slots
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); copy the student's folder again, or remove the file: unseen "
            "words then fall into pieces"
        ) from error
    if not fits:
        raise DataError(
            f"{path} has lists of different lengths; copy the student's folder again, or remove the file: "
            "unseen words then fall into pieces"
        )
    return seen


class Composition(NamedTuple):
    """The rows that an unseen word is composed of, and their weights.

    Attributes:
        ids: Token ids of seen words, ``(k,)``.
        weight: Their weights, ``(k,)``, which sum to 1.
    """

    ids: Int[np.ndarray, " k"]
    weight: Float32[np.ndarray, " k"]


def padded_compositions(
    rows: Sequence[Sequence[Composition]],
) -> tuple[Int[np.ndarray, "b s k"], Float32[np.ndarray, "b s k"]]:
    """Ids and weights of the compositions of several texts, with zeros where a text has fewer than another."""
    shape = (len(rows), max(map(len, rows), default=0), max((len(one.ids) for row in rows for one in row), default=0))
    ids, weight = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for b, row in enumerate(rows):
        for s, composed in enumerate(row):
            ids[b, s], weight[b, s] = composed
    return ids, weight


class UnseenWord(NamedTuple):
    """A word of a text that the student has no row for.

    Attributes:
        start: Of its first character in the text.
        end: After its last.
        like: The seen words that it is composed of, the nearest first; empty where it is read by pieces.
    """

    start: int
    end: int
    like: list[str]


class Known(NamedTuple):
    """The words of a text, and which of them a student never saw.

    Attributes:
        words: How many words it has.
        unseen: Those that the student never saw, in their order.
    """

    words: int
    unseen: list[UnseenWord]


class Slotted(NamedTuple):
    """Texts as a student reads them: names with a capital, slots in the place of unseen words.

    Attributes:
        texts: With :data:`SLOT` for every unseen word that is composed, and all other characters at their places.
        ids: Token ids that the s-th slot of a text is composed of, ``(b, s, k)``; 0 where there is none. Of no size
            where no text has a slot.
        weight: Their weights, ``(b, s, k)``; 0 where there is none.
    """

    texts: list[str]
    ids: Int[np.ndarray, "b s k"]
    weight: Float32[np.ndarray, "b s k"]


def spelling_of(word: str, tokenizer: Any) -> str:
    """A word as it is compared with others, folded; empty for one that the tokenizer sees as several.

    One in Latin letters is taken as the tokenizer's model sees it, which may be without accents. One in another script
    stays as it is written: in Marathi that was better than its romanisation (experiments/LOG.md, 2026-11-29).
    """
    normalizer = tokenizer.normalizer if is_latin(word) else None
    seen = split_words(word if normalizer is None else normalizer.normalize_str(word))
    return fold(seen[0]) if len(seen) == 1 else ""


class QueryWords:
    """Finds the unseen words of texts. May be shared by threads."""

    def __init__(self, seen: SeenWords, tokenizer: Any) -> None:
        """Take the seen words and the ``tokenizers.Tokenizer`` that reads the texts.

        Raises:
            DataError: The tokenizer has no token of a seen word's id.
        """
        if max(seen.ids, default=0) >= tokenizer.get_vocab_size():
            raise DataError(f"{FILE} is of another tokenizer, which has more tokens; copy the student's folder again")
        self.seen, self.tokenizer = seen, tokenizer
        self.spellings = Spellings(seen.words, seen.counts, others=seen.english)
        self.ids = np.array(seen.ids, dtype=np.int64)
        self.left, self.names = frozenset(seen.english), frozenset(seen.names)
        self.word_of = dict(zip(seen.ids, seen.words, strict=True))
        self.known: dict[str, Composition | None] = {}

    def compositions(self, words: Sequence[str]) -> list[Composition | None]:
        """Compose each word of rows of seen words; None for a word that is left to the tokenizer.

        These are words that it reads as one token, those that the English side of the bitext has, names of the
        collection, and those that resemble no seen word.
        """
        known = self.known
        new = [word for word in dict.fromkeys(words) if word not in known]
        spelled = {word: spelling for word in new if (spelling := self.spelled(word))}
        alike = self.spellings.alike(list(spelled.values()))
        found: dict[str, Composition | None] = dict.fromkeys(new)
        for k, word in enumerate(spelled):
            if alike.likeness[k]:
                found[word] = Composition(self.ids[alike.at[k]], alike.weight[k])
        known.update(found)  # another thread that does the same finds the same
        if len(known) > REMEMBERED:
            self.known = {}  # a new one, since other threads may be reading this one
        return [known[word] for word in words]

    def slotted(self, texts: Sequence[str]) -> Slotted:
        """Put slots in the place of unseen words, and give names the capital that documents write them with."""
        words = [split_words(text) for text in texts]
        every = [word for row in words for word in row]
        of = dict(zip(every, self.compositions(every), strict=True))
        rows = [[composed for word in row if (composed := of[word])] for row in words]
        changed = [replace_words(text, lambda word: SLOT if of[word] else self._capital(word)) for text in texts]
        return Slotted(changed, *padded_compositions(rows))

    def _capital(self, word: str) -> str | None:
        """A name in small letters as documents write it, if that has other tokens; None for any other word."""
        named = word[0].upper() + word[1:]
        if named == word or len(named) > len(word) or fold(word) not in self.names:
            return None
        own, others = self._tokens(word), self._tokens(named)
        return named if len(own) > 1 and own != others else None

    def known_of(self, text: str) -> Known:
        """Tell the unseen words of a text, names of documents and English words left out: those are the teacher's."""
        places, words = word_places(text), split_words(text)
        found = []
        for (start, end), word, composed in zip(places, words, self.compositions(words), strict=True):
            if composed is not None or self.spelled(word):
                rows = [] if composed is None else np.argsort(-composed.weight, kind="stable")
                like = [self.word_of[int(composed.ids[k])] for k in rows if composed and composed.weight[k] > 0]
                found.append(UnseenWord(start, end, like))
        return Known(len(words), found)

    def spelled(self, word: str) -> str:
        """The spelling of an unseen word; empty for one that is left to the tokenizer."""
        folded = fold(word)
        named = folded in self.names and (word[0].isupper() or self._capital(word))
        if named or folded in self.left or len(self._tokens(word)) < 2:
            return ""
        return spelling_of(word, self.tokenizer)

    def _tokens(self, word: str) -> list[int]:
        found = self.tokenizer.encode(f" {word}", add_special_tokens=False)
        return [token for token, real in zip(found.ids, found.attention_mask, strict=True) if real]  # without padding
